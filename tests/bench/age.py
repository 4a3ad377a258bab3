"""Age of results, from glass to result, by the clock in the pixels of the frame of each result.

    python tests/bench/age.py [--seconds 600] [--work-ms 100] [--cameras rtsp mjpeg] [--json FILE]

Cameras are real servers of 720p30 in processes of their own (`servers/`). Each reader runs alone in
a fresh process, with the same artificial work per frame; ages are of all results from the first
one on. The readers beside ours are the patterns that others document, in our words:

naive        read, work, read, as in the tutorials of OpenCV
ultralytics  `LoadStreams` (ultralytics/data/loaders.py): a thread grabs and decodes every frame and
             leaves the newest in a list; the loop polls the list once a frame interval and clears
             it (documented as `stream_buffer=False`, the default)
roboflow     `VideoSource` (inference/core/interfaces/camera/video_source.py), which feeds its
             `InferencePipeline`: a thread grabs; a queue of 64 frames drops the oldest when it is
             full (DROP_OLDEST) and every read empties it for its newest (EAGER), both the defaults
             for streams

The bar: 99% of the ages are within a frame interval, the work, and 60 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)

import cv2  # noqa: E402 - after the path is set
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from runtime.pipeline import Pipeline  # noqa: E402
from runtime.pixel_clock import age_ns  # noqa: E402
from tests.bench.cameras import Server, missing_for_rtsp  # noqa: E402
from tests.bench.sleeper import sleeping_runner  # noqa: E402

FPS = 30
SLACK_MS = 60.0
GRACE_S = 60.0  # for a reader to start and to end
Image = NDArray[np.uint8]


# --- the readers: each yields the pictures whose results are ready


def ours(uri: str, work_s: float) -> Iterator[Image]:
    """The pipeline, with a model that sleeps."""
    with Pipeline(sleeping_runner(work_s), uri) as pipeline:
        for frame, _result in pipeline:
            yield frame.image


def naive(uri: str, work_s: float) -> Iterator[Image]:
    """Read, work, read."""
    capture = cv2.VideoCapture(uri)
    while True:
        ok, image = capture.read()
        if not ok:
            return
        time.sleep(work_s)
        yield image


def ultralytics(uri: str, work_s: float) -> Iterator[Image]:
    """A thread that leaves the newest picture in a list, which is polled."""
    capture = cv2.VideoCapture(uri)
    stated = capture.get(cv2.CAP_PROP_FPS)
    pause_s = 1 / (stated % 100 if 0 < stated < np.inf and stated % 100 else 30)
    newest: list[list[Image]] = [[capture.read()[1]]]

    def update() -> None:
        while capture.isOpened():
            capture.grab()
            ok, image = capture.retrieve()
            if ok:
                newest[0] = [image]

    threading.Thread(target=update, daemon=True).start()
    while True:
        while not newest[0]:
            time.sleep(pause_s)
        images = newest[0]
        image = images.pop()
        images.clear()
        time.sleep(work_s)
        yield image


def roboflow(uri: str, work_s: float) -> Iterator[Image]:
    """A thread that fills a queue, dropping the oldest; every read empties it for its newest."""
    capture = cv2.VideoCapture(uri)
    frames: queue.Queue[Image] = queue.Queue(maxsize=64)

    def consume() -> None:
        while capture.grab():
            if frames.full():
                try:
                    frames.get_nowait()
                except queue.Empty:
                    continue
            ok, image = capture.retrieve()
            if ok:
                frames.put(image)

    threading.Thread(target=consume, daemon=True).start()
    while True:
        image = frames.get()
        while not frames.empty():
            image = frames.get()
        time.sleep(work_s)
        yield image


READERS: dict[str, Callable[[str, float], Iterator[Image]]] = {
    reader.__name__: reader for reader in (ours, naive, ultralytics, roboflow)
}


# --- measuring


def measure(reader: str, uri: str, seconds: float, work_s: float) -> dict[str, Any]:
    """Run a reader in this process and return what its ages were, in milliseconds."""
    cv2.setNumThreads(1)
    ages: list[float] = []
    unread, began, first = 0, time.monotonic(), 0.0
    for image in READERS[reader](uri, work_s):
        age, now = age_ns(image), time.monotonic()
        first = first or now
        if age is None:
            unread += 1
        else:
            ages.append(age / 1e6)
        if now - began > seconds:
            break
    p50, p90, p99 = np.percentile(ages, (50, 90, 99))
    return {
        "results": len(ages) + unread,
        "fps": (len(ages) + unread) / (time.monotonic() - first),
        **{"open_s": first - began, "first_ms": ages[0], "last_ms": ages[-1]},
        **{"p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": max(ages)},
        "without_clock": unread,
    }


def apart(reader: str, uri: str, seconds: float, work_ms: float) -> dict[str, Any]:
    """Measure a reader in a fresh process."""
    command = [sys.executable, __file__, "--reader", reader, "--uri", uri]
    command += ["--seconds", str(seconds), "--work-ms", str(work_ms)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, timeout=seconds + GRACE_S
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def campaign(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every reader on every camera; print the table as it grows."""
    bar_ms = 1000 / FPS + options.work_ms + SLACK_MS
    rows: list[dict[str, Any]] = []
    print(f"720p{FPS}, {options.work_ms:g} ms of work, {options.seconds:g} s each; ages in ms")
    names = ("first", "p50", "p90", "p99", "max", "last")
    print(f"{'camera':8}{'reader':13}{'results/s':>9}" + "".join(f"{n:>9}" for n in names))
    for camera in options.cameras:
        for reader in options.readers:
            server = Server(camera)
            try:
                row = apart(reader, server.uri, options.seconds, options.work_ms)
            finally:
                server.kill()
            rows.append(
                {"camera": camera, "reader": reader, **row, "held": row["p99_ms"] <= bar_ms}
            )
            ages = "".join(f"{row[f'{name}_ms']:9.0f}" for name in names)
            print(f"{camera:8}{reader:13}{row['fps']:9.1f}{ages}", flush=True)
    held = all(row["held"] for row in rows if row["reader"] == ours.__name__)
    print(f"bar: p99 of ours at most {bar_ms:.0f} ms: {'held' if held else 'NOT held'}")
    return {"bar_ms": bar_ms, "held": held, "work_ms": options.work_ms, "rows": rows}


def main() -> int:
    parser = argparse.ArgumentParser(description="Age of results, ours beside others.")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each reader and camera")
    parser.add_argument("--work-ms", type=float, default=100.0)
    parser.add_argument("--cameras", nargs="+", default=["rtsp", "mjpeg"])
    parser.add_argument("--readers", nargs="+", default=list(READERS), choices=list(READERS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--reader", choices=list(READERS), help=argparse.SUPPRESS)
    parser.add_argument("--uri", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        found = measure(options.reader, options.uri, options.seconds, options.work_ms / 1000)
        print(json.dumps(found), flush=True)
        return 0
    reason = missing_for_rtsp() if "rtsp" in options.cameras else ""
    if reason:
        print(f"no RTSP server here ({reason}); leave it out with --cameras mjpeg", file=sys.stderr)
        return 3
    found = campaign(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if found["held"] else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Not the usual way out: threads that read may hang in C.
    os._exit(code)
