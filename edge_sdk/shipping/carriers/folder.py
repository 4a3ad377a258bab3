"""A medium that a device starts from, or that is plugged into it: `folder:/path`.

A mounted root file system (it has `etc`, and `usr` or `bin`) gets the release in `/opt/edge-sdk`
and a unit of systemd, or a script of init, that installs it at the next boot. Any other folder,
such as that of a USB stick, gets a folder `edge-sdk` with a script for a person to run.
"""

from __future__ import annotations

from pathlib import Path

from device_profiles.errors import RequestError
from edge_sdk.shipping.carriers import _media
from edge_sdk.shipping.carriers._install_sh import NAME, README, install_script
from edge_sdk.shipping.carriers.base import (
    Delivered,
    Parcel,
    agent_folder,
    digest,
)
from runtime.agent.layout import point, unwritable
from runtime.agent.services import Place, enable_boot

_ROOT = "opt/edge-sdk"
_PARCEL = "edge-sdk"
_PYTHONS = ("usr/bin/python3", "usr/local/bin/python3", "bin/python3")


def open_carrier(rest: str) -> FolderMedium:
    """Return the medium at a path; RequestError where there is no folder."""
    return FolderMedium(mounted(rest, "folder"))


def mounted(rest: str, scheme: str) -> Path:
    """Return the folder that a person named; RequestError where there is none."""
    try:
        path = Path(rest).expanduser().absolute()
    except RuntimeError as error:
        raise RequestError(f"{scheme}:{rest} is in no home; write the whole path") from error
    if not rest or not path.is_dir():
        raise RequestError(f"{scheme}:{rest} is no folder; name one in which a medium is mounted")
    if path.resolve() == Path("/"):
        raise RequestError(f"{scheme}:{rest} is this machine itself; flash it with --to local")
    return path


class FolderMedium:
    """A folder that a device will see: its root file system, or something plugged into it."""

    def __init__(self, path: Path) -> None:
        self.uri = f"folder:{path}"
        self._path = path

    def deliver(self, parcel: Parcel) -> Delivered:
        """Write a parcel, and what installs it."""
        system = any((self._path / name).is_dir() for name in ("usr", "bin"))
        if system and (self._path / "etc").is_dir():
            root, python = self._path / _ROOT, self._python()
            return _media.deliver(
                root, parcel, self.uri, lambda: self._at_boot(root, parcel, python)
            )
        root = self._path / _PARCEL
        done = _media.deliver(root, parcel, self.uri, lambda: self._by_hand(root, parcel))
        _media.keep_one_agent(root, parcel)
        return done

    def _python(self) -> str:
        """Return the Python of a system that does not run, as that system will see it."""
        for name in _PYTHONS:
            path = self._path / name
            if path.is_symlink() or path.is_file():
                return f"/{name}"
        raise RequestError(f"{self.uri} has no python3 (usr/bin/python3); install it there first")

    def _at_boot(self, root: Path, parcel: Parcel, python: str) -> list[str]:
        """Have it installed at the next boot, and return what a person should know."""
        try:
            if not (root / "agent").exists():
                point(root / "agent", agent_folder(parcel.wheel))
        except OSError as error:
            raise unwritable(root, error) from error
        notes = enable_boot(Place(Path("/", _ROOT), python), self._path)
        return [*notes, *unmounted(self._path)]

    def _by_hand(self, root: Path, parcel: Parcel) -> list[str]:
        """Write what a person runs on the device, and return how."""
        write_script(root, parcel)
        how = f"plug it into the device and run there: sudo sh {self._path.name}/{_PARCEL}/{NAME}"
        return [how, *unmounted(self._path)]


def write_script(root: Path, parcel: Parcel) -> None:
    """Write the script that installs what lies beside it, and what a person reads."""
    _media.write(root / NAME, install_script(digest(parcel.wheel), _media.DRAFT))
    _media.write(root / "README.txt", README)


def unmounted(path: Path) -> list[str]:
    """Return a note where a folder is on this machine's own disk."""
    if path.stat().st_dev != Path("/").stat().st_dev:
        return []
    return [f"{path} is on this machine's own disk; see that the medium is mounted (findmnt)"]
