"""The intake: turns, drops by policy, waiting, endings."""

from __future__ import annotations

import threading

from runtime.intake import Intake
from runtime.sources import Policy

LATEST = Policy(drops=True, depth=1)
PATIENCE_S = 20.0


def test_sources_take_turns() -> None:
    intake: Intake[str] = Intake([Policy(False, 9)] * 3)
    for round_number in range(3):
        for source in range(3):
            assert intake.put(source, f"{source}.{round_number}")
    order = [intake.take(1)[0][0] for _ in range(9)]
    assert order == [0, 1, 2] * 3


def test_a_busy_source_does_not_starve_the_others() -> None:
    intake: Intake[int] = Intake([Policy(False, 100), LATEST])
    for item in range(50):
        intake.put(0, item)
    intake.put(1, -1)
    assert [source for _ in range(2) for source, _ in intake.take(1)] == [0, 1]
    intake.put(1, -2)
    assert {source for _ in range(2) for source, _ in intake.take(1)} == {0, 1}


def test_a_batch_has_at_most_one_of_each_source() -> None:
    intake: Intake[str] = Intake([Policy(False, 4)] * 3)
    for source, item in ((0, "a"), (0, "b"), (2, "c")):
        intake.put(source, item)
    assert intake.take(8) == [(0, "a"), (2, "c")]
    assert intake.take(8) == [(0, "b")]


def test_turns_go_on_where_a_batch_ended() -> None:
    intake: Intake[int] = Intake([Policy(False, 4)] * 3)
    for source in range(3):
        for item in range(2):
            intake.put(source, item)
    assert [source for source, _ in intake.take(2)] == [0, 1]
    assert [source for source, _ in intake.take(2)] == [2, 0]


def test_policies_drop_their_oldest_and_count_it() -> None:
    intake: Intake[int] = Intake([LATEST, Policy(True, 3)])
    for item in range(10):
        assert intake.put(0, item)
        assert intake.put(1, item)
    assert intake.dropped == [9, 7]
    taken = [intake.take(1)[0] for _ in range(4)]
    assert taken == [(0, 9), (1, 7), (1, 8), (1, 9)]


def test_a_policy_that_does_not_drop_makes_its_writer_wait() -> None:
    intake: Intake[int] = Intake([Policy(False, 1)])
    intake.put(0, 1)
    done = threading.Event()
    writer = threading.Thread(target=lambda: (intake.put(0, 2), done.set()))
    writer.start()
    assert not done.wait(0.05)
    assert intake.take(1) == [(0, 1)]
    assert done.wait(PATIENCE_S)
    writer.join()
    assert intake.dropped == [0]


def test_one_source_may_end_before_the_others() -> None:
    intake: Intake[int] = Intake([LATEST, LATEST])
    intake.put(0, 1)
    intake.finish(0)
    assert not intake.put(0, 2)
    assert intake.put(1, 3)
    assert intake.take(2) == [(0, 1), (1, 3)]
    intake.finish(1)
    assert intake.take(2) == []


def test_finish_hands_out_what_is_left_and_abort_does_not() -> None:
    intake: Intake[int] = Intake([Policy(False, 4)])
    intake.put(0, 1)
    intake.finish()
    assert intake.take(1) == [(0, 1)]
    assert intake.take(1) == []
    other: Intake[int] = Intake([Policy(False, 4)])
    other.put(0, 1)
    other.abort()
    assert other.take(1) == []


def test_ending_frees_whoever_waits() -> None:
    intake: Intake[int] = Intake([Policy(False, 1)])
    intake.put(0, 1)
    refused: list[bool] = []
    writer = threading.Thread(target=lambda: refused.append(intake.put(0, 2)))
    writer.start()
    intake.abort()
    writer.join(PATIENCE_S)
    assert refused == [False]
