from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_sdk.looks import opencv as looks
from edge_sdk.looks.base import Package, Trial
from tests.edge_sdk.looks.scenes import only, scene

BUILD = """{version}
General configuration for OpenCV
  GUI:                           {gui}
    VTK support:                 NO
  Video I/O:
    FFMPEG:                      {ffmpeg}
      avcodec:                   YES (62.28.101)
    GStreamer:                   {gstreamer}
    v4l/v4l2:                    {v4l2} (linux/videodev2.h)
"""


def built(
    gui: str = "NONE", ffmpeg: str = "YES", gstreamer: str = "NO", v4l2: str = "YES"
) -> Trial:
    text = BUILD.format(version="4.6.0", gui=gui, ffmpeg=ffmpeg, gstreamer=gstreamer, v4l2=v4l2)
    return Trial(answer=text)


@pytest.mark.parametrize(
    ("trial", "level", "detail", "remedy"),
    [
        (
            built(gui="GTK3", gstreamer="YES (1.22.0)"),
            "ok", "4.6.0: FFmpeg, GStreamer, V4L2, windows", "",
        ),
        (
            built(),
            "note", "4.6.0: FFmpeg, no GStreamer, V4L2, no windows", "python3-opencv",
        ),
        (
            built(ffmpeg="NO", v4l2="NO"),
            "fault",
            "4.6.0: no FFmpeg, no GStreamer, no V4L2, no windows: it reads no videos and streams",
            "pip install",
        ),
        (Trial(found=False), "note", "not installed (cameras, videos, images)", "pip install"),
        (
            Trial(failure="libGL.so.1: cannot open shared object file"),
            "fault",
            "installed, but does not work: libGL.so.1: cannot open shared object file",
            "pip install opencv-python-headless",
        ),
        (
            Trial(failure="dies of SIGILL (illegal instruction)", signal=4),
            "fault", "4.6.0.66: dies of SIGILL (illegal instruction)",
            "pip install 'opencv-python!=4.6.0.66'",
        ),
    ],
)  # fmt: skip
def test_builds(trial: Trial, level: str, detail: str, remedy: str) -> None:
    where = scene(tried={"cv2": trial}, packages={"opencv-python": "4.6.0.66"})
    found = only(looks.look_at_build, where)
    assert (found.name, found.level, found.detail) == ("opencv", level, detail)
    assert remedy in found.remedy


def test_an_emulated_device_needs_no_gstreamer() -> None:
    where = replace(scene(tried={"cv2": built()}), emulated=True)
    assert only(looks.look_at_build, where).level == "ok"


def test_two_wheels() -> None:
    """They write into one folder, and what is imported is a mixture."""
    packages = {"opencv-python": "5.0.0.93", "opencv-contrib-python": "4.11.0.86"}
    found = only(looks.look_at_wheels, scene(packages=packages))
    assert found.level == "fault"
    assert found.detail == "2 wheels overwrite each other: opencv-contrib-python, opencv-python"
    assert found.remedy == (
        "pip uninstall -y opencv-contrib-python opencv-python && pip install opencv-contrib-python"
    )


def test_a_wheel_beside_the_systems(tmp_path: Path) -> None:
    system = tmp_path / looks.SYSTEM_PACKAGES
    system.mkdir(parents=True)
    wheel = Package("opencv-python", "5.0.0.93", folder="/home/me/edge/lib/site-packages")
    where = scene(tmp_path, packages={"opencv-python": wheel})
    assert looks.look_at_wheels(where) == []
    (system / "cv2.cpython-311-aarch64-linux-gnu.so").touch()
    found = only(looks.look_at_wheels, where)
    assert found.level == "note"
    assert "pip uninstall -y opencv-python, and python3 -m venv" in found.remedy
    assert looks.look_at_wheels(scene(tmp_path)) == []
