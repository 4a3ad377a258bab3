"""How a process ended: signals by name, and its last printed line made harmless."""

from __future__ import annotations

import pytest

from runtime.deaths import last_words, signal_name, signal_of, signal_words


@pytest.mark.parametrize(
    ("code", "number"),
    [(-4, 4), (132, 4), (139, 11), (0, None), (1, None), (127, None), (255, None)],
)
def test_both_ways_to_tell_of_a_signal(code: int, number: int | None) -> None:
    assert signal_of(code) == number


def test_signals_have_names() -> None:
    assert signal_name(4) == "SIGILL"
    assert signal_words(4) == "SIGILL (illegal instruction)"
    assert signal_name(40) == signal_words(40) == "signal 40"


def test_last_words_are_one_plain_line() -> None:
    assert last_words(b"first\n\x1b[31mlast\x07\x1b[0m\n\n") == " (it printed: last?)"
    assert last_words(b"\n  \n") == ""
    assert len(last_words(b"x" * 9000)) < 600
