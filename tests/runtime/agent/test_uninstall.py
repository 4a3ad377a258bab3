"""Taking everything off: what is cut in the middle of it can be done again; others stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.agent import uninstall as module
from runtime.agent.layout import remove
from runtime.agent.state import State, load
from runtime.agent.trust import Pins
from runtime.agent.uninstall import uninstall
from tests.runtime.agent.rehearsal import Stage
from tests.runtime.agent.test_deliver import ME


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    found = Stage(tmp_path, monkeypatch)
    monkeypatch.setattr(module, "service_of", lambda place: found.service)
    found.bring(State(), "A", 1)
    Pins(found.layout.keys).pin(ME.public.line)
    agent = found.layout.agents / "0"
    agent.mkdir(parents=True)
    (agent / "agent.py").touch()
    found.layout.agent.symlink_to("agents/0")
    (found.layout.root / ".draft-state.json").touch()  # of a power cut
    return found


def test_nothing_is_left(stage: Stage) -> None:
    assert uninstall(stage.layout) == {"root": str(stage.layout.root), "left": []}
    assert not stage.layout.root.exists()
    assert stage.service.runs is None


def test_what_others_put_there_stays(stage: Stage) -> None:
    (stage.layout.root / "notes").touch()
    (stage.layout.root / "lost+found").mkdir()
    assert uninstall(stage.layout)["left"] == ["lost+found", "notes"]


class Cut(BaseException):
    """The power is cut."""


@pytest.mark.parametrize("after", range(1, 9))
def test_one_that_is_cut_can_be_asked_for_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    left = after

    def cut(path: Path) -> None:
        nonlocal left
        if left == 0:
            raise Cut
        left -= 1
        remove(path)

    monkeypatch.setattr(module, "remove", cut)
    with pytest.raises(Cut):
        uninstall(stage.layout)
    assert stage.layout.current_id() is None, "nothing is current once anything is gone"
    assert (stage.layout.agent / "agent.py").exists() or load(stage.layout) == State()
    kept = sorted(path.name for path in stage.layout.root.iterdir())
    assert (stage.layout.agent / "agent.py").exists() or set(kept) <= {"agent", "lock"}
    monkeypatch.setattr(module, "remove", remove)
    uninstall(stage.layout)
    assert not stage.layout.root.exists()
