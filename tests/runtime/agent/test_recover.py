"""What a device does by itself: guards, settles, and goes on when its journal cannot be written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.errors import EdgeError, EngineError, OutputError, ReleaseError, RequestError
from runtime.agent import collect, install, recover, trial
from runtime.agent.environment import COMPLETE
from runtime.agent.install import watched
from runtime.agent.layout import READY, Layout
from runtime.agent.recover import boot, finish, guard, settle
from runtime.agent.release import RELEASE, Health
from runtime.agent.state import State, Trial, load, save
from tests.runtime.agent.rehearsal import WORDS, Full, Stage
from tests.runtime.agent.releases import ENVIRONMENT, make_release


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """An installation that runs a good release."""
    found = Stage(tmp_path, monkeypatch)
    found.bring(State(), "A", 1)
    return found


def on_trial(stage: Stage, seed: int = 2) -> tuple[str, str]:
    """Leave a release on trial, as an agent that was killed does; return it and the one before."""
    before = stage.layout.current_id()
    state = stage.bring(load(stage.layout), f"trial-{seed}", seed)
    after = stage.layout.current_id()
    assert before is not None
    assert after is not None
    trial.begin(stage.layout, trial.begin(stage.layout, state, before), after)
    state = load(stage.layout)
    save(stage.layout, replace(state, current=before, trial=Trial(after, before, 0)))
    return after, before


def test_the_guard_goes_back_after_three_starts(stage: Stage) -> None:
    after, before = on_trial(stage)
    for start in range(1, trial.MOST_STARTS + 1):
        guard(stage.layout)
        found = load(stage.layout).trial
        assert found is not None
        assert (found.starts, stage.layout.current_id()) == (start, after)
    guard(stage.layout)
    assert stage.layout.current_id() == before
    state = load(stage.layout)
    assert (state.trial, state.current) == (None, before)
    assert state.events[-1].reason == "it was started 3 times and never kept"
    guard(stage.layout)
    assert load(stage.layout) == state


def test_the_guard_does_nothing_while_somebody_is_at_work(stage: Stage) -> None:
    on_trial(stage)
    state = load(stage.layout)
    with stage.layout.alone():
        guard(stage.layout)
    with stage.layout.alone(what="judges"):
        guard(stage.layout)
    assert load(stage.layout) == state


def test_what_was_left_on_trial_is_kept_where_it_serves(stage: Stage) -> None:
    after, before = on_trial(stage)
    settle(stage.here(load(stage.layout)))
    state = load(stage.layout)
    assert (state.current, state.previous, state.trial) == (after, before, None)
    assert stage.service.runs == after


def test_what_was_left_on_trial_is_gone_back_from(stage: Stage) -> None:
    _, before = on_trial(stage)
    stage.service.good = False
    stage.service.told.clear()
    with pytest.raises(ReleaseError, match=r"0 of 1 results within 0 s: it was played so"):
        boot(stage.layout, lambda step, **facts: None)
    assert (load(stage.layout).current, stage.layout.current_id()) == (before, before)
    assert stage.service.runs == before


def test_the_link_goes_back_from_what_does_not_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before = on_trial(stage)
    here = stage.here(load(stage.layout))

    def stop(patience_s: float = 15.0) -> None:
        raise EngineError("a driver holds it")

    monkeypatch.setattr(stage.service, "stop", stop)
    with pytest.raises(EngineError, match="a driver holds it"):
        here.undone("it does not serve")
    assert stage.layout.current_id() == before
    assert load(stage.layout).trial is None


WAITS = """
import fcntl, pathlib, sys
root = pathlib.Path(sys.argv[2])
lock = (root / "lock").open("a")
(root / "waits").touch()
fcntl.flock(lock, fcntl.LOCK_EX)
(root / sys.argv[1]).touch()
"""


@pytest.mark.parametrize("fault", [ZeroDivisionError(), ReleaseError("no results")])
def test_who_waits_judges_after_a_fault_that_nobody_foresaw(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """After one that was foreseen there is nothing to judge, and nobody waits any more."""
    root = stage.layout.root
    program = stage.folder / "agent.py"
    program.write_text(WAITS)
    monkeypatch.setattr(sys, "argv", [str(program)])
    end = time.monotonic() + 20
    with pytest.raises(type(fault)), stage.layout.alone(), watched(stage.layout):
        while not (root / "waits").exists() and time.monotonic() < end:
            time.sleep(0.01)
        raise fault
    judges = isinstance(fault, ZeroDivisionError)
    while judges and not (root / "finish").exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert (root / "finish").exists() == judges


def test_what_an_agent_ended_before_it_was_killed_is_started_again(stage: Stage) -> None:
    """Between the end of what runs and the change of the link, and after the link went back."""
    before = stage.service.runs
    assert before is not None
    state = load(stage.layout)
    for left in (replace(state, trial=Trial("b" * 32, before, 0)), state):
        save(stage.layout, left)
        stage.service.stop()
        finish(stage.layout, lambda step, **facts: None)
        assert stage.service.runs == before == stage.layout.current_id()
        assert load(stage.layout).trial is None


def test_what_was_told_to_end_is_started_though_it_runs_yet(stage: Stage) -> None:
    """The agent was killed while it waited for the end."""
    state = load(stage.layout)
    stage.service.told.clear()
    finish(stage.layout, lambda step, **facts: None)
    assert stage.service.told == [], "nothing was cut"
    save(stage.layout, replace(state, trial=Trial("b" * 32, state.current, 0)))
    finish(stage.layout, lambda step, **facts: None)
    assert stage.service.told == ["start"]
    assert stage.service.runs == state.current


def test_a_boot_without_a_trial_starts_what_is_current(stage: Stage) -> None:
    stage.service.stop()
    boot(stage.layout, lambda step, **facts: None)
    assert stage.service.runs == stage.layout.current_id()


def test_both_reasons_are_told_where_what_was_before_does_not_start(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stage.layout.current_id()
    real = stage.service.start

    def start() -> None:
        if stage.layout.current_id() == before:
            raise EngineError("systemctl start: access denied")
        real()

    monkeypatch.setattr(stage.service, "start", start)
    stage.service.good = False
    said = r"0 of 1 results.*; what was before does not start: systemctl start: access denied; "
    with pytest.raises(ReleaseError, match=f"{said}{str(before)[:12]} is current again"):
        stage.bring(load(stage.layout), "B", 2)


def test_a_link_that_cannot_go_back_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that became read-only in the middle of a trial."""
    real, links = trial._switch, []

    def switch(layout: Layout, release: str | None) -> None:
        links.append(release)
        if len(links) > 1:
            raise OutputError("it is read-only")
        real(layout, release)

    monkeypatch.setattr(trial, "_switch", switch)
    stage.service.good = False
    with pytest.raises(ReleaseError, match="is current still, for the link cannot be changed"):
        stage.bring(load(stage.layout), "B", 2)


def test_a_service_that_cannot_be_set_up_is_a_refusal(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(stage.layout)

    def install(options: object) -> list[str]:
        raise RequestError("/root is closed to the user that the service runs as")

    monkeypatch.setattr(stage.service, "install", install)
    with pytest.raises(RequestError):
        stage.bring(before, "B", 2)
    after = load(stage.layout)
    assert (after.events[-1].what, after.releases) == ("refused", before.releases)
    assert [path.name for path in stage.layout.releases.iterdir()] == [before.current]
    assert stage.service.runs == before.current


def test_nothing_is_stopped_for_a_release_whose_environment_is_gone(stage: Stage) -> None:
    state = stage.bring(load(stage.layout), "B", 2)
    (stage.layout.environments / ENVIRONMENT / COMPLETE).unlink()
    stage.service.told.clear()
    with pytest.raises(ReleaseError, match=r"the environment of release \w{12} is gone; flash"):
        stage.here(state).back()
    assert (stage.service.told, stage.service.runs) == ([], state.current)


def test_a_guard_is_waited_for(stage: Stage) -> None:
    """It holds the lock at every start: a flash is not to fail for that."""
    words = "from runtime.agent.layout import *; import sys, time\nl = Layout(Path(sys.argv[1]))\n"
    words += "with l.alone(what='guards', patient=False): print('in', flush=True); time.sleep(0.5)"
    command = [sys.executable, "-c", words, str(stage.layout.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as guarding:
        assert guarding.stdout is not None
        guarding.stdout.readline()
        with stage.layout.alone():
            assert guarding.wait(10) == 0


def test_the_environment_of_a_release_that_cannot_be_read_stays(stage: Stage) -> None:
    """It runs; and an agent of another schema may only not understand it."""
    state = load(stage.layout)
    about = stage.layout.releases / str(state.current) / RELEASE
    about.chmod(0o644)
    about.write_text("{}")
    collect.collect(stage.layout, state)
    assert (stage.layout.environments / ENVIRONMENT).is_dir()


class Cut(BaseException):
    """The power is cut."""


def cut(*_: object) -> None:
    raise Cut


@pytest.mark.parametrize("where", ["nowhere", "replay", "prepare", "stop", "start"])
def test_what_was_delivered_is_installed_though_the_power_is_cut(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before = stage.layout.current_id()
    release = replace(make_release(stage.folder / "new", 5, WORDS), health=Health(1, 0.2))
    place = stage.layout.incoming / release.id
    shutil.copytree(stage.folder / "new", place)
    (place / RELEASE).write_bytes(release.to_bytes())
    ready = {"release": release.id, "wheels": []}
    (stage.layout.incoming / READY).write_text(json.dumps(ready))
    if where != "nowhere":
        with monkeypatch.context() as patch:
            patch.setattr(stage.service if where in ("stop", "start") else install, where, cut)
            patch.setattr(recover, "remove", lambda path: None)  # a cut removes nothing
            with pytest.raises(Cut):
                boot(stage.layout, lambda step, **facts: None)
    boot(stage.layout, lambda step, **facts: None)
    state = load(stage.layout)
    assert (state.current, state.previous, state.trial) == (release.id, before, None)
    assert stage.service.runs == release.id == stage.layout.current_id()
    assert not (stage.layout.incoming / READY).exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("{}", "'release'"),
        ('{"release": "../../etc", "wheels": []}', "No such file"),
        ('{"release": "x", "wheels": 5}', "No such file"),
        ("[]", "list indices"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_garbage_that_was_delivered_is_removed(stage: Stage, text: str, reason: str) -> None:
    running = stage.service.runs
    stage.layout.incoming.mkdir(exist_ok=True)
    (stage.layout.incoming / "ready.json").write_text(text)
    with pytest.raises(ReleaseError, match=f"what was delivered was not installed: .*{reason}"):
        boot(stage.layout, lambda step, **facts: None)
    assert not stage.layout.incoming.exists()
    assert stage.service.runs == running == stage.layout.current_id()
    assert load(stage.layout).events[-1].what == "refused"


def linked_is_kept(stage: Stage) -> bool:
    """Say whether link and journal name the same release, and nothing is on trial."""
    state = load(stage.layout)
    return state.trial is None and state.current == stage.layout.current_id()


@pytest.mark.parametrize("good", [True, False], ids=["healthy", "not healthy"])
def test_a_journal_that_cannot_be_written_any_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, good: bool
) -> None:
    """At whichever of its writes a disk is full: what the link names runs, and the next flash is
    kept."""
    seed, takes = 10, 0
    while True:
        before = stage.layout.current_id()
        full = Full(takes)
        stage.service.good, stage.service.full = good, full
        with monkeypatch.context() as patch:
            for module in (install, trial, collect):
                patch.setattr(module, "save", full.write(save))
            reason = ""
            try:
                stage.bring(load(stage.layout), f"full-{seed}", seed)
            except EdgeError as error:
                reason = str(error)
        assert reason or (good and linked_is_kept(stage))
        linked = stage.layout.current_id()
        if reason:
            assert linked == before, f"write {takes}: {reason}"
        assert stage.service.runs == linked, f"write {takes}: what is current does not run"
        stage.service.good, stage.service.full = True, None
        state = trial.settled(stage.layout, load(stage.layout))
        assert (state.current, state.trial) == (linked, None)
        state = stage.bring(state, f"next-{seed}", seed + 100)
        assert state.current == stage.layout.current_id() == stage.service.runs != linked
        if not full.refused:
            break
        seed, takes = seed + 1, takes + 1
    assert takes >= 3, "the writes were not counted"
