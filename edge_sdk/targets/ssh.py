"""A device that is reached over ssh: nothing but sshd and Python need be there before.

    ssh://[user@]host[:port][/folder][,python=PATH][,accept-new][,config=FILE]

`/folder` takes the place of `~/.cache/edge-sdk/sent` on the device, where our code and the files
that are sent are kept under what they hold; what was not used for a week is removed. `python=`
names a Python that has numpy and the engines, such as that of a virtual environment
(`~/edge/bin/python`).
`config=` is a file in the way of ssh_config(5), used in place of the user's.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from device_profiles.errors import EngineError, MissingError, OutputError, RequestError
from device_profiles.nearest import hint
from device_profiles.profile import Profile
from edge_sdk.targets import _parcel
from edge_sdk.targets._code import packages
from edge_sdk.targets._connection import CUT, NO_COMMAND, Address, Connection
from edge_sdk.targets._options import path_of
from edge_sdk.targets._there import source
from edge_sdk.targets.base import Start
from runtime.progress import step

_FORM = "ssh://user@host[:port][/folder][,python=PATH][,accept-new][,config=FILE]"
_OPTIONS = ("accept-new", "config", "python")
_OLDEST = (3, 10)


def open_target(rest: str) -> SshTarget:
    """Return the device at `//user@host...`; nothing is asked of it yet."""
    return SshTarget(parse(rest), f"ssh:{rest}")


def parse(rest: str) -> Address:
    """Return what follows `ssh:` as an address; RequestError where it is none."""
    place, *options = rest.removeprefix("//").split(",")
    form = re.fullmatch(
        r"(?:(?P<user>[^@/\s-][^@/\s]*)@)?(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[\w.][\w.-]*))"
        r"(?::(?P<port>\d{1,5}))?(?P<folder>/.*)?",
        place,
    )
    if form is None or not 0 < int(form["port"] or 22) < 1 << 16:
        raise RequestError(f"ssh:{rest} is no address; write {_FORM}")
    address = Address(
        form["six"] or form["host"], form["user"], int(form["port"]) if form["port"] else None
    )
    if form["folder"] and form["folder"] != "/":
        address = replace(address, folder=form["folder"])
    for option in options:
        address = _with(address, option, rest)
    return address


def _with(address: Address, option: str, rest: str) -> Address:
    name, _, value = option.partition("=")
    if name not in _OPTIONS:
        raise RequestError(f"ssh:{rest}: no option is called {name!r}; {hint(name, _OPTIONS)}")
    if (name == "accept-new") == bool(value):
        raise RequestError(f"ssh:{rest}: write it as in {_FORM}")
    if name == "accept-new":
        return replace(address, accept_new=True)
    if name == "python":
        return replace(address, python=value)
    config = path_of(value, f"ssh:{rest}")
    if not config.is_file():
        raise RequestError(f"ssh:{rest}: the file {config} does not exist; check the path")
    return replace(address, config=config.absolute())


@dataclass(frozen=True)
class _Facts:
    """What a device said of itself: where things are kept, and whether it has these."""

    root: str
    version: tuple[int, ...]
    numpy: bool
    rsync: bool
    code: bool


@dataclass
class SshTarget:
    """A device behind ssh; `prepare` runs before the first word to it, `release` at the end."""

    address: Address
    uri: str
    profile: Profile | None = None
    emulated: bool = False
    notes: Sequence[str] = ()
    prepare: Callable[[], Address] | None = None
    release: Callable[[], None] | None = None
    lanes: int = 1
    shares_files: bool = False
    _connection: Connection | None = field(default=None, init=False)
    _facts: _Facts | None = field(default=None, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    def start(self, arguments: Sequence[str], given: Start = Start()) -> subprocess.Popen[bytes]:  # noqa: B008
        """Start the device's Python; it ends with the connection, whatever it does.

        EngineError where the device is not reached, MissingError where Python or numpy lacks there.
        """
        if given.plugin is not None:
            raise RequestError("instructions are counted by an emulator; say --on emulated:PROFILE")
        connection = self._connected()
        code = self._with_code(given.bare)
        variables = [f"{name}={value}" for name, value in given.env.items()]
        launch = ["-I", "-S", "-c", source("launch"), code, str(len(variables))]
        words = [*launch, *variables, *arguments]
        command = connection.command(*self._python(*words))
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=given.apart,
            )
        except OSError as error:
            raise EngineError(
                f"cannot start ssh ({error.strerror}); see the limits on processes and open files"
            ) from error

    def send(self, path: Path) -> str:
        """Copy a file or folder there unless it is there already; return its absolute path there.

        RequestError where it cannot be read here, OutputError where it cannot be written there.
        """
        parcel = _parcel.wrap(path)
        self._connected()
        assert self._facts is not None
        place = f"{self._facts.root}/files/{parcel.digest}"
        if not self._has(place):
            size = f"{parcel.size / 1e6:.1f} MB"
            step(f"sending {path.name or path} ({size}) to {self.address}")
            if not (self._facts.rsync and self._rsync(path, place)):
                self._unpack(parcel, place)
        return f"{place}/{parcel.name}"

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            connection, self._connection = self._connection, None
            release, self.release = self.release, None
            self._facts = None
        try:
            if connection is not None:
                connection.close()
        finally:
            if release is not None:
                release()

    def _connected(self) -> Connection:
        with self._lock:
            if self._connection is None:
                if self.prepare is not None:
                    self.address = self.prepare()
                connection = Connection(self.address)
                connection.open()
                self._connection = connection
            if self._facts is None:
                self._facts = self._probed()
            return self._connection

    def _probed(self) -> _Facts:
        done = self._run("-c", source("probe"), self.address.folder, _our_code().digest)
        words = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        if done.returncode in NO_COMMAND:
            raise MissingError(
                f"{self.address} has no {self.address.python}; install Python {_dotted(_OLDEST)} "
                "or newer there, or name it: ,python=PATH"
            )
        if done.returncode:
            raise EngineError(
                f"{self.address} cannot keep files for us: {''.join(words)}; name a folder that "
                f"can be written: {_FORM}"
            )
        try:
            root, version, *has = done.stdout.decode().splitlines()[-5:]
            numpy, rsync, code = (word == "True" for word in has)
            facts = _Facts(root, tuple(map(int, version.split("."))), numpy, rsync, code)
        except ValueError as error:
            raise EngineError(
                f"{self.address} did not say what it is ({''.join(words) or 'no answer'}); see "
                f"that its shell prints nothing by itself: {self.address.by_hand}"
            ) from error
        if facts.version < _OLDEST:
            raise MissingError(
                f"{self.address} has Python {_dotted(facts.version)}; install {_dotted(_OLDEST)} "
                "or newer there and name it: ,python=PATH"
            )
        return facts

    def _with_code(self, bare: bool) -> str:
        """Return where our packages are on the device; send them when needed. They need numpy,
        except for what is `bare`."""
        with self._lock:
            assert self._facts is not None
            if not (bare or self._facts.numpy):
                raise MissingError(
                    f"numpy is not installed for {self.address.python} on {self.address}; run "
                    "there: python3 -m venv ~/edge && ~/edge/bin/pip install numpy onnxruntime; "
                    "then add ,python=~/edge/bin/python"
                )
            place = f"{self._facts.root}/code/{_our_code().digest}"
            if not self._facts.code:
                size = f"{_our_code().size / 1e6:.1f} MB"
                step(f"sending edge-sdk itself ({size}) to {self.address}")
                self._unpack(_our_code(), place)
                self._facts = replace(self._facts, code=True)
            return f"{place}/{_our_code().name}"

    def _has(self, place: str) -> bool:
        return self._store(place, "look").stdout == b"yes"

    def _unpack(self, parcel: _parcel.Parcel, place: str) -> None:
        assert self._connection is not None
        command = self._connection.command(*self._python("-c", source("store"), place, "tar"))
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None and process.stderr is not None
            try:
                # A device that gives up closes the pipe; why, it says below.
                with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                    parcel.write(pipe)
            except BaseException:
                process.kill()
                raise
            said = process.stderr.read()
        self._kept(subprocess.CompletedProcess(command, process.returncode, b"", said))

    def _rsync(self, path: Path, place: str) -> bool:
        """Copy with rsync, which takes up where it was cut; False where there is none here."""
        assert self._connection is not None
        part = f"{os.path.dirname(place)}/.part-{os.path.basename(place)}"
        shell, host = self._connection.rsync()
        whole = os.path.join(os.path.abspath(path), "") if not path.name else os.path.abspath(path)
        command = ["rsync", "-rtpLs", "--partial", *shell, "--", whole, f"{host}:{part}/"]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
        except FileNotFoundError:
            return False
        if done.returncode in CUT:
            raise self._connection.lost(done.stderr)
        if done.returncode and not self._has(place):
            self._kept(done)
        self._kept(self._store(place, "take", part))
        return True

    def _store(self, place: str, *words: str) -> subprocess.CompletedProcess[bytes]:
        return self._kept(self._run("-c", source("store"), place, *words))

    def _kept(self, done: subprocess.CompletedProcess[bytes]) -> subprocess.CompletedProcess[bytes]:
        if done.returncode == CUT[0]:
            assert self._connection is not None
            raise self._connection.lost(done.stderr)
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip().splitlines()[:1]
            raise OutputError(
                f"{self.address} cannot keep what is sent: {''.join(words) or 'interrupted'}; "
                "see how much room it has (df)"
            )
        return done

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        assert self._connection is not None
        return self._connection.run(self._python(*words))

    def _python(self, *words: str) -> list[str]:
        return self.address.with_python(*words)


@lru_cache
def _our_code() -> _parcel.Parcel:
    return _parcel.wrap(packages(), name="packages", skip=_parcel.BYTECODE)


def _dotted(version: Sequence[Any]) -> str:
    return ".".join(map(str, version))
