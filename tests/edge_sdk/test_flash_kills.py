"""Flashes that are killed: after each a whole release is current, and the next one holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.host import host
from tests.edge_sdk.flash_cases import device_in
from tests.edge_sdk.flash_kills import KINDS, Rig, kills

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(host().arch != "x86_64", reason="its bundles are for generic-x86"),
]


def test_a_whole_release_is_current_after_any_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with device_in(tmp_path, monkeypatch) as device:
        rig = Rig(device, tmp_path)
        rig.measure()
        done = list(kills(rig, 20, seed=1))
    assert not [kill for kill in done if kill.fault]
    assert {kill.kind for kill in done if kill.hit} == {*KINDS}
