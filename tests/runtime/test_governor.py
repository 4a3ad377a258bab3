"""The governor against a simulated board: chip and heat sink, firmware that halves the clock."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from device_profiles.errors import RequestError
from runtime.board import BoardHealth
from runtime.governor import CUT, FIRST_HOLD_S, LONGEST_HOLD_S, Governor, GovernorOptions, Pace

CAMERA_FPS = 30
WORK_S = 0.03


@dataclass
class Plant:
    """Two thermal masses (K/W, J/K); above 80 degrees the clock is halved until it is below 78.

    A frame takes 30 ms at the full clock, so 30 a second are 90% of the time. In kelvin and watt
    as of a Pi in a closed case, which would go to 121 degrees.
    """

    ambient_c: float = 30.0
    sink_j: float = 30.0
    chip_j: float = 2.0
    watts: float = 5.0
    throttled: bool = False
    chip_c: float = 40.0
    sink_c: float = 38.0

    @property
    def work_s(self) -> float:
        return WORK_S * (2 if self.throttled else 1)

    def second(self, busy: float) -> None:
        power = 2.0 + self.watts * min(busy, 1.0) * (0.25 if self.throttled else 1)
        for _ in range(20):
            flow = (self.chip_c - self.sink_c) / 6.0
            self.chip_c += (power - flow) / self.chip_j / 20
            self.sink_c += (flow - (self.sink_c - self.ambient_c) / 8.0) / self.sink_j / 20
        self.throttled = self.chip_c > (78 if self.throttled else 80)

    def health(self, limit_c: float | None = None) -> BoardHealth:
        return BoardHealth(
            temperature_c=round(self.chip_c * 2) / 2,  # as coarse as sensors are
            limit_c=limit_c,
            throttled=self.throttled,
            throttle_reasons=("throttled",) if self.throttled else (),
        )


@dataclass
class Run:
    """A camera and a model that always takes the newest frame: a row for each second."""

    plant: Plant
    governor: Governor | None = None
    limit_c: float | None = None
    now: float = 0.0
    free_at: float = 0.0
    pace: Pace = field(default_factory=Pace)
    fps: list[int] = field(default_factory=list)
    degrees: list[float] = field(default_factory=list)
    throttled: list[bool] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    limited: list[bool] = field(default_factory=list)

    def seconds(self, count: int) -> Run:
        for _ in range(count):
            self._second()
        return self

    def _second(self) -> None:
        taken, oldest = 0, 0.0
        for frame in range(CAMERA_FPS):
            at = self.now + frame / CAMERA_FPS
            start = max(at, self.free_at, at + self.pace.wait_s(at))
            if start < at + 1 / CAMERA_FPS:  # until then this is the newest
                self.free_at = start + self.plant.work_s
                self.pace.took(start, self.governor.interval_s if self.governor else 0.0)
                oldest = max(oldest, self.free_at - at)
                taken += 1
        self.now += 1
        self.plant.second(taken * self.plant.work_s)
        if self.governor is not None:
            self.governor.observe(self.plant.health(self.limit_c), taken, self.now)
            self.limited.append(self.governor.interval_s > 0)
        self.fps.append(taken)
        self.degrees.append(self.plant.chip_c)
        self.throttled.append(self.plant.throttled)
        self.ages.append(oldest)


PLANTS = {
    "case": Plant(),
    "heavy sink": Plant(sink_j=150),
    "bare chip": Plant(sink_j=5, chip_j=0.5),
    "hot room": Plant(ambient_c=40),
    "hungry": Plant(watts=9),
}


@pytest.mark.parametrize("name", PLANTS)
def test_it_settles_below_throttling_and_results_stay_young(name: str) -> None:
    made = Plant(**vars(PLANTS[name]))
    run = Run(made, Governor()).seconds(3600)
    last = slice(-900, None)
    assert sum(run.throttled) < 60  # until it knows where the limit is
    assert not any(run.throttled[last])
    assert max(run.degrees[last]) - min(run.degrees[last]) < 1.5
    assert max(run.fps[last]) - min(run.fps[last]) <= 2  # 1 is how a rate falls into seconds
    settled = sum(run.fps[last]) / 900
    assert settled > 1.5  # and not just at the floor
    # 63 ms: a frame that just missed its turn waits for one of the camera, then 30 ms of work.
    assert max(run.ages[last]) <= WORK_S + 1 / CAMERA_FPS + 1e-6
    assert sum(age > 0.07 for age in run.ages) < 60


def test_without_it_the_board_is_throttled_for_good_and_results_are_older() -> None:
    run = Run(Plant()).seconds(3600)
    assert sum(run.throttled[-900:]) > 700
    assert sorted(run.ages)[3600 // 2] > 0.09


def test_a_temperature_asked_for_is_kept() -> None:
    run = Run(Plant(), Governor(GovernorOptions(max_temperature_c=70))).seconds(2400)
    assert not any(run.throttled)
    assert max(run.degrees) < 72.5  # it comes fast, and is braked
    assert 65 < min(run.degrees[-600:]) <= max(run.degrees[-600:]) < 69


def test_the_kernels_own_limit_is_known_beforehand() -> None:
    run = Run(Plant(), Governor(), limit_c=78).seconds(2400)
    assert not any(run.throttled)
    assert max(run.degrees[-600:]) < 77


def test_where_it_is_cool_there_is_no_limit() -> None:
    run = Run(Plant(watts=1), Governor()).seconds(1200)
    assert not any(run.limited)
    assert set(run.fps) == {CAMERA_FPS}


def test_the_limit_goes_slowly_when_it_gets_cool() -> None:
    run = Run(Plant(), Governor()).seconds(1800)
    low = run.fps[-1]
    assert run.limited[-1]
    run.plant.watts = 1
    run.seconds(1200)
    assert not any(run.limited[-60:])
    assert set(run.fps[-60:]) == {CAMERA_FPS}
    rise = run.fps[1800:]
    assert max(rise[:60]) < 2 * low
    assert not any(run.throttled[1800:])


def test_a_camera_that_pauses_does_not_let_the_rate_jump() -> None:
    governor = Governor(GovernorOptions(max_temperature_c=70))
    run = Run(Plant(), governor).seconds(1800)
    before = governor.interval_s
    for second in range(20):
        governor.observe(BoardHealth(temperature_c=69.5), 0.0, run.now + second)
    assert governor.interval_s >= 0.9 * before


WEAK = BoardHealth(
    temperature_c=48, throttled=True, under_voltage=True, throttle_reasons=("under-voltage",)
)
WELL = BoardHealth(temperature_c=48, throttled=False, under_voltage=False)


def rates(governor: Governor, most: float, seconds: int, can: float = 30.0) -> list[float]:
    """Return the rates where the supply is too weak for more than `most` frames a second."""
    fps, found = can, []
    for now in range(seconds):
        governor.observe(WEAK if fps > most else WELL, fps, float(now))
        fps = min(can, 1 / governor.interval_s) if governor.interval_s else can
        found.append(fps)
    return found


def test_a_weak_supply_is_asked_for_less_and_less_often_for_more() -> None:
    governor = Governor()
    found = rates(governor, 15, 7200)
    assert found[20] <= 15
    over = [now for now, fps in enumerate(found) if fps > 15]
    assert len(over) < 0.02 * len(found)
    assert max(found[3600:]) < 17
    trials = [b for a, b in pairwise(over) if b - a > 1]
    waits = [b - a for a, b in pairwise(trials)]
    assert all(later >= sooner - 5 for sooner, later in pairwise(waits))
    assert waits[-1] >= LONGEST_HOLD_S > waits[0] >= FIRST_HOLD_S
    assert governor.reason in ("under-voltage", "48 °C")


def test_a_weak_supply_that_is_mended_leaves_no_limit() -> None:
    governor = Governor()
    rates(governor, 15, 60)
    assert governor.interval_s > 0
    for now in range(60, 400):
        governor.observe(WELL, min(30.0, 1 / governor.interval_s if governor.interval_s else 30.0),
                         float(now))  # fmt: skip
    assert governor.interval_s == 0
    assert governor.reason == ""


def test_one_cut_is_given_time_to_show() -> None:
    governor = Governor()
    for now in range(5):
        governor.observe(WEAK, 30.0, float(now))
    assert 1 / governor.interval_s == pytest.approx(30 * (1 - CUT))
    governor.observe(WEAK, 24.0, 5.0)
    assert 1 / governor.interval_s == pytest.approx(30 * (1 - CUT) ** 2)


def test_the_rate_never_falls_below_the_floor() -> None:
    governor = Governor(GovernorOptions(floor_fps=5))
    for now in range(1000):
        governor.observe(BoardHealth(temperature_c=99, throttled=True), 6.0, float(now))
    assert governor.interval_s == pytest.approx(1 / 5)
    assert governor.reason == "99 °C"


@pytest.mark.parametrize("health", [BoardHealth(), BoardHealth(temperature_c=60.0), WELL])
def test_a_board_that_tells_nothing_bad_is_not_limited(health: BoardHealth) -> None:
    governor = Governor()
    for now in range(100):
        governor.observe(health, 30.0, float(now))
    assert governor.interval_s == 0


def test_throttled_is_enough_where_there_is_no_thermometer() -> None:
    governor = Governor()
    governor.observe(BoardHealth(throttled=True), 20.0, 0.0)
    assert 1 / governor.interval_s == pytest.approx(16)
    assert governor.reason == "throttled"


@pytest.mark.parametrize("fps", [0.0, math.nan])
def test_a_run_without_frames_is_not_limited(fps: float) -> None:
    governor = Governor()
    governor.observe(WEAK, fps, 0.0)
    assert governor.interval_s == 0


def test_a_clock_that_stands_or_jumps_does_no_harm() -> None:
    governor = Governor(GovernorOptions(max_temperature_c=70))
    hot = BoardHealth(temperature_c=75.0)
    for now in (0.0, 0.0, -5.0, 1e9, 1e9):
        governor.observe(hot, 30.0, now)
    assert 1 / 30 <= governor.interval_s < 1 / 15


def test_a_thermometer_that_comes_and_goes() -> None:
    governor = Governor(GovernorOptions(max_temperature_c=70))
    for now in range(100):
        found = 75.0 if now % 3 else None
        governor.observe(BoardHealth(temperature_c=found), 30.0, float(now))
    assert governor.interval_s > 1 / 30


@pytest.mark.parametrize(
    "wrong",
    [{"max_temperature_c": 0}, {"max_temperature_c": 200}, {"max_temperature_c": math.nan},
     {"floor_fps": 0}, {"floor_fps": -1}, {"floor_fps": math.nan}, {"floor_fps": math.inf}],
)  # fmt: skip
def test_options_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError, match="must be"):
        GovernorOptions(**wrong)


@pytest.mark.parametrize("rate", [7.0, 12.0, 22.0, 29.0])
def test_pace_keeps_the_mean_rate_of_frames_that_come_at_fixed_times(rate: float) -> None:
    pace, taken = Pace(), 0
    for frame in range(30 * 60):
        now = frame / 30
        if pace.wait_s(now) <= 1e-9:
            pace.took(now, 1 / rate)
            taken += 1
    assert taken / 60 == pytest.approx(rate, rel=0.01)


def test_pace_does_not_make_up_for_a_pause() -> None:
    pace = Pace()
    pace.took(0.0, 0.1)
    assert pace.wait_s(0.04) == pytest.approx(0.06)
    pace.took(50.0, 0.1)
    assert pace.wait_s(50.0) == pytest.approx(0.1)


def test_pace_without_a_limit_never_waits() -> None:
    pace = Pace()
    for now in (0.0, 0.0, 1.0):
        assert pace.wait_s(now) == 0.0
        pace.took(now, 0.0)
