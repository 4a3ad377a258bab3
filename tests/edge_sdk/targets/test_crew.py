"""Crews: work is shared out, and one fault, or an interruption, ends all of it at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from subprocess import Popen

import pytest

from device_profiles.errors import CrashError, EngineError
from edge_sdk.targets import Start
from edge_sdk.targets._crew import Crew, Member
from edge_sdk.targets.local import LocalTarget

SLOW = """
import time, runtime.serve as s
s.OPERATIONS["about"] = lambda *a: (time.sleep(60), ({}, []))[1]
s.main()
"""


class Slow(LocalTarget):
    """This machine, with two lanes, each of which is busy for a minute."""

    lanes = 2

    def start(self, arguments: Sequence[str], given: Start = Start()) -> Popen[bytes]:  # noqa: B008
        return super().start(["-c", SLOW], given)


def crash(member: Member) -> None:
    raise CrashError("it died", 4)


@pytest.mark.parametrize("error", [KeyboardInterrupt, CrashError("a lane died", 4)])
def test_what_runs_is_ended_where_the_work_is_given_up(error: BaseException) -> None:
    start = time.monotonic()
    with pytest.raises(type(error) if isinstance(error, Exception) else KeyboardInterrupt):  # noqa: SIM117
        with Crew(Slow()) as crew:
            running = [crew.submit(lambda member: member.about()) for _ in range(4)]
            time.sleep(0.5)
            raise error
    assert time.monotonic() - start < 20
    assert all(future.done() for future in running)
    assert isinstance(running[0].exception(), EngineError)


def test_a_lane_that_crashes_ends_the_others() -> None:
    start = time.monotonic()
    with pytest.raises(CrashError), Crew(Slow()) as crew:
        crew.submit(lambda member: member.about())
        crew.submit(crash).result()
    assert time.monotonic() - start < 20


def test_a_target_is_made_ready_where_ctrl_c_arrives() -> None:
    threads = []

    class Built(LocalTarget):
        def start(self, arguments: Sequence[str], given: Start = Start()) -> Popen[bytes]:  # noqa: B008
            threads.append(threading.current_thread())
            return super().start(arguments, given)

    with Crew(Built()):
        assert threads == [threading.main_thread()]

    class Broken(LocalTarget):
        def start(self, arguments: Sequence[str], given: Start = Start()) -> Popen[bytes]:  # noqa: B008
            raise EngineError("no way")

    with pytest.raises(EngineError, match="no way"), Crew(Broken()):
        pass


def test_members_are_replaced_when_they_died_and_not_when_all_is_over() -> None:
    with Crew(LocalTarget()) as crew:
        assert crew.submit(lambda member: member.about()).result()["arch"]
        member = crew._members[0]
        assert member._session is not None
        member._session.kill()
        with pytest.raises(EngineError):
            crew.submit(lambda member: member.about()).result()
        assert crew.submit(lambda member: member.about()).result()["arch"]
    with pytest.raises(EngineError, match="ended"):
        member.about()
