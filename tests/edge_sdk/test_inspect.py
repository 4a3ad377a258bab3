from __future__ import annotations

import json
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from edge_sdk import open_bundle
from runtime.manifest import Manifest
from tests.edge_sdk.cli_cases import DEVICE, Digits, Run, rewrite

OLD = Path(__file__).resolve().parents[1] / "runtime" / "data" / "schema-1.0.edge"


def test_inspect(bundle: Path, edge: Run) -> None:
    said = edge("inspect", bundle)
    assert said.code == 0
    words = (f"digits_cnn for {DEVICE}", "every file verified", "onnx int8 on onnxruntime/cpu",
             "center-crop", "golden.npz", "evidence/calibration.json", "dead_code")  # fmt: skip
    assert [word for word in words if word not in said.out] == []
    facts = edge("inspect", bundle, "--json").json["facts"]
    with open_bundle(bundle) as opened:
        assert facts["id"] == opened.id
        assert facts["artifacts"][0]["file"]["sha256"] == opened.manifest.artifacts[0].file.sha256
    assert (
        facts["recipe"]["verdict"]["tried"][1]["refused"]
        == "not needed: int8 is smaller and faster"
    )
    assert facts["evidence"]["accuracy"]["models/model.int8.onnx"]["n"] == 52


def test_the_oldest_bundle(digits: Digits, edge: Run, tmp_path: Path) -> None:
    """Of the first schema, from before profiles stood in it with their architecture."""
    said = edge("inspect", OLD)
    assert said.code == 0, said.err
    assert "null for generic-x86" in said.out
    sink = tmp_path / "out.jsonl"
    assert edge("run", OLD, "--source", digits.heldout / "1", "--sink", sink).code == 0
    assert len(sink.read_text().splitlines()) == 6
    said = edge("check", OLD, "--data", digits.heldout / "1", "--json")
    assert said.code == 0, said.err
    assert said.json["facts"]["calibration_overlap"] is None
    assert said.json["facts"]["artifacts"][0]["agreement"]["value"] == 1


DEEP: Any = reduce(lambda inner, _: [inner], range(300), [])
INT8 = "models/model.int8.onnx"


@pytest.mark.parametrize(
    "evidence",
    [
        {"accuracy": 5},
        {"accuracy": ["drop"]},
        {"accuracy": {INT8: "good"}},
        {"accuracy": {INT8: {"drop": 3}}},
        {"accuracy": {INT8: {"drop": {"value": 0.1}}}},
        {"accuracy": {INT8: {"drop": {"value": "a", "low": "b", "high": "c"}}}},
        {"accuracy": {INT8: {"agreement": [1, 2, 3]}}},
        {"accuracy": {INT8: {"agreement": {"value": None, "low": None, "high": None}}}},
        {"accuracy": {INT8: {"agreement": {"value": 10**400, "low": 0, "high": 1}}}},
        {"accuracy": {INT8: DEEP}},
        {"anything": DEEP},
        {"anything": {"a": [{"b": DEEP}]}},
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_forged_evidence(evidence: Any, bundle: Path, edge: Run, tmp_path: Path) -> None:
    path = rewrite(bundle, tmp_path / "x.edge", change=lambda m: replace(m, evidence=evidence))
    for words in ([], ["--json"]):
        said = edge("inspect", path, *words)
        assert said.code == 2
        assert said.last.startswith(f"edge-sdk inspect: {path}: its ")
        assert said.err.count("\n") == 1


@pytest.mark.parametrize("field", ["recipe", "requires", "profile"])
@pytest.mark.parametrize(
    "value",
    [DEEP, 10**400, "\x1b[2J\r\n", [None, {"a": 1}]],
    ids=["deep", "long", "control", "mixed"],
)
def test_forged_recipe(field: str, value: Any, bundle: Path, edge: Run, tmp_path: Path) -> None:
    """It is shown as it is, and on a terminal does nothing; or is refused."""

    def change(manifest: Manifest) -> Manifest:
        keys = ("edge_sdk", "origin", "passes", "calibration", "verdict", "arch", "name")
        kept = {"name": str(value)[:9], "digest": "0"} if field == "profile" else {}
        return replace(manifest, **{field: {**dict.fromkeys(keys, value), **kept}})  # type: ignore[arg-type]

    path = rewrite(bundle, tmp_path / "x.edge", change=change)
    said = edge("inspect", path)
    assert said.code == (2 if value is DEEP else 0), said.err
    assert "\x1b" not in said.out + said.err
