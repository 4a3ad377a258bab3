"""The video sink: that what it writes plays, at the pace of the scene, and is whole or says so."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device_profiles.errors import OutputError
from runtime.frame import Frame
from runtime.sinks import SinkContext, open_sink
from runtime.sinks import video as module
from tests.runtime.preview_cases import RESULT, STAMP


def frame(
    index: int = 0, size: tuple[int, ...] = (48, 64, 3), captured_ns: int = 0, source: str = "a"
) -> Frame:
    return Frame(np.full(size, 60 + index, np.uint8), index, captured_ns, source=source)


def read_video(path: Path) -> tuple[list[Any], float]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (got := capture.read())[0]:
        frames.append(got[1])
    fps = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return frames, fps


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_video_plays_and_appears_only_when_closed(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    sink = open_sink(str(path), SinkContext(fps=12.0))
    original = [frame(index) for index in range(15)]
    for one in original:
        sink.write(one, RESULT, STAMP)
    assert not path.exists()
    sink.close()
    frames, fps = read_video(path)
    assert (len(frames), fps) == (15, 12.0)
    assert frames[0].shape == (48, 64, 3)
    # Below the drawing the picture is as it was (lossy codecs: a few levels).
    assert float(frames[9][40:].mean()) == pytest.approx(69, abs=4)
    assert float(np.abs(frames[9][:20].astype(int) - 69).max()) > 60
    assert (original[9].image == 69).all()
    assert os.listdir(tmp_path) == [path.name]


def test_frames_of_other_sizes_and_grey_ones_are_fitted(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    sink = open_sink(str(path))
    for size in ((48, 64, 3), (48, 64), (100, 20, 3), (10, 90, 3), (480, 640, 3)):
        sink.write(frame(100, size), RESULT, STAMP)
    sink.close()
    frames, fps = read_video(path)
    assert (len(frames), fps) == (5, 10.0)
    # The tall one stands in the middle between black bars.
    assert float(frames[2][40:, :20].mean()) < 8
    assert float(frames[2][40:, 30:34].mean()) == pytest.approx(160, abs=8)


@pytest.mark.parametrize(
    ("times_s", "expected"),
    [
        ([0, 0.1, 0.2, 0.3], 10),  # a third of the nominal rate: each shown three times
        ([0, 0.01, 0.02, 0.033], 2),  # faster than nominal: left out
        ([0, 3600], 301),  # an hour's silence stands still for ten seconds
    ],
)
def test_a_live_video_runs_as_fast_as_the_scene(
    times_s: list[float], expected: int, tmp_path: Path
) -> None:
    sink = open_sink(str(tmp_path / "out.avi"), SinkContext(fps=30.0, live=True))
    for index, seconds in enumerate(times_s):
        sink.write(frame(index, captured_ns=1 + round(seconds * 1e9)), RESULT, STAMP)
    sink.close()
    assert len(read_video(tmp_path / "out.avi")[0]) == expected


FULL_DISK = """
import resource, sys
import numpy as np
from device_profiles.errors import OutputError
from runtime.frame import Frame
from runtime.sinks import Stamp, open_sink
from runtime.tasks.raw import Raw
sink = open_sink(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
rng = np.random.default_rng(0)
for index in range(60):
    image = rng.integers(0, 256, (96, 128, 3), np.uint8)
    sink.write(Frame(image, index, 0), Raw(()), Stamp(1.0, "null/cpu"))
try:
    sink.close()
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["out.mp4", "out.avi"])
def test_a_video_that_the_disk_cannot_hold_is_an_error_and_no_rubbish(
    name: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "frames" in done.stdout
    assert "the space on the disk" in done.stdout
    kept = read_video(tmp_path / name)[0] if (tmp_path / name).exists() else []
    assert len(kept) < 60
    assert os.listdir(tmp_path) == ([name] if kept else [])


def test_what_plays_of_a_film_that_is_short_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = open_sink(str(tmp_path / "out.avi"))
    for index in range(5):
        sink.write(frame(index), RESULT, STAMP)
    monkeypatch.setattr(sink._films["a"], "_written", 8)  # type: ignore[attr-defined]
    with pytest.raises(OutputError, match=r"only the first 5 of 8 frames .*space on the disk"):
        sink.close()
    assert len(read_video(tmp_path / "out.avi")[0]) == 5
    sink.close()  # twice does no harm


def test_each_source_has_a_film_with_its_own_size_and_pace(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out.mp4"), SinkContext(fps=10.0, live=True))
    second = 1_000_000_000
    for index in range(4):
        sink.write(frame(index, (48, 64, 3), 5 * second + index * second, "a"), RESULT, STAMP)
        sink.write(frame(index, (60, 80), index * second // 10, "b"), RESULT, STAMP)
    sink.close()
    assert sorted(os.listdir(tmp_path)) == ["out-2.mp4", "out.mp4"]
    first, other = (read_video(tmp_path / name)[0] for name in ("out.mp4", "out-2.mp4"))
    assert (len(first), first[0].shape) == (31, (48, 64, 3))
    assert (len(other), other[0].shape) == (4, (60, 80, 3))


@pytest.mark.parametrize(
    ("nominal", "used"),
    [(None, 10.0), (0.0, 10.0), (float("nan"), 10.0), (90_000.0, 10.0), (29.97, 29.97)],
)
def test_a_rate_that_is_none_is_not_believed(
    nominal: float | None, used: float, tmp_path: Path
) -> None:
    sink = open_sink(str(tmp_path / "out.mp4"), SinkContext(fps=nominal))
    for index in range(3):
        sink.write(frame(index), RESULT, STAMP)
    sink.close()
    assert read_video(tmp_path / "out.mp4")[1] == pytest.approx(used, abs=0.01)


def test_the_next_codec_is_taken_where_the_first_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module._CODECS, ".avi", ("ZZZZ", "MJPG"))
    sink = open_sink(str(tmp_path / "out.avi"))
    sink.write(frame(), RESULT, STAMP)
    sink.close()
    assert len(read_video(tmp_path / "out.avi")[0]) == 1
    monkeypatch.setitem(module._CODECS, ".avi", ("ZZZZ",))
    sink = open_sink(str(tmp_path / "none.avi"))
    with pytest.raises(
        OutputError, match="cannot encode such a video of 64x48; use another suffix"
    ):
        sink.write(frame(), RESULT, STAMP)
    sink.close()
    assert os.listdir(tmp_path) == ["out.avi"]


def test_a_result_with_a_picture_sets_the_size(tmp_path: Path) -> None:
    class Larger:
        picture = np.full((96, 128, 3), 200, np.uint8)

        def to_json(self) -> dict[str, Any]:
            return {}

        def draw(self, image: Any) -> None:
            raise AssertionError("there is nothing to draw on")

    sink = open_sink(str(tmp_path / "out.avi"))
    sink.write(replace(frame(), name="small"), Larger(), STAMP)
    sink.close()
    assert read_video(tmp_path / "out.avi")[0][0].shape == (96, 128, 3)
