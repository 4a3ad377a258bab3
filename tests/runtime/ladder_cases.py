"""Bundles whose rungs fail in every way that can be provoked without an inference package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.bundle import Bundle, file_entry, open_bundle, write_bundle
from runtime.engines.null import null_model
from tests.runtime.conftest import build_parts

Change = Mapping[str, Any]


def rung(provider: str = "cpu", engine: str = "null", **behaviour: Any) -> Change:
    """Return a rung on `provider`, which its null model has, and that behaves as is said."""
    return {"provider": provider, "engine": engine, "behaviour": behaviour}


def ladder_bundle(path: Path, *rungs: Change) -> Bundle:
    """Write and open a bundle of null models; golden are the answers of well-behaved ones."""
    manifest, files = build_parts(tuple({"seed": index} for index in range(len(rungs))))
    artifacts = []
    for index, (artifact, change) in enumerate(zip(manifest.artifacts, rungs, strict=True)):
        behaviour = {"seed": index, "providers": [change["provider"]], **change["behaviour"]}
        model = null_model(artifact.inputs, artifact.outputs, **behaviour)
        files[artifact.file.path] = model
        entry = file_entry(artifact.file.path, model)
        fields = {key: change[key] for key in ("provider", "engine")}
        artifacts.append(replace(artifact, file=entry, **fields))
    write_bundle(path, replace(manifest, artifacts=tuple(artifacts)), files)
    return open_bundle(path)


def hostile_bundle(path: Path) -> None:
    """Write a bundle, whole by all that can be read, of a .tflite file that aborts LiteRT.

    It does so on scales whose ratio is over 1. The second rung is healthy.
    """
    from ai_edge_litert import schema_py_generated as schema

    from tests.runtime.tflite_cases import T, build

    manifest, files = build_parts()
    first = manifest.artifacts[0]
    takes, gives = first.inputs[0], first.outputs[0]
    tensors = [
        T(takes.name, "uint8", (1, 6, 8, 3), scale=(1e20,), zero=(0,)),
        T(gives.name, "uint8", (1, 6, 8, 3), scale=(1e-20,), zero=(0,)),
    ]
    data = build(tensors, [("ADD", (0, 0), (1,), schema.AddOptionsT())], (0,), (1,))
    files[first.file.path] = data
    entry = file_entry(first.file.path, data)
    hostile = replace(first, file=entry, engine="litert")
    write_bundle(path, replace(manifest, artifacts=(hostile, manifest.artifacts[1])), files)
