from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from converters.capture import Captured
from converters.graphs import clone
from device_profiles.errors import (
    EngineError,
    ModelError,
)
from edge_sdk import CheckOptions, ConvertOptions, check, convert, open_bundle
from edge_sdk.workflows.data import Frames
from edge_sdk.workflows.measure import Question, classes_of, compare
from runtime.datasets import open_dataset
from runtime.evaluate import Judged
from runtime.golden import GoldenSet
from runtime.host import Host
from runtime.manifest import Manifest
from tests.edge_sdk.cli_cases import DEVICE, SAMPLES, Digits, Run, rewrite

FILES = ["models/model.int8.onnx", "models/model.fp32.onnx"]


@pytest.fixture
def on_arch(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Pretend that this machine is of another architecture."""

    def pretend(arch: str) -> None:
        monkeypatch.setattr("edge_sdk.workflows.contenders.host", lambda: Host(arch, frozenset()))

    return pretend


@pytest.fixture
def tampered(bundle: Path, tmp_path: Path) -> Path:
    """A bundle whose golden outputs are others than its artifacts give, and consistently so."""
    with open_bundle(bundle) as opened:
        golden = opened.golden()
    wrong = tuple({n: a + np.float32(5) for n, a in rung.items()} for rung in golden.artifacts)
    forged = GoldenSet(golden.frames, golden.reference, wrong)
    return rewrite(bundle, tmp_path / "forged.edge", {"golden.npz": forged.to_bytes()})


def test_against_its_own_float32(bundle: Path, digits: Digits, edge: Run) -> None:
    said = edge("check", bundle, "--data", digits.heldout, "--json")
    assert said.code == 0, said.err
    facts = said.json["facts"]
    assert facts["reference"] == "the bundle's own float32 artifact"
    assert facts["labels"] == "by index: no names to compare"
    assert facts["calibration_overlap"] == 0
    assert facts["unreadable"] == []
    int8, fp32 = facts["artifacts"]
    for row in (int8, fp32):
        assert row["n"] == row["reference"]["n"] == row["artifact"]["n"] == 60
        assert row["golden"]["passed"] is True
        assert 0.9 < row["reference"]["top1"]["low"] < row["reference"]["top1"]["value"] <= 1
        assert 0.9 < row["artifact"]["top1"]["value"] <= 1
        assert row["drop"]["low"] <= row["drop"]["value"] <= row["drop"]["high"]
        assert row["size_bytes"] > 10_000
    assert fp32["agreement"]["value"] == 1
    assert fp32["drop"]["value"] == 0
    assert int8["snr_db"] < 60 < (fp32["snr_db"] or 1e3)


@pytest.mark.parametrize("reference", ["onnx", "captured"])
def test_against_the_original(
    reference: str, bundle: Path, onnx_file: Path, captured: Captured, digits: Digits
) -> None:
    """Prepared as the device does it, float32 answers every image as PyTorch does."""
    model = str(onnx_file) if reference == "onnx" else captured
    report = check(bundle, digits.heldout, CheckOptions(reference=model))
    fp32 = report.facts["artifacts"][1]
    assert report.passed
    assert fp32["agreement"]["value"] == 1
    assert fp32["snr_db"] > 100
    name = model if reference == "onnx" else "the original digits_cnn"
    assert report.facts["reference"] == name


def test_from_the_command_line_against_the_original(
    bundle: Path, onnx_file: Path, digits: Digits, edge: Run, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    words = ["check", bundle, "--data", digits.heldout, "--reference", onnx_file]
    said = edge(*words, "--samples", 20, "--max-drop", 5, "--report", page)
    assert said.code == 0, said.err
    assert "PASS  accuracy budget" in said.out
    assert "n = 20" in said.out
    assert str(page) in said.out
    assert "<svg" in page.read_text()


def test_samples_and_seed(bundle: Path, digits: Digits, edge: Run) -> None:
    words = ["check", bundle, "--data", digits.heldout, "--json", "--samples", 10]
    first, again, other = (edge(*words, "--seed", seed).json["facts"] for seed in (0, 0, 7))
    assert first == again
    assert first["artifacts"][0]["n"] == 10
    errors = [facts["artifacts"][0]["max_abs_difference"] for facts in (first, other)]
    assert errors[0] != errors[1]
    every = edge(*words[:-1], 10**9).json["facts"]
    assert every["artifacts"][0]["n"] == 60


def mistaken(captured: Captured) -> Captured:
    """Return the model with its classes shifted by one."""

    def shifted(batch: Any) -> list[Any]:
        return [np.roll(array, 1, axis=1) for array in captured.reference(batch)]

    return replace(captured, reference=shifted)


def test_what_gains_is_within_any_budget(captured: Captured, bundle: Path, digits: Digits) -> None:
    options = CheckOptions(reference=mistaken(captured), max_drop=0.0)
    budget = check(bundle, digits.heldout, options).gates[-1]
    assert (budget.name, budget.passed) == ("accuracy budget", True)


def test_without_labels_the_budget_is_of_agreement(
    captured: Captured, bundle: Path, digits: Digits
) -> None:
    options = CheckOptions(reference=mistaken(captured), max_drop=50.0)
    budget = check(bundle, digits.heldout / "3", options).gates[-1]
    assert (budget.passed, budget.detail) == (False, "100.00 points lost, 50 allowed")


def test_budget_exceeded_is_exit_code_1(
    bundle: Path, digits: Digits, edge: Run, tmp_path: Path
) -> None:
    """The first rung is a net with the biases of its last layer turned about."""
    with open_bundle(bundle) as opened:
        int8, fp32 = opened.manifest.artifacts
        model = onnx.load_from_string(opened.read(fp32.file))
    (bias,) = (tensor for tensor in model.graph.initializer if list(tensor.dims) == [10])
    wrong = onnx.numpy_helper.to_array(bias)[::-1] * 50
    bias.CopyFrom(onnx.numpy_helper.from_array(wrong, bias.name))
    files = {int8.file.path: model.SerializeToString()}
    broken = rewrite(bundle, tmp_path / "x.edge", files)
    said = edge("check", broken, "--data", digits.heldout, "--max-drop", 1, "--json")
    assert said.code == 1
    failed = {gate["name"]: gate["detail"] for gate in said.json["gates"] if not gate["passed"]}
    assert "points lost, 1 allowed" in failed["accuracy budget"]
    assert said.json["passed"] is False


def test_forged_golden_set_fails_on_the_devices_own_architecture(
    tampered: Path, digits: Digits, edge: Run, on_arch: Callable[[str], None]
) -> None:
    on_arch("aarch64")
    said = edge("check", tampered, "--data", digits.heldout, "--samples", 10)
    assert said.code == 1
    assert "FAIL  golden set, onnx int8" in said.out
    assert "is off by" in said.out
    assert "simulated" not in said.out


def test_elsewhere_what_is_not_reproduced_is_simulated(
    tampered: Path, digits: Digits, edge: Run, on_arch: Callable[[str], None]
) -> None:
    """And, being forged, not reproduced even so."""
    on_arch("riscv64")
    said = edge("check", tampered, "--data", digits.heldout, "--samples", 10, "--json")
    assert said.code == 1
    for row in said.json["facts"]["artifacts"]:
        assert row["arithmetic"] == "simulated"
        assert "is off by" in row["why_simulated"]
        assert row["golden"]["passed"] is False


def test_a_provider_that_is_not_here_is_simulated(
    bundle: Path, digits: Digits, tmp_path: Path, on_arch: Callable[[str], None]
) -> None:
    def elsewhere(manifest: Manifest) -> Manifest:
        ladder = (replace(artifact, provider="abacus") for artifact in manifest.artifacts)
        return replace(manifest, artifacts=tuple(ladder))

    path = rewrite(bundle, tmp_path / "x.edge", change=elsewhere)
    on_arch("riscv64")
    report = check(path, digits.heldout, CheckOptions(samples=10))
    assert report.passed, "simulated, the golden set is reproduced"
    assert all("no provider 'abacus'" in a["why_simulated"] for a in report.facts["artifacts"])
    assert any("not of the device's architecture" in note for note in report.notes)
    on_arch("aarch64")
    with pytest.raises(EngineError, match="no provider 'abacus'"):
        check(path, digits.heldout, CheckOptions(samples=10))


def test_a_bundle_that_does_not_say_its_architecture(
    bundle: Path, tampered: Path, digits: Digits, tmp_path: Path
) -> None:
    """It is taken at its word here: nothing is simulated, and a fault is a fault."""

    def silent(manifest: Manifest) -> Manifest:
        return replace(manifest, profile={"name": DEVICE, "digest": "0" * 64})

    good = rewrite(bundle, tmp_path / "good.edge", change=silent)
    # Whether int8 is reproduced depends on the kernels here; that it is not simulated does not.
    int8, fp32 = check(good, digits.heldout, CheckOptions(samples=10)).facts["artifacts"]
    assert (int8["arithmetic"], fp32["arithmetic"]) == ("native", "native")
    assert fp32["golden"]["passed"] is True
    forged = rewrite(tampered, tmp_path / "silent.edge", change=silent)
    assert not check(forged, digits.heldout, CheckOptions(samples=10)).passed


def test_overlap_with_calibration(bundle: Path, digits: Digits) -> None:
    report = check(bundle, digits.train)
    assert report.facts["calibration_overlap"] == SAMPLES
    assert f"{SAMPLES} of these images also calibrated the bundle" in report.notes


def test_without_labels_there_is_agreement_alone(
    bundle: Path, digits: Digits, edge: Run, tmp_path: Path
) -> None:
    words = ["check", bundle, "--data", digits.heldout / "7"]
    row = edge(*words, "--json").json["facts"]["artifacts"][1]
    assert (row["reference"], row["artifact"], row["drop"]) == (None, None, None)
    assert row["agreement"]["value"] == 1
    said = edge(*words)
    assert said.code == 0
    assert "points of top-1" not in said.out
    refused = edge(*words, "--label-offset", 1)
    assert refused.code == 2
    assert "images with labels" in refused.last


def test_raw_task(captured: Captured, digits: Digits, edge: Run, tmp_path: Path) -> None:
    path = tmp_path / "raw.edge"
    options = ConvertOptions(samples=SAMPLES, task="raw", precision="fp32", judges=16)
    convert(captured, DEVICE, path, digits.train, options)
    said = edge("check", path, "--data", digits.heldout, "--samples", 16)
    assert said.code == 0, said.err
    assert "Outputs against the reference" in said.out
    assert "cosine" in said.out
    for words in (["--max-drop", 1], ["--label-offset", 0]):
        refused = edge("check", path, "--data", digits.heldout, "--samples", 16, *words)
        assert refused.code == 2, words


@pytest.mark.parametrize(
    ("taken", "answered"),
    [((1, 1, 32, 32), (1, 4)), ((1, 3, 32, 32), (1, 10)), ((1, 1, 28, 28), (1, 10))],
)
def test_a_reference_of_another_kind_is_refused(
    taken: tuple[int, ...],
    answered: tuple[int, ...],
    bundle: Path,
    captured: Captured,
    digits: Digits,
) -> None:
    other = clone(captured.graph)
    other.graph.inputs[0].shape, other.graph.outputs[0].shape = ir.Shape(taken), ir.Shape(answered)
    options = CheckOptions(reference=replace(captured, graph=other))
    with pytest.raises(ModelError, match="give the model that it was made from"):
        check(bundle, digits.heldout, options)


@pytest.mark.parametrize(
    "content",
    [b"[]", b"no JSON", b'{"sha256": 5}', b'{"sha256": [[]]}', b"{}", b"[" * 9999, b"\xff"],
)
def test_forged_list_of_calibration_images(
    content: bytes, bundle: Path, digits: Digits, edge: Run, tmp_path: Path
) -> None:
    files = {"evidence/calibration.json": content}
    path = rewrite(bundle, tmp_path / "x.edge", files)
    said = edge("check", path, "--data", digits.heldout, "--samples", 10)
    assert said.code == 2
    assert said.last.startswith(f"edge-sdk check: {path}: evidence/calibration.json does not list")


def test_forged_task(bundle: Path, digits: Digits, edge: Run, tmp_path: Path) -> None:
    path = rewrite(bundle, tmp_path / "x.edge", change=lambda m: replace(m, task="divine"))
    said = edge("check", path, "--data", digits.heldout, "--samples", 10)
    assert said.code == 2
    assert "no task is called 'divine'" in said.last


def test_weights_without_a_reference(bundle: Path, digits: Digits, edge: Run) -> None:
    said = edge("check", bundle, "--data", digits.heldout, "--weights", "x.pth")
    assert said.code == 2
    assert "pass --reference MODEL as well" in said.last


def test_answers_that_cannot_be_compared(digits: Digits, captured: Captured) -> None:
    """One contender fails, the other is judged as if it were alone."""
    assert captured.contract is not None
    frames = Frames(open_dataset(digits.heldout / "1"), captured.contract)
    judged = Judged(("logits",), captured.contract)
    good = np.eye(1, 10, dtype=np.float32)
    runs = {
        "good": lambda frame: [good],
        "endless": lambda frame: [good + np.inf],
        "short": lambda frame: [good[:, :5]],
    }
    found = compare(Question(frames, "classify", judged), lambda frame: [good], runs)
    assert found["good"]["agreement"]["value"] == 1
    assert "not finite" in found["endless"]["fault"]
    assert "shape" in found["short"]["fault"]


@pytest.mark.parametrize(
    ("shape", "classes"),
    [
        ((1, 10), 10),
        ((-1, 4), 4),
        ((1, 10, 1, 1), 10),
        ((1, 1, 10), 10),
        ((1, 1), 1),
        ((), 0),
        ((1,), 0),
        ((1, 4, 6, 6), 0),
        ((1, -1), 0),
        ((1, -2, -2), 0),
    ],
)
def test_classes_of(shape: tuple[int, ...], classes: int) -> None:
    assert classes_of(shape) == classes
