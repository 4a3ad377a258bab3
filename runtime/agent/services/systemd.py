"""A service of systemd: its units, and what systemctl and journalctl say of them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from device_profiles.errors import EngineError, RequestError
from runtime.agent.layout import point, remove, unwritable, write_whole
from runtime.agent.services.base import Liveness, Place, ServiceOptions
from runtime.agent.unit import BOOT_UNIT, ENDED, RUN_UNIT, STATE, boot_unit, root_of, run_unit

_UNITS = Path("etc/systemd/system")
_PROPERTIES = "ActiveState,MainPID,NRestarts,ExecMainStartTimestampMonotonic"
_ANSWER_S = 30.0
_KILLED_S = 10.0  # for the kernel to end what was killed


class _LateError(EngineError):
    """A program of systemd that did not answer in time."""


class Systemd:
    """The service of an installation as units: the system's, or those of this user.

    `files` is where /etc and /var are.
    """

    name = "systemd"

    def __init__(self, place: Place, system: bool = True, files: Path = Path("/")) -> None:
        self._place, self._system, self._files = place, system, files
        self._told = (0, "")

    @property
    def work(self) -> Path:
        """The folder that it runs in: of the system's unit, the one that systemd made for it."""
        return self._files / "var/lib" / STATE if self._system else self._place.root / "work"

    @property
    def units(self) -> Path:
        """Where the units lie."""
        if self._system:
            return self._files / _UNITS
        home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        return Path(home) / "systemd/user"

    def install(self, options: ServiceOptions) -> list[str]:
        """Write the units and enable them, where they are not so already; see `Service`."""
        self._require_ours()
        if self._system:
            _require_reachable(self._place)
            options = _with_groups(options, self._files)
        else:
            _make(self.work)
        texts = {
            RUN_UNIT: run_unit(self._place, options, self._system, self._version()),
            BOOT_UNIT: boot_unit(self._place, self._system),
        }
        changed = [name for name, text in texts.items() if _text(self.units / name) != text]
        for name in changed:
            _write(self.units / name, texts[name])
        if changed or not self._is_known():
            self._manage("daemon-reload")
            self._manage("enable", *texts)
        return [] if self._system else self._lingering()

    def start(self) -> None:
        """Start it, after the one that runs has ended; see `Service`."""
        self.stop()
        remove(self.work / ENDED)
        if self._system:
            _hand_over(self.work)
        # So that its ends are counted anew.
        self._ask("reset-failed", RUN_UNIT)
        self._manage("start", "--no-block", RUN_UNIT)

    def stop(self, patience_s: float = 15.0) -> None:
        """End it; see `Service`."""
        if not (self.units / RUN_UNIT).exists():
            return
        try:
            done = self._ask("stop", RUN_UNIT, limit_s=patience_s)
        except _LateError:
            self._ask("kill", "--signal=KILL", RUN_UNIT)
            done = self._ask("stop", RUN_UNIT, limit_s=_KILLED_S)
        if done.returncode not in (0, 5):  # 5: it knows no such unit, so nothing runs of it
            raise _refusal("stop", done)

    def liveness(self) -> Liveness:
        """Tell what it is at this moment."""
        said = self._properties()
        pid = int(said.get("MainPID", "0"))
        state = said.get("ActiveState", "inactive")
        micros = int(said.get("ExecMainStartTimestampMonotonic", "0"))
        restarts = int(said.get("NRestarts", "0"))
        running = pid > 0 and state in ("active", "activating", "reloading")
        return Liveness(
            running=running,
            ready=running and state == "active",
            pid=pid or None,
            restarts=restarts,
            reason=self._reason(),
            since=time.time() - time.monotonic() + micros / 1e6 if running else None,
        )

    def log(self, lines: int) -> list[str]:
        """Return the last lines that it wrote, and what systemd wrote of it."""
        unit = "--unit" if self._system else "--user-unit"
        return self._journal(f"{unit}={RUN_UNIT}", lines)

    def remove(self) -> None:
        """Stop it, and take its units and its folder away."""
        found = [name for name in (RUN_UNIT, BOOT_UNIT) if (self.units / name).exists()]
        if not found or root_of(_text(self.units / found[0])) != str(self._place.root):
            return
        self.stop()
        self._manage("disable", *found)
        try:
            for name in found:
                (self.units / name).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.units, error) from error
        self._manage("daemon-reload")
        self._ask("reset-failed", RUN_UNIT)
        if self._system:
            self._ask("clean", "--what=state", RUN_UNIT)
            _remove_state(self._files / "var/lib")

    def _is_known(self) -> bool:
        """Say whether systemd has read the units and starts them at boot: who wrote them may have
        been killed before that was so."""
        words = ("--property=NeedDaemonReload,UnitFileState", RUN_UNIT, BOOT_UNIT)
        said = self._ask("show", *words).stdout.split()
        return said.count(b"UnitFileState=enabled") == 2 and b"NeedDaemonReload=yes" not in said

    def _require_ours(self) -> None:
        """Raise RequestError where the units are of another installation, which is there still."""
        path = self.units / RUN_UNIT
        other = root_of(_text(path))
        if other == str(self._place.root) or not path.exists():
            return
        if other is None or os.path.lexists(f"{other}/agent"):
            raise RequestError(
                f"{path} runs {other or 'something else'}; uninstall that first, a device has one "
                "service"
            )

    def _lingering(self) -> list[str]:
        """Say what is lacking for a user's units to run when that user is not logged in."""
        user = os.geteuid()
        said = _run(["loginctl", "show-user", str(user), "--property=Linger", "--value"], _ANSWER_S)
        if said.stdout.strip() == b"yes":
            return []
        return [
            "it runs only while you are logged in; to have it run from boot: sudo loginctl "
            f"enable-linger {user}"
        ]

    def _version(self) -> int:
        said = self._ask("--version").stdout.split()
        return int(said[1]) if len(said) > 1 and said[1].isdigit() else 0

    def _properties(self) -> Mapping[str, str]:
        done = self._ask("show", f"--property={_PROPERTIES}", RUN_UNIT)
        lines = done.stdout.decode(errors="replace").splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    def _reason(self) -> str:
        """Say why it ended last, since it was started: nothing while it has not."""
        path = self.work / ENDED
        try:
            # Its own user writes it, who is not to have us read another file.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return ""
        with open(descriptor, "rb") as file:
            when = os.fstat(descriptor).st_mtime_ns
            if when != self._told[0]:
                words = file.read(100).decode(errors="replace").split()
                self._told = (when, how_it_ended(words) + self._last_line())
        return self._told[1]

    def _last_line(self) -> str:
        unit = "_SYSTEMD_UNIT" if self._system else "_SYSTEMD_USER_UNIT"
        said = [line for line in self._journal(f"{unit}={RUN_UNIT}", 5) if line.strip()]
        return f" (it printed: {said[-1].strip()[:500]})" if said else ""

    def _journal(self, match: str, lines: int) -> list[str]:
        words = ["journalctl", match, f"--lines={max(0, lines)}", "--output=cat", "--no-pager"]
        try:
            done = _run([*words, "--quiet"], _ANSWER_S)
        except _LateError as error:  # of a long journal: it is no reason to judge otherwise
            return [str(error)]
        if done.returncode != 0:
            return [f"journalctl: {done.stderr.decode(errors='replace').strip()}"]
        return done.stdout.decode(errors="replace").splitlines()

    def _manage(self, *words: str) -> None:
        done = self._ask(*words)
        if done.returncode != 0:
            raise _refusal(words[0], done)

    def _ask(self, *words: str, limit_s: float | None = None) -> subprocess.CompletedProcess[bytes]:
        scope = [] if self._system else ["--user"]
        limit_s = _ANSWER_S if limit_s is None else limit_s
        return _run(["systemctl", "--no-ask-password", *scope, *words], limit_s)


def user_runtime() -> str:
    """Return the folder in which this user's manager listens; it is set by a login that has PAM."""
    return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"


def user_answers() -> bool:
    """Tell whether this user has a manager of their own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        try:
            channel.connect(f"{user_runtime()}/systemd/private")
        except OSError:
            return False
    return True


def enable_boot(place: Place, files: Path) -> Path:
    """Write the unit that installs at the next boot into a system that does not run now."""
    path = files / _UNITS / BOOT_UNIT
    _write(path, boot_unit(place))
    try:
        wants = path.parent / "multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        point(wants / BOOT_UNIT, f"/{_UNITS}/{BOOT_UNIT}")
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def how_it_ended(words: list[str]) -> str:
    """Put what systemd says of an end in words: SERVICE_RESULT, EXIT_CODE, EXIT_STATUS."""
    if len(words) != 3 or not all(word.isascii() and word.isprintable() for word in words):
        return "it ended"
    result, code, status = words
    causes = {
        "watchdog": "it gave no result for too long and was ended",
        "timeout": "it was not ready, or not ended, in time",
        "oom-kill": "memory ran out and it was ended",
    }
    if result in causes:
        return causes[result]
    return f"it ended with code {status}" if code == "exited" else f"it died of SIG{status}"


def _with_groups(options: ServiceOptions, files: Path) -> ServiceOptions:
    """Leave out groups that the device does not have: with one of those nothing would start."""
    lines = _text(files / "etc/group").splitlines()
    here = {line.partition(":")[0] for line in lines}
    return replace(options, groups=tuple(group for group in options.groups if group in here))


def _require_reachable(place: Place) -> None:
    """Raise RequestError where another user than root cannot come to the release, or to Python."""
    for path in (place.root / "agent", Path(place.python)):
        for folder in path.resolve().parents:
            with contextlib.suppress(FileNotFoundError):
                if not folder.stat().st_mode & 0o001:
                    raise RequestError(
                        f"{folder} is closed to the user that the service runs as; name a folder "
                        "such as /opt/edge-sdk in the address, or open it: chmod o+x"
                    )


def _hand_over(work: Path) -> None:
    """Give all that lies in the service's folder to its owner: root may have left a cache there.

    Nothing of the service runs now, and no link is followed.
    """
    try:
        owner = work.stat()
    except FileNotFoundError:
        return
    for _, folders, files, descriptor in os.fwalk(os.path.realpath(work)):
        for name in (*folders, *files):
            os.chown(name, owner.st_uid, owner.st_gid, dir_fd=descriptor, follow_symlinks=False)


def _remove_state(folder: Path) -> None:
    """Remove what `systemctl clean` of an old systemd left."""
    for path in (folder / STATE, folder / "private" / STATE):
        try:
            remove(path)
        except OSError as error:
            raise unwritable(path, error) from error


def _refusal(what: str, done: subprocess.CompletedProcess[bytes]) -> EngineError:
    said = " ".join(done.stderr.decode(errors="replace").split()) or f"code {done.returncode}"
    return EngineError(f"systemctl {what}: {said}; see systemctl status {RUN_UNIT}")


def _run(words: list[str], limit_s: float) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            env={**os.environ, "XDG_RUNTIME_DIR": user_runtime(), "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise _LateError(
            f"{words[0]} did not answer within {limit_s:g} s; see systemctl status {RUN_UNIT}"
        ) from error
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 127, b"", f"no {words[0]} here".encode())


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        raise unwritable(path, error) from error
