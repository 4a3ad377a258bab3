"""OpenCV: its log is silent while we try, and speaks again, whoever tries at the same time."""

from __future__ import annotations

import threading

import cv2

from runtime.opencv import quiet
from tests.runtime.source_cases import PATIENCE_S

GET = getattr(cv2, "getLogLevel", None) or cv2.utils.logging.getLogLevel


def test_the_log_is_silent_inside_and_as_before_after() -> None:
    before = GET()
    with quiet():
        assert GET() == 0
        with quiet():
            assert GET() == 0
        assert GET() == 0
    assert GET() == before


def test_of_two_at_a_time_neither_leaves_it_silent() -> None:
    before = GET()
    inside, leave = threading.Event(), threading.Event()

    def hang() -> None:
        with quiet():
            inside.set()
            leave.wait(PATIENCE_S)

    thread = threading.Thread(target=hang)
    thread.start()
    inside.wait(PATIENCE_S)
    with quiet():
        leave.set()
        thread.join(PATIENCE_S)
        assert GET() == 0
    assert GET() == before
