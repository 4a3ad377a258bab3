"""Sinks: which there are, and that none begins what it cannot end."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.errors import OutputError
from runtime.sinks import SinkContext, open_sink
from runtime.sinks._files import SourceNumbers
from runtime.sinks.memory import Memory
from runtime.status import SourceState, SourceStatus
from tests.runtime.preview_cases import RESULT, STAMP, frame, run_status


@pytest.mark.parametrize("uri", ["out.txt", "mp4", "ftp://x/out.mp4", "displays"])
def test_what_is_no_sink_is_named_with_the_kinds(uri: str) -> None:
    kinds = "display, jsonl, memory, mqtt, pictures, preview, video"
    with pytest.raises(OutputError, match=rf"not a sink of any kind \({kinds}\)"):
        open_sink(uri)


@pytest.mark.parametrize("name", ["out.jsonl", "out.mp4", "out.avi"])
@pytest.mark.parametrize("folder", ["missing", "file"])
def test_an_unwritable_path_fails_before_work_starts(
    name: str, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=rf"{name}: cannot be written .* make the folder"):
        open_sink(str(tmp_path / folder / name))


@pytest.mark.parametrize("name", ["out.jsonl", "out.mp4", "shots/"])
def test_what_is_opened_and_never_written_keeps_what_was_there(name: str, tmp_path: Path) -> None:
    """As when another sink of the same run is refused."""
    (tmp_path / "shots").mkdir()
    older = tmp_path / name / "000000.jpg" if name.endswith("/") else tmp_path / name
    older.write_bytes(b"older")
    open_sink(f"{tmp_path}/{name}").close()
    assert older.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"shots", name.strip("/")})


def test_memory_keeps_records_in_order() -> None:
    sink = open_sink("memory:")
    assert isinstance(sink, Memory)
    for index in range(2):
        sink.write(frame(index), RESULT, STAMP)
    assert not sink.closed
    sink.close()
    assert sink.results == [RESULT, RESULT]
    assert [(r.index, r.name, r.latency_ms) for r in sink.records] == [
        (0, "f0", 12.5),
        (1, "f1", 12.5),
    ]
    assert sink.closed


def test_sources_are_numbered_as_the_run_has_them_else_as_they_appear() -> None:
    sources = tuple(SourceStatus(uri, SourceState.LIVE, 0) for uri in ("a", "b"))
    known = SourceNumbers(SinkContext(status=lambda: run_status(sources=sources)))
    assert [known.suffix(uri) for uri in ("c", "b", "a", "b")] == ["-3", "-2", "", "-2"]
    unknown = SourceNumbers(SinkContext())
    assert [unknown.suffix(uri) for uri in ("c", "b", "a", "b")] == ["", "-2", "-3", "-2"]
