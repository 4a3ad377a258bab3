"""A board as it lies on this machine: a folder with its disk, its keys and what it wrote."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_profiles.errors import EngineError, MissingError, OutputError
from device_profiles.profile import Profile, load, names
from edge_sdk.emulation.cache import size_mb

STOP_S = 60.0
"""How long an orderly end may take."""

_TICKS = os.sysconf("SC_CLK_TCK")


def boards_root() -> Path:
    """Return the folder of all boards: in `EDGE_SDK_CACHE`, else in the user's state (XDG)."""
    own = os.environ.get("EDGE_SDK_CACHE")
    if own:
        return Path(own).absolute() / "board"
    base = os.environ.get("XDG_STATE_HOME", "")
    state = base if os.path.isabs(base) else os.path.expanduser("~/.local/state")
    return Path(state, "edge-sdk", "board")


def find_board(profile: str) -> tuple[Board, Profile]:
    """Return the board of a profile, by name or the path of a TOML file; ProfileError for none."""
    found = load(profile)
    name = found.name
    if profile not in names():  # files elsewhere may be called the same
        name += "-" + hashlib.sha256(os.fsencode(os.path.realpath(profile))).hexdigest()[:8]
    return Board(name, boards_root() / name), found


def boards() -> list[Board]:
    """Return the boards that there are, by name."""
    folders = sorted(path for path in boards_root().glob("*") if path.is_dir())
    return [Board(path.name, path) for path in folders]


@dataclass(frozen=True)
class Board:
    """A board called `name`, after its profile, whose files lie in `folder`.

    In there: `disk`, `console.log`, the keys, `ssh_config` (by which `ssh -F FILE NAME` reaches
    it), `board.json` (the image that the disk was copied from, and the port), `qemu.pid`.
    """

    name: str
    folder: Path

    @property
    def ssh_config(self) -> Path:
        """The file that ssh reaches it by."""
        return self.folder / "ssh_config"

    @property
    def console(self) -> Path:
        """What it wrote on its console, over all boots since the last that found 1 MB there."""
        return self.folder / "console.log"

    @property
    def uri(self) -> str:
        """Its address as any other device's, good while it runs."""
        return f"ssh://{self.name},config={self.ssh_config}"

    def facts(self) -> dict[str, Any]:
        """Return what `board.json` says: `image` and `port`; nothing where it is not there."""
        try:
            found = json.loads((self.folder / "board.json").read_text())
        except (OSError, ValueError):  # absent, or of a disk that was full
            return {}
        return found if isinstance(found, dict) else {}

    def pid(self) -> int | None:
        """Return the process of its QEMU; None when it is off, whatever files are left."""
        file = self.folder / "qemu.pid"
        try:
            pid = int(file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(file) in words else None

    def ssh(self, *words: str, patience_s: int = 15) -> list[str]:
        """Return the command that runs `words` on the board, asking nobody anything."""
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={patience_s}"]
        return ["ssh", "-F", str(self.ssh_config), *options, self.name, *words]

    def stop(self) -> bool:
        """Shut it down in order; False when it was off. EngineError when it does not obey."""
        pid = self.pid()
        if pid is None:
            return False
        with contextlib.suppress(subprocess.TimeoutExpired, FileNotFoundError):
            subprocess.run(
                self.ssh("poweroff"),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=STOP_S,
                check=False,
            )
        if not self._gone(pid, STOP_S):
            raise EngineError(
                f"the board {self.name} did not shut down within {STOP_S:.0f} s; cut its power: "
                f"edge-sdk board kill {self.name}"
            )
        return True

    def kill(self) -> bool:
        """Cut its power: what was not synced is lost. False when it was off."""
        pid = self.pid()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if not self._gone(pid, STOP_S):
            raise EngineError(f"QEMU (process {pid}) does not end; it waits for a disk")
        return True

    def reset(self) -> None:
        """Cut its power and throw its disk away; the next start makes one anew."""
        with self.alone():
            self.kill()
            (self.folder / "disk").unlink(missing_ok=True)

    def status(self) -> dict[str, Any]:
        """Return what can be said of it, as `edge-sdk board status --json` prints it.

        `memory_mb` is what QEMU takes of this machine's, `disk_mb` what the disk takes here;
        `console` is its last line.
        """
        pid = self.pid()
        found: dict[str, Any] = {"name": self.name, "folder": str(self.folder), "state": "off"}
        disk = self.folder / "disk"
        found["disk_mb"] = round(size_mb(disk), 1) if disk.is_file() else None
        if pid is not None:
            found |= {
                "state": self._state(),
                "pid": pid,
                "port": self.facts().get("port"),
                "uri": self.uri,
                "kept": not (self.folder / "temporary").exists(),
                **_process(pid),
            }
        return found

    def last_words(self) -> str:
        """Return the last line of its console, "" where there is none."""
        with contextlib.suppress(OSError):
            text = self.console.read_bytes()[-4096:].decode(errors="replace")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            return "".join(c if c.isprintable() else "?" for c in lines[-1])[:300] if lines else ""
        return ""

    def make(self) -> None:
        """Make its folder, which is the user's alone; OutputError where that cannot be."""
        try:
            self.folder.mkdir(0o700, parents=True, exist_ok=True)
            (self.folder / ".users").touch()
        except OSError as error:
            raise OutputError(
                f"the board {self.name} cannot be kept in {self.folder}: {error.strerror}; name "
                "another folder by EDGE_SDK_CACHE"
            ) from error

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time start it or change its disk."""
        self.make()
        with (self.folder / ".start").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def answers(self, patience_s: int) -> bool:
        """Return whether its ssh lets us in by now; MissingError without ssh."""
        try:
            done = subprocess.run(
                self.ssh("true", patience_s=patience_s),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise MissingError(
                "ssh is not here, and a board is reached over it; install it with: sudo apt-get "
                "install openssh-client"
            ) from error
        return done.returncode == 0

    def _state(self) -> str:
        said = self._asked("query-status").get("status", "running")
        return "stopped: the disk of this machine is full" if said == "io-error" else str(said)

    def _asked(self, command: str) -> dict[str, Any]:
        """Return QEMU's answer to a command of its monitor (QMP); nothing where it gives none."""
        folder = os.open(self.folder, os.O_PATH)
        try:
            with socket.socket(socket.AF_UNIX) as plug:
                plug.settimeout(2.0)
                # A socket's path is short (unix(7)); the board's need not be.
                plug.connect(f"/proc/self/fd/{folder}/monitor")
                with plug.makefile("rwb") as lines:
                    for word in ("qmp_capabilities", command):
                        lines.write(json.dumps({"execute": word}).encode() + b"\n")
                    lines.flush()
                    for line in lines:
                        answer = json.loads(line).get("return")
                        if answer:
                            return dict(answer)
        except (OSError, ValueError):
            return {}
        finally:
            os.close(folder)
        return {}

    def _gone(self, pid: int, patience_s: float) -> bool:
        end = time.monotonic() + patience_s
        while self.pid() == pid:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True


def _process(pid: int) -> dict[str, Any]:
    """Return memory in 10^6 bytes and age in seconds of a process (proc(5))."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path(f"/proc/{pid}/status").read_text()
        resident = int(status.partition("VmRSS:")[2].split()[0]) * 1024
        started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        up = float(Path("/proc/uptime").read_text().split()[0])
        return {"memory_mb": round(resident / 1e6), "up_s": round(up - started / _TICKS)}
    return {}
