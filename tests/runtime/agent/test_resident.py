"""Which agent starts the service: the one that a release came with, and the one before it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.agent import resident, trial
from runtime.agent.layout import Layout
from runtime.agent.state import State, load, save

OLD, NEW = "1" * 32, "2" * 32
A, B = "a" * 32, "b" * 32


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A device on which A runs by the old agent; the new agent is the one that runs this."""
    layout = Layout(tmp_path)
    for digest in (OLD, NEW):
        (layout.agents / digest).mkdir(parents=True)
    for release in (A, B):
        (layout.releases / release).mkdir(parents=True)
    resident.restore(layout, OLD)
    layout.switch(A)
    save(layout, State(current=A))
    monkeypatch.setattr(resident, "own_digest", lambda: NEW)
    return layout


def test_a_release_is_tried_by_the_agent_that_it_came_with(layout: Layout) -> None:
    state = trial.begin(layout, load(layout), B)
    assert (resident.linked(layout), layout.current_id()) == (NEW, B)
    trial.keep(layout, state)
    assert resident.linked(layout) == NEW


def test_who_goes_back_goes_back_to_the_agent_as_well(layout: Layout) -> None:
    trial.begin(layout, load(layout), B)
    trial.undo(layout, load(layout), "no results")
    assert (resident.linked(layout), layout.current_id()) == (OLD, A)


def test_a_switch_that_was_cut_after_the_agent_is_taken_back(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(_layout: Layout, _release: str | None) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trial, "_switch", cut)
        trial.begin(layout, load(layout), B)
    assert (resident.linked(layout), layout.current_id()) == (NEW, A)
    state = trial.settled(layout, load(layout))
    assert (resident.linked(layout), state.trial, state.current) == (OLD, None, A)


def test_an_agent_that_is_gone_is_not_gone_back_to(layout: Layout) -> None:
    resident.restore(layout, "3" * 32)
    resident.restore(layout, None)
    assert resident.linked(layout) == OLD
