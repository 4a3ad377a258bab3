"""A detector from conversion to the camera: its decoder declared, tried, kept, and overridden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_sdk import ConvertOptions, convert, open_bundle
from tests.edge_sdk.cli_cases import DEVICE, Run

SIDE, CLASSES = 32, 2
HEAD = """
import numpy as np
from runtime.decoders.base import Candidates
OPTIONS = {"shift": 0.0}
def decode(outputs, context, options):
    rows = outputs[0][0].T
    centre, half = rows[:, :2] + options["shift"], rows[:, 2:4] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return Candidates(boxes, rows[:, 4:].max(axis=1), rows[:, 4:].argmax(axis=1))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net that answers as YOLOv8 does at 32 x 32: 21 boxes, of which the first 16 follow the
    brightness of their cells."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.05, (4 + CLASSES, 3, 8, 8)).astype(np.float32)
    weights[:4] = 0.0  # a box of 9 pixels in the middle of its cell, whatever is in it
    weights[4:] = [[[[0.04]]], [[[-0.04]]]]
    grid = np.arange(16) % 4 * 8.0 + 4, np.arange(16) // 4 * 8.0 + 4
    places = np.stack([*grid, np.full(16, 9.0), np.full(16, 9.0), *np.zeros((2, 16))])
    scale = np.array([0, 0, 0, 0, 1, 1], np.float32).reshape(1, 6, 1)
    bias = np.array([0, 0, 0, 0, -4, 1], np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["c"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Reshape", ["c", "flat"], ["r"]),
        helper.make_node("Sigmoid", ["r"], ["s"]),
        helper.make_node("Mul", ["s", "scale"], ["m"]),
        helper.make_node("Add", ["m", "places"], ["a"]),
        helper.make_node("Concat", ["a", "rest"], ["boxes"], axis=2),
    ]
    constants = {
        "w": weights, "b": bias, "flat": np.array([1, 6, 16], np.int64), "scale": scale,
        "places": places[None].astype(np.float32), "rest": np.zeros((1, 6, 5), np.float32),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 6, 21])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    path = tmp_path_factory.mktemp("detector") / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO: 24 dark pictures of 64 x 64 with one to three bright squares, the things."""
    root = tmp_path_factory.mktemp("coco")
    (root / "images").mkdir()
    rng = np.random.default_rng(1)
    table: dict[str, list[dict[str, Any]]] = {
        "images": [], "annotations": [],
        "categories": [{"id": 5, "name": "square"}, {"id": 9, "name": "dark"}],
    }  # fmt: skip
    for number in range(24):
        image = rng.integers(0, 60, (64, 64, 3), np.uint8)
        for cell in rng.choice(16, int(rng.integers(1, 4)), replace=False).tolist():
            x, y = cell % 4 * 16, cell // 4 * 16
            image[y : y + 16, x : x + 16] = rng.integers(200, 256, (16, 16, 3))
            table["annotations"].append(
                {"id": len(table["annotations"]) + 1, "image_id": number, "category_id": 5,
                 "bbox": [x, y, 16, 16], "area": 256, "iscrowd": 0})  # fmt: skip
        name = f"{number:03d}.png"
        cv2.imwrite(str(root / "images" / name), image)
        table["images"].append({"id": number, "file_name": name})
    (root / "instances.json").write_text(json.dumps(table))
    return root


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("head") / "head.py"
    path.write_text(HEAD)
    return path


@pytest.fixture(scope="module")
def detector(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "tiny.edge"
    options = ConvertOptions(
        preprocess="unit", task="detect", decoder="yolov8,score=0.4", samples=16, precision="fp32"
    )
    convert(str(model), DEVICE, path, data, options)
    return path


def test_what_the_bundle_says(detector: Path) -> None:
    with open_bundle(detector) as bundle:
        manifest = bundle.manifest
        facts = onnx.load_from_string(bundle.read(manifest.artifacts[0].file)).metadata_props
    assert (manifest.task, manifest.decoder) == ("detect", {"name": "yolov8", "score": 0.4})
    told = {fact.key: fact.value for fact in facts}
    assert json.loads(told["edge_sdk.decoder"]) == manifest.decoder
    assert manifest.evidence["accuracy"]
    for row in manifest.evidence["accuracy"].values():
        assert row["metric"] == "mAP"
        assert row["reference"]["recall"]["value"] > 0.9
        assert row["agreement"]["value"] == 1


def test_from_the_command_line(model: Path, data: Path, edge: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.edge"
    labels = tmp_path / "labels.txt"
    labels.write_text("dark\nsquare\n")
    words = ["convert", model, "--profile", DEVICE, "--calibration", data, "--samples", 16,
             "--preprocess", "unit", "--task", "detect", "--precision", "fp32"]  # fmt: skip
    said = edge(*words, "--decoder", "yolov8,score=0.4", "-o", path, "--max-drop", 1)
    assert said.code == 0, said.err
    assert "mAP, %" in said.out
    assert "points of mAP" in said.out.replace("\n", " ")
    # The names stand in another order than the data's: dark ones are the second class there.
    said = edge(*words, "--decoder", "yolov8", "-o", path, "--labels", labels, "--json")
    assert said.code == 0, said.err
    accuracy = next(iter(said.json["facts"]["accuracy"].values()))
    assert accuracy["reference"]["map"]["value"] < 0.1
    assert any("by name" in note for note in said.json["notes"])


BAD = {
    "none": ([], "task detect needs a decoder"),
    "no such": (["--decoder", "yolo8"], "did you mean yolov8"),
    "another family": (["--decoder", "yunet"], "decoder yunet reads"),
    "no option": (["--decoder", "yolov8,scor=1"], "has no option 'scor'"),
    "no value": (["--decoder", "yolov8,score=1.5"], "score must be from 0 to 1"),
    "no TOML": (["--decoder", "yolov8,score"], "cannot be read"),
    "no file": (["--decoder", "nowhere.py:decode"], "no decoder file at nowhere.py"),
    "labels": (["--decoder", "yolov8", "--labels", "LABELS"], "scores 2 classes, but there are 3"),
    "another task": (["--task", "raw", "--decoder", "yolov8"], "task raw has no decoder"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str, model: Path, data: Path, edge: Run, tmp_path: Path) -> None:
    """Found out at conversion, before the work and not on the device."""
    words, message = BAD[name]
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    said = edge(
        "convert", model, "--profile", DEVICE, "--calibration", data, "--samples", 16,
        "--preprocess", "unit", "--task", "detect", "-o", tmp_path / "x.edge",
        *(labels if word == "LABELS" else word for word in words))  # fmt: skip
    assert said.code == 2, said.err
    assert message in said.last
    assert not (tmp_path / "x.edge").exists()


def test_check(detector: Path, data: Path, edge: Run) -> None:
    words = ["check", detector, "--data", data]
    said = edge(*words, "--max-drop", 0.5)
    assert said.code == 0, said.err
    assert "PASS  accuracy budget" in said.out
    for word in ("mAP, %", "AP50, %", "recall, %", "of the boxes"):
        assert word in said.out.replace("\n", " ")
    strict = edge(*words, "--decoder", "score=0.999", "--json").json["facts"]["artifacts"][0]
    usual = edge(*words, "--json").json["facts"]["artifacts"][0]
    assert strict["reference"]["recall"]["value"] < usual["reference"]["recall"]["value"]
    assert strict["reference"]["map"] == usual["reference"]["map"]


def test_run(detector: Path, data: Path, edge: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    said = edge("run", detector, "--source", data / "images", "--sink", out, "--track")
    assert said.code == 0, said.err
    rows = [json.loads(line)["result"]["items"] for line in out.read_text().splitlines()]
    assert len(rows) == 24
    things = [item for items in rows for item in items if item["index"] == 0]
    assert all(set(item) >= {"label", "score", "left", "id"} for item in things)
    table = json.loads((data / "instances.json").read_text())
    assert len(things) == len(table["annotations"])
    assert any(item["id"] is not None for item in things)
    said = edge("run", detector, "--source", data / "images", "--decoder", "yunet", "--sink", out)
    assert said.code == 2
    assert "decoder yunet reads" in said.last


def test_a_decoder_of_the_users(
    model: Path, data: Path, head: Path, edge: Run, tmp_path: Path
) -> None:
    """The bundle holds no more than its name; the device's user brings the file."""
    path, out = tmp_path / "x.edge", tmp_path / "out.jsonl"
    said = edge(
        "convert", model, "--profile", DEVICE, "--calibration", data, "--samples", 16,
        "--preprocess", "unit", "--task", "detect", "--precision", "fp32", "-o", path,
        "--decoder", f"{head}:decode,shift=1.5")  # fmt: skip
    assert said.code == 0, said.err
    with open_bundle(path) as bundle:
        assert bundle.manifest.decoder == {"name": "head.py:decode", "shift": 1.5}
    for words in (["run", path, "--source", data / "images"], ["check", path, "--data", data]):
        refused = edge(*words)
        assert refused.code == 2
        assert "a bundle cannot bring along" in refused.last
    run = ["run", path, "--source", data / "images", "--sink", out]
    for decoder, left in ((f"{head}:decode", 2), (f"{head}:decode,shift=0", -1)):
        said = edge(*run, "--decoder", decoder)
        assert said.code == 0, said.err
        first = json.loads(out.read_text().splitlines()[0])["result"]["items"][0]
        assert first["left"] % 16 == pytest.approx(left % 16, abs=0.01)


def test_a_tflite_file_of_ours_and_one_of_others(
    model: Path, data: Path, edge: Run, tmp_path: Path
) -> None:
    """Ours says its task and decoder; to any other they can be said."""
    path, net, out = tmp_path / "x.edge", tmp_path / "net.tflite", tmp_path / "out.jsonl"
    options = ConvertOptions(
        preprocess="unit", task="detect", decoder="yolov8", samples=16, precision="fp32",
        format="tflite")  # fmt: skip
    convert(str(model), DEVICE, path, data, options)
    with open_bundle(path) as bundle:
        net.write_bytes(bundle.read(bundle.manifest.artifacts[0].file))
    run = ["run", net, "--source", data / "images", "--sink", out]
    counts = []
    for words in ([], ["--decoder", "score=0.9999"]):
        said = edge(*run, *words)
        assert said.code == 0, said.err
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        counts.append(sum(len(line["result"]["items"]) for line in lines))
    assert counts[0] > 24 > counts[1]
    said = edge("check", net, "--data", data)
    assert said.code == 0, said.err
    assert "has a mAP of" in said.out.replace("\n", " ")
    said = edge(*run, "--task", "raw", "--decoder", "yolov8")
    assert (said.code, "task raw has no decoder" in said.last) == (2, True)
