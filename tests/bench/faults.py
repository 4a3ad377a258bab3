"""Faults of cameras: how soon they are noticed, how soon results flow again, what is left behind.

    python tests/bench/faults.py [--faults 200] [--seed 0] [--hour] [--json FILE]

One pipeline reads three cameras at once: RTSP and MJPEG from real servers, and one of a file that
stands in for V4L2. Each has faults of its own at random times: it freezes, or it is killed (pulled
out), until that was noticed and for up to two seconds more. `noticed` is the time from the fault
until the source is no longer LIVE, `flows` the time from the camera's return (a server is back when
it serves) until a result whose frame's pixel clock is younger than that.

--hour compresses the frames of an hour at 30 a second: the camera of a file gives 108000 frames as
fast as the machine takes them, with the faults spread over them. The slope of the resident memory
is then stated per such an hour, by least squares over all but the first tenth of the run.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)

import cv2  # noqa: E402 - after the path is set
import numpy as np  # noqa: E402

from runtime.opencv import opencv  # noqa: E402
from runtime.pipeline import Pipeline  # noqa: E402
from runtime.pixel_clock import read_clock  # noqa: E402
from runtime.sources import Source, open_source  # noqa: E402
from runtime.status import SourceState  # noqa: E402
from tests.bench.cameras import Plug, Server, missing_for_rtsp  # noqa: E402
from tests.bench.sleeper import sleeping_runner  # noqa: E402

HOUR_FRAMES = 30 * 3600
HOUR_FPS = 400.0
BAR_S = 2.0
LOST_S = 60.0  # what takes longer hangs
WORK_S = 0.002
MB = 2**20


@dataclass(frozen=True)
class Outcome:
    """One fault, in seconds; infinite where it hung."""

    camera: str
    fault: str
    noticed: float
    flows: float


class Results(threading.Thread):
    """Takes the results of the pipeline, and knows the newest time seen in each source's."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(name="results", daemon=True)
        self.count = 0
        self.wanted: set[str] = set()
        self._pipeline = pipeline
        self._newest: dict[str, int] = {}
        self._changed = threading.Condition()

    def run(self) -> None:
        for frame, _result in self._pipeline:
            self.count += 1
            clock = read_clock(frame.image) if frame.source in self.wanted else None
            if clock is not None:
                with self._changed:
                    self._newest[frame.source] = clock
                    self._changed.notify_all()

    def wait(self, source: str, after_ns: int) -> float:
        """Wait for a result of a frame taken after that time; return the seconds since then."""
        self.wanted.add(source)
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._newest.get(source, 0) > after_ns + 1_000_000, LOST_S
            )
        self.wanted.discard(source)
        return (time.monotonic_ns() - after_ns) / 1e9 if done else float("inf")


@dataclass(frozen=True)
class Victim:
    """A camera, and the source that reads it."""

    name: str
    camera: Server | Plug
    source: Any

    def suffer(self, results: Results, rng: random.Random) -> Outcome:
        """Break the camera, mend it, and measure both."""
        fault = rng.choice(("frozen", "killed"))
        began = time.monotonic()
        self.camera.freeze() if fault == "frozen" else self.camera.kill()
        noticed = self._wait_noticed(began)
        time.sleep(rng.uniform(0, 2))
        self.camera.thaw() if fault == "frozen" else self.camera.start()
        flows = results.wait(self.source.uri, time.monotonic_ns())
        return Outcome(self.name, fault, noticed, flows)

    def _wait_noticed(self, began: float) -> float:
        while self.source.status().state is SourceState.LIVE:
            if time.monotonic() - began > LOST_S:
                return float("inf")
            time.sleep(0.005)
        return time.monotonic() - began


class Footprint(threading.Thread):
    """Samples what the process holds, against the frames that it has seen."""

    def __init__(self, results: Results) -> None:
        super().__init__(name="footprint", daemon=True)
        self.samples: list[tuple[float, float]] = []
        self.over = threading.Event()
        self._results = results

    def run(self) -> None:
        while not self.over.wait(0.5):
            self.samples.append((self._results.count, resident()))

    def slope(self) -> float:
        """Return the growth of resident memory in bytes per result."""
        settled = self.samples[len(self.samples) // 10 :]
        if len(settled) < 3:
            return float("nan")
        counts, bytes_ = np.array(settled).T
        return float(np.polyfit(counts, bytes_, 1)[0])


def resident() -> float:
    """Return the resident memory of this process in bytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * float(os.sysconf("SC_PAGE_SIZE"))


def held() -> dict[str, int]:
    """Return the threads, files and processes of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    files = len(os.listdir("/proc/self/fd"))
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "files": files,
        "children": len(children),
    }


def plugged(folder: Path, fps: float) -> Plug:
    """Return a camera of a file, which OpenCV opens when it is asked for V4L2."""
    path = folder / "camera.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (1280, 720))
    for index in range(10):
        writer.write(np.full((720, 1280, 3), 20 * index, np.uint8))
    writer.release()
    plug, real = Plug(path, fps), cv2.VideoCapture

    def capture(device: Any, backend: int = 0, *rest: Any) -> Any:
        if backend == cv2.CAP_V4L2:
            return plug.capture(device, backend)
        return real(device, backend, *rest)

    cv2.VideoCapture = capture
    return plug


def torment(victims: list[Victim], results: Results, options: argparse.Namespace) -> list[Outcome]:
    """Break every camera in a thread of its own, at random times, until that was enough."""
    outcomes: list[Outcome] = []
    lock = threading.Lock()
    left = [options.faults]

    def run(victim: Victim, rng: random.Random) -> None:
        while True:
            time.sleep(rng.uniform(0.2, 2.0))
            with lock:
                if not left[0]:
                    return
                left[0] -= 1
            outcome = victim.suffer(results, rng)
            with lock:
                outcomes.append(outcome)
                print(f"\r{len(outcomes)} of {options.faults}", end="", file=sys.stderr, flush=True)

    threads = [
        threading.Thread(target=run, args=(victim, random.Random(options.seed + number)))
        for number, victim in enumerate(victims)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while options.hour and results.count < HOUR_FRAMES:
        time.sleep(0.1)
    print(file=sys.stderr)
    return outcomes


def table(outcomes: list[Outcome]) -> bool:
    """Print what was measured; say whether every fault kept the bar."""
    print(
        f"{'camera':8}{'fault':8}{'n':>5}{'noticed p50':>13}{'max':>7}{'flows p50':>11}{'max':>7}"
    )
    for key in sorted({(o.camera, o.fault) for o in outcomes}):
        rows = [o for o in outcomes if (o.camera, o.fault) == key]
        noticed, flows = ([getattr(o, name) for o in rows] for name in ("noticed", "flows"))
        print(
            f"{key[0]:8}{key[1]:8}{len(rows):5}{np.median(noticed):13.2f}{max(noticed):7.2f}"
            f"{np.median(flows):11.2f}{max(flows):7.2f}"
        )
    slow = [o for o in outcomes if max(o.noticed, o.flows) > BAR_S]
    print(f"bar: each within {BAR_S:g} s: {f'{len(slow)} were not' if slow else 'held'}")
    for outcome in slow:
        print(f"  {outcome}")
    return not slow


def settle(victims: list[Victim], before: dict[str, int]) -> dict[str, int]:
    """Wait until all are LIVE again and what hung has returned; return what is held then."""
    end = time.monotonic() + LOST_S
    while time.monotonic() < end:
        live = all(victim.source.status().state is SourceState.LIVE for victim in victims)
        now = held()
        if live and all(now[name] <= before[name] for name in now):
            break
        time.sleep(0.1)
    return held()


def campaign(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the pipeline and break its cameras; print and return what was found."""
    plug = plugged(folder, HOUR_FPS if options.hour else 30.0)
    servers = {name: Server(name) for name in options.cameras if name != "v4l2"}
    cameras: dict[str, Server | Plug] = {
        **servers,
        **({"v4l2": plug} if "v4l2" in options.cameras else {}),
    }
    uris = {name: server.uri for name, server in servers.items()} | {"v4l2": "camera:0"}
    sources: list[Source] = [open_source(uris[name]) for name in cameras]
    victims = [
        Victim(name, camera, source)
        for (name, camera), source in zip(cameras.items(), sources, strict=True)
    ]
    began = time.monotonic()
    try:
        pipeline = Pipeline(sleeping_runner(WORK_S), sources)
        results = Results(pipeline)
        footprint = Footprint(results)
        results.start()
        for victim in victims:
            results.wait(victim.source.uri, time.monotonic_ns())
        time.sleep(2)
        footprint.start()
        before, at_first = held(), resident()
        outcomes = torment(victims, results, options)
        after, at_last = settle(victims, before), resident()
        names = [thread.name for thread in threading.enumerate()]
        footprint.over.set()
        pipeline.close()
        results.join(LOST_S)
    finally:
        for server in servers.values():
            server.kill()
    seconds = time.monotonic() - began
    kept = table(outcomes)
    slope = footprint.slope() * HOUR_FRAMES / MB
    print(f"{results.count} results and {len(outcomes)} faults in {seconds:.0f} s")
    print(f"before {before}, after {after}; resident {at_first / MB:.0f} -> {at_last / MB:.0f} MiB")
    print(f"slope of resident memory: {slope:+.2f} MiB per hour of {HOUR_FRAMES} frames")
    print("threads:", ", ".join(sorted(names)))
    hung = results.is_alive()
    kept = kept and not hung and all(after[name] <= before[name] for name in after)
    return {
        **{"held": kept, "hung": hung, "seconds": seconds, "results": results.count},
        **{"before": before, "after": after, "slope_mib_per_hour": slope},
        "resident_mib": [[n, round(size / MB, 1)] for n, size in footprint.samples],
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Faults of cameras, noticed and survived.")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hour", action="store_true", help="the frames of an hour, compressed")
    parser.add_argument("--cameras", nargs="+", default=["rtsp", "mjpeg", "v4l2"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    reason = missing_for_rtsp() if "rtsp" in options.cameras else ""
    if reason:
        print(f"no RTSP server here ({reason}); name others with --cameras", file=sys.stderr)
        return 3
    opencv().setNumThreads(1)
    logging.getLogger("edge_sdk").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(options, Path(folder))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if found["held"] else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # not the usual way out: a thread that reads may hang in C
