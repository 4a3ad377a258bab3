"""What stands in an address behind the name of a device: `PROFILE[,lock=FILE]`."""

from __future__ import annotations

from pathlib import Path

from device_profiles.errors import ProfileError, RequestError
from device_profiles.nearest import hint

_KNOWN = ("lock",)


def named(scheme: str, rest: str) -> tuple[str, Path | None]:
    """Return the device and the lock that `SCHEME:rest` names; RequestError where it names none."""
    name, *options = rest.split(",")
    lock = None
    for option in options:
        key, _, value = option.partition("=")
        if key not in _KNOWN or not value:
            raise RequestError(
                f"{scheme}:{rest}: no option is called {option!r}; {hint(key, _KNOWN)}"
            )
        lock = path_of(value, f"{scheme}:{rest}").absolute()
    if not name:
        raise ProfileError(f"{scheme}: names no device; say such as {scheme}:raspberry-pi-4b")
    return name, lock


def path_of(text: str, where: str) -> Path:
    """Return a path that a person wrote; RequestError where its `~user` is nobody."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise RequestError(f"{where}: {text} is in no home; write the whole path") from error
