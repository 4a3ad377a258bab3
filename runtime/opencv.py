"""OpenCV, imported when it is first needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from device_profiles.errors import MissingError, missing


def opencv() -> Any:
    """Return the module `cv2`; MissingError says what to install when it cannot be imported."""
    # FFmpeg writes its complaints straight to the terminal, over our one-line errors: 8 is "fatal".
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "8")
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise missing("opencv-python-headless", "camera") from error
    except ImportError as error:
        raise MissingError(
            f"opencv is installed but does not load ({error}); where there is no screen, use: "
            "pip install opencv-python-headless"
        ) from error
    return cv2


_quiet = 0
_level: Any = None
_lock = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence OpenCV's own log while something is tried that may fail and is reported by us.

    The log is one for all threads: it speaks again when the last of them is done.
    """
    global _quiet, _level  # noqa: PLW0603 - so is the level
    cv2 = opencv()
    # OpenCV 4 has the switch in `cv2` itself (and in some builds there alone), OpenCV 5 has not.
    set_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    with _lock:
        previous = set_level(0)  # silent
        _level = _level if _quiet else previous
        _quiet += 1
    try:
        yield
    finally:
        with _lock:
            _quiet -= 1
            if not _quiet:
                set_level(_level)
