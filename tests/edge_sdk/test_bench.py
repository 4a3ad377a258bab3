from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from device_profiles.errors import EngineError, RequestError
from edge_sdk import BenchOptions, bench
from edge_sdk.workflows.bench import median_interval
from edge_sdk.workflows.limits import MAX_THREADS
from runtime.host import host
from runtime.manifest import Manifest
from tests.edge_sdk.cli_cases import Run, rewrite
from tests.runtime.ladder_cases import hostile_bundle

ROOT = Path(__file__).resolve().parents[2]


def test_bench(bundle: Path, edge: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    said = edge("bench", bundle, "--runs", 20, "--threads", 1, "--json", "--report", page)
    assert said.code == 0, said.err
    facts = said.json["facts"]
    assert facts["machine"]["arch"] == host().arch
    assert (facts["runs"], facts["threads"]) == (20, 1)
    rungs = ("onnx int8 on onnxruntime/cpu", "onnx fp32 on onnxruntime/cpu")
    assert tuple(timing["artifact"] for timing in facts["artifacts"]) == rungs
    for timing in facts["artifacts"]:
        latency = timing["latency_ms"]
        low, high = latency["p50_interval"]
        assert all(a <= b for a, b in pairwise([0, low, latency["p50"], high, 1e3]))
        assert latency["p50"] <= latency["p90"] <= latency["p99"]
        assert timing["throughput_fps"] == pytest.approx(1e3 / latency["p50"])
        # Python, numpy and an engine start in some tenths of a second and take tens of MiB.
        assert latency["p50"] < timing["cold_start_ms"] < 60_000
        assert 20 < timing["peak_memory_mb"] < 4_000
    assert all(gate["passed"] for gate in said.json["gates"])
    assert any("in turns" in note for note in said.json["notes"])
    assert "Median latency" in page.read_text()


def with_providers(bundle: Path, target: Path, *providers: str) -> Path:
    def change(manifest: Manifest) -> Manifest:
        ladder = zip(manifest.artifacts, providers, strict=True)
        return replace(manifest, artifacts=tuple(replace(a, provider=p) for a, p in ladder))

    return rewrite(bundle, target, change=change)


def test_a_rung_that_does_not_open_is_a_failed_gate(
    bundle: Path, edge: Run, tmp_path: Path
) -> None:
    path = with_providers(bundle, tmp_path / "x.edge", "abacus", "cpu")
    said = edge("bench", path, "--runs", 10)
    assert said.code == 1
    assert "FAIL  onnx int8 on onnxruntime/abacus" in said.out
    assert "PASS  onnx fp32 on onnxruntime/cpu" in said.out
    assert "in turns" not in said.out, "there was only one"


def test_an_engine_that_is_not_known_here_is_a_failed_gate(bundle: Path, tmp_path: Path) -> None:
    def change(manifest: Manifest) -> Manifest:
        first, second = manifest.artifacts
        return replace(manifest, artifacts=(replace(first, engine="abacus"), second))

    report = bench(rewrite(bundle, tmp_path / "x.edge", change=change), BenchOptions(runs=10))
    assert [gate.passed for gate in report.gates] == [False, True]
    assert "abacus" in report.gates[0].detail


def test_no_rung_opens(bundle: Path, tmp_path: Path) -> None:
    path = with_providers(bundle, tmp_path / "x.edge", "abacus", "abacus")
    with pytest.raises(EngineError, match=r"no rung opens here.*abacus"):
        bench(path, BenchOptions(runs=10))


def test_cold_start_is_ours_wherever_it_is_asked_for(bundle: Path, tmp_path: Path) -> None:
    """A folder with a package called `runtime`, and a path from there."""
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "__init__.py").write_text("raise ImportError('somebody else')")
    command = (
        f"import sys; sys.path[:] = [{str(ROOT)!r}, *filter(None, sys.path)]; "
        "from edge_sdk.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["bench", os.path.relpath(bundle, tmp_path), "--runs", "10", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", command, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["facts"]["artifacts"]) == 2


@pytest.mark.parametrize(
    ("runs", "threads", "words"),
    [
        (9, 0, "at least 10"),
        (-1, 0, "at least 10"),
        (10, -1, "-1 threads"),
        (10, MAX_THREADS + 1, "1 to 1024"),
    ],
)
def test_wrong_options(runs: int, threads: int, words: str, bundle: Path, edge: Run) -> None:
    said = edge("bench", bundle, "--runs", runs, "--threads", threads)
    assert said.code == 2
    assert words in said.last
    with pytest.raises(RequestError, match=words):
        BenchOptions(runs, threads)


def test_median_interval_holds_the_median_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    limits = [median_interval(list(rng.exponential(size=51))) for _ in range(2000)]
    held = sum(low <= np.log(2) <= high for low, high in limits)
    # 2000 trials of a coverage of 0.95: a standard deviation is 10. Order statistics are discrete
    # and cover a little more.
    assert 0.94 < held / 2000 < 0.98


def test_a_file_that_aborts_its_interpreter_is_a_failed_gate(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    hostile_bundle(tmp_path / "hostile.edge")
    report = bench(tmp_path / "hostile.edge", BenchOptions(runs=10))
    faults = [gate.detail for gate in report.gates if not gate.passed]
    assert len(faults) == 1
    assert "litert on cpu crashed (SIGABRT)" in faults[0]
