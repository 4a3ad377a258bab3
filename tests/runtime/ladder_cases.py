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
