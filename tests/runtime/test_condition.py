"""What may disturb a timing, as the kernel shows it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from runtime.condition import Watch
from tests.runtime.boards import policy, zone

TICKS = os.sysconf("SC_CLK_TCK")


def planted(root: Path, **files: str) -> None:
    trees = {**policy(0, 600_000, 1_800_000, "powersave"), **zone(0, "cpu-thermal", 61_000)}
    for path, content in {**trees, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)


def test_a_board(tmp_path: Path) -> None:
    planted(
        tmp_path,
        **{
            "proc/loadavg": "3.25 1.60 0.85 7/120 14293\n",
            "proc/stat": "cpu  100 20 30 4000 500 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n",
        },
    )
    seen = Watch(tmp_path).look()
    assert (seen["load_average"], seen["runnable"]) == (3.25, 6)
    assert seen["busy_s"] == (100 + 20 + 30 + 6 + 7 + 8) / TICKS
    assert (seen["governor"], seen["temperature_c"], seen["clock_mhz"]) == ("powersave", 61, 600)


def test_what_is_not_told_or_is_nonsense_is_left_out(tmp_path: Path) -> None:
    planted(tmp_path, **{"proc/loadavg": "busy\n", "proc/stat": "cpu x\n"})
    seen = Watch(tmp_path).look()
    assert {"load_average", "runnable", "busy_s"}.isdisjoint(seen)
    assert {"load_average", "busy_s"}.isdisjoint(Watch(tmp_path / "nowhere").look())


def test_own_work_is_told_from_that_of_others() -> None:
    watch = Watch()
    first, end = watch.look(), time.perf_counter() + 0.3
    while time.perf_counter() < end:
        pass
    last = watch.look()
    own, busy = (last[key] - first[key] for key in ("own_s", "busy_s"))
    assert 0.02 < own <= last["at_s"] - first["at_s"] + 0.05
    assert busy > own - 0.05, "what is busy includes this process; the kernel counts in ticks"
