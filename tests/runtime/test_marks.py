"""Marks: natively they do nothing, and what runs between them is a rung of a bundle."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from runtime import marks
from runtime.marks import FIRST, LOADED, START, WARM, run_marked


def test_a_mark_is_harmless() -> None:
    marks.mark(7)


def test_the_runs_lie_between_marks(null_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(marks, "mark", seen.append)
    facts = run_marked(str(null_bundle), "0", 2)
    assert seen == [START, LOADED, FIRST, WARM, WARM + 1, WARM + 2]
    assert facts["engine"] == "null"
    assert gc.isenabled()
