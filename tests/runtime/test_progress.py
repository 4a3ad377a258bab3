"""Progress: silent unless asked, a bar on a terminal, lines in a log."""

from __future__ import annotations

import io
import threading

import pytest

from runtime import progress
from runtime.progress import TerminalBar, reporting_to, step, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Notes:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def begin(self, label: str, total: int | None) -> None:
        self.told.append((label, total))

    def advance(self) -> None:
        self.told.append("+")

    def end(self) -> None:
        self.told.append("end")

    def step(self, text: str) -> None:
        self.told.append(text)


def test_nothing_is_shown_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    step("x")
    assert list(track("abc", "work")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_a_reporter_hears_of_every_item_and_of_nothing_afterwards() -> None:
    notes = Notes()
    with reporting_to(notes):
        step("first")
        for _ in track([1, 2], "list"):
            pass
        for _ in track(iter([1]), "iterator"):
            pass
    list(track([1], "unheard"))
    assert notes.told == ["first", ("list", 2), "+", "+", "end", ("iterator", None), "+", "end"]


def test_work_that_fails_is_ended() -> None:
    notes = Notes()
    with reporting_to(notes), pytest.raises(ZeroDivisionError):
        for _ in track([0], "work"):
            1 / 0  # noqa: B018
    # The generator of an abandoned loop is closed with it.
    assert notes.told[-1] == "end"


def test_other_threads_stay_silent() -> None:
    notes = Notes()
    with reporting_to(notes):
        thread = threading.Thread(target=lambda: list(track([1], "elsewhere")))
        thread.start()
        thread.join()
    assert notes.told == []


def test_a_terminal_gets_a_bar_that_is_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(float(i) for i in range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = Terminal()
    with reporting_to(TerminalBar(stream)):
        list(track(range(4), "work"))
        step("done with it")
    shown = stream.getvalue()
    assert shown.startswith("\r\x1b[Kwork [" + "." * 30 + "] 0/4   0%")
    assert "0:06 left" in shown  # one item after 2 s of the stopped clock: 3 items take 6 s
    assert "[" + "#" * 30 + "]" in shown
    assert shown.endswith("\r\x1b[K\r\x1b[Kdone with it\n")
    assert all(len(part) < 80 for part in shown.split("\r\x1b[K"))


def test_a_log_gets_lines_at_tenths_and_only_of_longer_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    with reporting_to(TerminalBar(stream)):
        list(track(range(50), "short"))
        assert stream.getvalue() == ""
        monkeypatch.setattr(TerminalBar, "PLAIN_S", 0.0)
        list(track(range(50), "long"))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("long 5/50  10%")
    assert lines[-1] == "long 50/50 100%"
    assert "\x1b" not in stream.getvalue()


def test_nested_work_gives_the_outer_bar_back() -> None:
    stream = Terminal()
    with reporting_to(TerminalBar(stream)):
        for _ in track([1], "outer"):
            list(track([1, 2], "inner"))
    assert stream.getvalue().rindex("outer") > stream.getvalue().rindex("inner")
