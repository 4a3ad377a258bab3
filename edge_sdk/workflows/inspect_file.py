"""Workflow: what is in a .tflite file, read without running it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edge_sdk.report import Report, Table
from runtime.model_file import read_model_file
from runtime.tflite import Quantization, Tensor, TfliteFile

# Operators that only move data: a converter that knows its trade leaves few of them.
_MOVERS = ("TRANSPOSE", "RESHAPE", "PAD", "QUANTIZE", "DEQUANTIZE", "CAST", "GATHER")
_SHOWN = 5


def inspect_file(path: Path) -> Report:
    """Describe a .tflite file, no engine needed; ModelError when it is damaged."""
    data, file = read_model_file(path)
    digest = hashlib.sha256(data).hexdigest()
    total = len(file.operators)
    tables = (_tensors(file), _operators(file), _metadata(file))
    return Report(
        title=path.name,
        summary=(
            f"{len(data) / 1e6:.2f} MB, {total} operators, computes in {file.precision}; sha256 "
            f"{digest}. A file, no bundle: nobody vouches for it."
        ),
        tables=tuple(table for table in tables if table.rows),
        charts=(),
        gates=(),
        facts={
            "file": {"sha256": digest, "name": path.stem, "size_bytes": len(data)},
            "precision": file.precision,
            "operators": file.operator_counts,
            "inputs": [_json(tensor) for tensor in file.inputs],
            "outputs": [_json(tensor) for tensor in file.outputs],
            "facts": dict(file.facts),
            "metadata": _described(file),
        },
        notes=(),
    )


def _tensors(file: TfliteFile) -> Table:
    rows = tuple(
        (side, tensor.name, tensor.dtype, "x".join(map(str, tensor.shape)), _scale(tensor))
        for side, tensors in (("in", file.inputs), ("out", file.outputs))
        for tensor in tensors
    )
    note = "-1 is a free size; a code stands for (code - zero point) x scale"
    return Table("Inputs and outputs", ("", "tensor", "type", "shape", "quantization"), rows, note)


def _scale(tensor: Tensor) -> str:
    codes = tensor.quantization
    if codes is None:
        return "-"
    if len(codes.scale) > 1:
        return f"{len(codes.scale)} scales along axis {codes.axis}"
    return f"(code - {codes.zero_point[0]}) x {codes.scale[0]:.6g}".replace("- -", "+ ")


def _operators(file: TfliteFile) -> Table:
    counts = file.operator_counts
    moved = sum(counts.get(name, 0) for name in _MOVERS)
    found = ", ".join(f"{counts[name]} {name}" for name in _MOVERS if name in counts)
    note = f"{moved} only move or recode data ({found})" if moved else "none only moves data"
    return Table("Operators", ("operator", "count"), tuple(counts.items()), note)


def _metadata(file: TfliteFile) -> Table:
    rows: list[tuple[str, str]] = [("made by", file.description)] if file.description else []
    rows += sorted(file.facts.items())
    for key, value in (_described(file) or {}).items():
        items = value if isinstance(value, list) else [value]
        shown = ", ".join(str(item) for item in items[:_SHOWN] if item is not None)
        rest = f", ... ({len(items)})" if len(items) > _SHOWN else ""
        if shown:
            rows.append((key, shown + rest))
    return Table("What it says of itself", ("what", "value"), tuple(rows))


def _described(file: TfliteFile) -> dict[str, Any] | None:
    if file.described is None:
        return None
    fields = vars(file.described).items()
    return {key: list(value) if isinstance(value, tuple) else value for key, value in fields}


def _json(tensor: Tensor) -> dict[str, Any]:
    codes: Quantization | None = tensor.quantization
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "scale": list(codes.scale) if codes else None,
        "zero_point": list(codes.zero_point) if codes else None,
    }
