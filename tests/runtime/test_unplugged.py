"""A camera of this machine that is pulled out, stuck, and put back in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.pixel_clock import read_clock
from runtime.sources import open_source
from runtime.status import SourceState
from tests.bench.cameras import Plug
from tests.runtime.source_cases import until


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plug:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (96, 48))
    for level in range(10):
        writer.write(np.full((48, 96, 3), level * 20, np.uint8))
    writer.release()
    made = Plug(path, fps=100)
    monkeypatch.setattr(cv2, "VideoCapture", made.capture)
    return made


@pytest.fixture
def source(plug: Plug) -> Iterator[Any]:
    made = open_source("camera:0#stale=0.3&retry_cap=0.05")
    yield made
    made.close()
    until(lambda: plug.opened == 0, "the release of every capture")


def state(source: Any) -> Any:
    return source.status().state


def newest(source: Any) -> int:
    clock = read_clock(source.read().image)
    assert clock is not None
    return clock


def test_frames_have_the_time_of_the_driver(plug: Plug, source: Any) -> None:
    for _ in range(20):
        frame = source.read()
        assert read_clock(frame.image) == frame.captured_ns // 1_000_000 * 1_000_000


def test_pulled_out_and_put_back(plug: Plug, source: Any) -> None:
    for count in range(1, 4):
        before = newest(source)
        plug.kill()
        until(lambda: state(source) in (SourceState.LOST, SourceState.CONNECTING))
        until(lambda: "does not open" in source.status().reason)
        assert plug.opened == 0
        plug.start()
        until(lambda want=count: source.status().reconnects == want)  # type: ignore[misc]
        until(lambda old=before: newest(source) > old)  # type: ignore[misc]
        assert state(source) is SourceState.LIVE


def test_stuck_and_free_again(plug: Plug, source: Any) -> None:
    before = newest(source)
    plug.freeze()
    until(lambda: state(source) is not SourceState.LIVE)
    plug.thaw()
    until(lambda: state(source) is SourceState.LIVE)
    until(lambda: newest(source) > before)
