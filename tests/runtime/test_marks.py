"""Marks: natively they do nothing, and what runs between them is a rung of a bundle."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from runtime import marks
from runtime.engines.null import null_model
from runtime.manifest import TensorSpec
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


def test_an_artifact_in_no_bundle_is_run_by_its_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(marks, "mark", seen.append)
    path = tmp_path / "artifact"
    specs = [TensorSpec("x", "uint8", (-1, 4, 4, 3))]
    path.write_bytes(null_model(specs, [TensorSpec("y", "float32", (1, 2))]))
    facts = run_marked(str(path), "null/cpu", 1)
    assert seen == [START, LOADED, FIRST, WARM, WARM + 1]
    assert (facts["engine"], facts["provider"]) == ("null", "cpu")
