"""What an installation tells of itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_sdk.workflows.deployed import _status_notes
from runtime.agent import status as module
from runtime.agent.state import State, load
from runtime.agent.status import status
from runtime.agent.trust import Pins
from tests.runtime.agent.rehearsal import Stage
from tests.runtime.agent.test_deliver import ME


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    found = Stage(tmp_path, monkeypatch)
    monkeypatch.setattr(module, "service_of", lambda place: found.service)
    found.bring(State(), "A", 1)
    return found


def test_what_runs_and_whom_it_trusts(stage: Stage) -> None:
    before = sorted(stage.layout.root.rglob("*"))
    found = status(stage.layout, sys.executable)
    assert found["running"] == found["state"]["current"] == stage.layout.current_id()
    assert (found["held"], found["stats"]) == ([found["running"]], {})
    assert "trusts any bundle; pin a key: flash --pin" in _status_notes(found)
    assert sorted(stage.layout.root.rglob("*")) == before, "looking changes nothing"
    Pins(stage.layout.keys).pin(ME.public.line)
    notes = _status_notes(status(stage.layout, sys.executable))
    assert f"trusts me ({ME.public.id})" in notes


def test_a_pin_that_is_damaged_is_told_beside_all_else(stage: Stage) -> None:
    """It is when nothing is taken that somebody asks; and it is not to look like trust."""
    Pins(stage.layout.keys).pin(ME.public.line)
    (stage.layout.keys / f"{ME.public.id}.pub").write_text("damaged")
    found = status(stage.layout, sys.executable)
    assert found["running"] == load(stage.layout).current
    (note,) = [note for note in _status_notes(found) if "trust" in note]
    assert "it is damaged, or no key; nothing is accepted" in note
