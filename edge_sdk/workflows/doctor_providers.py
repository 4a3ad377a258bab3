"""The doctor on execution providers: those that are listed, tried out one by one."""

from __future__ import annotations

import importlib
import struct
from itertools import repeat

from device_profiles.errors import EngineError
from edge_sdk.workflows.finding import Finding
from runtime.engines import EngineOptions
from runtime.engines._check import sample_inputs
from runtime.engines.onnxruntime import NAME, PROVIDERS
from runtime.worker import Worker

PATIENCE_S = 60.0
"""How long a provider may take to load a model of one convolution and to run it."""


def look_at_providers() -> list[Finding]:
    """List what onnxruntime was built with, and run a model on each of ours that is more than CPU.

    A list is no proof: a provider whose driver is missing falls back to the CPU without a word.
    Each is tried in a process of its own, which it may crash or hang.
    """
    built = importlib.import_module("onnxruntime").get_available_providers()
    listed = ", ".join(name.removesuffix("ExecutionProvider") for name in built)
    ours = [ours for ours, (theirs, _) in PROVIDERS.items() if theirs in built]
    found = [Finding("providers", "ok", f"onnxruntime lists {listed}")]
    return found + [_try(provider) for provider in ours]


def _try(provider: str) -> Finding:
    name = f"provider {provider}"
    try:
        worker = Worker(NAME, sample_model(), EngineOptions(provider, threads=1), PATIENCE_S)
        try:
            worker.run_s = PATIENCE_S
            worker.run(sample_inputs(worker.inputs))
        finally:
            worker.close()
    except EngineError as error:
        remedy = (
            "install the driver and libraries that this onnxruntime was built for, or a build "
            f"without {provider}: pip uninstall -y onnxruntime-gpu && pip install onnxruntime"
        )
        return Finding(name, "fault", f"listed, but does not run: {error}", remedy)
    return Finding(name, "ok", "ran a convolution")


def sample_model() -> bytes:
    """Return an ONNX model of one convolution, (1, 3, 8, 8) to (1, 4, 6, 6) of float32.

    Written here, as a device has no onnx; the numbers of the fields are those of onnx.proto.
    """
    weights = struct.pack("<108f", *repeat(0.125, 108))
    initializer = b"".join(
        [*(_field(1, size) for size in (4, 3, 3, 3)), _field(2, 1), _field(8, b"w"),
         _field(9, weights)]
    )  # fmt: skip
    node = _field(1, b"x") + _field(1, b"w") + _field(2, b"y") + _field(4, b"Conv")
    graph = b"".join(
        [_field(1, node), _field(2, b"sample"), _field(5, initializer),
         _field(11, _value(b"x", (1, 3, 8, 8))), _field(12, _value(b"y", (1, 4, 6, 6)))]
    )  # fmt: skip
    opset = _field(1, b"") + _field(2, 13)
    return _field(1, 8) + _field(7, graph) + _field(8, opset)


def _value(name: bytes, shape: tuple[int, ...]) -> bytes:
    sizes = b"".join(_field(1, _field(1, size)) for size in shape)
    tensor = _field(1, 1) + _field(2, sizes)  # float32
    return _field(1, name) + _field(2, _field(1, tensor))


def _field(number: int, value: int | bytes) -> bytes:
    """Return a field of a protobuf message: a number, or bytes with their length before them."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
