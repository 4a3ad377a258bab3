"""The live line: what it says, what it leaves out, and that it leaves nothing behind."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest

from edge_sdk.cli._live import LiveLine, line, live
from runtime.progress import step, track
from runtime.status import RunStatus, SourceState, SourceStatus

TIMES = {
    name: {"count": 30, "mean_ms": p50, "p50_ms": p50, "p90_ms": p50, "p99_ms": p99, "max_ms": p99}
    for name, p50, p99 in (
        ("capture", 33.3, 34.0), ("preprocess", 0.412, 0.7), ("infer", 21.4, 25.0),
        ("decode", 0.05, 0.1), ("sink", 1.26, 4.0), ("age", 43.2, 61.7),
    )
}  # fmt: skip
CAMERA = SourceStatus("camera:0", SourceState.LIVE, 0, 0.01, 300)
STATUS = RunStatus(
    seconds=10.0,
    frames=300,
    results=280,
    dropped={"newer": 20, "stopped": 0},
    fps=28.04,
    recent=TIMES,
    total=TIMES,
    sources=(CAMERA,),
    engine={"name": "onnxruntime", "provider": "cpu", "rung": 0},
    board={"temperature_c": 61.2, "throttled": False},
)
FULL = (
    "28.0 fps  age 43 p99 62 ms  preprocess 0.4 infer 21 decode 0.1 sink 1.3 ms  onnxruntime/cpu  "
    "dropped 20 newer  61 °C"
)


def test_the_whole_line() -> None:
    assert line(STATUS, 200) == FULL
    assert line(STATUS, len(FULL) + 1) == FULL


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (len(FULL), "28.0 fps  age 43 p99 62 ms  onnxruntime/cpu  dropped 20 newer  61 °C"),
        (60, "28.0 fps  age 43 p99 62 ms  onnxruntime/cpu  61 °C"),
        (45, "28.0 fps  age 43 p99 62 ms  onnxruntime/cpu"),
        (36, "28.0 fps  age 43 p99 62 ms  61 °C"),
        (12, "28.0 fps"),
        (9, "28.0 fps"),
        (8, "61 °C"),
        (5, ""),
        (0, ""),
    ],
)
def test_what_does_not_fit_is_left_out(width: int, text: str) -> None:
    assert line(STATUS, width) == text


def test_trouble_comes_before_everything_but_the_rate() -> None:
    stale = replace(CAMERA, state=SourceState.STALE)
    hot = {"temperature_c": 82.0, "throttled": True, "under_voltage": True, "limit_fps": 12.34}
    found = replace(STATUS, sources=(CAMERA, stale), board=hot)
    words = "28.0 fps  camera:0 STALE  THROTTLED UNDER-VOLTAGE LIMITED TO 12.3 FPS"
    assert line(found, len(words) + 1) == words
    assert line(found, 200) == FULL.removesuffix("61 °C") + words.partition("  ")[2] + "  82 °C"


def test_many_sources_in_trouble_are_counted() -> None:
    lost = replace(CAMERA, state=SourceState.LOST)
    assert "1 of 4 sources LIVE" in line(replace(STATUS, sources=(CAMERA, *[lost] * 3)), 200)
    assert "camera:0 LOST  camera:0 LOST" in line(replace(STATUS, sources=(lost, lost)), 200)


def test_before_the_first_result() -> None:
    connecting = replace(CAMERA, state=SourceState.CONNECTING, age_s=None)
    nothing = RunStatus(0.0, 0, 0, {}, 0.0, {}, {}, (connecting,), {})
    assert line(nothing, 80) == "0.0 fps  no results  camera:0 CONNECTING"


def test_progress_and_falls() -> None:
    fallen = {**STATUS.engine, "drops": [{"label": "x"}]}
    found = line(replace(STATUS, engine=fallen), 200, 560)
    assert found.startswith("280/560 50%  28.0 fps")
    assert "onnxruntime/cpu after 1 drops" in found


def test_names_cannot_move_the_cursor_or_take_all_the_room() -> None:
    uri = "rtsp://\x1b[2J\n" + "x" * 500
    lost = replace(CAMERA, uri=uri, state=SourceState.LOST)
    found = line(replace(STATUS, sources=(lost,)), 200)
    assert found.isprintable()
    assert "…" + "x" * 31 + " LOST" in found


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")


def screen(text: str) -> list[str]:
    """Return the lines of a terminal to which `text` was written."""
    lines = [""]
    column = 0
    for piece in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+", text):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            lines.append("")
            column = 0
        elif piece == "\x1b[K":
            lines[-1] = lines[-1][:column]
        else:
            lines[-1] = lines[-1][:column] + piece + lines[-1][column + len(piece) :]
            column += len(piece)
    return lines


def test_a_run_on_a_terminal() -> None:
    stream = Terminal()
    with live(stream) as observers:
        (observer,) = observers
        observer(STATUS)
        assert screen(stream.getvalue()) == ["28.0 fps  age 43 p99 62 ms  onnxruntime/cpu  61 °C"]
        step("the engine is proven")
        observer(replace(STATUS, fps=3.0, recent={}))
        assert screen(stream.getvalue()) == [
            "the engine is proven", "3.0 fps  no results  onnxruntime/cpu  61 °C",
        ]  # fmt: skip
        for _ in track(range(2), "frames"):
            observer(replace(STATUS, results=1))
        assert screen(stream.getvalue())[-1].startswith("1/2 50%  28.0 fps")
    assert screen(stream.getvalue()) == ["the engine is proven", ""]


def test_it_is_taken_away_when_the_run_fails() -> None:
    stream = Terminal()
    with pytest.raises(ZeroDivisionError), live(stream) as observers:
        observers[0](STATUS)
        raise ZeroDivisionError
    assert screen(stream.getvalue()) == [""]


def test_where_there_is_no_terminal_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, hidden in ((io.StringIO(), False), (Terminal(), True)):
        with live(stream, hidden) as observers:
            assert observers == ()
        assert stream.getvalue() == ""
    monkeypatch.setenv("TERM", "dumb")
    with live(Terminal()) as observers:
        assert observers == ()


def test_a_terminal_that_goes_away_does_not_end_the_run() -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    drawn = LiveLine(Gone())
    drawn(STATUS)
    drawn(STATUS)
    drawn.clear()


def test_a_terminal_without_our_letters() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    LiveLine(stream)(STATUS)
    assert b"61 ?C" in raw.getvalue()


def test_nonsense_of_a_board_is_not_drawn_wrongly() -> None:
    odd: dict[str, Any] = {"temperature_c": None, "throttled": None, "limit_fps": 0}
    assert line(replace(STATUS, board=odd), 200) == FULL.removesuffix("  61 °C")
