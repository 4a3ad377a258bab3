from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from device_profiles.errors import EngineError, RequestError
from edge_sdk import open_bundle, open_pipeline
from edge_sdk.workflows.run import RunOptions
from runtime.host import host
from runtime.manifest import Manifest
from tests.edge_sdk.cli_cases import Digits, Run, rewrite


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_several_sinks(bundle: Path, digits: Digits, edge: Run, tmp_path: Path) -> None:
    results, video = tmp_path / "results.jsonl", tmp_path / "video.mp4"
    words = ["run", bundle, "--source", digits.heldout / "4", "--sink", results, "--sink", video]
    said = edge(*words, "--json")
    assert said.code == 0, said.err
    facts = said.json["facts"]
    assert facts["results"] == facts["frames"] == 6
    assert facts["engine"]["provider"] == "cpu"
    # Kernels that saturate do not answer as the device's do: int8 is refused where they run.
    saturates = host().saturates_int8_pairs
    assert facts["rung"] == f"onnx {'fp32' if saturates else 'int8'} on onnxruntime/cpu"
    assert len(facts["refused"]) == saturates
    found = lines(results.read_text())
    assert [line["name"] for line in found] == [f"{n:04d}.png" for n in range(1, 7)]
    capture = cv2.VideoCapture(str(video))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 6
    capture.release()
    assert {path.name for path in tmp_path.iterdir()} == {"results.jsonl", "video.mp4"}


def test_it_reads_the_digits(bundle: Path, digits: Digits, edge: Run) -> None:
    """On `-`, standard output holds the results and nothing else."""
    scene = f"synthetic:cards?images={digits.heldout}&width=160&height=120&frames=60&hold=3"
    said = edge("run", bundle, "--source", scene, "--sink", "-")
    assert said.code == 0, said.err
    found = lines(said.out)
    right = sum(line["result"]["label"] == line["truth"] for line in found)  # type: ignore[index]
    # The net reads 99 of 100 on paper; the camera shakes.
    assert (len(found), right) >= (60, 50)
    assert "60 results of 60 frames" in said.err


def test_max_frames(bundle: Path, edge: Run) -> None:
    words = ["run", bundle, "--source", "synthetic:noise?frames=0", "--max-frames", 5]
    facts = edge(*words, "--threads", 1, "--json").json["facts"]
    assert (facts["results"], facts["ended"]) == (5, "max_frames")


def refusing(bundle: Path, target: Path) -> Path:
    """Return a bundle whose first rung no machine has."""

    def change(manifest: Manifest) -> Manifest:
        first, second = manifest.artifacts
        return replace(manifest, artifacts=(replace(first, provider="abacus"), second))

    return rewrite(bundle, target, change=change)


def test_a_refused_rung_is_loud(bundle: Path, digits: Digits, edge: Run, tmp_path: Path) -> None:
    path = refusing(bundle, tmp_path / "x.edge")
    words = ["run", path, "--source", digits.heldout / "4"]
    said = edge(*words)
    assert said.code == 0
    assert "refused: onnx int8 on onnxruntime/abacus: " in said.err
    assert "on onnx fp32 on onnxruntime/cpu." in said.out.replace("\n", " ")
    (refused,) = edge(*words, "--json").json["facts"]["refused"]
    assert (refused["rung"], refused["label"]) == (0, "onnx int8 on onnxruntime/abacus")
    assert "no provider 'abacus'" in refused["reason"]


def test_no_rung_is_healthy(bundle: Path, digits: Digits, edge: Run, tmp_path: Path) -> None:
    def change(manifest: Manifest) -> Manifest:
        gone = tuple(replace(a, provider="abacus") for a in manifest.artifacts)
        return replace(manifest, artifacts=gone)

    path = rewrite(bundle, tmp_path / "x.edge", change=change)
    sink = tmp_path / "out.jsonl"
    said = edge("run", path, "--source", digits.heldout / "4", "--sink", sink)
    assert said.code == EngineError.exit_code == 3
    assert "no rung of the ladder is healthy here" in said.last
    assert not sink.exists()


def test_pipeline_in_python(bundle: Path, digits: Digits) -> None:
    """An open bundle stays open, one that was given as a path is closed."""
    with open_bundle(bundle) as opened:
        for given in (bundle, opened):
            with open_pipeline(given, str(digits.heldout / "9"), ["memory:"]) as pipeline:
                answers = [result.to_json()["label"] for _, result in pipeline]
            assert answers.count("9") >= 5
        assert opened.golden().frames.shape[0] == 16


@pytest.mark.parametrize("threads", [-1, 10**6])
def test_threads_that_cannot_be_had(threads: int, bundle: Path, edge: Run) -> None:
    said = edge("run", bundle, "--source", "synthetic:noise", "--threads", threads)
    assert said.code == 2
    assert f"{threads} threads cannot be had" in said.last
    with pytest.raises(RequestError):
        RunOptions(threads=threads)
