"""How far estimates of latency are off, on this machine: networks that they were not fitted on.

    python tests/bench/latency.py [--work FOLDER] [--seconds S]

Networks of the zoo with random weights become artifacts; an emulator of this machine's kind of CPU
counts one inference of each, by the wheels of a lock of the very versions that are installed here;
this machine times them, by the CPU time of one thread, all in turns. Then half of the families is
fitted and the other half predicted, many times over. What is in FOLDER (in the user's cache) is not
made again; every run adds to the times. Takes some twenty minutes of CPU time at first.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.profile import Profile, load
from edge_sdk.emulation.cache import cache_root
from edge_sdk.emulation.counts import Counts, count
from edge_sdk.targets.emulated import open_target
from edge_sdk.workflows.latency_model import NAMES, PRIOR, Subject, fit, terms
from runtime.engines import EngineOptions, open_engine
from runtime.engines._check import sample_inputs

Floats = NDArray[np.float64]

# Family, pixels of a side (None: its own): small ones, which an emulator computes in seconds.
ZOO = {
    "digits_cnn": ("digits", None),
    "cifar_resnet20": ("cifar_resnet", None),
    "cifar_resnet56": ("cifar_resnet", None),
    "mobilenet_v1_025_tf": ("mobilenet_v1", 128),
    "mobilenet_v1_tf": ("mobilenet_v1", 96),
    "mobilenet_v2": ("mobilenet_v2", 128),
    "mobilenet_v2_tf": ("mobilenet_v2", 96),
    "mobilenet_v3_small": ("mobilenet_v3", 160),
    "resnet18": ("resnet", 96),
    "resnet34": ("resnet", 64),
    "shufflenet_v2": ("shufflenet", 128),
    "shufflenet_v2_x05": ("shufflenet", 128),
    "espcn_x2": ("espcn", 64),
    "espcn_x3": ("espcn", 64),
    "vdsr": ("vdsr", 24),
}
PROFILE = 'inherits = "generic-x86"\n[emulation]\ncpu = "EPYC-Milan"\n'
PACKAGES = ("numpy", "onnxruntime", "ai-edge-litert")
PRECISIONS = ("fp32", "int8")
OVERLAP = 8
SPLITS = 200
LOW = 20
"""The percentile of the times that is taken: others use this machine as well."""


@dataclass(frozen=True)
class Row:
    """One artifact: what was counted and timed of it."""

    network: str
    engine: str
    precision: str
    macs: int
    moved: float
    subject: Subject
    ms: float

    @property
    def family(self) -> str:
        """What it shares with networks of the same kind."""
        return ZOO[self.network][0]


def make(name: str, folder: Path) -> None:
    """Write the artifacts of a network, with their facts."""
    import torch

    from converters.capture import capture_module, example_for
    from converters.produce import prepare, produce
    from converters.recipe import recipes
    from converters.zoo import create
    from converters.zoo._settle import settle_batchnorm

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, size = create(name), ZOO[name][1]
    contract = net.input_contract
    if size is not None:
        overlap = min(contract.overlap, OVERLAP)
        contract = dataclasses.replace(contract, height=size, width=size, overlap=overlap)
    example = example_for(contract, name)
    settle_batchnorm(net, torch.randn(16, *example.shape[1:]))
    captured = capture_module(net.eval(), example, name, {"model": name})
    ready = prepare(dataclasses.replace(captured, contract=contract), contract)
    shape = (1, contract.height, contract.width, 1 if contract.color == "GRAY" else 3)
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 256, shape, np.uint8) for _ in range(3)]
    for recipe in recipes(load("generic-x86")):
        if recipe.precision in PRECISIONS:
            quick = dataclasses.replace(recipe, bias_correction=False)  # which costs nothing later
            product = produce(ready, quick, frames, {})
            stem = f"{name}.{recipe.engine}.{recipe.precision}"
            (folder / f"{stem}.model").write_bytes(product.data)
            facts = {
                "network": name,
                "engine": recipe.engine,
                "precision": recipe.precision,
                "macs": sum(work.macs for work in product.work),
                "moved": sum(work.bytes for work in product.work),
                "size": len(product.data),
            }
            write(folder / f"{stem}.json", facts)


def write(path: Path, facts: Any) -> None:
    """Write JSON, whole."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(facts))
    draft.rename(path)


def count_all(folder: Path) -> None:
    """Count what has not been counted, the small ones first."""
    (folder / "here.toml").write_text(PROFILE)
    (folder / "lock.txt").write_text("".join(f"{name}=={version(name)}\n" for name in PACKAGES))
    facts = [(json.loads(path.read_text()), path) for path in folder.glob("*.json")]
    with closing(open_target(f"{folder / 'here.toml'},lock={folder / 'lock.txt'}")) as target:
        for each, path in sorted(facts, key=lambda pair: pair[0]["macs"]):
            done = path.with_suffix(".counts")
            if not done.exists():
                started = time.monotonic()
                model, which = path.with_suffix(".model"), f"{each['engine']}/cpu"
                counted = count(target, model, which, runs=1).inference
                write(done, counted.to_json())
                say(f"counted {path.stem} in {time.monotonic() - started:.0f} s")


def time_all(folder: Path, seconds: float) -> None:
    """Add rounds of all artifacts in turns to the times, for `seconds` of CPU time."""
    engines = {}
    for path in sorted(folder.glob("*.json")):
        options = EngineOptions("cpu", threads=1, alone=True)
        name, model = json.loads(path.read_text())["engine"], path.with_suffix(".model")
        engine = open_engine(name, model.read_bytes(), options)
        engines[path.stem] = (engine, sample_inputs(engine.inputs))
    took: dict[str, list[float]] = {name: [] for name in engines}
    end = time.process_time() + seconds
    while time.process_time() < end:
        for name, (engine, inputs) in engines.items():
            engine.run(inputs)  # its own data comes back into the caches
            for _ in range(3):
                started = time.process_time()
                engine.run(inputs)
                took[name].append(1e3 * (time.process_time() - started))
    write(folder / f"{time.time_ns()}.times", took)


def rows(folder: Path) -> list[Row]:
    """Return what is known of all artifacts."""
    took: dict[str, list[float]] = {}
    for path in folder.glob("*.times"):
        for name, values in json.loads(path.read_text()).items():
            took.setdefault(name, []).extend(values)
    found = []
    for path in sorted(folder.glob("*.json")):
        facts = json.loads(path.read_text())
        counted = json.loads(path.with_suffix(".counts").read_text())
        subject = Subject(Counts(counted["instructions"], counted["bytes"]), facts.pop("size"))
        ms = float(np.percentile(took[path.stem], LOW))
        found.append(Row(**facts, subject=subject, ms=ms))
    return found


@dataclass(frozen=True)
class Data:
    """All rows as arrays: terms of the model (n, 5), ms (n,), networks and families (n,)."""

    terms: Floats
    ms: Floats
    networks: NDArray[np.str_]
    families: NDArray[np.str_]


Predict = Callable[[NDArray[np.bool_]], Floats]


def halves(families: NDArray[np.str_]) -> Iterator[NDArray[np.bool_]]:
    """Yield which rows are fitted, by families: every time another half of these."""
    random, names = np.random.default_rng(0), np.unique(families)
    for _ in range(SPLITS):
        yield np.isin(families, random.permutation(names)[: len(names) // 2])


def constant(values: Floats, data: Data) -> Predict:
    """Return a baseline: `values` times a constant, fitted as the median ratio."""

    def predict(fitted: NDArray[np.bool_]) -> Floats:
        factor = np.exp(np.median(np.log(data.ms[fitted] / values[fitted])))
        return np.asarray(values * factor)

    return predict


def by_model(data: Data, columns: slice = slice(None)) -> Predict:
    """Return the model, of all terms or of some."""

    def predict(fitted: NDArray[np.bool_]) -> Floats:
        some = data.terms[:, columns]
        known = fit(some[fitted], data.ms[fitted], list(data.networks[fitted]))
        return np.asarray(some @ np.array(known.coefficients))

    return predict


def held_out(name: str, predict: Predict, data: Data) -> None:
    """Print the errors of what was not fitted, |ratio - 1| of the larger to the smaller."""
    errors = np.concatenate(
        [np.abs(np.log(predict(s)[~s] / data.ms[~s])) for s in halves(data.families)]
    )
    median, most, worst = (100 * np.expm1(np.percentile(errors, q)) for q in (50, 90, 100))
    say(f"{name}\t{median:.1f}\t{most:.1f}\t{worst:.0f}")


def coverage(data: Data) -> float:
    """Return the share of rows that were not fitted within the limits of their estimates."""
    inside = []
    for fitted in halves(data.families):
        known = fit(data.terms[fitted], data.ms[fitted], list(data.networks[fitted]))
        for row, ms in zip(data.terms[~fitted], data.ms[~fitted], strict=True):
            estimate = known.estimate(row)
            inside.append(estimate.low <= ms <= estimate.high)
    return float(np.mean(inside))


def pairs(found: list[Row], data: Data) -> Floats:
    """Return the errors of int8 over fp32 of one network and engine, neither of them fitted."""
    errors = []
    index = {(row.network, row.engine, row.precision): i for i, row in enumerate(found)}
    both = [(i, index[r.network, r.engine, "fp32"]) for i, r in enumerate(found)
            if r.precision == "int8"]  # fmt: skip
    for fitted in halves(data.families):
        off = np.log(by_model(data)(fitted) / data.ms)
        errors += [abs(off[a] - off[b]) for a, b in both if not fitted[a]]
    return np.array(errors)


def evaluate(found: list[Row], profile: Profile) -> None:
    """Print every row, then what is held out by the model and by simpler ones."""
    data = Data(
        np.array([terms(profile, row.subject) for row in found]),
        np.array([row.ms for row in found]),
        np.array([row.network for row in found]),
        np.array([row.family for row in found]),
    )
    known = fit(data.terms, data.ms, list(data.networks))
    say("network\tengine\tprecision\tM instructions\tms\tuncalibrated\tof it\tfitted on others")
    for i, row in enumerate(found):
        others = data.families != row.family
        guess = by_model(data)(others)[i]
        prior = PRIOR.estimate(data.terms[i])
        say(f"{row.network}\t{row.engine}\t{row.precision}\t{row.subject.counts.total / 1e6:.1f}\t"
            f"{row.ms:.3f}\t{prior.ms:.3f}\t{row.ms / prior.ms:.2f}\t{guess:.3f}")  # fmt: skip
    guesses = [PRIOR.estimate(row) for row in data.terms]
    inside = [e.low <= ms <= e.high for e, ms in zip(guesses, data.ms, strict=True)]
    say(f"\n{len(found)} points, {len(np.unique(data.families))} families, {SPLITS} halves of them")
    say("held out, % off\tmedian\tp90\tworst")
    macs = np.array([float(row.macs) for row in found])
    eight = np.array([row.precision == "int8" for row in found])
    peak = np.where(eight, profile.cost.int8_gops_core, profile.cost.fp32_gflops_core)
    moved = np.array([row.moved for row in found]) / 4e6
    total = np.array([row.subject.counts.total / 1e6 for row in found])
    computing = 2 * macs / (1e6 * peak)
    held_out("multiply-adds / peak, x constant", constant(computing, data), data)
    held_out("roofline, x constant", constant(np.maximum(computing, moved), data), data)
    held_out("instructions x constant", constant(total, data), data)
    held_out("published cycles + memory, x constant", constant(data.terms.sum(axis=1), data), data)
    held_out("the model without memory", by_model(data, slice(0, 4)), data)
    held_out("the model", by_model(data), data)
    off = 100 * np.expm1(np.percentile(pairs(found, data), (50, 90)))
    say(f"int8 over fp32, by the model\t{off[0]:.1f}\t{off[1]:.1f}")
    say(f"within the limits: {coverage(data):.1%} held out, {np.mean(inside):.1%} uncalibrated")
    told = ", ".join(f"{n} {c:.2f}" for n, c in zip(NAMES, known.coefficients, strict=True))
    say(f"all points: {told}; spread {known.spread:.3f}")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Make, count, time and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=cache_root() / "latency-bench")
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU time of this run's timing")
    given = parser.parse_args()
    folder: Path = given.work.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ZOO:
        if not (folder / f"{name}.litert.fp32.json").exists():
            say(f"making {name}")
            make(name, folder)
    count_all(folder)
    if given.seconds > 0:
        time_all(folder, given.seconds)
    evaluate(rows(folder), load(folder / "here.toml"))


if __name__ == "__main__":
    main()
