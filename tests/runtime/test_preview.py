"""The preview's server: what it answers."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

from runtime.status import SourceState, SourceStatus
from runtime.tasks.classify import Classification
from tests.runtime.preview_cases import (
    CAMERA,
    RESULT,
    STAMP,
    Run,
    frame,
    next_event,
    next_part,
    run_status,
    until,
)


@pytest.fixture
def run() -> Iterator[Run]:
    with Run() as one:
        yield one


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/status.json", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/health", "application/json"),
        ("/snapshot.jpg", "image/jpeg"),
        ("/snapshot.jpg?source=0", "image/jpeg"),
    ],
)
def test_each_page_answers_get_and_head(path: str, kind: str, run: Run) -> None:
    run.write()
    answer, body = run.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert int(answer.headers["Content-Length"]) == len(body) > 0
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert "Python" not in answer.headers["Server"]
    head, nothing = run.get(path, "HEAD")
    assert (head.status, nothing) == (200, b"")


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing_else(run: Run) -> None:
    answer, body = run.get("/")
    page = body.decode()
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert page.count("<style>") == 1
    assert policy.count("sha256-") == page.count("<style>") + page.count("<script>") == 6
    assert re.findall("<link rel=.style|<script src", page) == []
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert re.findall(r"\son\w+=|style=", page) == []
    addresses = set(re.findall(r"https?://[\w./]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place


def test_pictures_are_annotated_and_large_ones_reduced() -> None:
    with Run("http://127.0.0.1:0?width=320&quality=90") as run:
        assert run.get("/snapshot.jpg")[0].status == 503
        for size, shown in (
            ((48, 64, 3), (48, 64)),
            ((480, 640, 3), (240, 320)),
            ((600, 600), (320, 320)),
        ):
            run.write(size=size)
            answer, body = run.get("/snapshot.jpg")
            picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            assert picture.shape[:2] == shown
            assert picture.max() > 150, "nothing was drawn"
            assert answer.headers["X-Index"] == str(run.index - 1)
            assert int(answer.headers["X-Age-Ms"]) >= 0


def test_the_state_is_told_as_json(run: Run) -> None:
    run.write(3)
    state = json.loads(run.get("/status.json")[1])
    assert state["run"]["sources"][0]["state"] == "LIVE"
    assert state["run"]["sources"][0]["since_s"] >= 0
    assert state["run"]["engine"]["label"] == "null fp32 on null/cpu"
    assert state["pictures"][CAMERA]["index"] == 2
    run.status = None
    assert json.loads(run.get("/status.json")[1])["run"] is None


def test_names_from_anywhere_are_told_and_shown(run: Run) -> None:
    odd = "caméra\r\nX-Evil: 1 \udcff"  # \udcff: a file name that is no UTF-8
    run.status = run_status(sources=(SourceStatus(odd, SourceState.LIVE, 0),))
    run.sink.write(frame(source=odd), replace(RESULT, label="猫 </script> \udcff"), STAMP)
    answer, _ = run.get("/snapshot.jpg")
    assert (answer.status, answer.headers["X-Evil"]) == (200, None)
    assert answer.headers["X-Source"].startswith("cam%C3%A9ra%0D%0AX-Evil")
    assert json.loads(run.get("/status.json")[1])["run"]["sources"][0]["uri"] == odd
    assert 'source="caméra\r\\nX-Evil' in run.get("/metrics")[1].decode()
    assert run.get("/health")[0].status == 200


def test_what_is_not_finite_is_null_and_ends_nothing(run: Run) -> None:
    stream = run.open("/results")
    until(lambda: next_event(stream)[0] == "status")
    bad = Classification(0, "x", float("nan"), (), False)
    run.sink.write(frame(), bad, STAMP)
    record = next(data for name, data in iter(lambda: next_event(stream), None) if not name)
    assert json.loads(record)["result"]["score"] is None
    run.status = run_status(fps=float("inf"))
    assert json.loads(run.get("/status.json")[1])["run"]["fps"] is None
    stream.close()


def test_records_and_states_are_events(run: Run) -> None:
    stream = run.open("/results")
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    assert next_event(stream)[0] == "history"
    name, data = next_event(stream)
    assert name == "status"
    assert json.loads(data)["run"]["results"] == 98
    run.write(3)
    events = [next_event(stream) for _ in range(6)]
    records = [json.loads(data) for name, data in events if not name]
    assert [(r["index"], r["result"]["label"]) for r in records] == [(i, "cat") for i in range(3)]
    point = next(json.loads(data)["point"] for name, data in events if name == "status")
    assert (point["state"], point["age_p99"], point["temperature"]) == ("LIVE", 90.0, 61.5)
    assert point["stages"] == {"preprocess": 0.5, "infer": 20.0}
    stream.close()


def test_a_reader_who_is_behind_is_told_how_much_was_missed(run: Run) -> None:
    feed = run.feed
    with feed.reading() as reader:
        run.write(200)
        news = reader.read(0)
        assert (len(news.records), news.missed) == (64, 136)
        assert json.loads(news.records[-1])["index"] == 199
        assert reader.read(0).records == ()


def test_the_end_of_the_run_is_told_to_those_who_watch() -> None:
    with Run() as run:
        events, pictures = run.open("/results"), run.open("/stream.mjpg")
        run.write()
        next_part(pictures)
    names = []
    while "end" not in names:
        names.append(next_event(events)[0])
    assert pictures.read().strip() in (b"", b"--edge-sdk-picture")
    events.close()
    pictures.close()


SAMPLE = re.compile(r'^([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+\})? (\S+)$')


def test_metrics_are_well_formed_and_in_base_units(run: Run) -> None:
    hostile = 'rtsp://x/"a\\b\n'
    source = SourceStatus(hostile, SourceState.STALE, 0, None, 5)
    board = {**run_status().board, "clock_hz": 1}
    run.status = run_status(sources=(*run_status().sources, source), board=board)
    lines = run.get("/metrics")[1].decode().splitlines()
    values, kinds, order = {}, {}, []
    for line in lines:
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP"):
            match = SAMPLE.match(line)
            assert match, line
            name, labels, value = match.groups()
            values[f"{name}{labels or ''}"] = float(value)
            order.append(re.sub("_(sum|count)$", "", name))
    assert set(order) == set(kinds)
    assert len([a for a, b in itertools.pairwise(order) if a != b]) + 1 == len(kinds)
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in kinds.items())
    assert values["edge_sdk_results_total"] == 98
    assert values['edge_sdk_frames_dropped_total{reason="newer"}'] == 2
    assert values['edge_sdk_stage_seconds{stage="infer",quantile="0.99"}'] == 0.06
    assert values['edge_sdk_stage_seconds_sum{stage="infer"}'] == pytest.approx(0.3)
    assert values["edge_sdk_result_age_seconds_count"] == 10
    info = 'name="null",version="1",provider="cpu",rung="null fp32 on null/cpu"'
    assert values[f"edge_sdk_engine_info{{{info}}}"] == 1
    assert values["edge_sdk_engine_refused_rungs"] == 1
    assert values["edge_sdk_engine_drops_total"] == 0
    assert values['edge_sdk_sink_skipped_total{sink="out.jsonl"}'] == 3
    assert values["edge_sdk_board_temperature_celsius"] == 61.5
    assert values["edge_sdk_board_clock_hertz"] == 2.4e9
    assert values["edge_sdk_board_throttled"] == 0
    assert values[f'edge_sdk_source_state{{source="{CAMERA}",state="LIVE"}}'] == 1
    escaped = hostile.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert values[f'edge_sdk_source_state{{source="{escaped}",state="STALE"}}'] == 1
    run.status = None
    assert run.get("/metrics")[1].decode().splitlines()[-1] == "edge_sdk_preview_viewers 0"


def test_health_is_good_while_sources_live_and_results_flow(run: Run) -> None:
    def health() -> tuple[int, list[str]]:
        answer, body = run.get("/health")
        facts = json.loads(body)
        assert (facts["status"] == "ok") == (answer.status == 200)
        return answer.status, facts["reasons"]

    assert health()[0] == 503
    assert "no result yet" in health()[1][0]
    run.write()
    assert health() == (200, [])
    assert json.loads(run.get("/health")[1])["engine"]["provider"] == "cpu"
    for state in set(SourceState) - {SourceState.LIVE}:
        run.status = run_status(state)
        assert health() == (503, [f"{CAMERA} is {state.value}: no frame for 2 s"])
    run.status = run_status()
    run.feed._written -= 60
    assert health() == (503, ["no result for 60 s"])
    slow = {"age": {"p50_ms": 30_000.0, "count": 3, "mean_ms": 30_000.0}}
    run.status = run_status(total=slow)
    assert health() == (200, [])
    run.status = None
    assert health()[0] == 503
