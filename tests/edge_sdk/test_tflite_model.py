"""A .tflite file where a bundle is expected: every verb, on small files and on real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from ai_edge_litert import schema_py_generated as schema

from edge_sdk import CheckOptions, FileOptions, InputContract, RunOptions, check, open_pipeline
from tests.edge_sdk.cli_cases import Digits, Run, listing
from tests.runtime.tflite_cases import T, build, facts, mean_model, theirs

RAW = "raw,color=GRAY"


def scorer(weights: np.ndarray[Any, Any], **rest: Any) -> bytes:
    """Return a model of ten scores: products of a grey 8 x 8 picture with `weights` (10, 64)."""
    tensors = [T("picture", "float32", (1, 8, 8, 1)), T("w", "float32", (10, 64), weights),
               T("flat", "float32", (1, 64)), T("scores", "float32", (1, 10)),
               T("shape", "int32", (2,), np.array([1, 64]))]  # fmt: skip
    options = schema.ReshapeOptionsT()
    options.newShape = [1, 64]
    dense = schema.FullyConnectedOptionsT()
    operators = [("RESHAPE", (0, 4), (2,), options), ("FULLY_CONNECTED", (2, 1, -1), (3,), dense)]
    return build(tensors, operators, (0,), (3,), **rest)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """A folder with a linear classifier of digits, and a coarser one: templates of each class."""
    import cv2

    folder = tmp_path_factory.mktemp("nets")
    means = []
    for label in range(10):
        paths = sorted((digits.train / str(label)).glob("*.png"))
        images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
        small = [cv2.resize(image, (8, 8), interpolation=cv2.INTER_LINEAR) for image in images]
        means.append(np.mean(small, axis=0).ravel())
    templates = np.array(means, np.float32)
    templates = (templates - templates.mean(axis=0)) / 1e3
    (folder / "net.tflite").write_bytes(scorer(templates))
    (folder / "coarse.tflite").write_bytes(scorer(np.round(templates * 20) / 20))
    (folder / "same.tflite").write_bytes(scorer(templates))
    return folder


def test_run(nets: Path, digits: Digits, edge: Run, tmp_path: Path) -> None:
    sink = tmp_path / "out.jsonl"
    words = ["run", nets / "net.tflite", "--preprocess", RAW, "--source", digits.heldout / "1"]
    said = edge(*words, "--sink", sink)
    assert said.code == 0, said.err
    assert "on tflite fp32 on litert/cpu." in said.out.replace("\n", " ")
    assert "its input is prepared as given" in said.out
    found = [json.loads(line)["result"]["label"] for line in sink.read_text().splitlines()]
    assert len(found) == 6
    facts = edge(*words, "--max-frames", 2, "--json").json["facts"]
    assert (facts["results"], facts["engine"]["name"]) == (2, "litert")


def test_pipeline_in_python(nets: Path, digits: Digits) -> None:
    options = RunOptions(file=FileOptions(preprocess=RAW))
    with open_pipeline(nets / "net.tflite", str(digits.heldout / "0"), (), options) as pipeline:
        results = [result for _, result in pipeline]
    assert len(results) == 6


def test_check_alone(nets: Path, digits: Digits, edge: Run) -> None:
    """Its accuracy with an interval; and plainly that nothing was replayed."""
    words = ["check", nets / "net.tflite", "--data", digits.heldout, "--preprocess", RAW]
    said = edge(*words, "--json")
    assert said.code == 0, said.err
    facts = said.json["facts"]
    assert facts["reference"] is None
    accuracy = facts["accuracy"]
    assert accuracy["n"] == 60
    assert 0.3 < accuracy["top1"]["low"] < accuracy["top1"]["value"] < accuracy["top1"]["high"] <= 1
    assert said.json["gates"] == []
    said = edge(*words)
    assert "nothing was replayed: a file is no bundle" in said.out
    assert "golden set, " not in said.out


def test_check_beside_a_reference(nets: Path, digits: Digits, edge: Run, tmp_path: Path) -> None:
    """Paired, on the same images; the reference, which says nothing, is fed as the file is."""
    page = tmp_path / "page.html"
    words = ["check", nets / "coarse.tflite", "--reference", nets / "net.tflite",
             "--data", digits.heldout, "--preprocess", RAW]  # fmt: skip
    said = edge(*words, "--report", page, "--json")
    assert said.code == 0, said.err
    (row,) = said.json["facts"]["artifacts"]
    assert row["golden"] is None
    assert 0.5 < row["agreement"]["value"] < 1
    assert row["drop"]["low"] < row["drop"]["value"] < row["drop"]["high"]
    assert "Accuracy: top-1" in page.read_text()
    (same,) = check(
        nets / "same.tflite",
        digits.heldout,
        CheckOptions(str(nets / "net.tflite"), max_drop=0, file=FileOptions(RAW)),
    ).facts["artifacts"]
    assert (same["agreement"]["value"], same["drop"]["value"]) == (1, 0)


def test_a_budget_beside_a_reference(nets: Path, digits: Digits, edge: Run) -> None:
    words = ["check", nets / "coarse.tflite", "--data", digits.heldout, "--preprocess", RAW]
    said = edge(*words, "--reference", nets / "net.tflite", "--max-drop", 100)
    assert (said.code, "PASS  accuracy budget" in said.out) == (0, True), said.err


def test_bench(nets: Path, edge: Run) -> None:
    said = edge("bench", nets / "net.tflite", "--runs", 10, "--json")
    assert said.code == 0, said.err
    (timing,) = said.json["facts"]["artifacts"]
    assert timing["artifact"] == "tflite fp32 on litert/cpu"
    assert 0 < timing["latency_ms"]["p50"] < timing["cold_start_ms"]
    assert any("noise" in note for note in said.json["notes"])
    said = edge("bench", nets / "net.tflite", "--runs", 10, "--provider", "abacus")
    assert said.code == 3
    assert "litert has no provider 'abacus'" in said.last


def test_inspect(edge: Run, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    metadata = {**facts('{"edge_sdk.task": "raw"}'), **theirs([127.5], [127.5], "l.txt")}
    path.write_bytes(mean_model("uint8", (0.5,), (3,), metadata=metadata, files={"l.txt": b"a\nb"}))
    said = edge("inspect", path)
    assert said.code == 0, said.err
    words = ("1 operators", "(code - 3) x 0.5", "-1x-1x-1x3", "MEAN", "127.5", "a, b", "l.txt",
             "built by a test", "edge_sdk.task", "none only moves data")  # fmt: skip
    assert [word for word in words if word not in said.out] == []
    found = edge("inspect", path, "--json").json["facts"]
    assert found["operators"] == {"MEAN": 1}
    assert found["inputs"][0]["scale"] == [0.5]
    assert found["metadata"]["labels"] == ["a", "b"]


def test_inspect_counts_what_only_moves_data(nets: Path, edge: Run) -> None:
    said = edge("inspect", nets / "net.tflite")
    assert "1 only move or recode data (1 RESHAPE)" in said.out
    assert "computes in fp32" in said.out


def test_a_file_of_ours_needs_no_option(digits: Digits, edge: Run, tmp_path: Path) -> None:
    """From the facts inside: preprocessing and task."""
    contract = InputContract(8, 8, color="GRAY", scale=1.0)
    said = {"edge_sdk.input": json.dumps(contract.to_json()), "edge_sdk.task": "raw"}
    tensors = [T("frames", "uint8", (1, 8, 8, 1)), T("y", "float32", (1, 8, 8, 1))]
    options = schema.CastOptionsT()
    options.inDataType, options.outDataType = schema.TensorType.UINT8, schema.TensorType.FLOAT32
    model = build(tensors, [("CAST", (0,), (1,), options)], (0,), (1,),
                  metadata=facts(json.dumps(said)))  # fmt: skip
    path = tmp_path / "ours.tflite"
    path.write_bytes(model)
    found = edge("run", path, "--source", digits.heldout / "3", "--sink", "-")
    assert found.code == 0, found.err
    assert json.loads(found.out.splitlines()[0])["result"]["outputs"][0]["shape"] == [1, 8, 8, 1]
    found = edge("run", path, "--source", digits.heldout / "3", "--preprocess", "unit")
    assert (found.code, "its preprocessing is inside" in found.last) == (2, True)


BAD = {
    "says nothing": (["run", "net.tflite", "--source", "DATA"], 2, "give --preprocess"),
    "no such preprocessing": (
        ["run", "net.tflite", "--source", "DATA", "--preprocess", "imagenett"], 2, "did you mean"),
    "colours": (
        ["run", "net.tflite", "--source", "DATA", "--preprocess", "unit"], 2, "color=RGB"),
    "no labels to judge by": (
        ["check", "net.tflite", "--data", "DATA/1", "--preprocess", RAW], 2, "nothing to judge"),
    "a budget alone": (
        ["check", "net.tflite", "--data", "DATA", "--preprocess", RAW, "--max-drop", "1"], 2,
        "pass --reference"),
    "another reference": (
        ["check", "net.tflite", "--data", "DATA", "--reference", "mean.tflite",
         "--preprocess", RAW], 2, "mean.tflite: preprocessing"),
    "no file": (["inspect", "nowhere.tflite"], 2, "cannot be read"),
    "not whole": (["inspect", "cut.tflite"], 2, "not a whole TFLite model"),
    "not whole, run": (["run", "cut.tflite", "--source", "DATA"], 2, "not a whole TFLite model"),
    "not whole, timed": (["bench", "cut.tflite"], 2, "not a whole TFLite model"),
    "no delegate": (
        ["run", "net.tflite", "--source", "DATA", "--preprocess", RAW, "--provider", "delegate:x"],
        3, "there is no delegate"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str, nets: Path, digits: Digits, edge: Run, tmp_path: Path) -> None:
    words, code, message = BAD[name]
    room = tmp_path
    for path in nets.iterdir():
        (room / path.name).write_bytes(path.read_bytes())
    (room / "cut.tflite").write_bytes((nets / "net.tflite").read_bytes()[:2000])
    (room / "mean.tflite").write_bytes(mean_model(shape=(1, 8, 8, 3)))
    before = listing(room)

    def place(word: str) -> object:
        if word.startswith("DATA"):
            return str(digits.heldout) + word.removeprefix("DATA")
        return room / word if word.endswith(".tflite") else word

    said = edge(*map(place, words))
    assert said.code == code, said.err
    assert message in said.last
    assert said.err.count("\n") == 1
    assert listing(room) == before


def test_a_bundle_takes_no_word_on_its_input(bundle: Path, digits: Digits, edge: Run) -> None:
    for words in (["run", bundle, "--source", digits.heldout], ["check", bundle, "--data", "x"]):
        said = edge(*words, "--preprocess", "unit")
        assert (said.code, "is a bundle, which knows its preprocessing" in said.last) == (2, True)


@pytest.mark.models
def test_a_real_one_matches_classes_by_its_own_labels(model_pack: Path, edge: Run) -> None:
    classes = model_pack / "classification"
    path = classes / "weights" / "mobilenet_v2_1.0_224_quant.tflite"
    words = ["--data", classes / "imagenet_even500", "--samples", 50, "--preprocess", "tf"]
    facts = edge("check", path, *words, "--json").json["facts"]
    assert "agree on offset +1" in facts["labels"]
    assert facts["accuracy"]["top1"]["value"] > 0.8


def test_check_on_a_target(nets: Path, digits: Digits, edge: Run) -> None:
    words = ["check", nets / "net.tflite", "--data", digits.heldout, "--preprocess", RAW, "--json"]
    here, there = edge(*words), edge(*words, "--on", "local")
    assert there.code == 0, there.err
    assert there.json["facts"]["accuracy"] == here.json["facts"]["accuracy"]
    assert "computed on local" in there.json["notes"]
    reference = nets / "coarse.tflite"
    pair = edge(*words, "--on", "local", "--reference", reference)
    assert pair.json["facts"]["artifacts"][0]["n"] == 60
