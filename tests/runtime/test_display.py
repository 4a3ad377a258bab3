"""The window: that it is refused where there is none, and what ends the run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import cv2
import pytest

from device_profiles.errors import MissingError, OutputError
from runtime.sinks import StopRun, open_sink
from runtime.sinks.display import Display
from tests.runtime.preview_cases import RESULT, STAMP, frame


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


class Screen:
    """A screen that is not there; `keys` are pressed, `closed` are windows that somebody closed."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, Any]] = []
        self.keys = [255]
        self.closed: set[str] = set()
        self.destroyed = 0

    def imshow(self, title: str, image: Any) -> None:
        self.shown.append((title, image))

    def waitKey(self, _ms: int) -> int:
        return self.keys.pop() if len(self.keys) > 1 else self.keys[0]

    def getWindowProperty(self, title: str, _which: int) -> float:
        return 0.0 if title in self.closed else 1.0

    def destroyAllWindows(self) -> None:
        self.destroyed += 1


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    one = Screen()
    monkeypatch.setattr(cv2, "getBuildInformation", gui)
    for name in ("imshow", "waitKey", "getWindowProperty", "destroyAllWindows"):
        monkeypatch.setattr(cv2, name, getattr(one, name))
    monkeypatch.setenv("DISPLAY", ":0")
    yield one


def test_q_ends_the_run_and_the_frame_is_left_as_it_was(screen: Screen) -> None:
    sink = open_sink("display")
    assert isinstance(sink, Display)
    one = frame()
    sink.write(one, RESULT, STAMP)
    screen.keys = [ord("q")]
    with pytest.raises(StopRun):
        sink.write(one, RESULT, STAMP)
    sink.close()
    assert (len(screen.shown), screen.destroyed) == (2, 1)
    assert (one.image == 60).all()
    assert (screen.shown[0][1] != 60).any()


def test_each_source_has_a_window_and_closing_one_ends_the_run(screen: Screen) -> None:
    sink = open_sink("display")
    for source in ("camera:0", "camera:1", "camera:0"):
        sink.write(frame(0, source), RESULT, STAMP)
    assert len({title for title, _ in screen.shown}) == 2
    screen.closed.add(screen.shown[1][0])
    sink.write(frame(1, "camera:0"), RESULT, STAMP)
    with pytest.raises(StopRun):
        sink.write(frame(1, "camera:1"), RESULT, STAMP)
    sink.close()


def test_a_window_that_was_never_shown_needs_no_closing(screen: Screen) -> None:
    open_sink("display").close()
    assert screen.destroyed == 0
