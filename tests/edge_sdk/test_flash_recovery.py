"""Releases that pass their golden test and do not serve, and agents that are killed meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_profiles.errors import EdgeError
from edge_sdk.workflows import flash as workflow
from edge_sdk.workflows.flash_options import FlashOptions, RunWords
from runtime.agent.release import Health
from runtime.host import host
from tests.edge_sdk.cli_cases import Run
from tests.edge_sdk.refusal_cases import Standing, standing_in, within

pytestmark = pytest.mark.skipif(
    host().arch != "x86_64", reason="the bundles of these tests are for generic-x86"
)
SETTLED_S = 30.0
SCARCE = "synthetic:shapes?live=1&fps=0.01&frames=0&width=64&height=48"
"""A camera that gives one frame, and the next a hundred seconds later."""


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing_in(tmp_path_factory.mktemp("standing")) as standing:
        yield standing


class Flash(threading.Thread):
    """A flash that goes on beside the test; `error` is how it ended, None where it held."""

    def __init__(self, standing: Standing, bundle: Path, health: Health, source: str = "") -> None:
        super().__init__(daemon=True)
        words = standing.words()
        camera, sink = (words[words.index(name) + 1] for name in ("--source", "--sink"))
        self._options = FlashOptions(run=RunWords([source or camera], [sink]), health=health)
        self._bundle, self._uri = bundle, standing.device.uri
        self.error: EdgeError | None = None

    def run(self) -> None:
        """Flash."""
        try:
            workflow.flash(self._bundle, self._uri, self._options)
        except EdgeError as error:
            self.error = error

    def ended(self) -> str:
        """Wait for its end, and return its error."""
        self.join(60)
        assert not self.is_alive()
        return str(self.error or "")


def holder(standing: Standing) -> tuple[str, int]:
    """Return what whoever holds the lock of a device does, and its process; nothing where nobody
    does."""
    words = (standing.device.root / "lock").read_text().split()
    return (words[0].rstrip(","), int(words[-1])) if len(words) == 3 else ("", 0)


def in_health(standing: Standing) -> bool:
    """Say whether a release is on trial, and is what the link names."""
    trial = standing.device.state()["trial"]
    return trial is not None and trial["release"] == standing.device.layout.current_id()


def settled(standing: Standing) -> None:
    """Wait until nothing is on trial, and nobody is at work."""
    within(SETTLED_S, lambda: standing.device.state()["trial"] is None)
    within(SETTLED_S, lambda: holder(standing) == ("", 0))


def kill_agent(standing: Standing, flash: Flash) -> None:
    """Kill the agent that flashes while it judges."""
    within(SETTLED_S, lambda: in_health(standing) or not flash.is_alive())
    assert flash.is_alive(), flash.ended()
    what, process = holder(standing)
    assert what == "flashes"
    os.kill(process, signal.SIGKILL)


def kill_finisher(standing: Standing) -> None:
    """Kill who goes on after the agent."""
    within(SETTLED_S, lambda: holder(standing)[0] == "judges")
    os.kill(holder(standing)[1], signal.SIGKILL)
    within(SETTLED_S, lambda: not alive(holder(standing)[1]))


def alive(process: int) -> bool:
    """Say whether a process runs (one that nobody waited for does not)."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """Serve a camera's address that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/stream.mjpg"


def rolled_back(standing: Standing, said: object, reason: str) -> None:
    """See that a flash was taken back, with a line that names the cause, as the journal has it."""
    code, last = said.code, said.last  # type: ignore[attr-defined]
    assert (code, reason in last) == (1, True), said
    assert last.endswith(f"; {standing.seen().link[:12]} is current again")  # type: ignore[index]
    event = standing.device.state()["events"][-1]
    assert (event["what"], reason in event["reason"]) == ("rolled back", True)


def test_a_camera_that_is_not_there(edge: Run, standing: Standing) -> None:
    words = standing.words("http://127.0.0.1:9/stream.mjpg")
    words[words.index("--within") + 1] = "4"
    with standing.back_again("the service ends at once"):
        said = edge("flash", standing.good("absent", 20), *words)
        rolled_back(standing, said, "0 of 2 results within 4 s: it ended with code 2")
    shown = edge("status", "--to", standing.device.uri).out
    assert "rolled back" in shown
    assert "it ended with code 2" in shown


def test_a_camera_that_says_nothing(edge: Run, standing: Standing) -> None:
    with silent_server() as uri, standing.back_again("the service never gives a result"):
        words = standing.words(uri)
        words[words.index("--within") + 1] = "4"
        said = edge("flash", standing.good("silent", 21), *words)
        rolled_back(standing, said, "0 of 2 results within 4 s: it ")


@pytest.mark.slow
def test_too_few_results(edge: Run, standing: Standing) -> None:
    with standing.back_again("one result, and no more"):
        words = standing.words(SCARCE)
        words[words.index("--within") + 1] = "4"
        said = edge("flash", standing.good("scarce", 22), *words)
        rolled_back(standing, said, "1 of 2 results within 4 s: it runs")


@pytest.mark.parametrize("crash_after", [60, pytest.param(200, marks=pytest.mark.slow)])
def test_a_model_that_crashes_in_mid_run(edge: Run, standing: Standing, crash_after: int) -> None:
    words = standing.words()
    words[words.index("--results") + 1] = "1000"
    words[words.index("--within") + 1] = "8"
    with standing.back_again(f"it crashes after {crash_after} results"):
        bundle = standing.bundle(f"crash-{crash_after}", 23, crash_after=crash_after)
        said = edge("flash", bundle, *words)
        rolled_back(standing, said, "SIGABRT")


@pytest.mark.slow
def test_a_model_that_hangs_and_cannot_be_ended(edge: Run, standing: Standing) -> None:
    """It is told to end, does not for as long as it may, and is killed."""
    words = standing.words()
    words[words.index("--results") + 1] = "1000"
    words[words.index("--within") + 1] = "6"
    with standing.back_again("it hangs in mid-run"):
        said = edge("flash", standing.bundle("hang", 24, hang_after=100), *words)
        rolled_back(standing, said, " of 1000 results within 6 s: it runs")


@pytest.mark.slow
def test_what_runs_does_not_end_when_it_is_told_to(edge: Run, standing: Standing) -> None:
    process = standing.seen().pid
    assert process is not None
    standing.gaps.mark()
    os.kill(process, signal.SIGSTOP)  # SIGTERM waits, SIGKILL does not
    said = edge("flash", standing.good("stopped", 25), *standing.words(), "--json")
    assert said.code == 0, said.err
    assert standing.seen().pid != process


def test_an_agent_that_is_killed_is_followed_by_one_that_judges(standing: Standing) -> None:
    before = standing.seen()
    good = Flash(standing, standing.good("kept", 30), Health(100, 30))
    good.start()
    kill_agent(standing, good)
    assert "; it goes on by itself" in good.ended()
    settled(standing)
    after = standing.seen()
    assert after.current == after.link != before.current
    assert after.previous == before.current

    with standing.back_again("the agent is killed, and nothing comes"):
        bad = Flash(standing, standing.good("gone", 31), Health(5, 5), SCARCE)
        bad.start()
        kill_agent(standing, bad)
        assert "; it goes on by itself" in bad.ended()
        settled(standing)
        assert "1 of 5 results within 5 s" in standing.device.state()["events"][-1]["reason"]


def test_a_flash_waits_for_who_judges(edge: Run, standing: Standing) -> None:
    first = Flash(standing, standing.good("waited-for", 32), Health(100, 30))
    first.start()
    kill_agent(standing, first)
    first.ended()
    within(SETTLED_S, lambda: holder(standing)[0] == "judges")
    judged = standing.device.layout.current_id()
    said = edge("flash", standing.good("waits", 33), *standing.words(), "--json")
    assert said.code == 0, said.err
    assert standing.seen().previous == judged
    events = [event["what"] for event in standing.device.state()["events"]]
    assert events[-4:] == ["switched", "kept", "switched", "kept"]


def test_both_are_killed_and_the_boot_settles_it(standing: Standing) -> None:
    before = standing.seen()
    flash = Flash(standing, standing.good("boot", 34), Health(100, 30))
    flash.start()
    kill_agent(standing, flash)
    kill_finisher(standing)
    flash.ended()
    assert in_health(standing)
    program = standing.device.layout.agent / "agent.py"
    words = [sys.executable, "-I", program, "boot", standing.device.root]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    after = standing.seen()
    assert after.current == after.link != before.current
    assert after.trial is None


@pytest.mark.slow
def test_both_are_killed_and_the_next_flash_settles_it(edge: Run, standing: Standing) -> None:
    before = standing.seen()
    flash = Flash(standing, standing.good("cut", 35), Health(100, 30))
    flash.start()
    kill_agent(standing, flash)
    kill_finisher(standing)
    flash.ended()
    said = edge("flash", standing.good("next", 36), *standing.words(), "--json")
    assert said.code == 0, said.err
    after = standing.seen()
    assert after.current == after.link == said.json["facts"]["release"]
    assert after.previous == before.current, "what was never kept is nothing to go back to"


def test_the_second_of_two_is_refused_at_once(edge: Run, standing: Standing) -> None:
    first = Flash(standing, standing.good("one", 37), Health(100, 30))
    first.start()
    within(SETTLED_S, lambda: in_health(standing))
    said = edge("flash", standing.good("two", 38), *standing.words())
    assert said.code == 1
    assert "another flash is at work on " in said.last
    assert "(flashes, process " in said.last
    assert not first.ended()
    assert first.is_alive() is False
    assert standing.seen().current == standing.seen().link
    assert standing.device.shown() is not None
