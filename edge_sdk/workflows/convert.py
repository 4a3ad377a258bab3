"""Workflow: a trained model and a device profile -> one bundle, with its evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.capture import Captured
from converters.islands import Island, islands
from converters.passes import load_path
from converters.produce import Observed, Prepared, Product, look, prepare, produce
from converters.recipe import Recipe, recipes
from device_profiles.errors import (
    DataError,
    EdgeError,
    MissingError,
    ModelError,
)
from device_profiles.profile import Profile
from device_profiles.profile import load as load_profile
from edge_sdk.workflows.convert_options import ConvertOptions
from edge_sdk.workflows.data import CALIBRATION, Frames, Inputs, digests, split
from edge_sdk.workflows.gate import gated
from edge_sdk.workflows.golden import make_golden
from edge_sdk.workflows.limits import check_writable
from edge_sdk.workflows.measure import Question, compare, map_labels
from edge_sdk.workflows.reference import runner
from edge_sdk.workflows.subject import Subject, captured_of, facts_of, subject_of, try_decoder
from edge_sdk.workflows.verdict import Candidate, Verdict, choose
from edge_sdk.workflows.weigh import weigh
from edge_sdk.workflows.weight import Contender
from runtime.bundle import file_entry, write_bundle
from runtime.datasets import Dataset, Sampling, open_dataset
from runtime.datasets.base import take
from runtime.decoders import written
from runtime.engines import EngineOptions, open_engine, traits
from runtime.evaluate import Terms, terms
from runtime.manifest import Artifact, Golden, Manifest
from runtime.progress import step


@dataclass(frozen=True)
class Conversion:
    """A finished conversion: where the bundle is, its manifest, and how the choice was made."""

    path: Path
    manifest: Manifest
    verdict: Verdict
    notes: tuple[str, ...]


def convert(
    model: str | Captured,
    profile: str | Path | Profile,
    output: str | Path,
    calibration: str | Path,
    options: ConvertOptions | None = None,
) -> Conversion:
    """Convert `model` for the device `profile` and write the bundle `output`.

    `model` is a MODEL of the command line or what `capture` returned; `calibration` is a data set
    of real images. Raises a subclass of RequestError for bad input, OutputError when the bundle
    cannot be written, GateError when what was asked for does not keep within `max_drop`; in all
    of these cases nothing is written.
    """
    options = options or ConvertOptions()
    profile = profile if isinstance(profile, Profile) else load_profile(profile)
    output = Path(output)
    check_writable(output, _inputs(model, options))
    ladder = recipes(profile, options.format, options.precision)
    taken, judged, notes = _data(Path(calibration), options)
    extra = [load_path(path) for path in options.passes]
    subject = subject_of(captured_of(model, options), options)
    told = terms(subject.task)
    frames = Frames(taken, subject.contract, "calibrating")
    prepared = prepare(subject.captured, subject.contract, extra)
    try_decoder(subject, frames)
    label_map = map_labels(judged, told, subject.labels, subject.shapes, options.label_offset)
    facts = facts_of(subject, profile)
    products, faults = _produce(prepared, ladder, Inputs(frames), facts, options)
    question = Question(
        Frames(judged, subject.contract, "comparing"),
        subject.task,
        subject.judged,
        label_map,
    )
    comparisons = {**faults, **_judge(subject, products, question)}
    candidates = _candidates(ladder, products, comparisons, told)
    candidates = _weighed(candidates, products, profile, frames.first(4), options.weigh)
    verdict = choose(candidates, options.max_drop, options.precision, profile.budget)
    job = _Assembly(subject, prepared, profile, verdict, products)
    said: list[str] = []
    with gated(output, profile, options.gate, said) as draft:
        manifest = job.write(draft, frames, options)
    notes += tuple(said)
    if label_map:
        notes += (f"classes matched {label_map.how}",)
    for path in dict.fromkeys([*frames.unreadable, *question.frames.unreadable]):
        notes += (f"{path} does not decode and was left out",)
    return Conversion(output, manifest, verdict, notes)


def _inputs(model: str | Captured, options: ConvertOptions) -> list[str | Path | None]:
    spec = model if isinstance(model, str) else ""
    return [spec, spec.rpartition(":")[0], options.weights, options.labels, *options.passes]


def _data(calibration: Path, options: ConvertOptions) -> tuple[Dataset, Dataset, tuple[str, ...]]:
    """Return the samples that calibrate, the samples that judge, and what to say about them."""
    judges = Sampling(options.judges, options.seed)
    taken, rest = split(calibration, Sampling(options.samples, options.seed))
    notes = []
    if len(taken.samples) < 16:
        raise DataError(
            f"{len(taken.samples)} images of {calibration} are too few; calibration and the golden "
            "set need at least 16: add images, or raise --samples"
        )
    if options.validation is not None:
        rest = open_dataset(options.validation, judges)
    elif not rest.samples:
        rest = taken
        notes.append(
            "the artifacts were judged on the very images that calibrated them, because there "
            "are no others; pass --validation for an honest figure"
        )
    return taken, take(rest, judges), tuple(notes)


def _produce(
    prepared: Prepared,
    ladder: list[Recipe],
    inputs: Inputs,
    facts: Mapping[str, str],
    options: ConvertOptions,
) -> tuple[dict[str, Product], dict[str, dict[str, Any]]]:
    """Make every artifact of the ladder once; and say why some could not be made.

    Raises the reason when it leaves nothing at the precision asked for, or nothing to fall back on.
    """
    products: dict[str, Product] = {}
    faults: dict[str, EdgeError] = {}
    looks: dict[str, Observed] = {}  # the formats calibrate once, from the same numbers
    for recipe in ladder:
        if recipe.file in products or recipe.file in faults:
            continue
        try:
            if recipe.calibrates and recipe.activation_type not in looks:
                looks[recipe.activation_type] = look(prepared.graph, recipe, inputs)
            observed = looks.get(recipe.activation_type)
            products[recipe.file] = produce(prepared, recipe, inputs, facts, observed)
        except (ModelError, MissingError) as error:
            faults[recipe.file] = error
    made = {product.recipe.precision for product in products.values()}
    for recipe in ladder:
        if recipe.precision in {"fp32", options.precision} - made:
            raise faults[recipe.file]
    return products, {file: {"fault": str(error)} for file, error in faults.items()}


def _judge(
    subject: Subject, products: Mapping[str, Product], question: Question
) -> dict[str, dict[str, Any]]:
    """Compare every product, computed as its file defines, with the original model."""
    engines = {
        name: open_engine(product.recipe.engine, product.data, EngineOptions(simulate=True))
        for name, product in products.items()
    }

    runs = {name: runner(engine) for name, engine in engines.items()}
    results = compare(question, subject.reference, runs)
    for engine in engines.values():
        engine.close()
    return results


def _candidates(
    ladder: list[Recipe],
    products: Mapping[str, Product],
    comparisons: Mapping[str, Mapping[str, Any]],
    told: Terms,
) -> list[Candidate]:
    sizes = {file: len(product.data) for file, product in products.items()}
    return [Candidate(r, sizes.get(r.file, 0), comparisons[r.file], told) for r in ladder]


def _weighed(
    candidates: list[Candidate],
    products: Mapping[str, Product],
    profile: Profile,
    frames: NDArray[np.uint8],
    way: str,
) -> list[Candidate]:
    """Return the candidates with their islands, and their weights where they can be run."""
    step("looking for islands of float")
    found = {file: islands(p, profile.hardware.arch) for file, p in products.items()}
    told = [replace(c, islands=found.get(c.recipe.file, ())) for c in candidates]
    sound = [i for i, candidate in enumerate(told) if not candidate.broken]
    contenders = [
        Contender(
            told[i].recipe,
            products[told[i].recipe.file].data,
            products[told[i].recipe.file].work,
            frozenset(island.node for island in told[i].islands),
            frames,
        )
        for i in sound
    ]
    for i, weight in zip(sound, weigh(profile, contenders, way), strict=True):
        told[i] = replace(told[i], weight=weight)
    return told


@dataclass(frozen=True)
class _Assembly:
    """Everything that goes into the bundle."""

    subject: Subject
    prepared: Prepared
    profile: Profile
    verdict: Verdict
    products: Mapping[str, Product]

    def write(self, output: Path, frames: Frames, options: ConvertOptions) -> Manifest:
        """Make the golden set and the manifest, and write the bundle whole or not at all."""
        step("recording the golden set")
        rungs = [candidate.recipe for candidate in self.verdict.kept]
        shots = frames.first(16)
        answers = self.subject.reference(shots)
        reference = dict(zip(self.subject.outputs, answers, strict=True))
        made = [self.products[recipe.file] for recipe in rungs]
        golden, tolerances = make_golden(shots, reference, made, self.prepared.graph)
        files = {recipe.file: self.products[recipe.file].data for recipe in rungs}
        files["golden.npz"] = golden.to_bytes()
        files["evidence/accuracy.json"] = _json(self._accuracy())
        # So that a later check can tell when it judges by the same images.
        files[CALIBRATION] = _json({"sha256": digests(frames.dataset)})
        if self.subject.labels:
            files["labels.txt"] = ("\n".join(self.subject.labels) + "\n").encode()
        manifest = self._manifest(files, rungs, options)
        entry = file_entry("golden.npz", files["golden.npz"])
        manifest = replace(manifest, golden=Golden(entry, len(shots), tolerances))
        write_bundle(output, manifest, files)
        return manifest

    def _accuracy(self) -> dict[str, Any]:
        return {c.recipe.file: dict(c.comparison) for c in self.verdict.candidates}

    def _manifest(
        self, files: Mapping[str, bytes], rungs: list[Recipe], options: ConvertOptions
    ) -> Manifest:
        entries = {path: file_entry(path, data) for path, data in files.items()}
        special = {*(recipe.file for recipe in rungs), "golden.npz", "labels.txt"}
        return Manifest(
            name=self.subject.captured.name,
            task=self.subject.task,
            input=self.subject.contract,
            artifacts=tuple(self._artifact(r, files[r.file]) for r in rungs),
            golden=Golden(entries["golden.npz"], 0, ()),
            profile={
                "name": self.profile.name,
                "digest": self.profile.digest,
                "arch": self.profile.hardware.arch,
                "features": sorted(self.profile.hardware.features),
            },
            labels=entries.get("labels.txt"),
            requires=self._requires(rungs),
            recipe=self._recipe(options),
            evidence=self._evidence(rungs),
            extra_files=tuple(e for path, e in sorted(entries.items()) if path not in special),
            decoder=written(self.subject.decoder),
        )

    def _artifact(self, recipe: Recipe, data: bytes) -> Artifact:
        engine = open_engine(recipe.engine, data, EngineOptions(simulate=True))
        artifact = Artifact(
            file=file_entry(recipe.file, data),
            format=recipe.format,
            engine=recipe.engine,
            provider=recipe.provider,
            precision=recipe.precision,
            opset=self.prepared.graph.opset_imports[""],
            inputs=tuple(engine.inputs),
            outputs=tuple(engine.outputs),
            saturation_safe=recipe.pair_safe or recipe.precision != "int8",
        )
        engine.close()
        return artifact

    def _requires(self, rungs: list[Recipe]) -> dict[str, Any]:
        engines = {recipe.engine for recipe in rungs}
        imported = {package for engine in engines for package in traits(engine).packages}
        pins = [p for p in self.profile.software.pins if p.package.replace("-", "_") in imported]
        return {
            "engines": sorted(engines),
            "pins": {pin.package: pin.specifier for pin in pins},
            "python": list(self.profile.software.python),
        }

    def _recipe(self, options: ConvertOptions) -> dict[str, Any]:
        fired = {report.name: report.fired for report in self.prepared.passes if report.fired}
        found = {
            c.recipe.file: list(map(Island.to_json, c.islands))
            for c in self.verdict.candidates
            if c.islands
        }
        return {
            "edge_sdk": version("edge-sdk"),
            "origin": dict(self.subject.captured.origin),
            "passes": fired,
            "artifacts": {
                file: {
                    **product.recipe.to_json(),
                    **product.notes,
                    **({"islands": found[file]} if file in found else {}),
                }
                for file, product in self.products.items()
            },
            "calibration": {"samples": options.samples, "seed": options.seed},
            "verdict": self.verdict.to_json(),
        }

    def _evidence(self, rungs: list[Recipe]) -> dict[str, Any]:
        kept = {recipe.file for recipe in rungs}
        return {"accuracy": {f: c for f, c in self._accuracy().items() if f in kept}}


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
