"""Timing of engines inside one process: in turns, or side by side in threads.

Every clock here is the monotonic one of this process; nothing of a host, a wire or a pipe is in
what is timed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.engines import Array, Engine

WARM_S = 0.5
"""How long runs are not counted, at the least: governors raise a clock within 0.1 s or so."""

WARM_ROUNDS = 10
"""How many rounds are not counted, unless they take longer than `WARM_AT_MOST_S`."""

WARM_AT_MOST_S = 5.0
_LEAST_ROUNDS = 3
"""Of each, also of the slowest: the first run allocates, the second finds all of it there."""


@dataclass(frozen=True)
class Subject:
    """An engine that is timed, and the inputs that it is given in turn."""

    engine: Engine
    inputs: Sequence[Sequence[Array]]

    def run(self, turn: int) -> None:
        """Run once, on the inputs whose turn it is."""
        self.engine.run(self.inputs[turn % len(self.inputs)])


def order(count: int, turn: int) -> list[int]:
    """Return in which order `count` subjects run in a round.

    It begins with another one each time and is turned round after each cycle: none is always the
    first, and none runs always behind the same one, whose data it finds in the caches.
    """
    cycle, first = divmod(turn, count)
    turned = [(first + index) % count for index in range(count)]
    return turned[::-1] if cycle % 2 else turned


def warm_up(subjects: Sequence[Subject]) -> tuple[int, float]:
    """Run all in turns until caches, allocators and clocks are likely to have settled.

    Returns the rounds that it took, and the seconds.
    """
    start, rounds, spent = time.perf_counter(), 0, 0.0
    while (
        rounds < _LEAST_ROUNDS
        or spent < WARM_S
        or (rounds < WARM_ROUNDS and spent < WARM_AT_MOST_S)
    ):
        for subject in subjects:
            subject.run(rounds)
        rounds += 1
        spent = time.perf_counter() - start
    return rounds, spent


def in_turns(
    subjects: Sequence[Subject],
    first: int,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> NDArray[np.float64]:
    """Return milliseconds, (rounds, subjects); `first` is the number of the first round.

    Drift hits all alike, since they take turns. With `time.process_time` for a clock, what other
    processes take is not in it; what one thread computes is then its latency on an idle machine.
    """
    took = np.empty((rounds, len(subjects)))
    for row in range(rounds):
        for index in order(len(subjects), first + row):
            start = clock()
            subjects[index].run(first + row)
            took[row, index] = clock() - start
    return 1e3 * took


def side_by_side(subjects: Sequence[Subject], seconds: float) -> float:
    """Return the runs per second of all together, each in a thread of its own for `seconds`.

    Each runs at least three times, after one run that is not counted. What an engine raises is
    raised here.
    """
    ready = threading.Barrier(len(subjects))
    faults: list[Exception] = []
    rates = [0.0] * len(subjects)

    def work(index: int) -> None:
        subject, runs = subjects[index], 0
        try:
            subject.run(0)
            ready.wait()
            start = now = time.perf_counter()
            while now < start + seconds or runs < _LEAST_ROUNDS:
                subject.run(runs)
                runs += 1
                now = time.perf_counter()
            rates[index] = runs / (now - start)
        except threading.BrokenBarrierError:  # another one has said why
            return
        except Exception as error:  # noqa: BLE001 - handed to the caller's thread
            faults.append(error)
            ready.abort()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(subjects))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return sum(rates)
