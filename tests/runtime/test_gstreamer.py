"""GStreamer: what a URI means as a pipeline, and what an OpenCV without GStreamer says."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device_profiles.errors import MissingError, SourceError
from runtime.sources import SourceOptions, connect, gstreamer, open_source
from runtime.sources.gstreamer import pipeline

SINK = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
SYSTEM_PYTHON = "/usr/bin/python3"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def jetson(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "nv_tegra_release").touch()
    monkeypatch.setattr(gstreamer, "_TEGRA", tmp_path / "nv_tegra_release")


def test_a_pipeline_gets_a_sink_that_keeps_the_newest_frame() -> None:
    assert pipeline("gst:videotestsrc") == f"videotestsrc ! {SINK}"
    assert pipeline("gst: videotestsrc ! tee ") == f"videotestsrc ! tee ! {SINK}"


def test_a_pipeline_with_a_sink_of_its_own_is_taken_as_it_is() -> None:
    own = "videotestsrc ! appsink max-buffers=3"
    assert pipeline(f"gst:{own}") == own
    assert pipeline("gst:myappsinker").endswith(SINK)


def test_a_camera_elsewhere_is_libcamera() -> None:
    caps = "video/x-raw,width=1280,height=720,framerate=30/1"
    assert pipeline("csi://0") == f"libcamerasrc ! {caps} ! {SINK}"
    turned = pipeline("csi://0?width=640&height=480&fps=29.97&flip=2")
    rate = "video/x-raw,width=640,height=480,framerate=30000/1001"
    assert turned == f"libcamerasrc ! {rate} ! videoflip method=2 ! {SINK}"


@pytest.mark.usefixtures("jetson")
def test_a_camera_on_a_jetson_is_argus() -> None:
    assert pipeline("csi://1?flip=2&fps=60") == (
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1280,height=720,"
        f"framerate=60/1 ! nvvidconv flip-method=2 ! video/x-raw,format=BGRx ! {SINK}"
    )


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gst:", "holds no pipeline"),
        ("gst:  ", "holds no pipeline"),
        ("csi://", "is no camera; use csi://0"),
        ("csi://front", "is no camera"),
        ("csi://1", "use picamera://1"),
        ("csi://0?fps=0", "must be positive"),
        ("csi://0?width=0", "must be positive"),
        ("csi://0?flp=1", "did you mean flip"),
    ],
)
def test_a_wrong_address_is_refused_though_it_waits(uri: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(f"{uri}#wait=1")


def test_an_opencv_without_gstreamer_says_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = "  Video I/O:\n    FFMPEG:  YES\n    GStreamer:                   NO\n"
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: built)
    for uri in ("gst:rtspsrc location=rtsp://me:s3cret@cam", "csi://0"):
        with pytest.raises(MissingError, match=r"python3-opencv.*--system-site") as said:
            open_source(uri)
        assert "s3cret" not in str(said.value)


class Capture:
    """OpenCV's capture through GStreamer; older ones refuse every limit."""

    refuses_limits = True
    starts = True
    frames = 2

    def __init__(self, text: str, backend: int, limits: list[int] | None = None) -> None:
        assert backend == cv2.CAP_GSTREAMER
        self.text, self.limits, self.released = text, limits, 0
        Capture.last = self

    last: Capture

    def isOpened(self) -> bool:
        return self.starts and not (self.limits and self.refuses_limits)

    def get(self, key: int) -> float:
        return 30.0 if key == cv2.CAP_PROP_FPS else -1.0

    def read(self, image: Any = None) -> tuple[bool, Any]:
        self.frames -= 1
        return self.frames >= 0, np.zeros((4, 4, 3), np.uint8)

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> type[Capture]:
    kind = type("Capture", (Capture,), {})
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:   YES (1.22.0)\n")
    monkeypatch.setattr(cv2, "VideoCapture", kind)
    return kind


@pytest.mark.parametrize("refuses", [True, False])
def test_times_are_limited_where_opencv_can(refuses: bool, capture: type[Capture]) -> None:
    capture.refuses_limits = refuses
    source = connect("gst:videotestsrc", SourceOptions(open=2, grab=1.5))
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 2000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 1500]
    assert Capture.last.limits == (None if refuses else limits)
    assert Capture.last.text == f"videotestsrc ! {SINK}"
    assert (source.live, source.fps, source.count) == (True, 30.0, None)
    first, second = source.read(), source.read()
    assert first and second
    assert (first.index, second.index) == (0, 1)
    with pytest.raises(SourceError, match="ended or gives no more frames"):
        source.read()
    source.close()
    assert Capture.last.released == 1


def test_a_pipeline_that_does_not_start_can_be_tried_by_hand(capture: type[Capture]) -> None:
    capture.starts = False
    with pytest.raises(
        SourceError, match=r"see why with: gst-launch-1\.0 nosuch token=\*\*\* ! "
    ) as caught:
        open_source("gst:nosuch token=s3cret")
    assert "s3cret" not in str(caught.value)


SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from runtime.sources import open_source
source = open_source("gst:videotestsrc is-live=true num-buffers=40 pattern=red ! "
                     "video/x-raw,width=64,height=48,framerate=50/1")
frames = [source.read() for _ in range(10)]
source.close()
print(source.fps, frames[0].image.shape, frames[-1].image.mean(axis=(0, 1)).round().tolist(),
      all(a.captured_ns < b.captured_ns for a, b in zip(frames, frames[1:])))
"""


def test_a_real_pipeline_through_the_systems_opencv() -> None:
    probe = "import cv2, re; assert re.search('GStreamer: *YES', cv2.getBuildInformation())"
    try:
        have = subprocess.run([SYSTEM_PYTHON, "-c", probe], check=False, capture_output=True)
    except OSError as error:
        pytest.skip(f"no Python of the system: {error}")
    if have.returncode:
        pytest.skip("no OpenCV with GStreamer: apt install python3-opencv")
    code = SCRIPT.format(root=str(ROOT))
    done = subprocess.run([SYSTEM_PYTHON, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "50.0 (48, 64, 3) [0.0, 0.0, 255.0] True", done.stderr
