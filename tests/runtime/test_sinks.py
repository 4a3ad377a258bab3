"""Sinks: what they hold afterwards, and that nothing half-written is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device_profiles.errors import MissingError, OutputError
from runtime.frame import Frame
from runtime.sinks import SinkContext, StopRun, open_sink
from runtime.sinks.display import Display
from runtime.sinks.memory import Memory
from runtime.tasks.classify import Classification, Ranked

RESULT = Classification(3, "cat", 0.75, (Ranked(3, "cat", 0.75), Ranked(1, "dog", 0.2)), True)


def frame(index: int = 0, size: tuple[int, ...] = (48, 64, 3), captured_ns: int = 0) -> Frame:
    image = np.full(size, 60 + index, np.uint8)
    return Frame(image, index, captured_ns or 1000 + index, f"f{index}", "cat" if index else None)


def read_video(path: Path) -> tuple[list[Any], float]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (got := capture.read())[0]:
        frames.append(got[1])
    fps = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return frames, fps


@pytest.mark.parametrize("uri", ["out.txt", "mp4", "mqtt://x/out.mp4", "displays"])
def test_what_is_no_sink_is_named_with_the_kinds(uri: str) -> None:
    with pytest.raises(
        OutputError, match=r"not a sink of any kind \(display, jsonl, memory, video"
    ):
        open_sink(uri)


@pytest.mark.parametrize("name", ["out.jsonl", "out.mp4", "out.avi"])
@pytest.mark.parametrize("folder", ["missing", "file"])
def test_an_unwritable_path_fails_before_work_starts(
    name: str, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=rf"{name}: cannot be written .* make the folder"):
        open_sink(str(tmp_path / folder / name))


# --- memory and jsonl


def test_memory_keeps_records_in_order() -> None:
    sink = open_sink("memory:")
    assert isinstance(sink, Memory)
    sink.write(frame(0), RESULT, 1.5)
    sink.write(frame(1), RESULT, 2.5)
    sink.close()
    assert sink.results == [RESULT, RESULT]
    assert [(r.index, r.name, r.latency_ms, r.truth) for r in sink.records] == [
        (0, "f0", 1.5, None),
        (1, "f1", 2.5, "cat"),
    ]
    assert sink.closed


def test_jsonl_has_one_object_per_frame_at_once(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = open_sink(str(path))
    for index in range(2):
        sink.write(frame(index), RESULT, 12.34567)
        assert len(path.read_text().splitlines()) == index + 1
    sink.close()
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "index": 0,
        "name": "f0",
        "captured_ns": 1000,
        "latency_ms": 12.346,
        "result": RESULT.to_json(),
    }
    assert second["truth"] == "cat"


def test_a_dash_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    sink = open_sink("-")
    sink.write(frame(), RESULT, 1.0)
    sink.close()
    assert json.loads(capsys.readouterr().out)["index"] == 0
    print("still open")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.symlink_to("/dev/full")
    sink = open_sink(str(path))
    with pytest.raises(OutputError, match=r"No space left.*space on the disk"):
        sink.write(frame(), RESULT, 1.0)
    with pytest.raises(OutputError):  # the line is still in the buffer
        sink.close()


def test_a_score_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out.jsonl"))
    with pytest.raises(OutputError, match="must be finite"):
        sink.write(frame(), Classification(0, "x", float("nan"), (), False), 1.0)
    sink.close()


# --- video


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_video_plays_and_appears_only_when_closed(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    sink = open_sink(str(path), SinkContext(fps=12.0))
    original = [frame(index) for index in range(15)]
    for one in original:
        sink.write(one, RESULT, 1.0)
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
        sink.write(frame(100, size), RESULT, 1.0)
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
        sink.write(frame(index, captured_ns=1 + round(seconds * 1e9)), RESULT, 1.0)
    sink.close()
    assert len(read_video(tmp_path / "out.avi")[0]) == expected


def test_a_video_without_frames_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")
    open_sink(str(path)).close()
    assert os.listdir(tmp_path) == ["out.mp4"]
    assert path.read_bytes() == b"older"


FULL_DISK = """
import resource, sys
import numpy as np
from device_profiles.errors import OutputError
from runtime.frame import Frame
from runtime.sinks import open_sink
from runtime.tasks.raw import Raw
sink = open_sink(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
rng = np.random.default_rng(0)
for index in range(60):
    sink.write(Frame(rng.integers(0, 256, (96, 128, 3), np.uint8), index, 0), Raw(()), 1.0)
try:
    sink.close()
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["out.mp4", "out.avi"])
def test_a_video_that_the_disk_cannot_hold_is_an_error_and_no_file(
    name: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "frames reached the disk" in done.stdout
    assert os.listdir(tmp_path) == []


# --- display


def no_gui() -> str:
    return "  GUI:                           NONE\n"


def gui() -> str:
    return "  GUI:                           QT5\n"


def test_an_opencv_without_windows_says_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", no_gui)
    with pytest.raises(MissingError, match="pip install opencv-python"):
        open_sink("display")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has sessions without a screen")
def test_a_session_without_a_screen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", gui)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match="no screen"):
        open_sink("display")


def test_q_ends_the_run_and_the_frame_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    keys = iter([255, ord("q")])
    monkeypatch.setattr(cv2, "getBuildInformation", gui)
    monkeypatch.setattr(cv2, "imshow", lambda _title, image: shown.append(image))
    monkeypatch.setattr(cv2, "waitKey", lambda _ms: next(keys))
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: shown.append(None))
    monkeypatch.setenv("DISPLAY", ":0")
    sink = open_sink("display")
    assert isinstance(sink, Display)
    one = frame()
    sink.write(one, RESULT, 1.0)
    with pytest.raises(StopRun):
        sink.write(one, RESULT, 1.0)
    sink.close()
    assert len(shown) == 3
    assert shown[2] is None
    assert (one.image == 60).all()
    assert (shown[0] != 60).any()
