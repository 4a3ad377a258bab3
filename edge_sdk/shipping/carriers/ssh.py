"""A device that is reached over ssh: nothing but sshd and Python need be there before.

    ssh://[user@]host[:port][/folder][,python=PATH][,accept-new][,config=FILE]

An installation lies in `/folder`; where the address names none, in `/opt/edge-sdk` of root and in
`~/.local/share/edge-sdk` of others. `python=` is the Python that the agent runs on, and that
environments are made of.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from device_profiles.errors import EngineError, MissingError
from device_profiles.profile import Profile
from edge_sdk.shipping.carriers import _rsync, _stream
from edge_sdk.shipping.carriers.base import (
    AGENT,
    OLDEST,
    Item,
    Seat,
    Sent,
    agent_files,
    agent_folder,
    agent_hashes,
    size_of,
    too_old,
)
from edge_sdk.shipping.device_wheel import DeviceWheel
from edge_sdk.targets._connection import NO_COMMAND, Address, Connection
from edge_sdk.targets._there import source
from edge_sdk.targets.ssh import parse
from runtime.progress import step


def open_carrier(rest: str) -> SshCarrier:
    """Return the way to the device at `//user@host...`; nothing is asked of it yet."""
    return SshCarrier(parse(rest), f"ssh:{rest}")


class SshCarrier:
    """A way over ssh; `prepare` runs before the first word to the device, `release` at the end."""

    def __init__(
        self,
        address: Address,
        uri: str,
        profile: Profile | None = None,
        prepare: Callable[[], Address] | None = None,
        release: Callable[[], None] | None = None,
    ) -> None:
        self.address, self.uri, self.profile = address, uri, profile
        self._prepare, self._release = prepare, release
        self._connection: Connection | None = None
        self._seat: Seat | None = None
        self._agent = ""

    def look(self, wheel: DeviceWheel) -> Seat:
        """Log in and ask where an installation is and what it has."""
        self._agent = agent_folder(wheel)
        # A folder of an address is absolute; another one is where targets keep what they are sent.
        folder = self.address.folder if self.address.folder.startswith("/") else ""
        words = ("-c", source("seat"), folder, self._agent, *agent_hashes(wheel))
        done = self._connected().run(self.address.with_python(*words))
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode in NO_COMMAND:
            raise MissingError(
                f"{self.address} has no {self.address.python}; install Python "
                f"{'.'.join(map(str, OLDEST))} or newer there, or name it: ,python=PATH"
            )
        if "SyntaxError" in said:  # it cannot even read what we ask
            raise too_old(str(self.address), "3.6 or older")
        try:
            facts = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise EngineError(
                f"{self.address} did not say what it is ({said.splitlines()[-1:] or 'no answer'}); "
                f"see that its shell prints nothing by itself: {self.address.by_hand}"
            ) from error
        self._seat = Seat.of(facts, str(self.address))
        return self._seat

    def send_agent(self, wheel: DeviceWheel) -> Sent:
        """Send the agent unless it is there already."""
        found = self._writable()
        if found.agent:
            return Sent()
        contents = agent_files(wheel)
        size = sum(map(size_of, contents.values()))
        step(f"sending edge-sdk itself ({size / 1e6:.1f} MB) to {self.address}")
        sent = self._take(list(contents.items()), self._agent)
        self._seat = replace(found, agent=True)
        return sent

    def put(self, files: Sequence[Item], basis: str | None = None) -> Sent:
        """Send files with rsync where both sides have it, else as a stream."""
        found = self._writable()
        for item in files:
            size_of(item.local)  # said before anything is sent
        if found.rsync:
            sent = _rsync.put(self._connected(), found.root, files, basis)
            if sent is not None:
                return sent
        return self._take([(item.there, item.local) for item in files])

    def run(self, words: Sequence[str], agent: str | None = None) -> subprocess.Popen[bytes]:
        """Start the agent there; ssh is in a session of its own, so that Ctrl-C is ours alone."""
        found = self._looked()
        program = f"{found.root}/{agent or self._agent}/{AGENT}"
        command = self._connected().command(found.python, "-IS", program, *words)
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(
                f"cannot start ssh ({error.strerror}); see the limits on processes and open files"
            ) from error

    def close(self) -> None:
        """End the connection; an agent that runs goes on."""
        connection, self._connection = self._connection, None
        release, self._release = self._release, None
        try:
            if connection is not None:
                connection.close()
        finally:
            if release is not None:
                release()

    def _connected(self) -> Connection:
        if self._connection is None:
            if self._prepare is not None:
                self.address = self._prepare()
            connection = Connection(self.address)
            connection.open()
            self._connection = connection
        return self._connection

    def _looked(self) -> Seat:
        assert self._seat is not None
        return self._seat

    def _writable(self) -> Seat:
        found = self._looked()
        found.require_writable(str(self.address))
        return found

    def _take(self, contents: Sequence[_stream.Content], folder: str = "") -> Sent:
        """Send files as one stream; into a folder that appears whole, where one is named."""
        connection, start = self._connected(), time.monotonic()
        words = self.address.with_python("-c", source("take"), self._looked().root, folder)
        returned, said, count = _stream.send(connection.command(*words), contents)
        if returned == _stream.CUT:
            raise connection.lost(said)
        if returned:
            why = said.decode(errors="replace").strip().splitlines()[-1:]
            raise _rsync.refused(self.address, "".join(why))
        return Sent(len(contents), count, 0, time.monotonic() - start)
