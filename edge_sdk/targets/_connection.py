"""One ssh connection to a device, shared by all commands: plain OpenSSH, the user's own way.

Configuration, agent, jump hosts and known hosts are the user's; host keys are always checked as
that says. The commands share a connection (ssh_config(5), ControlMaster), so that a device is
logged in to once.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from device_profiles.errors import EngineError, MissingError

CONNECT_S = 10
"""How long ssh waits for the device's first words."""

LOGIN_S = 60.0
"""How long the whole login may take, jump hosts and slow devices included."""

IDLE_S = 120
"""The shared connection ends itself when it was idle for so long: no process is left behind."""

# A socket's path has 108 bytes (unix(7)), of which ssh adds 17 to its own while it makes it.
_LONGEST_FOLDER = 60
_LOST = 255
"""ssh's own exit code: the connection failed, and no command did."""

NO_COMMAND = (126, 127)
"""A shell's exit codes for a program that it does not find, or may not run."""

CUT = (_LOST, 12)
"""ssh's own exit code, and rsync's when its stream ended (rsync(1), EXIT VALUES)."""

# The shell of the device finds the Python; "~/" is the home there, not here.
_SHELL = 'cd /; python=$0; case $0 in "~/"*) python=$HOME/${0#??};; esac; exec "$python" "$@"'


@dataclass(frozen=True)
class Address:
    """Whom to connect to: `host` may be an alias of ssh's configuration, or of the file `config`.

    `python` is the device's Python, `folder` what is kept there lies in (absolute or in the home).
    With `accept_new` a host key that nobody knows yet is taken and noted.
    """

    host: str
    user: str | None = None
    port: int | None = None
    folder: str = ".cache/edge-sdk/sent"
    python: str = "python3"
    accept_new: bool = False
    config: Path | None = None

    def __str__(self) -> str:
        return self.host if self.user is None else f"{self.user}@{self.host}"

    @property
    def words(self) -> list[str]:
        """What a person types behind `ssh` to get there."""
        port = [] if self.port is None else ["-p", str(self.port)]
        config = [] if self.config is None else ["-F", str(self.config)]
        return [*config, *port, str(self)]

    @property
    def by_hand(self) -> str:
        """What a person types to get there."""
        return shlex.join(["ssh", *self.words])

    def with_python(self, *words: str) -> list[str]:
        """Return what is to be run there so that its Python gets `words`."""
        return ["sh", "-c", _SHELL, self.python, *words]


class Connection:
    """A connection that is made by the first command; its methods may be called from any thread."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._folder: Path | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Connect unless that is done; EngineError where it fails, MissingError without ssh."""
        with self._lock:
            if self._folder is None:
                self._folder = self._connected()

    def command(self, *remote: str) -> list[str]:
        """Return the local command that runs a command there, word for word as it is given."""
        # A login shell may be any: what it has to understand is exec and quotes.
        return [*self.ssh(), "--", str(self.address), f"exec {shlex.join(remote)}"]

    def ssh(self) -> list[str]:
        """Return ssh with the options of this connection, without a host."""
        assert self._folder is not None
        return ["ssh", "-S", str(self._folder / "s"), *_options(self.address)]

    def rsync(self) -> tuple[list[str], str]:
        """Return the words by which rsync uses this connection, and its name of the host."""
        login = [] if self.address.user is None else ["-l", self.address.user]
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        return ["-e", shlex.join([*self.ssh(), *login])], host

    def run(
        self, remote: Sequence[str], stdin: IO[bytes] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command there to its end; EngineError when the connection is lost."""
        self.open()
        done = subprocess.run(
            self.command(*remote),
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            capture_output=True,
            check=False,
        )
        if done.returncode == _LOST:
            raise self.lost(done.stderr)
        return done

    def lost(self, said: bytes) -> EngineError:
        """Return the error for a connection that could not be made or ended, with ssh's words."""
        return EngineError(explain(self.address, said.decode(errors="replace")))

    def close(self) -> None:
        """End the shared connection, and with it what still runs over it."""
        with self._lock:
            folder, self._folder = self._folder, None
        if folder is None:
            return
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["ssh", "-S", str(folder / "s"), "-O", "exit", *self.address.words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=CONNECT_S,
                check=False,
            )
        shutil.rmtree(folder, ignore_errors=True)

    def _connected(self) -> Path:
        """Log in and leave the connection in the background; return the folder of its socket."""
        folder = Path(tempfile.mkdtemp(prefix="edge-", dir=_short_folder()))
        master = ["ssh", "-fNM", "-S", str(folder / "s"), "-o", f"ControlPersist={IDLE_S}"]
        command = [*master, *_options(self.address), "--", str(self.address)]
        try:
            # ssh in the background keeps its standard error: a pipe would never end.
            with tempfile.TemporaryFile() as said:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    timeout=LOGIN_S,
                    check=False,
                )
                said.seek(0)
                words = said.read()
            if done.returncode:
                raise self.lost(words)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise _named(error, self.address) from error
        return folder


def _named(error: BaseException, address: Address) -> BaseException:
    if isinstance(error, FileNotFoundError):
        return MissingError("ssh is not installed; install it: apt-get install openssh-client")
    if isinstance(error, subprocess.TimeoutExpired):
        return EngineError(
            f"{address} did not let us in within {LOGIN_S:.0f} s; try by hand: {address.by_hand}"
        )
    return error


def _short_folder() -> str | None:
    return None if len(tempfile.gettempdir()) <= _LONGEST_FOLDER else "/tmp"


def _options(address: Address) -> list[str]:
    options = [
        "BatchMode=yes",
        f"ConnectTimeout={CONNECT_S}",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=4",
        "LogLevel=ERROR",
        *(["StrictHostKeyChecking=accept-new"] if address.accept_new else []),
    ]
    config = [] if address.config is None else ["-F", str(address.config)]
    port = [] if address.port is None else ["-p", str(address.port)]
    return [*config, *port, "-T", "-x", *(word for one in options for word in ("-o", one))]


def explain(address: Address, said: str) -> str:
    """Return one line for what ssh said when it failed: what, where, what to do next."""
    lines = [line for line in map(str.strip, said.splitlines()) if line and set(line) != {"@"}]
    last = lines[-1].rstrip(".") if lines else "the connection ended"
    if "HOST IDENTIFICATION HAS CHANGED" in said:
        known = next(iter(re.findall(r"ssh-keygen .*", said)), "").strip()
        return (
            f"{address} has another host key than before; if it was installed anew, forget the "
            f"old one: {known or f'ssh-keygen -R {shlex.quote(address.host)}'}"
        )
    if "Host key verification failed" in said:
        return (
            f"the host key of {address} is not known here; connect once by hand and compare it "
            f"({address.by_hand}), or add ,accept-new to take it as it is"
        )
    if "Permission denied" in said:
        hint = f"give it your key: ssh-copy-id {shlex.join(address.words)}"
    else:
        hint = f"see that it is on and in reach; try by hand: {address.by_hand}"
    return f"cannot work on {address} over ssh: {last}; {hint}"
