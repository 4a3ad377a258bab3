"""This machine, with the Python that runs here: `local` or `local:/folder`."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from device_profiles.errors import EngineError, RequestError
from edge_sdk.shipping.carriers.base import (
    AGENT,
    Item,
    Seat,
    Sent,
    agent_files,
    agent_folder,
    agent_hashes,
    size_of,
)
from edge_sdk.shipping.device_wheel import DeviceWheel
from edge_sdk.targets._there import seat, take
from runtime.agent.layout import unwritable


def open_carrier(rest: str) -> LocalCarrier:
    """Return this machine; RequestError for a folder that is not absolute."""
    if rest and (not os.path.isabs(rest) or os.path.normpath(rest) == "/"):
        raise RequestError(f"local:{rest} names no folder of its own; write such as local:/opt/cam")
    return LocalCarrier(rest)


class LocalCarrier:
    """This machine; an installation lies in `folder`, or in the user's own where that is empty."""

    profile = None

    def __init__(self, folder: str) -> None:
        self.uri = f"local:{folder}" if folder else "local"
        self._folder = folder
        self._seat: Seat | None = None
        self._agent = ""

    def look(self, wheel: DeviceWheel) -> Seat:
        """Say where an installation is here, and what it has."""
        self._agent = agent_folder(wheel)
        facts = seat.facts(self._folder, self._agent, *agent_hashes(wheel))
        self._seat = Seat.of(facts, self.uri)
        return self._seat

    def send_agent(self, wheel: DeviceWheel) -> Sent:
        """Copy the agent here, unless that is done."""
        found = self._looked()
        if found.agent:
            return Sent()
        contents = agent_files(wheel)
        start = time.monotonic()
        total = sum(map(size_of, contents.values()))
        self._writing(lambda: take.settle(found.root, self._agent, _opened(contents.items())))
        self._seat = replace(found, agent=True)
        return Sent(len(contents), total, 0, time.monotonic() - start)

    def put(self, files: Sequence[Item], basis: str | None = None) -> Sent:
        """Copy files here; `basis` saves nothing."""
        found = self._looked()
        start = time.monotonic()
        total = sum(size_of(item.local) for item in files)
        contents = [(item.there, item.local) for item in files]
        self._writing(lambda: take.put(found.root, _opened(contents)))
        return Sent(len(files), total, 0, time.monotonic() - start)

    def run(self, words: Sequence[str], agent: str | None = None) -> subprocess.Popen[bytes]:
        """Start the agent in a session of its own: Ctrl-C is this process's, not the agent's."""
        program = f"{self._looked().root}/{agent or self._agent}/{AGENT}"
        try:
            return subprocess.Popen(
                [sys.executable, "-IS", program, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            raise EngineError(
                f"cannot start a process ({error.strerror}); see the limits on processes, open "
                "files and memory"
            ) from error

    def close(self) -> None:
        """Hold nothing."""

    def _looked(self) -> Seat:
        assert self._seat is not None
        return self._seat

    def _writing(self, write: Callable[[], None]) -> None:
        found = self._looked()
        found.require_writable(self.uri)
        try:
            write()
        except OSError as error:
            raise unwritable(Path(found.root), error) from error


def _opened(contents: Iterable[tuple[str, Path | bytes]]) -> Iterator[tuple[str, IO[bytes]]]:
    for name, content in contents:
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
            yield name, file
