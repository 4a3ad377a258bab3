"""Timing in one process: who runs when, what is counted, and what the clock says."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from device_profiles.errors import EngineError
from runtime import timing
from runtime.engines import Array
from runtime.timing import Subject, in_turns, order, side_by_side, warm_up


class Sleeper:
    """An engine that sleeps, and writes down who ran on what."""

    name, version, provider = "sleeper", "1", "cpu"
    inputs = outputs = ()

    def __init__(self, ms: float, log: list[tuple[float, int]], fault_at: int = -1) -> None:
        self.ms, self.log, self.fault_at = ms, log, fault_at
        self.runs = 0
        self.threads: set[int] = set()

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        self.log.append((self.ms, int(inputs[0][0])))
        self.threads.add(threading.get_ident())
        if self.runs == self.fault_at:
            raise EngineError("it is tired; let it sleep")
        self.runs += 1
        time.sleep(self.ms / 1e3)
        return []

    def close(self) -> None:
        pass


def subjects(log: list[tuple[float, int]], *ms: float) -> list[Subject]:
    inputs = [[np.array([turn])] for turn in range(3)]
    return [Subject(Sleeper(each, log), inputs) for each in ms]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_none_is_always_first_and_none_always_behind_the_same(count: int) -> None:
    orders = [order(count, turn) for turn in range(2 * count)]
    assert all(sorted(each) == list(range(count)) for each in orders)
    assert set(Counter(each[0] for each in orders).values()) == {2}
    before = {pair for each in orders for pair in pairwise(each)}
    for index in range(count):
        assert len({a for a, b in before if b == index}) == min(count - 1, 2)


def test_times_are_of_each_in_its_column() -> None:
    log: list[tuple[float, int]] = []
    took = in_turns(subjects(log, 2.0, 6.0), first=1, rounds=4)
    assert took.shape == (4, 2)
    low, high = took.min(axis=0), np.median(took, axis=0)
    assert (low >= [2.0, 6.0]).all()
    assert high[0] < low[1]
    # The first round of these is the second of all: turned by one, on the second inputs.
    assert log[:4] == [(6.0, 1), (2.0, 1), (6.0, 2), (2.0, 2)]


def test_the_warm_up_lasts_until_clocks_have_risen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WARM_S", 0.05)
    log: list[tuple[float, int]] = []
    rounds, seconds = warm_up(subjects(log, 1.0, 1.0))
    assert rounds >= timing.WARM_ROUNDS
    assert len(log) == 2 * rounds
    assert seconds >= 0.05
    monkeypatch.setattr(timing, "WARM_AT_MOST_S", 0.1)
    rounds, _ = warm_up(subjects(log, 60.0))
    assert rounds == 3, "of a slow model it takes no more than it must"


def test_side_by_side_each_has_a_thread_of_its_own() -> None:
    log: list[tuple[float, int]] = []
    two = subjects(log, 10.0, 10.0)
    rate = side_by_side(two, 0.2)
    # Sleeping needs no core: two give twice the 100 runs per second of one, less what waking costs.
    assert 110 < rate <= 200
    threads = [s.engine.threads for s in two]  # type: ignore[attr-defined]
    assert len(set.union(*threads)) == 2
    assert threading.get_ident() not in set.union(*threads)
    slow = subjects(log, 60.0)
    assert side_by_side(slow, 0.0) < 17
    assert slow[0].engine.runs == 4, "three are counted, however slow"  # type: ignore[attr-defined]


@pytest.mark.parametrize("fault_at", [0, 2])
def test_what_one_raises_side_by_side_is_raised(fault_at: int) -> None:
    log: list[tuple[float, int]] = []
    inputs = [[np.array([0])]]
    pair = [Subject(Sleeper(1.0, log, at), inputs) for at in (fault_at, -1)]
    with pytest.raises(EngineError, match="tired"):
        side_by_side(pair, 0.05)


def test_the_time_of_the_processor_leaves_out_what_others_take() -> None:
    (took,) = in_turns(subjects([], 20.0), 0, 3, time.process_time).T
    assert took.max() < 10.0
    assert took.min() > 0.0
