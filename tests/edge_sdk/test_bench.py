"""Bench: what a target's own processes measured, told as it is, doubtful where it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from device_profiles.errors import EngineError, RequestError
from edge_sdk import BenchOptions, bench
from edge_sdk.targets import Start
from edge_sdk.targets.local import LocalTarget
from edge_sdk.workflows.limits import MAX_THREADS
from runtime.host import host
from runtime.manifest import Manifest
from tests.edge_sdk.cli_cases import Run, rewrite
from tests.runtime.ladder_cases import hostile_bundle, ladder_bundle, rung

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _one_start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each artifact once, not three times, where starts are not what is tested."""
    if request.node.name != "test_bench":
        monkeypatch.setattr("edge_sdk.workflows.bench.STARTS", 1)


def test_bench(bundle: Path, edge: Run, tmp_path: Path) -> None:
    page, card = tmp_path / "page.html", tmp_path / "card.json"
    words = ["bench", bundle, "--runs", 20, "--threads", 1, "--json"]
    said = edge(*words, "--report", page, "-o", card)
    assert said.code == 0, said.err
    facts = said.json["facts"]
    assert json.loads(card.read_text()) == facts
    assert facts["machine"]["arch"] == host().arch
    assert (facts["runs"], facts["threads"], facts["target"]) == (20, 1, "local")
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
        assert len(timing["cold_starts_ms"]) == 3
        assert timing["load_ms"] + timing["first_inference_ms"] < timing["cold_start_ms"]
        assert 20 < timing["peak_memory_mb"] < 4_000
        assert timing["engine_version"] == facts["machine"]["packages"]["onnxruntime"]
        known = timing["accuracy"]
        assert known["metric"] == "top-1"
        assert known["low"] <= known["value"] <= known["high"] <= 100
    assert "ratio" in facts["artifacts"][1]["against_the_first"]
    assert facts["warm_up"]["rounds"] >= 3
    assert all(gate["passed"] for gate in said.json["gates"])
    assert any("in turns" in note for note in said.json["notes"])
    assert any("are not counted" in note for note in said.json["notes"])
    assert "Median latency" in page.read_text()
    assert "Accuracy against latency" in page.read_text()


def test_throughput_by_threads_and_streams(tmp_path: Path) -> None:
    """Engines that sleep need no core, so that streams add up whatever else runs here."""
    ladder_bundle(tmp_path / "x.edge", rung(delay_ms=20)).close()
    report = bench(tmp_path / "x.edge", BenchOptions(runs=10, throughput=True))
    flows = report.facts["artifacts"][0]["throughput"]
    cores = report.facts["machine"]["cores"]
    rates = {(flow["streams"], flow["threads"]): flow["fps"] for flow in flows}
    assert {(1, 1), (1, cores), (cores, 1)} <= set(rates)
    assert 20 < rates[1, 1] <= 50
    if cores > 1:
        assert 1.2 * rates[1, 1] < rates[cores, 1] <= 50 * cores
    assert any(table.title == "Throughput" for table in report.tables)


def test_several_are_timed_in_one_run_and_compared(tmp_path: Path) -> None:
    ladder_bundle(tmp_path / "slow.edge", rung(delay_ms=60)).close()
    ladder_bundle(tmp_path / "fast.edge", rung(delay_ms=10)).close()
    both = [tmp_path / "slow.edge", tmp_path / "fast.edge"]
    report = bench(both, BenchOptions(runs=10))
    first, second = report.facts["artifacts"]
    assert "against_the_first" not in first
    ratio = second["against_the_first"]
    assert ratio["verdict"] == "faster"
    assert 1 / 6 < ratio["ratio"] < 0.9
    labels = [row[0] for row in report.tables[0].rows]
    # Both are called "null" inside.
    assert labels == [f"{path.name}: {first['artifact']}" for path in both]
    assert len({model["bundle"] for model in report.facts["models"]}) == 2


class Emulated(LocalTarget):
    emulated = True

    def start(self, arguments: object, given: Start | None = None) -> subprocess.Popen[bytes]:
        raise AssertionError("nothing is to be started there")


def test_no_clock_of_an_emulator_is_believed(
    bundle: Path, edge: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sdk.targets.local.LocalTarget", Emulated)
    said = edge("bench", bundle)
    assert said.code == 2
    assert "no clock there says anything of the device" in said.last
    assert "--cost" in said.last


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
    with pytest.raises(EngineError, match=r"no rung opens on local.*abacus"):
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


def test_a_file_that_aborts_its_interpreter_is_a_failed_gate(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    hostile_bundle(tmp_path / "hostile.edge")
    report = bench(tmp_path / "hostile.edge", BenchOptions(runs=10))
    faults = [gate.detail for gate in report.gates if not gate.passed]
    assert len(faults) == 1
    assert "litert/cpu crashed with SIGABRT" in faults[0]


@pytest.mark.parametrize("limit", ["crash_after", "fail_after"])
def test_an_artifact_that_fails_when_it_runs_is_a_failed_gate(limit: str, tmp_path: Path) -> None:
    ladder_bundle(tmp_path / "x.edge", rung(**{limit: 0}), rung()).close()
    report = bench(tmp_path / "x.edge", BenchOptions(runs=10))
    assert [gate.passed for gate in report.gates] == [False, True]
    assert len(report.facts["artifacts"]) == 1


def test_a_package_that_is_missing_there_is_named(
    bundle: Path, edge: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not for this machine')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = edge("bench", bundle)
    assert said.code == 3
    assert "pip install 'edge-sdk[" in said.last


def test_outputs_are_none_of_the_inputs(bundle: Path, edge: Run, tmp_path: Path) -> None:
    card = tmp_path / "card.json"
    card.write_text("{}")
    for words in (["-o", bundle], ["--report", bundle], ["-o", card, "--against", card]):
        said = edge("bench", bundle, *words)
        assert (said.code, "a file of this very work" in said.last) == (2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--cost"], "local cannot count instructions"),
        (["--cost", "--threads", 2], "leave out --threads"),
        (["--cost", "--throughput"], "leave out --throughput"),
        (["--cost", "--max-cost-increase", "2%"], "add --against"),
        (["--cost", "--max-cost-increase", "little", "--against", "x.edge"], "no percentage"),
        (["another.edge", "--cost"], "counts one bundle"),
        (["--max-cost-increase", "2%"], "add --cost"),
    ],
)
def test_what_a_cost_cannot_be(words: list[str], says: str, bundle: Path, edge: Run) -> None:
    said = edge("bench", bundle, *words)
    assert (said.code, says in said.last) == (2, True), said.err
