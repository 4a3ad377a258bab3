"""Ids that stay with things from frame to frame.

The method is that of ByteTrack (Zhang et al. 2022, arXiv:2110.06864) over the motion model of SORT
(Bewley et al. 2016, arXiv:1602.00763): a Kalman filter says where each thing must be by now, boxes
are given to things so that they overlap the most, first those that are surely there, then the
others. Unlike there, time is counted in seconds and not in frames, so that a dropped frame changes
nothing; and whatever is shown can become a thing, but for good only when it is seen twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np

from runtime.assignment import assign
from runtime.boxes import Indices, Numbers, iou

SURE = 0.5
"""The score from which a box is given to a thing first (ByteTrack: track_thresh)."""
KEEP_S = 2.0
"""How long a thing that is not seen keeps its id, in seconds. ByteTrack keeps 30 frames, a second
of its videos; a small device sees a tenth of these."""
# The least overlap between where a thing must be and a box: of sure boxes, of others, and of
# things seen but once (BYTETracker.update: distances below 0.8, 0.5, 0.7).
_LEAST = (0.2, 0.5, 0.3)
# Detectors waver between a car and a truck: a box of another class is the same thing where it lies
# that well. It is worth half, so that boxes of the own class go before it.
_OTHER_CLASS, _OTHER_WORTH = 0.7, 0.5

# What was not seen for long is worth half, so that it does not take the box of what was.
_HIDDEN_WORTH = 0.5

# Variances in units of the thing's size, squared, and seconds. They are the standard deviations of
# ByteTrack's filter (kalman_filter.py: 1/20 of the height for places and 1/160 per frame for
# velocities, doubled and tenfold for a new thing), which are for frames at 30 per second.
_MEASURED = (1 / 20) ** 2
_PLACE = 30 * (1 / 20) ** 2
_VELOCITY = 30 * (30 / 160) ** 2
_NEW_PLACE, _NEW_VELOCITY = (2 / 20) ** 2, (10 * 30 / 160) ** 2


@dataclass(frozen=True, eq=False)
class _Thing:
    """A thing as it was when seen last: its id (None until it was seen twice), class, time.

    The centre moves at `velocity` (pixels per second), the size stays; `spread` are the variances
    of place and velocity and their covariance, `size_spread` that of the size.
    """

    id: int | None
    index: int
    seen_ns: int
    centre: Numbers
    size: Numbers
    velocity: Numbers
    spread: tuple[float, float, float] = (_NEW_PLACE, 0.0, _NEW_VELOCITY)
    size_spread: float = _NEW_PLACE

    def at(self, now_ns: int) -> _Thing:
        """Return what must have become of it by `now_ns`."""
        dt = max(now_ns - self.seen_ns, 0) / 1e9
        place, both, velocity = self.spread
        place += 2 * both * dt + velocity * dt**2 + _VELOCITY * dt**3 / 3 + _PLACE * dt
        both += velocity * dt + _VELOCITY * dt**2 / 2
        velocity += _VELOCITY * dt
        centre = self.centre + self.velocity * dt
        spread, size_spread = (place, both, velocity), self.size_spread + _PLACE * dt
        return _Thing(
            self.id, self.index, self.seen_ns, centre, self.size, self.velocity, spread, size_spread
        )

    def seen(self, box: Numbers, index: int, now_ns: int, identity: int) -> _Thing:
        """Return it once it was seen in `box`; it must be `at` that time."""
        centre, size = _centred(box)
        place, both, velocity = self.spread
        gain, push = place / (place + _MEASURED), both / (place + _MEASURED)
        size_gain = self.size_spread / (self.size_spread + _MEASURED)
        off = centre - self.centre
        return _Thing(
            identity if self.id is None else self.id,
            index,
            now_ns,
            self.centre + gain * off,
            self.size + size_gain * (size - self.size),
            self.velocity + push * off,
            ((1 - gain) * place, (1 - gain) * both, velocity - push * both),
            (1 - size_gain) * self.size_spread,
        )

    @property
    def box(self) -> Numbers:
        """Left, top, right, bottom."""
        return np.concatenate([self.centre - self.size / 2, self.centre + self.size / 2])


class Tracker:
    """Follows the things of one camera. Ids count from 1 and are never given twice."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._things: list[_Thing] = []
        self._ids = count(1)
        self._started = False

    def update(
        self, boxes: Numbers, scores: Numbers, classes: Indices, now_ns: int
    ) -> list[int | None]:
        """Return the id of each of `boxes` (n, 4) that were seen at `now_ns`, in their order.

        None is for what is seen for the first time: it may be a mistake of the detector. What is
        there from the first picture on has its id at once.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        known = [thing.at(now_ns) for thing in self._things]
        seen = _Seen(boxes, np.asarray(scores), np.asarray(classes), now_ns)
        found = _matched(known, seen)
        kept = {}
        for row, thing in found.items():
            identity = next(self._ids) if thing.id is None else thing.id
            kept[row] = thing.seen(boxes[row], int(classes[row]), now_ns, identity)
        for row in range(len(boxes)):
            if row not in kept:
                kept[row] = self._new(boxes[row], int(classes[row]), now_ns)
        taken = {id(thing) for thing in found.values()}
        self._things = [kept[row] for row in range(len(boxes))] + [
            before
            for before, thing in zip(self._things, known, strict=True)
            if id(thing) not in taken and _lasts(thing, now_ns)
        ]
        self._started = self._started or bool(len(boxes))
        return [kept[row].id for row in range(len(boxes))]

    def _new(self, box: Numbers, index: int, now_ns: int) -> _Thing:
        identity = None if self._started else next(self._ids)
        return _Thing(identity, index, now_ns, *_centred(box), velocity=np.zeros(2))


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a picture shows: boxes (n, 4), scores and classes (n,), and when that was."""

    boxes: Numbers
    scores: Numbers
    classes: Indices
    now_ns: int


def _matched(known: list[_Thing], seen: _Seen) -> dict[int, _Thing]:
    """Return the thing of each row of `seen` that is one of the `known`."""
    found: dict[int, _Thing] = {}
    sure = seen.scores >= SURE
    lasting = [thing for thing in known if thing.id is not None]
    fresh = [thing for thing in known if thing.id is None]
    stages = ((lasting, sure), (lasting, ~sure), (fresh, np.ones_like(sure)))
    for least, (things, able) in zip(_LEAST, stages, strict=True):
        taken = {id(thing) for thing in found.values()}
        free = [thing for thing in things if id(thing) not in taken]
        rows = [row for row in np.flatnonzero(able).tolist() if row not in found]
        if free and rows:
            pairs = assign(_worth(free, seen, rows, least))
            found |= {rows[column]: free[row] for row, column in pairs}
    return found


def _worth(things: list[_Thing], seen: _Seen, rows: list[int], least: float) -> Numbers:
    """Return what it is worth to take each of `rows` for each of `things`, 0 where they are two."""
    overlap = iou(np.stack([thing.box for thing in things]), seen.boxes[rows])
    other = np.array([thing.index for thing in things])[:, None] != seen.classes[rows]
    overlap[(overlap < least) | other & (overlap < _OTHER_CLASS)] = 0.0
    overlap[other] *= _OTHER_WORTH
    hidden = np.array([seen.now_ns - thing.seen_ns for thing in things]) / (KEEP_S * 1e9)
    worth: Numbers = overlap * (1 - (1 - _HIDDEN_WORTH) * np.clip(hidden, 0, 1)[:, None])
    return worth


def _lasts(thing: _Thing, now_ns: int) -> bool:
    return thing.id is not None and now_ns - thing.seen_ns <= KEEP_S * 1e9


def _centred(box: Numbers) -> tuple[Numbers, Numbers]:
    return (box[:2] + box[2:]) / 2, box[2:] - box[:2]
