"""When a frame of a stream was captured, by the stream's own clock."""

from __future__ import annotations

_DRIFT = 500e-6
"""How much faster or slower than ours a camera's clock may run; crystals keep within a fifth."""


class StreamClock:
    """Tells the time of capture from a frame's time of arrival and its time stamp.

    The two clocks differ by an unknown constant and the way here takes an unknown time, which is
    never negative: the least difference seen is the constant plus the fastest way. A frame that
    took longer (it lay in a buffer while the network or the server stood still) is older by that
    much. What is unknown is the fastest way itself: ages are too low by its length.
    """

    def __init__(self) -> None:
        self._least_ns: float | None = None
        self._last_stamp_ns = self._last_arrival_ns = 0

    def captured_ns(self, arrival_ns: int, stamp_ns: int) -> int:
        """Return the time of capture of a frame by the clock of `arrival_ns`, never later than it.

        Stamps that do not grow belong to no clock, or to one that was set: from such a frame on,
        counting begins anew.
        """
        difference = arrival_ns - stamp_ns
        if self._least_ns is None or stamp_ns <= self._last_stamp_ns:
            self._least_ns = difference
        else:
            drift = _DRIFT * (arrival_ns - self._last_arrival_ns)
            self._least_ns = min(self._least_ns + drift, difference)
        self._last_stamp_ns, self._last_arrival_ns = stamp_ns, arrival_ns
        return arrival_ns - round(difference - self._least_ns)
