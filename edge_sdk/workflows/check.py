"""Workflow: does the bundle's artifact answer as the original did, on these images?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import RequestError
from edge_sdk.report import Bar, Bars, Gate, Report, Table
from edge_sdk.workflows.data import Frames
from edge_sdk.workflows.measure import Question, Run, compare, map_labels
from runtime.bundle import Bundle, open_bundle
from runtime.datasets import Sampling, open_dataset, take
from runtime.engines import Engine, EngineOptions
from runtime.golden import replay
from runtime.host import Host, host
from runtime.manifest import Artifact
from runtime.preprocess import normalize


@dataclass(frozen=True)
class CheckOptions:
    """What may be said of a check beside bundle and data.

    `reference` is the MODEL that the bundle was made from (with `weights`); without it the
    bundle's own float32 artifact is the reference. `max_drop` is a gate in points. `samples`
    images are taken (None: all).
    """

    reference: str | None = None
    weights: Path | None = None
    max_drop: float | None = None
    samples: int | None = None
    seed: int = 0
    label_offset: int | None = None


@dataclass(frozen=True)
class Row:
    """One artifact in a check: how it was computed here, and how it compares."""

    artifact: Artifact
    arithmetic: str
    comparison: Mapping[str, Any]
    golden_passed: bool
    golden: str


def check(
    bundle: str | Path | Bundle, data: str | Path, options: CheckOptions | None = None
) -> Report:
    """Compare every artifact of a bundle with its reference on `data`, prepared as on the device.

    An int8 artifact whose device computes otherwise than this CPU is simulated exactly as its
    file defines it; the report says so. The report's gates fail when golden outputs are not
    reproduced or `max_drop` is exceeded.
    """
    options = options or CheckOptions()
    bundle = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    dataset = take(open_dataset(data), Sampling(options.samples, options.seed))
    frames = Frames(dataset, bundle.manifest.input, "checking")
    label_map = None
    if bundle.manifest.task == "classify" and dataset.samples[0].label is not None:
        classes = bundle.manifest.artifacts[0].outputs[0].shape[-1]
        label_map = map_labels(dataset, bundle.labels, classes, options.label_offset)
    name, reference = _reference(bundle, options)
    engines, ways = _engines(bundle, host())
    question = Question(frames, bundle.manifest.task, label_map)
    results = compare(question, reference, {i: _runner(e) for i, e in engines.items()})
    rows = [
        _row(bundle, rung, engines[rung], ways[rung], results[rung].to_json()) for rung in engines
    ]
    for engine in engines.values():
        engine.close()
    facts = {
        "bundle": {"id": bundle.id, "name": bundle.manifest.name},
        "profile": bundle.manifest.profile["name"],
        "data": str(data),
        "reference": name,
        "labels": label_map.how if label_map else None,
        "calibration_overlap": _overlap(bundle, frames),
        "artifacts": [_row_json(row) for row in rows],
    }
    return _report(facts, rows, options)


def _reference(bundle: Bundle, options: CheckOptions) -> tuple[str, Run]:
    if options.reference is not None:
        return _original(bundle, options)
    for rung, artifact in enumerate(bundle.manifest.artifacts):
        if artifact.precision == "fp32":
            engine = bundle.open_engine(rung, EngineOptions(simulate=True))
            return "the bundle's own float32 artifact", _runner(engine)
    raise RequestError(
        f"{bundle.path} holds no float32 artifact to compare with; pass --reference MODEL"
    )


def _original(bundle: Bundle, options: CheckOptions) -> tuple[str, Run]:
    from converters.loaders import LoadOptions, load_model

    contract = bundle.manifest.input
    captured = load_model(str(options.reference), LoadOptions(options.weights, contract))

    def run(frames: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return captured.reference(normalize(frames, contract))

    return str(options.reference), run


def _runner(engine: Engine) -> Run:
    return lambda frame: engine.run([frame])


def _engines(bundle: Bundle, here: Host) -> tuple[dict[int, Engine], dict[int, str]]:
    """Open one rung per file, natively where this CPU computes as the device does."""
    engines: dict[int, Engine] = {}
    ways: dict[int, str] = {}
    seen: set[str] = set()
    for rung, artifact in enumerate(bundle.manifest.artifacts):
        if artifact.file.path in seen:
            continue
        seen.add(artifact.file.path)
        native = computes_alike(artifact, bundle.manifest.profile, here)
        engines[rung] = bundle.open_engine(rung, EngineOptions(simulate=not native))
        ways[rung] = "native" if native else "simulated"
    return engines, ways


def computes_alike(artifact: Artifact, profile: Mapping[str, Any], here: Host) -> bool:
    """Tell whether this CPU's kernels give what the device's give, for this artifact.

    Float does everywhere, within its tolerance. Integer kernels do where none can saturate.
    """
    if artifact.precision != "int8" or artifact.saturation_safe:
        return True
    return not here.saturates_int8_pairs


def _row(bundle: Bundle, rung: int, engine: Engine, way: str, comparison: dict[str, Any]) -> Row:
    tolerances = bundle.manifest.golden.tolerances[rung]
    verdict = replay(engine, bundle.golden(), rung, tolerances)
    artifact = bundle.manifest.artifacts[rung]
    return Row(artifact, way, comparison, verdict.passed, verdict.summary)


def _overlap(bundle: Bundle, frames: Frames) -> int | None:
    """Count the images that also calibrated the bundle; None when it does not say which did."""
    entry = next((f for f in bundle.manifest.extra_files if "calibration" in f.path), None)
    if entry is None:
        return None
    digests = set(json.loads(bundle.read(entry))["images"].values())
    paths = [sample.path for sample in frames.dataset.samples]
    return sum(hashlib.sha256(path.read_bytes()).hexdigest() in digests for path in paths)


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "artifact": row.artifact.label,
        "precision": row.artifact.precision,
        "size": row.artifact.file.size,
        "arithmetic": row.arithmetic,
        "golden": {"passed": row.golden_passed, "detail": row.golden},
        **row.comparison,
    }


def _report(facts: dict[str, Any], rows: list[Row], options: CheckOptions) -> Report:
    labelled = rows[0].comparison.get("reference") is not None
    classified = "agreement" in rows[0].comparison
    tables = [_answers(rows, facts["reference"]) if classified else _outputs(rows)]
    charts = (_chart(rows),) if labelled else ()
    gates = [Gate(f"golden set, {r.artifact.precision}", r.golden_passed, r.golden) for r in rows]
    gates += _budget(rows[0], options) if options.max_drop is not None else []
    return Report(
        title=f"{facts['bundle']['name']} for {facts['profile']}",
        summary=_summary(rows[0], facts),
        tables=tuple(tables),
        charts=charts,
        gates=tuple(gates),
        facts=facts,
        notes=tuple(_notes(rows, facts)),
    )


def _budget(row: Row, options: CheckOptions) -> list[Gate]:
    """Judge the first rung, which is the one that runs, by the points that may be lost."""
    assert options.max_drop is not None
    drop, agreement = row.comparison.get("drop"), row.comparison.get("agreement")
    if drop is None and agreement is None:
        raise RequestError("--max-drop needs a task with an accuracy; leave it out for raw outputs")
    lost = drop["value"] if drop is not None else 100 * (1 - agreement["value"])
    detail = f"{lost:.2f} points lost, {options.max_drop:g} allowed"
    return [Gate("accuracy budget", lost <= options.max_drop, detail)]


def percent(interval: Mapping[str, float] | None) -> str:
    """Return a share with its interval as `97.4 % (95.6 to 98.5)`, or `-` for None."""
    if interval is None:
        return "-"
    value, low, high = (100 * interval[key] for key in ("value", "low", "high"))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def points(interval: Mapping[str, float] | None) -> str:
    """Return a difference in points with its interval as `0.40 (-0.61 to 1.43)`, or `-`."""
    if interval is None:
        return "-"
    return f"{interval['value']:.2f} ({interval['low']:.2f} to {interval['high']:.2f})"


def decibels(value: float | None) -> str:
    """Return a ratio in dB; None stands for outputs without any difference."""
    return "exact" if value is None else f"{value:.1f}"


def _answers(rows: list[Row], reference: str) -> Table:
    columns = (
        "artifact", "arithmetic", "top-1", "top-1 lost, points", "agreement", "SNR, dB",
        "largest difference", "MB",
    )  # fmt: skip
    found = rows[0].comparison.get("reference")
    first = ("reference", reference, percent(found["top1"] if found else None), "", "", "", "", "")
    body = [first]
    for row in rows:
        c = row.comparison
        top1 = percent(c["artifact"]["top1"]) if c.get("artifact") else "-"
        body.append((
            f"{row.artifact.format} {row.artifact.precision}", row.arithmetic, top1,
            points(c.get("drop")), percent(c["agreement"]), decibels(c["snr_db"]),
            f"{c['max_abs_difference']:.3g}", f"{row.artifact.file.size / 1e6:.2f}",
        ))  # fmt: skip
    note = f"n = {rows[0].comparison['n']}; in brackets 95 % confidence intervals (lost: paired)"
    return Table("Accuracy on the same images", columns, tuple(body), note)


def _outputs(rows: list[Row]) -> Table:
    columns = ("artifact", "arithmetic", "output", "largest difference", "SNR, dB", "cosine", "MB")
    body = [
        (
            f"{row.artifact.format} {row.artifact.precision}", row.arithmetic, output["name"],
            f"{output['max_abs']:.3g}", decibels(output["snr_db"]), f"{output['cosine']:.6f}",
            f"{row.artifact.file.size / 1e6:.2f}",
        )
        for row in rows
        for output in row.comparison["outputs"]
    ]  # fmt: skip
    return Table("Outputs against the reference", columns, tuple(body),
                 f"n = {rows[0].comparison['n']}")  # fmt: skip


def _chart(rows: list[Row]) -> Bars:
    found = [("reference", rows[0].comparison["reference"]["top1"], False)]
    found += [(r.artifact.precision, r.comparison["artifact"]["top1"], i == 0)
              for i, r in enumerate(rows)]  # fmt: skip
    bars = tuple(
        Bar(name, 100 * t["value"], 100 * t["low"], 100 * t["high"], first)
        for name, t, first in found
    )
    return Bars("Top-1 accuracy", "%", bars, "whiskers: 95 % confidence (Wilson)")


def _summary(row: Row, facts: Mapping[str, Any]) -> str:
    c = row.comparison
    if "agreement" not in c:
        return f"{row.artifact.label}: {c['n']} images against {facts['reference']}."
    said = f"{row.artifact.label} agrees with {facts['reference']} on {percent(c['agreement'])}"
    lost = f" and loses {points(c['drop'])} points of top-1" if c.get("drop") else ""
    return f"{said}{lost}, n = {c['n']}."


def _notes(rows: list[Row], facts: Mapping[str, Any]) -> list[str]:
    notes = []
    if facts["labels"]:
        notes.append(f"classes matched {facts['labels']}")
    if any(row.arithmetic == "simulated" for row in rows):
        notes.append(
            "simulated: this CPU's int8 kernels saturate where the device's do not, so the "
            "artifact was computed in float exactly as its file defines it"
        )
    if facts["calibration_overlap"]:
        notes.append(f"{facts['calibration_overlap']} of these images also calibrated the bundle")
    return notes
