"""Zero silent fallbacks: engines that fail in every way, each detected, named and survived.

    python tests/bench/fallbacks.py [ENVIRONMENT]

Runs `edge-sdk run` with `--provider auto` and `--provider require:X` on bundles whose first rung
fails and whose second is healthy. The first is the real onnxruntime-gpu on a machine without a GPU,
in an environment of its own (made in a temporary folder, or in ENVIRONMENT, where it is found again
next time); the others are null models. Prints a table, and ends with 1 when anything was silent.

It survived when every frame had its result, on the CPU; it was named when the reason is in the
results and on stderr; what is required is had, or exit code 3 with the same reason.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from runtime.bundle import file_entry, open_bundle, write_bundle  # noqa: E402
from runtime.contract import InputContract  # noqa: E402
from runtime.engines import open_engine  # noqa: E402
from runtime.golden import GoldenSet, float_tolerance  # noqa: E402
from runtime.manifest import Artifact, Golden, Manifest  # noqa: E402
from tests.runtime.ladder_cases import ladder_bundle, rung  # noqa: E402

PACKAGES = ("onnxruntime-gpu==1.31.1", "numpy", "opencv-python-headless")
FRAMES = 150
PROOF = 17  # runs before the first frame
SIZE = 96


@dataclass(frozen=True)
class Case:
    """A first rung: what is wrong with it, its provider, the words that it is named with, and the
    exit code where it is required."""

    what: str
    provider: str
    words: str
    behaviour: dict[str, float]
    required: int = 3


CASES = (
    Case("crashes when it is loaded", "npu", "SIGABRT.*when it loaded", {"crash_after": -1}),
    Case("crashes when it runs", "npu", "SIGABRT.*when it ran", {"crash_after": 3}),
    Case("hangs", "npu", "did not end within", {"hang_after": 3}),
    Case("wrong numbers", "npu", "is off by 0.5", {"noise": 0.5}),
    Case("answers with NaN", "npu", "is not finite", {"nan_after": 0}),
    Case("slower than the CPU", "npu", "slower here", {"delay_ms": 40}, required=0),
    Case("dies after 100 frames", "npu", "SIGABRT.*when it ran", {"crash_after": PROOF + 100}),
    Case("hangs after 100 frames", "npu", "did not end within", {"hang_after": PROOF + 100}),
    Case("NaN after 100 frames", "npu", "NaN or infinity", {"nan_after": PROOF + 100}),
    Case("fails after 100 frames", "npu", "fails now", {"fail_after": PROOF + 100}),
)  # fmt: skip
GPU = Case("onnxruntime-gpu without a GPU", "cuda", "silently chose CPUExecutionProvider", {})


def environment(folder: Path) -> Path:
    """Return the Python of an environment with onnxruntime-gpu."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", *PACKAGES]
    subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
    return python


def net() -> bytes:
    """Return a small convolutional net of random weights, uint8 frames in, 10 numbers out."""
    random = np.random.default_rng(0)
    node = onnx.helper.make_node
    weights = {
        "w": random.standard_normal((16, 3, 3, 3)).astype(np.float32),
        "m": random.standard_normal((16, 10)).astype(np.float32),
        "axes": np.array([2, 3]),
    }
    nodes = [
        node("Cast", ["frames"], ["f"], to=onnx.TensorProto.FLOAT),
        node("Transpose", ["f"], ["x"], perm=[0, 3, 1, 2]),
        node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
        node("Relu", ["c"], ["r"]),
        node("ReduceMean", ["r", "axes"], ["p"], keepdims=0),
        node("MatMul", ["p", "m"], ["scores"]),
    ]
    value = onnx.helper.make_tensor_value_info
    takes = value("frames", onnx.TensorProto.UINT8, [1, SIZE, SIZE, 3])
    gives = value("scores", onnx.TensorProto.FLOAT, [1, 10])
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = onnx.helper.make_graph(nodes, "net", [takes], [gives], tensors)
    opset = [onnx.helper.make_opsetid("", 18)]
    data: bytes = onnx.helper.make_model(
        graph, opset_imports=opset, ir_version=9
    ).SerializeToString()
    return data


def gpu_bundle(path: Path) -> None:
    """Write a bundle of one ONNX model with a rung on CUDA and one on the CPU."""
    model, random = net(), np.random.default_rng(1)
    engine = open_engine("onnxruntime", model)
    frames = random.integers(0, 256, (16, SIZE, SIZE, 3), np.uint8)
    frames = (frames * random.random((16, 1, 1, 3))).astype(np.uint8)  # each of its own colour
    answers = {"scores": np.concatenate([engine.run([frame[None]])[0] for frame in frames])}
    golden = GoldenSet(frames, answers, (answers, answers)).to_bytes()
    bound = (float_tolerance("scores", answers["scores"], 27, 2),)
    first = Artifact(file_entry("models/net.onnx", model), "onnx", "onnxruntime", "cuda", "fp32",
                     18, engine.inputs, engine.outputs)  # fmt: skip
    manifest = Manifest(
        name="net",
        task="classify",
        input=InputContract(SIZE, SIZE),
        artifacts=(first, replace(first, provider="cpu")),
        golden=Golden(file_entry("golden.npz", golden), len(frames), (bound, bound)),
        profile={"name": "jetson-orin-nano", "digest": "0" * 64},
    )
    write_bundle(path, manifest, {"models/net.onnx": model, "golden.npz": golden})


def run(python: Path, bundle: Path, provider: str) -> tuple[int, dict[str, Any], str, float]:
    """Return exit code, JSON, standard error and seconds of `edge-sdk run`."""
    code = "import sys; from edge_sdk.cli import main; sys.exit(main())"
    command = [str(python), "-c", code, "run", str(bundle), "--source", "synthetic:shapes"]
    command += ["--max-frames", str(FRAMES), "--provider", provider, "--json"]
    with tempfile.TemporaryDirectory() as cache:
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": cache}
        start = time.perf_counter()
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout), done.stderr, time.perf_counter() - start


def judge(case: Case, python: Path, bundle: Path) -> tuple[bool, tuple[str, ...]]:
    """Return whether a case was handled as it should be, and its row of the table."""
    code, found, said, seconds = run(python, bundle, "auto")
    facts = found.get("facts", {})
    why = [entry["reason"] for kind in ("refused", "drops") for entry in facts.get(kind, [])]
    reason = next((text for text in why if re.search(case.words, text)), "")
    survived = code == 0 and facts.get("results") == FRAMES and not sum(facts["dropped"].values())
    engine = facts.get("engine", {})
    named = bool(reason) and reason in said and engine.get("provider") == "cpu"
    with open_bundle(bundle) as opened:
        named = named and facts.get("rung") == opened.manifest.artifacts[1].label
    required, answer, _, _ = run(python, bundle, f"require:{case.provider}")
    if case.required:
        honest = bool(re.search(case.words, answer.get("error", "")))
    else:
        honest = answer["facts"]["engine"]["provider"] == case.provider
    honest = honest and required == case.required
    words = ("yes" if ok else "NO" for ok in (bool(reason), named, survived))
    row = (case.what, *words, f"{required}{'' if honest else ' (!)'}", f"{seconds:.1f} s", reason)
    return bool(reason) and named and survived and honest, row


def main(folder: Path | None) -> int:
    """Run every case and print the table; 1 when anything was silent."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        print(f"{'the first rung':32}{'detected':>9}{'named':>7}{'survived':>10}{'require:':>10}"
              f"{'seconds':>9}  reason")  # fmt: skip
        bundle, good = work / "bundle.edge", True
        for case in (GPU, *CASES):
            if case is GPU:
                gpu_bundle(bundle)
                python = environment(folder or work / "environment")
            else:
                first = rung(case.provider, **case.behaviour)
                ladder_bundle(bundle, first, rung(delay_ms=5)).close()
            passed, (what, *cells, reason) = judge(case, python, bundle)
            good = good and passed
            row = "".join(
                f"{cell:>{width}}" for cell, width in zip(cells, (9, 7, 10, 10, 9), strict=True)
            )
            print(f"{what:32}{row}  {reason[:100]}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve() if sys.argv[1:] else None))
