from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import edge_sdk
from converters.capture import Captured
from converters.zoo.digits import digits_cnn
from device_profiles.errors import (
    ContractError,
    DataError,
    EdgeError,
    GateError,
    ModelError,
    RequestError,
)
from edge_sdk import ConvertOptions, InputContract, convert, open_bundle
from edge_sdk.workflows.conversion_report import conversion_report
from runtime.engines import EngineOptions
from runtime.golden import replay
from tests.edge_sdk.cli_cases import DEVICE, PREPROCESS, SAMPLES, Digits, Fragile, Run, listing

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ConvertOptions(format="onnx", samples=SAMPLES)
DIGIT_NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture(scope="module")
def fragile() -> Captured:
    return edge_sdk.capture(Fragile(digits_cnn()), torch.zeros(1, 1, 32, 32))


def arguments(onnx_file: Path, digits: Digits, output: Path) -> list[object]:
    """Return the command line of a conversion of the digits CNN as an ONNX file."""
    words = ["convert", onnx_file, "--profile", DEVICE, "-o", output]
    return [*words, "--calibration", digits.train, "--preprocess", PREPROCESS, "--samples", SAMPLES]


def test_one_json_object(onnx_file: Path, digits: Digits, edge: Run, tmp_path: Path) -> None:
    output = tmp_path / "digits.edge"
    said = edge(*arguments(onnx_file, digits, output), "--json")
    assert said.code == 0, said.err
    facts = said.json["facts"]
    with open_bundle(output) as bundle:
        assert (facts["id"], facts["name"]) == (bundle.id, "digits")
        assert facts["profile"]["arch"] == "aarch64"
        assert [(a.format, a.precision) for a in bundle.manifest.artifacts] == [
            (name, precision) for precision in ("int8", "fp32") for name in ("onnx", "tflite")
        ]
    made = [f"{p}.{suffix}" for p in ("int8", "fp16", "fp32") for suffix in ("onnx", "tflite")]
    assert set(facts["accuracy"]) == {f"models/model.{name}" for name in made}
    for suffix in ("onnx", "tflite"):
        assert facts["accuracy"][f"models/model.fp32.{suffix}"]["agreement"]["value"] == 1
    assert "capturing the model" in said.err
    assert list(tmp_path.iterdir()) == [output]


def test_what_the_models_code_prints_is_not_in_the_json(
    digits: Digits, edge: Run, tmp_path: Path
) -> None:
    model = tmp_path / "talking.py"
    model.write_text(
        "print('at import')\n"
        "def net():\n"
        "    print('in the factory')\n"
        "    from converters.zoo.digits import digits_cnn\n"
        "    return digits_cnn()\n"
    )
    words = ["convert", f"{model}:net", "--profile", DEVICE, "-o", tmp_path / "x.edge", "--json"]
    said = edge(*words, "--calibration", digits.train, "--precision", "fp32")
    assert said.json["facts"]["name"] == "net"
    assert "at import\n" in said.err
    assert "in the factory\n" in said.err


def test_text_is_for_a_person(onnx_file: Path, digits: Digits, edge: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    output = tmp_path / "digits.edge"
    said = edge(*arguments(onnx_file, digits, output), "--report", page)
    assert said.code == 0, said.err
    words = ("What was tried", "onnx int8", "kept", "not needed", "pass --max-drop")
    assert all(word in said.out for word in words), said.out
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_golden_set_replays(bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        golden, manifest = opened.golden(), opened.manifest
        assert golden.frames.shape == (16, 32, 32, 1)
        for rung, tolerances in enumerate(manifest.golden.tolerances):
            engine = opened.open_engine(rung, EngineOptions(simulate=True))
            verdict = replay(engine, golden, rung, tolerances)
            assert verdict.passed, verdict.reason
            # What is replayed as it was recorded differs by nothing; nor does a tolerance of
            # nothing at all stand behind it.
            assert all(d.worst == 0 < d.tolerance.absolute for d in verdict.differences)
            engine.close()


def test_evidence_says_which_images_calibrated(bundle: Path, digits: Digits) -> None:
    """Also where two classes have files of one name."""
    with open_bundle(bundle) as opened:
        (entry,) = (f for f in opened.manifest.extra_files if "calibration" in f.path)
        known = json.loads(opened.read(entry))["sha256"]
    every = {hashlib.sha256(p.read_bytes()).hexdigest() for p in digits.train.rglob("*.png")}
    assert len(known) == SAMPLES
    assert set(known) < every


def test_same_bytes_again(bundle: Path, captured: Captured, digits: Digits, tmp_path: Path) -> None:
    """Also when the images lie elsewhere, under another name."""
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(digits.train, moved)
    again = tmp_path / "again.edge"
    convert(captured, DEVICE, again, moved, OPTIONS)
    assert again.read_bytes() == bundle.read_bytes()
    other = dataclasses.replace(OPTIONS, seed=1)
    convert(captured, DEVICE, again, moved, other)
    assert again.read_bytes() != bundle.read_bytes()


def test_same_bytes_in_another_process(onnx_file: Path, digits: Digits, tmp_path: Path) -> None:
    """Sets and dictionaries are in another order there."""
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", "from edge_sdk.cli import *"]
    command[-1] += "; sys.exit(main())"
    outputs = [tmp_path / "1.edge", tmp_path / "2.edge"]
    for seed, output in enumerate(outputs, start=1):
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
        words = [*map(str, arguments(onnx_file, digits, output)), "--precision", "int8", "--json"]
        done = subprocess.run(
            [*command, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["facts"]["bundle"] == str(output)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize(
    ("precision", "kept"),
    [("fp32", ["fp32"]), ("fp16", ["fp16", "fp32"]), ("int8", ["int8", "fp32"])],
)
def test_precision_by_name(
    captured: Captured, digits: Digits, tmp_path: Path, precision: str, kept: list[str]
) -> None:
    options = dataclasses.replace(OPTIONS, precision=precision, judges=20)
    done = convert(captured, DEVICE, tmp_path / "x.edge", digits.train, options)
    assert [artifact.precision for artifact in done.manifest.artifacts] == kept
    assert len(done.verdict.candidates) == len(kept)


def test_impossible_budget(fragile: Captured, digits: Digits, tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, precision="int8", max_drop=1.0)
    with pytest.raises(GateError, match=r"int8 loses \d+\.\d\d points, the budget is 1; nothing"):
        convert(fragile, DEVICE, tmp_path / "x.edge", digits.train, options)
    assert not listing(tmp_path)


def test_budget_chooses_another_precision(
    fragile: Captured, digits: Digits, tmp_path: Path
) -> None:
    done = convert(fragile, DEVICE, tmp_path / "x.edge", digits.train, OPTIONS)
    assert "int8" not in [artifact.precision for artifact in done.manifest.artifacts]
    assert done.verdict.kept[-1].recipe.precision == "fp32"
    assert "the budget is 2" in done.verdict.refused[0]


class Loud(nn.Module):
    """A good classifier with a number beyond what half precision holds: it ends at 65,504."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = digits_cnn()
        self.input_contract = self.inner.input_contract

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits that are positive, and 1 for the others."""
        return nn.functional.relu(self.inner(x) * 1e6) / 1e6 + 1


def test_what_cannot_be_made_is_refused_and_the_rest_goes_on(
    digits: Digits, tmp_path: Path
) -> None:
    captured = edge_sdk.capture(Loud(), torch.zeros(1, 1, 32, 32))
    done = convert(captured, "jetson-orin-nano", tmp_path / "x.edge", digits.train, OPTIONS)
    made = {artifact.precision for artifact in done.manifest.artifacts}
    assert made == {"int8", "fp32"}
    report = conversion_report(done)
    table = report.tables[0]
    verdicts = {row[0]: row[-1] for row in table.rows}
    assert verdicts["onnx fp16"] == "fails"
    assert any("onnx fp16: " in note and "beyond 65504" in note for note in report.notes)
    named = dataclasses.replace(OPTIONS, precision="fp16")
    with pytest.raises(ModelError, match="beyond 65504"):
        convert(captured, "jetson-orin-nano", tmp_path / "y.edge", digits.train, named)
    assert set(listing(tmp_path)) == {"x.edge"}


class Curved(nn.Module):
    """The shipped net with an op on its answers that TFLite does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = digits_cnn().eval()
        self.input_contract, self.task = self.inner.input_contract, self.inner.task

    def forward(self, x: Tensor) -> Tensor:
        """Return logits from -1 to 1."""
        return torch.erf(self.inner(x) / 16)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_an_op_that_a_format_does_not_have_is_named_with_its_line(
    digits: Digits, tmp_path: Path, precision: str
) -> None:
    captured = edge_sdk.capture(Curved(), torch.zeros(1, 1, 32, 32))
    options = dataclasses.replace(OPTIONS, precision=precision, judges=20)
    only = dataclasses.replace(options, format="tflite")
    wanted = r"Erf has no form in TFLite here \(at test_convert.py:\d+: return torch.erf\(.*onnx"
    with pytest.raises(ModelError, match=wanted) as caught:
        convert(captured, DEVICE, tmp_path / "x.edge", digits.train, only)
    assert "\n" not in str(caught.value)
    both = dataclasses.replace(options, format="auto")
    done = convert(captured, DEVICE, tmp_path / "x.edge", digits.train, both)
    assert {artifact.format for artifact in done.manifest.artifacts} == {"onnx"}
    assert any("Erf has no form" in note for note in conversion_report(done).notes)


def test_a_bundle_of_tflite_alone(
    captured: Captured, digits: Digits, edge: Run, tmp_path: Path
) -> None:
    options = dataclasses.replace(OPTIONS, format="tflite", judges=20)
    output = tmp_path / "lite.edge"
    convert(captured, DEVICE, output, digits.train, options)
    said = edge("check", output, "--data", digits.heldout, "--samples", "40", "--json")
    assert said.code == 0, said.err
    assert [gate["passed"] for gate in said.json["gates"]] == [True, True]
    said = edge("run", output, "--source", "synthetic:noise", "--max-frames", "3", "--json")
    assert said.json["facts"]["rung"] == "tflite int8 on litert/cpu"
    assert said.json["facts"]["refused"] == []


def test_existing_bundle_stays_when_a_conversion_fails(
    bundle: Path, onnx_file: Path, digits: Digits, edge: Run, tmp_path: Path
) -> None:
    output = tmp_path / "digits.edge"
    shutil.copyfile(bundle, output)
    before = listing(tmp_path)
    said = edge(*arguments(onnx_file, digits, output), "--task", "raw", "--max-drop", "1")
    assert said.code == 2
    assert listing(tmp_path) == before
    assert edge(*arguments(onnx_file, digits, output), "--seed", "1").code == 0
    assert listing(tmp_path) != before


def test_validation_judges(captured: Captured, digits: Digits, tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, validation=digits.heldout, precision="fp32")
    done = convert(captured, DEVICE, tmp_path / "x.edge", digits.train, options)
    assert done.verdict.kept[0].comparison["n"] == 60
    assert not any("--validation" in note for note in done.notes)


def test_judged_by_what_calibrated_is_said(
    captured: Captured, digits: Digits, tmp_path: Path
) -> None:
    options = dataclasses.replace(OPTIONS, samples=100, precision="fp32")
    done = convert(captured, DEVICE, tmp_path / "x.edge", digits.train, options)
    assert any("pass --validation" in note for note in done.notes)


def test_labels_and_offset(onnx_file: Path, digits: Digits, edge: Run, tmp_path: Path) -> None:
    """Words do not match the folders 0 to 9: an offset is asked for, and then believed."""
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(DIGIT_NAMES) + "\n")
    words = [*arguments(onnx_file, digits, tmp_path / "x.edge"), "--labels", labels]
    refused = edge(*words)
    assert refused.code == 2
    assert "--label-offset" in refused.last
    said = edge(*words, "--label-offset", "0", "--precision", "fp32", "--json")
    assert said.code == 0, said.err
    assert (
        said.json["facts"]["accuracy"]["models/model.fp32.onnx"]["artifact"]["top1"]["value"] > 0.9
    )
    with open_bundle(tmp_path / "x.edge") as opened:
        assert opened.labels == tuple(DIGIT_NAMES)


def test_pass_of_ones_own(onnx_file: Path, digits: Digits, edge: Run, tmp_path: Path) -> None:
    own = ROOT / "examples" / "your_own_pass.py"
    words = [*arguments(onnx_file, digits, tmp_path / "x.edge"), "--precision", "fp32"]
    assert edge(*words, "--pass", own).code == 0
    twice = edge(*words, "--pass", own, "--pass", own)
    assert twice.code == 2
    assert "two passes are called" in twice.last


def test_raw_task(onnx_file: Path, digits: Digits, edge: Run, tmp_path: Path) -> None:
    said = edge(*arguments(onnx_file, digits, tmp_path / "x.edge"), "--task", "raw", "--json")
    assert said.code == 0, said.err
    accuracy = said.json["facts"]["accuracy"]
    assert accuracy["models/model.fp32.onnx"]["outputs"][0]["cosine"] == pytest.approx(1)
    assert any("task raw" in note for note in said.json["notes"])


def test_what_was_captured_needs_to_be_told_its_input(
    captured: Captured, digits: Digits, tmp_path: Path
) -> None:
    """The module says nothing of its input: it is said at the capture, or at the conversion."""
    module, example = digits_cnn(), torch.zeros(1, 1, 32, 32)
    contract, module.input_contract = module.input_contract, None
    silent = dataclasses.replace(captured, contract=None)
    options = dataclasses.replace(OPTIONS, precision="fp32", judges=16)
    with pytest.raises(ContractError, match="pass --preprocess"):
        convert(silent, DEVICE, tmp_path / "x.edge", digits.train, options)
    told = edge_sdk.capture(module, example, preprocess=contract)
    words = f"{PREPROCESS},height=32,width=32"
    cases = (
        (told, options),
        (silent, dataclasses.replace(options, preprocess=contract)),
        (silent, dataclasses.replace(options, preprocess=words)),
    )
    for model, said in cases:
        done = convert(model, DEVICE, tmp_path / "x.edge", digits.train, said)
        assert done.manifest.input == contract
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (ConvertOptions(weights=Path("x.pth")), RequestError, "captured with its weights"),
        (ConvertOptions(task="divine"), RequestError, "no task is called 'divine'"),
        (ConvertOptions(task="raw", label_offset=1), DataError, "leave the offset out"),
        (ConvertOptions(preprocess="imagnet"), ContractError, "did you mean imagenet"),
        (ConvertOptions(precision="int4"), RequestError, "at precision int4"),
        (ConvertOptions(judges=0), DataError, "at least 1"),
    ],
)
def test_wrong_options(
    captured: Captured,
    digits: Digits,
    tmp_path: Path,
    options: ConvertOptions,
    error: type[EdgeError],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        convert(captured, DEVICE, tmp_path / "x.edge", digits.train, options)
    assert not listing(tmp_path)


@pytest.mark.parametrize("budget", [-1.0, float("nan"), float("inf")])
def test_budgets_are_numbers_of_points(budget: float) -> None:
    with pytest.raises(RequestError, match="0 or more"):
        ConvertOptions(max_drop=budget)
    with pytest.raises(RequestError, match="0 or more"):
        edge_sdk.CheckOptions(max_drop=budget)


def test_a_model_that_is_stuck_is_refused(
    captured: Captured, digits: Digits, tmp_path: Path
) -> None:
    """It answers the same to everything, so that no golden set could prove anything."""
    answer = np.arange(10, dtype=np.float32)[None]
    stuck = dataclasses.replace(captured, reference=lambda batch: [answer])
    options = dataclasses.replace(OPTIONS, precision="fp32")
    with pytest.raises(DataError, match="hardly varies with the input"):
        convert(stuck, DEVICE, tmp_path / "x.edge", digits.train, options)
    assert not listing(tmp_path)


class Map(nn.Module):
    """One score per class and pixel: not a classifier's answer."""

    input_contract = InputContract(height=8, width=8)
    task = "classify"

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 4, 6, 6)."""
        scores: Tensor = self.conv(x)
        return scores


def test_a_map_is_not_classified(digits: Digits, tmp_path: Path) -> None:
    captured = edge_sdk.capture(Map(), torch.zeros(1, 3, 8, 8))
    with pytest.raises(RequestError, match=r"one score per class.*--task raw"):
        convert(captured, DEVICE, tmp_path / "x.edge", digits.train, OPTIONS)
    raw = dataclasses.replace(OPTIONS, task="raw", precision="fp32")
    assert convert(captured, DEVICE, tmp_path / "x.edge", digits.train, raw).path.is_file()
