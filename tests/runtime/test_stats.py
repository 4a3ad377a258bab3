"""The file of a run's figures: whole at any moment, bounded, refused at once."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from device_profiles.errors import OutputError
from runtime.pipeline import Pipeline, PipelineOptions
from runtime.stats import StatsFile
from runtime.status import RunStatus
from tests.runtime.pipeline_cases import Model, Scene


def status(results: int) -> RunStatus:
    return RunStatus(1.0, results, results, {"newer": 0}, 1.0, {}, {}, (), {"name": "null"})


def test_a_run_leaves_its_last_status_and_its_summary(tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    stats = StatsFile(path)
    options = PipelineOptions(observers=(stats,))
    summary = Pipeline(Model(), Scene(12), options=options).run()
    stats.finish(summary.to_json())
    content = json.loads(path.read_text())
    assert content["summary"]["results"] == content["status"]["results"] == 12
    assert set(content["summary"]["stages"]) >= {"capture", "infer", "age"}
    assert {"p50_ms", "p90_ms", "p99_ms"} <= set(content["summary"]["stages"]["age"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["stats.json"]


def test_it_is_written_at_intervals_and_never_grows(tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    stats = StatsFile(path, interval_s=3600, fresh_s=0)
    for results in range(1, 20):
        stats(status(results))
    assert json.loads(path.read_text())["status"]["results"] == 1
    stats.finish({})
    assert json.loads(path.read_text())["status"]["results"] == 19


def test_every_status_of_a_young_run_is_written(tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    stats = StatsFile(path, interval_s=3600, fresh_s=0.2)
    for results in (1, 2, 3):
        stats(status(results))
        assert json.loads(path.read_text())["status"]["results"] == results
    time.sleep(0.2)
    stats(status(4))
    assert json.loads(path.read_text())["status"]["results"] == 3


def test_a_file_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        StatsFile(tmp_path / "none" / "stats.json")
