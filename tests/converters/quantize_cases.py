"""What the tests of quantization share: nets that read a camera's bytes, and ways to run them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from converters.capture import capture
from converters.formats import onnx as onnx_format
from converters.graphs import clone, to_bytes
from converters.produce import Prepared, prepare
from converters.quantize.calibrate import observe
from converters.quantize.plan import Plan, Scheme, make_plan
from runtime.engines import EngineOptions, open_engine
from tests.converters.graph_cases import build

Array = np.ndarray[Any, np.dtype[Any]]

# The first nodes of every prepared net, up to the float pixels `p`, (1, C, H, W).
ENTRY = "c = Cast <to = 1> (frames) p = Transpose <perm = [0, 3, 1, 2]> (c)"


def camera(
    body: str,
    constants: dict[str, Any],
    size: Sequence[int] = (8, 8, 3),
    outputs: str = "float[N,M,O,P] y",
    entry: str = ENTRY,
) -> ir.Model:
    """Return a graph that reads uint8 "frames" (1, H, W, C); `body` goes on from the pixels `p`."""
    height, width, channels = size
    inputs = f"uint8[1,{height},{width},{channels}] frames"
    return build(f"{entry} {body}", constants, inputs, outputs)


def some_frames(count: int, size: Sequence[int] = (8, 8, 3), seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (1, *size), np.uint8) for _ in range(count)]


def run(model: ir.Model | bytes, frames: Iterable[Array], simulate: bool = True) -> list[Array]:
    """Return every output, stacked over the frames; computed as written, or by integer kernels."""
    data = model if isinstance(model, bytes) else to_bytes(model)
    engine = open_engine("onnxruntime", data, EngineOptions(simulate=simulate))
    rows = [engine.run([frame]) for frame in frames]
    engine.close()
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def optimised(data: bytes, folder: Path) -> Counter[str]:
    """Return the operators that onnxruntime really runs for an artifact."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3  # it warns that such a file is for this machine only
    ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def plan_for(model: ir.Model, frames: list[Array], scheme: Scheme | None = None) -> Plan:
    ranges = observe(model, frames).ranges
    return make_plan(model, ranges, scheme or Scheme(), onnx_format.kernels("uint8"))


def quantized(model: ir.Model, frames: list[Array], scheme: Scheme | None = None) -> bytes:
    """Return the int8 artifact of a graph, without any correction; the graph stays as it was."""
    model = clone(model)
    lowered = onnx_format.lower(model, plan_for(model, frames, scheme))
    return onnx_format.write(lowered, {})


def snr(reference: Array, actual: Array) -> float:
    """Return the ratio of signal to error power, in dB; infinite where there is no error."""
    signal = reference.astype(np.float64)
    error = ((actual - signal) ** 2).mean()
    return float(10 * np.log10(signal.var() / error)) if error else np.inf


class Digits(NamedTuple):
    """The shipped net, prepared; frames uint8 (1, 32, 32, 1), and what is written on them."""

    prepared: Prepared
    train: list[Array]
    heldout: list[Array]
    labels: Array


@cache
def digits() -> Digits:
    import torch

    from converters.zoo.digits import digits_cnn, load_split

    torch.set_num_threads(1)
    model = digits_cnn()
    captured = capture(model, np.zeros((1, 1, 32, 32)), model.input_contract, "digits")
    split = load_split()
    assert captured.contract is not None
    return Digits(
        prepare(captured, captured.contract),
        [image[None, :, :, None] for image in split.train_images],
        [image[None, :, :, None] for image in split.heldout_images],
        split.heldout_labels,
    )
