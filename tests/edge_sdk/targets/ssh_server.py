"""A real sshd on the loopback, for tests: its keys, its files and nothing of this machine's."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@dataclass(frozen=True)
class Server:
    """An sshd that lets the client's key in; what is sent to it is kept in `kept`."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        """The client's configuration; it knows the server as `device`."""
        return self.folder / "config"

    @property
    def known_hosts(self) -> Path:
        """What the client knows of hosts."""
        return self.folder / "known_hosts"

    @property
    def kept(self) -> Path:
        """The folder that stands for the device's."""
        return self.folder / "kept here"

    def uri(self, python: str = sys.executable, **more: str) -> str:
        """Return the address of the device."""
        options = "".join(f",{name.replace('_', '-')}={value}" for name, value in more.items())
        return f"ssh://device{self.kept},config={self.config},python={python}{options}"

    def cut(self) -> None:
        """Cut every connection."""
        for pid in _children(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            for inner in _children(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(inner, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    """Return the sshd processes that one started (proc(5))."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            if int(rest.split()[1]) == pid and name.startswith("sshd"):
                found.append(int(stat.parent.name))
    return found


def running(marker: str) -> bool:
    """Return whether a process of this machine has `marker` as one of its words."""
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if marker.encode() in words.read_bytes().split(b"\0"):
                return True
    return False


def ends(marker: str, seconds: float = 10.0) -> bool:
    """Return whether the process marked so ends within some seconds."""
    end = time.monotonic() + seconds
    while running(marker):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def serving(folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run an sshd with its files in `folder`; its commands get `variables`."""
    assert SSHD is not None
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        port = plug.getsockname()[1]
    for name in ("host", "client"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/client.pub\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nMaxStartups 100\n"
        f"{_set_env(variables or {})}"
    )
    public = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    (folder / "config").write_text(
        f"Host device\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n"
        f' IdentityFile "{folder}/client"\n IdentitiesOnly yes\n IdentityAgent none\n'
        f' UserKnownHostsFile "{folder}/known_hosts"\n GlobalKnownHostsFile none\n'
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "kept here").mkdir()
    log = (folder / "log").open("wb")
    with log, subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log, stdin=subprocess.DEVNULL
    ) as process:  # fmt: skip
        server = Server(folder, port, process)
        try:
            _await(server)
            yield server
        finally:
            server.cut()
            process.kill()


def _set_env(variables: Mapping[str, str]) -> str:
    words = " ".join(f'"{name}={value}"' for name, value in variables.items())
    return f"SetEnv {words}\n" if words else ""


def _await(server: Server) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert server.process.poll() is None, (server.folder / "log").read_text()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", server.port), 1).close()
            return
        time.sleep(0.05)
    raise AssertionError("sshd does not listen")
