"""A bundle on a device: flashed, replaced, gone back from, taken off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.host import host
from tests.edge_sdk.cli_cases import Run
from tests.edge_sdk.flash_cases import Client, Device, device_in, write_variant

pytestmark = pytest.mark.skipif(
    host().arch != "x86_64", reason="the bundles of these tests are for generic-x86"
)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    with device_in(tmp_path, monkeypatch) as device:
        yield device


def test_the_life_of_a_device(edge: Run, device: Device, tmp_path: Path) -> None:
    first, second = (write_variant(tmp_path / f"{n}.edge", n, seed=n) for n in (1, 2))
    said = edge("flash", first, *device.words(), "--json")
    assert said.code == 0, said.err
    one = said.json["facts"]["release"]
    assert said.json["facts"]["replaces"] is None
    assert [gate["passed"] for gate in said.json["gates"]] == [True, True]
    shown = device.shown()
    assert shown is not None and shown["engine"]["name"] == "null"
    with Client(device) as client:
        said = edge("flash", second, *device.words(), "--json")
    assert said.code == 0, said.err
    two = said.json["facts"]["release"]
    assert said.json["facts"]["replaces"] == one != two
    assert client.answers > 10

    said = edge("status", "--to", device.uri, "--json")
    facts = said.json["facts"]
    assert (facts["running"], facts["state"]["current"], facts["state"]["previous"]) == (
        two, two, one,
    )  # fmt: skip
    assert facts["service"]["running"] and facts["stats"]["results"] >= 1
    assert "null" in edge("status", "--to", device.uri).out

    said = edge("rollback", "--to", device.uri, "--json")
    assert said.code == 0, said.err
    assert said.json["facts"]["state"]["current"] == one == device.layout.current_id()
    assert device.shown() is not None
    events = [event["what"] for event in device.state()["events"]]
    assert events == ["switched", "kept", "switched", "kept", "switched", "kept"]

    assert any(
        "preview" in line for line in edge("logs", "--to", device.uri, "--json").json["lines"]
    )
    said = edge("uninstall", "--to", device.uri)
    assert said.code == 0, said.err
    assert not device.root.exists()
    assert device.shown() is None


def test_nothing_to_go_back_to_and_nothing_there(edge: Run, device: Device, tmp_path: Path) -> None:
    said = edge("rollback", "--to", device.uri)
    assert (said.code, "nothing was flashed" in said.last) == (1, True)
    assert edge("flash", write_variant(tmp_path / "a.edge"), *device.words()).code == 0
    said = edge("rollback", "--to", device.uri)
    assert (said.code, "no release to go back to" in said.last) == (1, True)
    assert device.shown() is not None
