"""A device in a folder of this machine, for tests of flashing: a real agent, service and run.

Only its environment is not made of wheels: its Python is the one that runs the tests.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from device_profiles.profile import load
from edge_sdk.shipping.device_wheel import NAME, device_wheel
from edge_sdk.shipping.parcel import Furniture
from edge_sdk.wheels import Lock, Wheel
from edge_sdk.wheels.tags import Platform
from edge_sdk.workflows import flash as workflow
from runtime.agent import environment
from runtime.agent.layout import Layout
from runtime.bundle import write_bundle
from runtime.host import host
from tests.runtime.conftest import build_parts

PROFILE = "generic-x86"
LIBC = "glibc 2.28"


def furniture() -> Furniture:
    """Return an environment of our own wheel alone."""
    device = device_wheel()
    wheel = Wheel(NAME, device.version, device.file, device.sha256, device.size)
    platform = Platform(host().arch, "{}.{}".format(*sys.version_info), LIBC)
    return Furniture(Lock(PROFILE, platform, (wheel,)), {device.file: device.path}, 0, device)


@dataclass
class Device:
    """A folder that stands for a device: its address, and where its run shows itself."""

    root: Path
    port: int
    made: Furniture = field(default_factory=furniture)

    @property
    def uri(self) -> str:
        """Its address."""
        return f"local:{self.root}"

    @property
    def layout(self) -> Layout:
        """Where its files lie."""
        return Layout(self.root)

    def words(self) -> list[str]:
        """Return what `edge-sdk flash BUNDLE` is told: where to, and a run that shows itself."""
        source = "synthetic:shapes?live=1&fps=50&frames=0&width=64&height=48"
        sink = f"http://127.0.0.1:{self.port}"
        health = ["--results", "2", "--within", "30"]
        return ["--to", self.uri, "--source", source, "--sink", sink, *health]

    def furnish(self) -> None:
        """Put its environment in place."""
        text = self.made.lock.to_text()
        key = environment.key(text)
        place = self.layout.environments / key
        if environment.complete(place):
            return
        (place / "bin").mkdir(parents=True, exist_ok=True)
        program = place / "bin" / "python"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        program.chmod(0o755)
        (place / environment.COMPLETE).write_text(key)

    def state(self) -> dict[str, Any]:
        """Return its journal."""
        found: dict[str, Any] = json.loads(self.layout.state.read_bytes())
        return found

    def shown(self) -> Mapping[str, Any] | None:
        """Return what its run answers to whoever asks; None where nothing answers."""
        try:
            url = f"http://127.0.0.1:{self.port}/health"
            with urllib.request.urlopen(url, timeout=1) as answer:
                found: Mapping[str, Any] = json.load(answer)
                return found
        except (OSError, HTTPException):  # or it ended while it answered
            return None


class Client:
    """Asks a device all the time, and knows for how long it did not answer."""

    def __init__(self, device: Device) -> None:
        self.longest_gap_s = 0.0
        self.answers = 0
        self._device = device
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        last = time.monotonic()
        while not self._over.is_set():
            if self._device.shown() is not None:
                self.answers += 1
                last = time.monotonic()
            else:
                self.longest_gap_s = max(self.longest_gap_s, time.monotonic() - last)
            time.sleep(0.02)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        return int(plug.getsockname()[1])


@contextlib.contextmanager
def device_in(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Device]:
    """Make a device in a folder; whatever runs of it is ended after."""
    system = folder / "system"
    (system / "etc" / "init.d").mkdir(parents=True)
    patch.setenv("EDGE_SDK_SYSROOT", str(system))
    patch.setenv("EDGE_SDK_SERVICE", "plain")
    device = Device(folder / "device", free_port())
    device.furnish()
    (device.root / "lock").touch()  # so that it is seen to be one of ours
    patch.setattr(workflow, "device_environment", lambda *_, **__: device.made)
    try:
        yield device
    finally:
        from runtime.agent.services import Place, service_of

        service_of(Place(device.root, sys.executable)).stop()


def write_variant(path: Path, frames: int = 0, **rung: Any) -> Path:
    """Write a bundle of one null rung with that behaviour, made for PROFILE on this machine."""
    manifest, files = build_parts((rung,), seed=frames)
    known = load(PROFILE)
    profile = {"name": known.name, "digest": known.digest}
    write_bundle(path, replace(manifest, profile=profile), files)
    return path
