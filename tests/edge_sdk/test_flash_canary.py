"""A canary through the command line: two releases on the frames of a live source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from device_profiles.errors import RequestError
from edge_sdk.workflows.flash import flash
from edge_sdk.workflows.flash_options import FlashOptions, RunWords
from runtime.host import host
from tests.edge_sdk.cli_cases import Run
from tests.edge_sdk.flash_cases import Device, device_in, write_variant

pytestmark = pytest.mark.skipif(
    host().arch != "x86_64", reason="the bundles of these tests are for generic-x86"
)
NOISE = "synthetic:noise?width=64&height=48&frames=10"


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    with device_in(tmp_path, monkeypatch) as device:
        yield device


@pytest.mark.slow
def test_a_canary_decides_before_the_switch(edge: Run, device: Device, tmp_path: Path) -> None:
    first, like, other = (
        write_variant(tmp_path / f"{n}.edge", frames=n, seed=seed)
        for n, seed in enumerate((0, 0, 7))
    )
    words = [*device.words(), "--canary-shadow", "10"]
    said = edge("flash", first, *words, "--json")
    assert said.code == 0, said.err
    one = said.json["facts"]["release"]
    assert any("nothing runs that it could be" in note for note in said.json["notes"])

    said = edge("flash", other, *words, "--shadow-source", NOISE, "--json")
    assert said.code == 1
    assert "the new release and the old one agree on" in said.last
    assert device.layout.current_id() == one
    assert device.shown() is not None
    events = [event["what"] for event in device.state()["events"]]
    assert events == ["switched", "kept", "refused"]

    said = edge("flash", like, *words, "--json")
    assert said.code == 0, said.err
    gates = {gate["name"]: gate["detail"] for gate in said.json["gates"]}
    assert "on 100.0% of 10 of 10 frames of synthetic:shapes" in gates["canary"]
    less = [*words, "--shadow-source", NOISE, "--canary-agreement", "0.1", "--json"]
    assert edge("flash", other, *less).code == 0


def test_a_canary_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="a share, from 0 to 1"):
        FlashOptions(shadow=5, shadow_agreement=90)
    with pytest.raises(RequestError, match="has no frames; name some by --shadow-source"):
        FlashOptions(run=RunWords(service=False), shadow=5)
    bundle = write_variant(tmp_path / "a.edge")
    with pytest.raises(RequestError, match="leave --canary-shadow out"):
        flash(bundle, f"folder:{tmp_path}", FlashOptions(shadow=5))
