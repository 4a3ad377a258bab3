"""Workflow: what is in a bundle, how it was made, and what is known about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from device_profiles.errors import BundleError
from edge_sdk.report import Report, Table
from edge_sdk.workflows.cells import loss, percent
from edge_sdk.workflows.inspect_file import inspect_file
from runtime.bundle import Bundle, opened
from runtime.evaluate import Terms, terms
from runtime.manifest import Artifact, Manifest
from runtime.model_file import is_model_file
from runtime.plugins import names
from runtime.statements import Statement

# Ours nest 7 deep; Python's own recursion ends at some hundreds.
_DEEPEST = 32


def inspect(bundle: str | Path | Bundle) -> Report:
    """Open and verify a bundle and describe it; BundleError when it is not to be trusted.

    `bundle` may be a .tflite file: see `inspect_file`.
    """
    if is_model_file(bundle):
        return inspect_file(Path(str(bundle)))
    with opened(bundle) as found:
        path, manifest, identity, said = found.path, found.manifest, found.id, found.statements
    _check_depth(path, [manifest.profile, manifest.requires, manifest.recipe, manifest.evidence])
    try:
        return _signed(_report(manifest, identity), said)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise BundleError(
            f"{path}: its evidence is not of the form that Edge SDK writes "
            f"({type(error).__name__}); convert the model again"
        ) from error


def _signed(report: Report, statements: Sequence[Statement]) -> Report:
    """Return the report with who says that they signed the bundle; `verify` says whether so."""
    if not statements:
        return replace(report, notes=(*report.notes, "not signed (edge-sdk sign)"))
    rows = tuple((s.key, s.channel, s.version, s.signed) for s in statements)
    columns = ("key", "channel", "version", "on")
    table = Table("Signed", columns, rows, "not verified here: edge-sdk verify")
    facts = {**report.facts, "statements": [asdict(statement) for statement in statements]}
    return replace(report, tables=(*report.tables, table), facts=facts)


def _check_depth(path: Path, level: list[Any]) -> None:
    """Raise BundleError when values of the manifest that may be anything nest without end."""
    for _ in range(_DEEPEST):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise BundleError(f"{path}: its recipe or evidence nests more than {_DEEPEST} deep")


def _report(manifest: Manifest, identity: str) -> Report:
    facts: dict[str, Any] = {"id": identity, **json.loads(manifest.to_bytes())}
    return Report(
        title=f"{manifest.name} for {manifest.profile['name']}",
        summary=f"id {identity}; every file verified.",
        tables=(_ladder(manifest), _input(manifest), _made(manifest), _files(manifest)),
        charts=(),
        gates=(),
        facts=facts,
        notes=(),
    )


def _ladder(manifest: Manifest) -> Table:
    known = manifest.evidence.get("accuracy", {})
    # A bundle can be looked into also where what would run it is not installed.
    said = terms(manifest.task) if manifest.task in names("runtime.tasks") else Terms()
    rows = tuple(
        (index + 1, artifact.label, round(artifact.file.size / 1e6, 2),
         *_accuracy(known.get(artifact.file.path, {}), said), _tolerance(manifest, index, artifact))
        for index, artifact in enumerate(manifest.artifacts)
    )  # fmt: skip
    columns = ("rung", "artifact", "MB", f"lost, {said.lost}", "agreement, %", "golden tolerance")
    return Table("The ladder", columns, rows, "accuracy as measured when it was converted")


def _accuracy(comparison: dict[str, Any], said: Terms) -> tuple[str, str]:
    return loss(comparison.get("drop"), said), percent(comparison.get("agreement"))


def _tolerance(manifest: Manifest, rung: int, artifact: Artifact) -> str:
    return ", ".join(f"{t.absolute:.3g}" for t in manifest.golden.tolerances[rung])


def _input(manifest: Manifest) -> Table:
    rows = tuple((key, json.dumps(value)) for key, value in manifest.input.to_json().items())
    how = f", decoder {json.dumps(dict(manifest.decoder))}" if manifest.decoder else ""
    return Table("Input", ("what", "value"), rows, f"task {manifest.task}{how}")


def _made(manifest: Manifest) -> Table:
    recipe = manifest.recipe
    known = ("edge_sdk", "origin", "passes", "calibration")
    rows = [(key, json.dumps(recipe[key])) for key in known if key in recipe]
    rows += [("requires", json.dumps(dict(manifest.requires)))]
    return Table("How it was made", ("what", "value"), tuple(rows))


def _files(manifest: Manifest) -> Table:
    rows = tuple((f.path, f.size, f.sha256[:16]) for f in manifest.files())
    return Table("Files", ("path", "bytes", "sha256 begins"), rows)
