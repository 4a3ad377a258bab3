"""Workflow: a run on a target, by the target's own Python, cameras and engines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from device_profiles.errors import CrashError, EngineError, OutputError, RequestError
from edge_sdk.report import Report
from edge_sdk.targets import Target, open_target
from edge_sdk.targets._verb import run_verb
from runtime.deaths import signal_of, signal_words

STDOUT = "-"
_TIMES = ("seconds", "fps", "stages")
_NO_CLOCK = (
    "times are left out: no clock of an emulator says anything of the device; estimate them with: "
    "edge-sdk bench --estimate"
)


@dataclass(frozen=True)
class RanThere:
    """What a run on a target said: the code that it ended with, and its report, or why it failed
    (`error` and its kind, as of `--json`); neither where its output is results."""

    code: int
    report: Report | None = None
    failed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class There:
    """A run to be done on a target: `bundle` and those of `sources` that are files here are sent
    there; `sinks` and the other `words` of the verb are as they would be there."""

    bundle: Path
    sources: Sequence[str]
    sinks: Sequence[str]
    words: Sequence[str]


def run_there(uri: str, asked: There, show: Callable[[bytes], object]) -> RanThere:
    """Run on the target at `uri`; `show` gets what is meant for a person as it comes.

    Results of the sink `-` go to standard output. Raises RequestError for a file to be written
    that would be lost there, CrashError when the run dies of a signal, and as `open_target` does.
    """
    results = STDOUT in asked.sinks
    taken = bytearray()
    with closing(open_target(uri)) as target:
        words = ["run", target.send(asked.bundle)]
        for source in asked.sources:
            words += ["--source", _source(source, target)]
        for sink in asked.sinks:
            words += ["--sink", _sink(sink, target)]
        words += [*asked.words, *([] if results else ["--json"])]
        out = sys.stdout.buffer.write if results else taken.extend
        try:
            code = run_verb(target, words, out, show)
        except BrokenPipeError as error:  # whoever read the results has seen enough
            raise OutputError("standard output is closed") from error
    number = signal_of(code)
    if number is not None:
        raise CrashError(f"the run on {uri} crashed with {signal_words(number)}", number)
    done = RanThere(code) if results else _told(bytes(taken), uri, code)
    return _timeless(done, uri) if target.emulated else done


def _timeless(done: RanThere, uri: str) -> RanThere:
    """Leave out what an emulator's clock said: it is no time of the device."""
    if done.report is None:
        return done
    facts = {name: value for name, value in done.report.facts.items() if name not in _TIMES}
    told = replace(
        done.report,
        summary=(
            f"{facts['results']} results of {facts['frames']} frames, on {facts['rung']} on {uri}."
        ),
        tables=(),
        facts=facts,
        notes=(*done.report.notes, _NO_CLOCK),
    )
    return replace(done, report=told)


def _source(source: str, target: Target) -> str:
    """Return where a source is there: a file or folder of this machine is sent."""
    path = Path(source)
    return target.send(path) if path.exists() and not str(path).startswith("/dev/") else source


def _sink(sink: str, target: Target) -> str:
    plain = sink == STDOUT or "://" in sink or ":" in sink.partition("/")[0]
    if plain or sink == "display":
        return sink
    if target.shares_files:
        return target.send(Path(sink).absolute())
    if not Path(sink).is_absolute():
        raise RequestError(
            f"{sink} would be written on {target.uri}; give an absolute path there, or --sink - "
            "to have the results here"
        )
    return sink


def _told(said: bytes, uri: str, code: int) -> RanThere:
    try:
        found = json.loads(said)
        if "error" in found:
            return RanThere(code, failed=found)
        return RanThere(code, Report.from_json(found))
    except (ValueError, TypeError, LookupError) as error:
        raise EngineError(
            f"the run on {uri} ended with code {code} and without a report; see what it said"
        ) from error
