"""JSON lines: what a line holds, when it can be read, and what is kept of an older file."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_profiles.errors import OutputError
from runtime.sinks import open_sink
from runtime.tasks.classify import Classification
from tests.runtime.preview_cases import CAMERA, RESULT, STAMP, frame


def test_jsonl_has_one_object_per_frame_at_once(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = open_sink(str(path))
    for index in range(2):
        one = replace(frame(index), captured_ns=1000 + index, truth="cat" if index else None)
        sink.write(one, RESULT, replace(STAMP, latency_ms=12.34567))
        assert len(path.read_text().splitlines()) == index + 1
    sink.close()
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "index": 0,
        "name": "f0",
        "source": CAMERA,
        "captured_ns": 1000,
        "latency_ms": 12.346,
        "provider": "null/cpu",
        "result": RESULT.to_json(),
    }
    assert second["truth"] == "cat"


def test_a_dash_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    sink = open_sink("-")
    sink.write(frame(), RESULT, STAMP)
    sink.close()
    assert json.loads(capsys.readouterr().out)["index"] == 0
    print("still open")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.symlink_to("/dev/full")
    sink = open_sink(str(path))
    with pytest.raises(OutputError, match=r"No space left.*space on the disk"):
        sink.write(frame(), RESULT, STAMP)
    with pytest.raises(OutputError):  # the line is still in the buffer
        sink.close()


def test_a_score_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out.jsonl"))
    with pytest.raises(OutputError, match="must be finite"):
        sink.write(frame(), Classification(0, "x", float("nan"), (), False), STAMP)
    sink.close()


def test_the_first_result_empties_an_older_file_and_only_that(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("older\n" * 1000)
    sink = open_sink(str(path))
    assert path.read_text().startswith("older")
    for index in range(2):
        sink.write(frame(index), RESULT, STAMP)
        lines = path.read_text().splitlines()
        assert [json.loads(line)["index"] for line in lines] == list(range(index + 1))
    sink.close()
    assert len(path.read_text().splitlines()) == 2


def test_a_pipe_is_written_to_as_well(tmp_path: Path) -> None:
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(path.read_text().splitlines()))
    reader.start()
    sink = open_sink(str(path))
    sink.write(frame(), RESULT, STAMP)
    sink.close()
    reader.join(30)
    assert [json.loads(line)["index"] for line in lines] == [0]


@dataclass(frozen=True)
class Odd:
    """What a decoder of the user's may return."""

    score: Any

    def to_json(self) -> dict[str, Any]:
        return {"score": self.score}

    def draw(self, image: Any) -> None:
        """Draw nothing."""


def test_a_result_that_is_no_json_is_an_error_that_names_it(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out.jsonl"))
    with pytest.raises(OutputError, match=r"result of f4 is not JSON .*float32"):
        sink.write(frame(4), Odd(np.float32(1)), STAMP)
    sink.write(frame(5), Odd("\u2028 \udcff ü"), STAMP)
    sink.close()
    (line,) = (tmp_path / "out.jsonl").read_bytes().splitlines()
    assert json.loads(line)["result"]["score"] == "\u2028 \udcff ü"
