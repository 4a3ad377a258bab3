"""The picture of the preview in the README, of a real run: needs Chromium and the demo's files.

    python -m tests.bench.screenshot [BUNDLE] [SOURCE] [OUT.png] [SECONDS]

Runs the bundle on the source, as `edge-sdk run --sink http://127.0.0.1:0` does, and after SECONDS
(the plots want some) takes the page as a person with a light screen of 1280 x 800 sees it.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

import cv2

from runtime.board import Board
from runtime.pipeline import Pipeline, PipelineOptions
from runtime.sinks import SinkContext, open_sink
from tests.runtime.chromium import Chromium, find_chromium

BUNDLE = "edge-demo/digits-generic-x86.edge"
SOURCE = (
    "synthetic:cards?images=edge-demo/digits/heldout&width=640&height=360&size=0.6&live=1&frames=0"
)
OUT = Path("docs/preview.png")
WIDTH, HEIGHT = 1280, 800
MOST_BYTES = 300_000


def main(bundle: str, source: str, out: Path, seconds: float) -> None:
    """Run, look, and write the picture."""
    program = find_chromium()
    if program is None:
        raise SystemExit("Chromium is missing; install it with: apt-get install chromium")
    pipeline: Pipeline | None = None
    facts = {"name": Path(bundle).stem}
    context = SinkContext(30.0, True, facts, lambda: pipeline.status() if pipeline else None)
    sink = open_sink("http://127.0.0.1:0", context)
    pipeline = Pipeline(bundle, source, [sink], PipelineOptions(board=Board().read))
    running = threading.Thread(target=pipeline.run)
    running.start()
    with tempfile.TemporaryDirectory() as folder:
        browser = Chromium(program, Path(folder))
        try:
            browser.window(WIDTH, HEIGHT)
            browser.ask("Emulation.setScrollbarsHidden", hidden=True)
            browser.go(sink.url)  # type: ignore[attr-defined]
            running.join(seconds)
            browser.until("document.getElementById('state').innerText === 'LIVE'")
            shot = Path(folder) / "page.png"
            browser.screenshot(shot)
            _write_small(shot, out)
            print(f"{out}: {out.stat().st_size} bytes; complaints of the page: {browser.errors}")
        finally:
            browser.close()
            pipeline.stop()
            running.join()
            pipeline.close()


def _write_small(shot: Path, out: Path) -> None:
    """Write the picture as a PNG packed as tightly as OpenCV can."""
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), cv2.imread(str(shot)), (cv2.IMWRITE_PNG_COMPRESSION, 9))
    if out.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{out} has {out.stat().st_size} bytes, more than {MOST_BYTES}")


if __name__ == "__main__":
    given = [*sys.argv[1:], *(BUNDLE, SOURCE, str(OUT), "58")[len(sys.argv) - 1 :]]
    main(given[0], given[1], Path(given[2]), float(given[3]))
