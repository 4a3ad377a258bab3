"""Starting at boot where there is no systemd: a script of init's, else cron's, else a person's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from device_profiles.errors import EngineError, RequestError
from runtime.agent.layout import point, unwritable, write_whole
from runtime.agent.services.base import Place
from runtime.agent.unit import boot_line, init_script, openrc_script, root_of

NAME = "edge-sdk"
_BUSYBOX = f"S99{NAME}"
_LEVELS = ("rc2.d", "rc3.d", "rc4.d", "rc5.d")


def install(place: Place, files: Path = Path("/")) -> list[str]:
    """Have `agent boot` called at boot; returns what a person should know.

    root gets a script for init, of the kind that the system has; others a line of their crontab.
    """
    if os.geteuid() == 0 and has_init(files):
        write_script(place, files)
        if _enable(files):
            return [f"init starts it at boot ({_path(files)})"]
    elif _has_cron(files):
        _change_crontab(place, add=True)
        return ["cron starts it at boot (crontab -l)"]
    return [by_hand(place)]


def by_hand(place: Place) -> str:
    """Say what a person has to do where nothing starts it at boot."""
    return f"nothing here starts it at boot; have this run then: {boot_line(place)}"


def remove(place: Place, files: Path = Path("/")) -> None:
    """Undo what `install` did."""
    path = _path(files)
    if _is_for(path, place):
        try:
            path.unlink()
            for level in _LEVELS:
                (files / "etc" / level / _BUSYBOX).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(path, error) from error
        if shutil.which("update-rc.d") and _is_debian(files):
            _tell("update-rc.d", NAME, "remove")
        elif shutil.which("rc-update") and _is_openrc(files):
            _tell("rc-update", "delete", NAME)
    if _has_cron(files):
        _change_crontab(place, add=False)


def has_init(files: Path) -> bool:
    """Tell whether a system starts the scripts of /etc/init.d."""
    return (files / "etc/init.d").is_dir() or (files / "etc/inittab").exists()


def write_script(place: Place, files: Path) -> Path:
    """Write the script for init and let it run at boot as far as files can; returns its path.

    RequestError where it starts another installation.
    """
    path = _path(files)
    if path.exists() and not _is_for(path, place):
        other = root_of(path.read_text(errors="replace"))
        if other is None or (files / other.lstrip("/") / "agent").exists():
            raise RequestError(
                f"{path} starts {other or 'something else'}; uninstall that first, a device has "
                "one service"
            )
    text = openrc_script(place) if _is_openrc(files) else init_script(place)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode(), 0o755)
        if _is_debian(files):
            for level in _LEVELS:
                if (files / "etc" / level).is_dir():
                    point(files / "etc" / level / _BUSYBOX, f"../init.d/{NAME}")
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def _enable(files: Path) -> bool:
    """Tell the system's own tools of the script; False where one refuses."""
    if _is_debian(files) and shutil.which("update-rc.d"):
        return _tell("update-rc.d", NAME, "defaults")
    if _is_openrc(files) and shutil.which("rc-update"):
        return _tell("rc-update", "add", NAME, "default")
    return not _is_openrc(files)


def _path(files: Path) -> Path:
    plain = _is_debian(files) or _is_openrc(files)
    return files / "etc/init.d" / (NAME if plain else _BUSYBOX)


def _is_debian(files: Path) -> bool:
    return (files / "etc/rc2.d").is_dir()


def _is_openrc(files: Path) -> bool:
    return (files / "etc/runlevels").is_dir()


def _is_for(path: Path, place: Place) -> bool:
    try:
        return root_of(path.read_text(errors="replace")) == str(place.root)
    except OSError:
        return False


def _tell(*words: str) -> bool:
    done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode == 0


def _has_cron(files: Path) -> bool:
    return (files / "var/spool/cron").is_dir() and shutil.which("crontab") is not None


def _change_crontab(place: Place, add: bool) -> None:
    """Put our line into the crontab of this user, or take it out; the others stay as they are."""
    listed = subprocess.run(["crontab", "-l"], check=False, capture_output=True)
    # Without a crontab it says so, and fails.
    before = listed.stdout.split(b"\n") if listed.returncode == 0 else []
    before = before[:-1] if before[-1:] == [b""] else before
    ours = os.fsencode(_cron_line(place))
    after = [line for line in before if line != ours] + ([ours] if add else [])
    if after == before:
        return
    text = b"".join(line + b"\n" for line in after)
    done = subprocess.run(["crontab", "-"], check=False, input=text, capture_output=True)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise EngineError(f"crontab refuses the line {_cron_line(place)!r}: {said}")


def _cron_line(place: Place) -> str:
    # To cron a percent sign is the end of the line.
    return f"@reboot {boot_line(place)}".replace("%", "\\%")
