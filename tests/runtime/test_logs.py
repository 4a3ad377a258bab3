"""Logs: lines for people and for machines, without secrets."""

from __future__ import annotations

import enum
import io
import json
import logging
import math
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from runtime.logs import KINDS, logging_to

log = logging.getLogger("edge_sdk.test")


@pytest.fixture
def machine() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    with logging_to("json", stream):
        yield stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_for_machines(machine: io.StringIO) -> None:
    before = datetime.now(timezone.utc)
    log.warning("camera %d is lost", 3, extra={"event": "source_lost", "frames": 7, "ago_s": 0.5})
    (line,) = lines(machine)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "edge_sdk.test",
        "message": "camera 3 is lost",
        "event": "source_lost",
        "frames": 7,
        "ago_s": 0.5,
    }
    log.info("again")
    moment = datetime.fromisoformat(lines(machine)[1]["time"].replace("Z", "+00:00"))
    assert moment.tzinfo is not None
    assert -1 < (moment - before).total_seconds() < 600


class State(enum.Enum):
    LIVE = "LIVE"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (math.nan, None),
        (math.inf, None),
        (True, True),
        (None, None),
        (Path("/x"), "/x"),
        (State.LIVE, "State.LIVE"),
        ((1, "two", {"a": [math.nan]}), [1, "two", {"a": [None]}]),
        ({1: 2}, {"1": 2}),
        (b"\xff", "b'\\xff'"),
        ("\ud800", "\ud800"),
        (ValueError("odd"), "odd"),
    ],
    ids=str,
)
def test_what_is_no_json_is_text(value: object, found: object, machine: io.StringIO) -> None:
    log.info("x", extra={"event": "e", "value": value})
    assert lines(machine)[0]["value"] == found


def test_deep_and_endless_values_end(machine: io.StringIO) -> None:
    endless: list[Any] = []
    endless.append(endless)
    log.info("x", extra={"value": endless})
    assert len(machine.getvalue()) < 500


def test_an_extra_cannot_hide_what_a_line_is(machine: io.StringIO) -> None:
    log.info("truth", extra={"level": "none", "time": "never", "logger": "me"})
    (line,) = lines(machine)
    assert (line["level"], line["logger"]) == ("info", "edge_sdk.test")


def test_a_message_of_many_lines_is_one_line(machine: io.StringIO) -> None:
    log.info("one\ntwo\r\nthree \x1b[2J")
    assert lines(machine)[0]["message"] == "one\ntwo\r\nthree \x1b[2J"
    assert machine.getvalue().count("\n") == 1


def test_an_exception(machine: io.StringIO) -> None:
    try:
        raise ValueError("of rtsp://me:hunter2@camera/1")
    except ValueError:
        log.exception("failed")
    (line,) = lines(machine)
    assert "ValueError: of rtsp://me:***@camera/1" in line["exception"]
    assert "Traceback" in line["exception"]


SECRETS: list[tuple[str, tuple[object, ...], dict[str, Any]]] = [
    ("rtsp://me:hunter2@camera/1 is gone", (), {}),
    ("%s is gone", ("rtsp://me:hunter2@camera/1",), {}),
    ("x", (), {"uri": "http://host/stream?token=hunter2"}),
    ("x", (), {"facts": {"list": ["mqtt://me:hunter2@broker"]}}),
    ("x", (), {"password": "hunter2"}),
    ("x", (), {"facts": {"api_key": "hunter2"}}),
    ("x", (), {"tokens": ["hunter2"]}),
    ("x", (), {"error": OSError("rtsp://me:hunter2@camera")}),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("message", "values", "extra"), SECRETS)
def test_secrets_are_cut(
    kind: Any, message: str, values: tuple[object, ...], extra: dict[str, Any]
) -> None:
    stream = io.StringIO()
    with logging_to(kind, stream):
        log.error(message, *values, extra=extra)
    assert stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_lines_for_people() -> None:
    stream = io.StringIO()
    with logging_to("text", stream):
        log.info("not worth a line")
        log.warning("%s: the picture is old", "camera:0", extra={"event": "stale"})
        log.error("bad \x1b[2J name\x07")
    assert stream.getvalue() == "warning: camera:0: the picture is old\nerror: bad ?[2J name?\n"


def test_on_a_terminal_a_line_takes_the_place_of_what_is_drawn_there() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    stream.write("12 fps")
    with logging_to("text", stream):
        log.warning("lost")
    assert stream.getvalue() == "12 fps\r\x1b[Kwarning: lost\n"


def test_everything_is_as_before_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("edge_sdk")
    before = (list(logger.handlers), logger.level, logger.propagate)
    with pytest.raises(ZeroDivisionError), logging_to("json"):
        log.info("on standard error")
        raise ZeroDivisionError
    assert (list(logger.handlers), logger.level, logger.propagate) == before
    log.info("nobody hears")
    said = capsys.readouterr()
    assert json.loads(said.err)["message"] == "on standard error"
    assert said.out == ""
