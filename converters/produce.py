"""Captured model -> prepared float graph -> the bytes of artifacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from converters import passes, prelude
from converters.capture import Captured
from converters.graphs import clone, name_nodes, name_of
from converters.passes.base import Pass, PassReport
from converters.quantize.bias_correct import add_missing_biases, correct_biases
from converters.quantize.calibrate import Statistics, observe
from converters.quantize.entry import absorb_mean
from converters.quantize.plan import Plan, make_plan, weights_only_plan
from converters.recipe import FORMATS, Recipe
from converters.work import Work, workload
from device_profiles.errors import ModelError
from runtime.contract import InputContract
from runtime.plugins import load
from runtime.progress import step

Frames = NDArray[np.uint8]

# Bias correction settles with 16 to 64 images; this many are alive at once.
CORRECTION_SAMPLES = 32


@dataclass(frozen=True)
class Prepared:
    """A float graph that takes the camera's bytes, cleaned and fused; and what the passes did."""

    captured: Captured
    contract: InputContract
    graph: ir.Model
    passes: tuple[PassReport, ...]


@dataclass(frozen=True)
class Observed:
    """A float graph as integers want it, and what the calibration samples showed of it."""

    graph: ir.Model
    statistics: Statistics


@dataclass(frozen=True)
class Product:
    """One artifact: its bytes, its recipe, and what there is to say about it (JSON-ready).

    `steps` gives for each float output the width of one of the 255 (or 65,535) steps over its
    calibrated range; it is empty where nothing was calibrated. `work` is what it computes, node by
    node.
    """

    recipe: Recipe
    data: bytes
    steps: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    work: tuple[Work, ...] = ()


def prepare(captured: Captured, contract: InputContract, extra: Iterable[Pass] = ()) -> Prepared:
    """Put the preprocessing of `contract` into the graph and run every pass, and `extra` ones.

    Raises ContractError when the contract does not fit the model's input.
    """
    step("cleaning and fusing")
    graph = clone(captured.graph)
    prelude.attach(graph, contract)
    reports = passes.run(graph, extra=tuple(extra))
    return Prepared(captured, contract, graph, tuple(reports))


def produce(
    prepared: Prepared,
    recipe: Recipe,
    frames: Iterable[Frames],
    facts: Mapping[str, str],
    observed: Observed | None = None,
) -> Product:
    """Make the artifact of `recipe`. `frames` (each uint8 (1, H, W, C)) calibrate int8.

    `frames` is walked more than once, unless they were `observed` for the same input type.
    `facts` go into the artifact's own metadata.
    """
    step(f"making {recipe.format} {recipe.precision}")
    writer = load(FORMATS, recipe.format)
    facts = {**facts, "edge_sdk.precision": recipe.precision}
    if recipe.precision in ("fp32", "fp16"):
        half = recipe.precision == "fp16"
        graph = writer.halve(prepared.graph, recipe.half) if half else prepared.graph
        work = workload(prepared.graph, recipe)
        return Product(recipe, writer.write(graph, facts), work=work)
    if not recipe.calibrates:
        graph = clone(prepared.graph)
        name_nodes(graph.graph)
        rule, kernels = recipe.scheme.weights, writer.kernels(recipe.activation_type)
        plan = weights_only_plan(graph, rule, kernels)
        data = writer.write(writer.lower(graph, plan), facts)
        return Product(recipe, data, notes=_kept(plan), work=workload(graph, recipe, plan))
    observed = observed or look(prepared.graph, recipe, frames)
    graph, plan = quantize(observed, recipe, frames)
    data = writer.write(writer.lower(graph, plan), facts)
    steps = _steps(graph, observed.statistics, recipe.activation_type)
    notes, work = _notes(plan, observed), workload(graph, recipe, plan)
    return Product(recipe, data, steps, notes, work)


def look(graph: ir.Model, recipe: Recipe, frames: Iterable[Frames]) -> Observed:
    """Return the float graph as the integers of `recipe` want it, and its statistics.

    It serves every recipe with the same `activation_type`, whatever the format. Raises ModelError
    when the graph branches or loops, DataError when calibration finds nothing.
    """
    graph = clone(graph)
    _check_straight(graph.graph)
    if recipe.activation_type == "uint8":
        absorb_mean(graph)
    name_nodes(graph.graph)
    add_missing_biases(graph)
    return Observed(graph, observe(graph, frames))


def quantize(observed: Observed, recipe: Recipe, frames: Iterable[Frames]) -> tuple[ir.Model, Plan]:
    """Return the float graph with corrected biases, and the plan for the format's kernels."""
    writer = load(FORMATS, recipe.format)
    kernels = writer.kernels(recipe.activation_type)
    plan = make_plan(observed.graph, observed.statistics.ranges, recipe.scheme, kernels)
    if not recipe.bias_correction:
        return observed.graph, plan
    few = list(islice(iter(frames), CORRECTION_SAMPLES))
    return correct_biases(observed.graph, plan, few, writer.lower), plan


def _check_straight(graph: ir.Graph) -> None:
    """Raise ModelError when a node has a graph inside, whose numbers nobody could look at."""
    for node in graph:
        if any(a.type is ir.AttributeType.GRAPH for a in node.attributes.values()):
            raise ModelError(
                f"{node.name or name_of(node.outputs[0])} is {node.op_type}, which branches or "
                "loops and cannot be quantized; use --precision fp16 or fp32"
            )


def _steps(graph: ir.Model, statistics: Statistics, activation_type: str) -> dict[str, float]:
    found, count = {}, 2 ** (8 * np.dtype(activation_type).itemsize) - 1
    for value in graph.graph.outputs:
        if name_of(value) in statistics.ranges:  # not what is made of integers, as by ArgMax
            low, high = statistics.ranges[name_of(value)]
            found[name_of(value)] = (high - low) / count
    return found


def _notes(plan: Plan, observed: Observed) -> dict[str, Any]:
    return {
        "calibration_frames": observed.statistics.count,
        "integer_nodes": len(plan.integer),
        "moved_as_integers": len(plan.moves),
        "absorbed_activations": len(plan.absorbed),
        **_kept(plan),
    }


def _kept(plan: Plan) -> dict[str, Any]:
    return {"kept_float": dict(sorted(plan.kept_float.items()))}
