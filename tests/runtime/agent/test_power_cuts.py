"""Power cuts at every system call of taking a release in and switching to it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from runtime.agent import trial
from runtime.agent.collect import clear_incoming, collect
from runtime.agent.held import verify
from runtime.agent.layout import Layout
from runtime.agent.release import RELEASE, Release
from runtime.agent.stage import Offer, admit, receive
from runtime.agent.state import load
from tests.runtime.agent.faulty_disk import Disk, PowerCut
from tests.runtime.agent.releases import deliver, furnish, make_release

LOSSES = 2
"""How often each cut is tried, with other losses."""


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Release]]:
    """Three releases as a host has them."""
    folder = tmp_path_factory.mktemp("sent")
    return {
        name: (folder / name, make_release(folder / name, seed)) for seed, name in enumerate("ABC")
    }


def take(layout: Layout, folder: Path, release: Release) -> None:
    """Take a release in, as the agent does, without the parts that run something."""
    state = trial.settled(layout, load(layout))
    wanted = receive(layout, state, Offer(release, ()))
    deliver(layout, folder, wanted.files, release)
    admit(layout, state, release, allow_downgrade=False)
    state = state.knowing(release.id, {"at": 0.0})
    state = trial.begin(layout, state, release.id)
    state = trial.keep(layout, state)
    clear_incoming(layout)
    collect(layout, state)


def back(layout: Layout, folder: Path, release: Release) -> None:
    """Take a release in, and go back from it."""
    state = trial.settled(layout, load(layout))
    wanted = receive(layout, state, Offer(release, ()))
    deliver(layout, folder, wanted.files, release)
    admit(layout, state, release, allow_downgrade=False)
    state = trial.begin(layout, state, release.id)
    state = trial.undo(layout, state, "no results")
    clear_incoming(layout)
    collect(layout, state)


def whole(layout: Layout) -> str:
    """Return the release that is current, which must be whole."""
    linked = layout.current_id()
    assert linked is not None, "nothing is current"
    folder = layout.releases / linked
    release = Release.from_bytes((folder / RELEASE).read_bytes())
    assert release.id == linked
    verify(folder, release)
    return linked


@pytest.mark.parametrize("work", [take, back], ids=["kept", "gone back"])
def test_a_whole_release_is_current_after_any_power_cut(
    work: object, tmp_path: Path, sent: dict[str, tuple[Path, Release]]
) -> None:
    assert callable(work)
    start = tmp_path / "start"
    layout = Layout(start)
    start.mkdir()
    furnish(layout)
    take(layout, *sent["A"])
    found: dict[str, int] = {}
    dies_at, ended, cuts = 0, False, 0
    while not ended:
        for after in (False, True):
            for loss in range(LOSSES):
                place = tmp_path / f"{dies_at}-{after}-{loss}"
                layout = Layout(place / "root")
                shutil.copytree(start, layout.root, symlinks=True)
                (place / "attic").mkdir()
                disk = Disk(layout.root, place / "attic", dies_at, after)
                with disk.in_use():
                    try:
                        work(layout, *sent["B"])
                        ended = True
                    except PowerCut:
                        cuts += 1
                disk.lose(random.Random(f"{dies_at} {after} {loss}"))
                where = f"cut {'after' if after else 'before'} call {dies_at}: {disk.names[-1:]}"
                reason = _what_is_wrong(layout, sent)
                assert not reason, f"{where}: {reason}"
                found[whole(layout)] = found.get(whole(layout), 0) + 1
                shutil.rmtree(place)
        dies_at += 1
    assert dies_at > 35, "the calls were not wrapped"
    assert cuts > 150
    names = {sent[name][1].id for name in "ABC"}
    assert set(found) <= names


def _what_is_wrong(layout: Layout, sent: dict[str, tuple[Path, Release]]) -> str:
    """Start the device again, flash C, and return what does not hold."""
    linked = whole(layout)
    if linked not in (sent["A"][1].id, sent["B"][1].id):
        return f"{linked} is current"
    state = trial.counted(layout, trial.settled(layout, load(layout)))
    if any(event.what == "damaged" for event in state.events):
        return "the journal was damaged"
    if any(event.what == "adopted" for event in state.events):
        return "what ran was not what the journal said"
    if state.trial is None and state.current != layout.current_id():
        return f"the journal says {state.current}, the link {layout.current_id()}"
    before = whole(layout)
    if state.trial is not None:
        state = trial.undo(layout, state, "not judged")
        before = whole(layout)
        if before != sent["A"][1].id:
            return "it went back to something else"
    take(layout, *sent["C"])
    state = load(layout)
    if whole(layout) != sent["C"][1].id or state.current != sent["C"][1].id:
        return "the next flash is not current"
    return "" if state.previous == before else f"{state.previous} is previous, not {before}"
