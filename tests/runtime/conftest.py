"""Small bundles of the null engine, for whoever needs one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bundle import file_entry, write_bundle
from runtime.contract import InputContract
from runtime.engines import EngineOptions, open_engine
from runtime.engines.null import null_model
from runtime.golden import GoldenSet, float_tolerance
from runtime.manifest import Artifact, Golden, Manifest, TensorSpec

Parts = tuple[Manifest, dict[str, bytes]]

INPUTS = (TensorSpec("image", "uint8", (-1, 6, 8, 3)),)
OUTPUTS = (TensorSpec("scores", "float32", (-1, 4)), TensorSpec("box", "float32", (-1, 2, 2)))


def build_parts(rungs: tuple[Mapping[str, Any], ...] = ({}, {"seed": 1}), seed: int = 0) -> Parts:
    """Return the manifest and files of a bundle with one null artifact for each of `rungs`.

    A rung holds the `behaviour` of `null_model`; `seed` changes the golden frames.
    """
    frames = np.random.default_rng(seed).integers(0, 256, (16, 6, 8, 3), np.uint8)
    models = [null_model(INPUTS, OUTPUTS, **rung) for rung in rungs]
    answers = []
    for model in models:
        engine = open_engine("null", model, EngineOptions())
        rows = [engine.run([frame[None]]) for frame in frames]
        columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
        answers.append({s.name: c for s, c in zip(engine.outputs, columns, strict=True)})
    golden = GoldenSet(frames, answers[0], tuple(answers))
    files = {f"models/model.{i}.json": model for i, model in enumerate(models)}
    artifacts = tuple(
        Artifact(file_entry(path, model), "null", "null", "cpu", "fp32", 0, INPUTS, OUTPUTS)
        for path, model in files.items()
    )
    files |= {
        "labels.txt": b"zero\none\ntwo\ntree\n",
        "golden.npz": golden.to_bytes(),
        "evidence/accuracy.json": b"{}",
    }
    tolerances = tuple(
        tuple(float_tolerance(name, array, 64, 1) for name, array in answer.items())
        for answer in answers
    )
    manifest = Manifest(
        name="null",
        task="classify",
        input=InputContract(6, 8),
        artifacts=artifacts,
        golden=Golden(file_entry("golden.npz", files["golden.npz"]), len(frames), tolerances),
        profile={"name": "generic-x86", "digest": "0" * 64},
        labels=file_entry("labels.txt", files["labels.txt"]),
        requires={"null": ">=1"},
        recipe={"precision": "fp32"},
        evidence={"top1": 0.75, "n": 16},
        extra_files=(file_entry("evidence/accuracy.json", files["evidence/accuracy.json"]),),
    )
    return manifest, files


@pytest.fixture
def null_parts() -> Callable[..., Parts]:
    """Return `build_parts`."""
    return build_parts


@pytest.fixture
def null_bundle(tmp_path: Path) -> Path:
    """Return the path of a bundle with two rungs of the null engine, inputs uint8 (6, 8, 3)."""
    path = tmp_path / "null.edge"
    write_bundle(path, *build_parts())
    return path
