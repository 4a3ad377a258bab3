"""The governor: a rate of frames that the board can bear, so that results stay young.

A board that is too hot, or whose supply is too weak, lowers its clocks. Inference then takes twice
as long or more, and with every frame the results are older. Fewer frames instead mean less work,
so less heat and current; the clocks stay up, and what is answered is answered as fast as before.

Temperature. Heat is proportional to the share of the time in which the board works, so to the rate
of frames r, and the temperature T follows with a lag of seconds (the chip) to minutes (what it is
screwed to). That is what a PI controller is for, here in velocity form on the logarithm of r:

    d ln r = -(KP * dT + KI * (T - target) * dt)

The logarithm makes it the same for fast and slow models. The term of dT brakes in proportion to
how fast the target is approached, that of T - target leaves no lasting error. With a gain G =
-dT/dln r and a lag L the loop is L s^2 + (1 + KP G) s + KI G = 0, damped by (1 + KP G) /
(2 sqrt(KI G L)): 0.8 for a board of 45 K and 4 min, more for what is faster (Astrom and Hagglund,
"Advanced PID Control", 2006, chapter 3). From the target to `BAND_C` below it the rate is left
alone, so one that is right stays as it is. Nothing winds up: the limit starts from the rate that
is run, is never cut from far above it, and ends when it limits nothing.

Supply. There is nothing to measure, just a flag that is raised when it is too late. The rate is cut
by a fifth, held, and raised slowly, as senders on the internet find theirs (Chiu and Jain, 1989);
each time that ends in the flag again, it is held twice as long, up to `LONGEST_HOLD_S`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from device_profiles.errors import RequestError
from runtime.board import BoardHealth
from runtime.throttle import of_supply

KP = 0.1  # per K
KI = 0.001  # per K and second
BAND_C = 1.5
MARGIN_C = 2.0
"""How far below the temperature of throttling the target is: sensors are this good."""

FASTEST_RISE = 0.01  # of the rate, per second: it doubles in 70 s at the soonest
DEEPEST_CUT = 0.2  # of the rate, in one observation
CUT = 0.2
FIRST_HOLD_S = 30.0
LONGEST_HOLD_S = 960.0
_SETTLE_S = 5.0  # between two cuts, for the first to show
_CREEP = 0.1  # K per second by which the target falls while the board is throttled below it
_SLACK = 1.5  # a limit so far above the rate that is run limits nothing
_SMOOTH_S = 2.0  # of the temperature: sensors step by 0.5 to 1 K
_LONGEST_STEP_S = 10.0  # what is assumed to have passed where nobody observed for longer
_COOL_C = 55.0  # what throttles below does not do so for heat


@dataclass(frozen=True)
class GovernorOptions:
    """`max_temperature_c`, None: where the kernel itself would slow the board down, or where it was
    first seen throttled. The rate never goes below `floor_fps`, in frames per second."""

    max_temperature_c: float | None = None
    floor_fps: float = 1.0

    def __post_init__(self) -> None:
        top = self.max_temperature_c
        if top is not None and not 30 <= top <= 120:
            raise RequestError(f"the highest temperature must be 30 to 120 degrees, not {top:g}")
        if not (math.isfinite(self.floor_fps) and self.floor_fps > 0):
            raise RequestError(
                f"the lowest rate must be more than 0 frames a second, not {self.floor_fps:g}"
            )


class Governor:
    """Tells how long to wait between two frames taken: `interval_s`, 0 while there is no limit.

    `observe` about once a second; `reason` says why there is a limit. A governor has no thread and
    no clock of its own; use it from one thread at a time. See `Pace` for how to keep to it.
    """

    def __init__(self, options: GovernorOptions | None = None) -> None:
        self._options = options or GovernorOptions()
        self._rate = math.inf  # the limit, in frames per second
        self._seen_c = math.inf  # the lowest temperature at which the board was throttled
        self._then: float | None = None
        self._smooth_c: float | None = None
        self._hold_s = FIRST_HOLD_S
        self._cut_at = self._held_until = -math.inf
        self.reason = ""

    @property
    def interval_s(self) -> float:
        """The least time between two frames taken, in seconds."""
        return 1 / self._rate

    def observe(self, health: BoardHealth, fps: float, now: float) -> None:
        """Take into account how the board is at `now`, in seconds of a monotonic clock.

        `fps` is the rate at which frames were really taken since the last observation.
        """
        passed = 0.0 if self._then is None else min(max(now - self._then, 0.0), _LONGEST_STEP_S)
        self._then = now
        rise_c = self._follow(health.temperature_c, passed)
        weak = self._is_weak(health)
        if health.throttled and not weak and self._smooth_c is not None:
            self._learn(self._smooth_c, health.limit_c, passed)
        error_c = self._error(health.limit_c)
        if self._rate == math.inf:
            self._begin(weak or error_c > -BAND_C, fps)
        if self._rate == math.inf:
            return
        change = self._change(error_c, rise_c, passed)
        if weak:
            change = min(change, self._cut(now))
        elif now < self._held_until:
            change = min(change, 0.0)
        self._apply(change, fps)
        self.reason = self._words(health, weak)
        if error_c <= -BAND_C and now >= self._held_until and self._rate > _SLACK * fps:
            self._rate, self.reason = math.inf, ""  # it limits nothing

    def _follow(self, temperature_c: float | None, passed: float) -> float:
        """Smooth the temperature and return how much it rose."""
        before = self._smooth_c
        if temperature_c is None or before is None:
            self._smooth_c = temperature_c
            return 0.0
        self._smooth_c = before + (temperature_c - before) * -math.expm1(-passed / _SMOOTH_S)
        return self._smooth_c - before

    def _is_weak(self, health: BoardHealth) -> bool:
        """Whether the board is slowed down for something else than heat."""
        cool = health.temperature_c is None or health.temperature_c < _COOL_C
        return bool(health.throttled) and (cool or of_supply(health.throttle_reasons))

    def _learn(self, temperature_c: float, kernel_c: float | None, passed: float) -> None:
        """Take from being throttled that the target is too high, or what it could be."""
        if self._limit(kernel_c) == math.inf:
            self._seen_c = temperature_c
        elif self._error(kernel_c) <= 0:  # not just because it is still cooling down
            self._seen_c = max(_COOL_C, self._limit(kernel_c) - _CREEP * passed)

    def _limit(self, kernel_c: float | None) -> float:
        asked_c = self._options.max_temperature_c
        return min(asked_c or kernel_c or math.inf, self._seen_c)

    def _error(self, kernel_c: float | None) -> float:
        """Return how far above the target the board is, in K; -inf where there is no target."""
        if self._smooth_c is None:
            return -math.inf
        return self._smooth_c - (self._limit(kernel_c) - MARGIN_C)

    def _begin(self, needed: bool, fps: float) -> None:
        """Start to limit, from the rate that is run."""
        if needed and fps > 0:
            self._rate = max(fps, self._options.floor_fps)
            self._held_until = -math.inf

    def _change(self, error_c: float, rise_c: float, passed: float) -> float:
        """Return the change of the logarithm of the rate that the temperature asks for."""
        most = FASTEST_RISE * passed
        if error_c == -math.inf:
            return most
        outside_c = max(error_c, 0.0) + min(error_c + BAND_C, 0.0)
        return min(most, max(-DEEPEST_CUT, -(KP * rise_c + KI * outside_c * passed)))

    def _cut(self, now: float) -> float:
        """Return the change that a weak supply asks for, and hold what it leads to."""
        if now < self._cut_at + _SETTLE_S:
            return 0.0
        raised = self._held_until < now
        if self._cut_at == -math.inf or now > self._held_until + LONGEST_HOLD_S:
            self._hold_s = FIRST_HOLD_S
        elif raised:
            self._hold_s = min(2 * self._hold_s, LONGEST_HOLD_S)
        self._cut_at, self._held_until = now, now + self._hold_s
        return math.log1p(-CUT)

    def _apply(self, change: float, fps: float) -> None:
        if change < 0 and fps > 0:
            self._rate = min(self._rate, _SLACK * fps)
        self._rate = max(self._rate * math.exp(change), self._options.floor_fps)

    def _words(self, health: BoardHealth, weak: bool) -> str:
        if weak:
            return ", ".join(health.throttle_reasons) or "throttled"
        if health.temperature_c is None:
            return self.reason
        return f"{health.temperature_c:.0f} °C"


class Pace:
    """Keeps frames to a rate: `wait_s` before the next may be taken, then `took` it.

    What is lost by waiting for a frame is made up for by the next one, so the mean rate is the one
    asked for even where frames come at fixed times; a longer pause is not made up for.
    """

    def __init__(self) -> None:
        self._due = -math.inf

    def wait_s(self, now: float) -> float:
        """Return for how long, from `now`, no frame is to be taken."""
        return max(0.0, self._due - now)

    def took(self, now: float, interval_s: float) -> None:
        """Note that a frame was taken at `now`; the next is due one interval after it was due."""
        late_s = now - self._due
        self._due = interval_s + (self._due if late_s <= interval_s else now)
