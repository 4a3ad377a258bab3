"""Sink: a window on this machine's screen (`display`), one for each source.

The key q, or closing a window, ends the run.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from device_profiles.errors import MissingError, OutputError
from runtime.drawing import annotated
from runtime.frame import Frame
from runtime.opencv import opencv
from runtime.sinks.base import SinkContext, Stamp, StopRun
from runtime.tasks.base import Result


def accepts(uri: str) -> bool:
    """Say whether `uri` is `display`."""
    return uri == "display"


def open_sink(_uri: str, _context: SinkContext) -> Display:
    """Check that a window can be shown; MissingError or OutputError with the remedy when not."""
    return Display()


class Display:
    """Shows annotated frames, those of each source in a window with its URI."""

    newest = True

    def __init__(self) -> None:
        cv2 = opencv()
        if not _has_windows(cv2):
            raise MissingError(
                "display: the installed OpenCV has no windows; pip uninstall opencv-python-headless"
                " && pip install opencv-python, or write out.mp4 instead"
            )
        # Without a screen the window library ends the whole process; hence this comes first.
        screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        if sys.platform == "linux" and not screen:
            raise OutputError(
                "display: this session has no screen (DISPLAY is not set); log in at the device's "
                "own screen, use ssh -X, or write out.mp4 instead"
            )

        self._shown: set[str] = set()

    def write(self, frame: Frame, result: Result, stamp: Stamp) -> None:
        """Show one frame; StopRun when q was pressed or the window was closed."""
        cv2 = opencv()
        title = f"{frame.source or 'Edge SDK'} (q ends)"
        if title in self._shown and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1:
            raise StopRun
        self._shown.add(title)
        cv2.imshow(title, annotated(frame, result))
        if cv2.waitKey(1) & 0xFF == ord("q"):
            raise StopRun

    def close(self) -> None:
        """Close the windows."""
        if self._shown:
            opencv().destroyAllWindows()


def _has_windows(cv2: Any) -> bool:
    lines = cv2.getBuildInformation().splitlines()
    return not any(line.split() == ["GUI:", "NONE"] for line in lines)
