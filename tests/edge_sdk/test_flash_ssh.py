"""A device behind a real sshd: flashed, cut off in mid-transfer, flashed again."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from device_profiles.profile import load
from runtime.bundle import file_entry, write_bundle
from runtime.host import host
from tests.edge_sdk.cli_cases import Run, Said
from tests.edge_sdk.flash_cases import PROFILE, Client, Device, device_in, write_variant
from tests.edge_sdk.targets.ssh_server import SSHD, Server, serving
from tests.runtime.conftest import build_parts

pytestmark = [
    pytest.mark.skipif(SSHD is None, reason="there is no sshd here (openssh-server)"),
    pytest.mark.skipif(host().arch != "x86_64", reason="the bundles here are for generic-x86"),
]
LARGE = 60 << 20


@dataclass
class Remote(Device):
    """The same device, reached over ssh."""

    address: str = ""

    @property
    def uri(self) -> str:
        return self.address


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    (tmp_path / "system" / "etc" / "init.d").mkdir(parents=True)
    variables = {"EDGE_SDK_SYSROOT": str(tmp_path / "system"), "EDGE_SDK_SERVICE": "plain"}
    with serving(folder, variables) as server:
        yield server


@pytest.fixture
def device(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    place = tmp_path / "here"
    place.mkdir()
    with device_in(place, monkeypatch) as plain:
        remote = Remote(server.kept, plain.port, plain.made, address=server.uri(sys.executable))
        remote.furnish()
        (remote.root / "lock").touch()
        yield remote
        from runtime.agent.services import Place, service_of

        service_of(Place(remote.root, sys.executable)).stop()


def write_large(path: Path) -> Path:
    """Write a bundle that takes a while to be sent."""
    manifest, files = build_parts(({"seed": 7},), seed=7)
    noise = np.random.default_rng(0).bytes(LARGE)
    known = load(PROFILE)
    entry = file_entry("evidence/noise.bin", noise)
    from dataclasses import replace

    manifest = replace(
        manifest,
        profile={"name": known.name, "digest": known.digest},
        extra_files=(*manifest.extra_files, entry),
    )
    write_bundle(path, manifest, {**files, entry.path: noise})
    return path


def test_a_cut_connection_changes_nothing(
    edge: Run, device: Remote, server: Server, tmp_path: Path
) -> None:
    said = edge("flash", write_variant(tmp_path / "good.edge"), *device.words(), "--json")
    assert said.code == 0, said.err
    good, pid = said.json["facts"]["release"], _pid(device)
    large = write_large(tmp_path / "large.edge")
    cutter = threading.Thread(target=_cut, args=(server, device))
    with Client(device) as client:
        cutter.start()
        cut: Said = edge("flash", large, *device.words())
        cutter.join()
    assert (cut.code, len(cut.err.strip().splitlines()) >= 1) == (1, True), cut.err
    assert "ssh" in cut.last or "connection" in cut.last
    assert device.layout.current_id() == good == device.state()["current"]
    assert _pid(device) == pid, "what ran was started anew"
    assert client.longest_gap_s < 1.0
    said = edge("flash", large, *device.words(), "--json")
    assert said.code == 0, said.err
    assert said.json["facts"]["bytes_sent"] < 0.9 * LARGE, "what had come was sent again"


def _pid(device: Device) -> int:
    import json

    found = json.loads((device.root / "run" / "service.json").read_text())
    return int(found["pid"])


def _cut(server: Server, device: Device) -> None:
    """Wait until a third of the bundle is there, and cut every connection."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if _arrived(device.layout.incoming) > LARGE // 3:
            server.cut()
            return
        time.sleep(0.005)


def _arrived(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total = max(total, os.stat(os.path.join(place, name)).st_size)
            except FileNotFoundError:
                continue
    return total
