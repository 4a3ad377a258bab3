"""The golden gate: a release answers on this device, in its own environment, as it should."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from device_profiles.errors import ReleaseError
from runtime.agent.layout import Layout
from runtime.agent.release import BUNDLE, Release
from runtime.deaths import last_words, signal_of, signal_words

_PASSED_ON = ("--threads", "--provider", "--source")


@dataclass(frozen=True)
class Replayed:
    """What a replay found: every rung with `label`, `passed`, `reason`, `ms`; and the `chosen` one
    as `Ladder.status` gives it."""

    rungs: tuple[Mapping[str, Any], ...]
    chosen: Mapping[str, Any]


def python_of(layout: Layout, release: Release) -> Path:
    """Return the Python of a release's environment."""
    return layout.environments / release.environment / "bin" / "python"


def replay(layout: Layout, release: Release, folder: Path) -> Replayed:
    """Replay the golden set of the release in `folder`; ReleaseError with the reason when it fails.

    Every rung that this device can run must reproduce its outputs. Verdicts are kept in a cache
    that the service reads: it starts without proving everything anew.
    """
    command = [python_of(layout, release), "-I", "-m", "runtime.replay", folder / BUNDLE]
    words = [*map(str, command), *_options(release.run.words)]
    try:
        code, out, err = run_within(words, environment(layout), release.golden_s)
    except subprocess.TimeoutExpired as error:
        raise ReleaseError(
            f"its golden replay did not end within {release.golden_s:.0f} s on this device: a rung "
            "hangs, or the model is too slow for it"
        ) from error
    _let_read(layout.cache)
    try:
        found = json.loads(out.splitlines()[-1]) if out else {}
        replayed = Replayed(tuple(found["rungs"]), found["chosen"])
    except (ValueError, KeyError, TypeError) as error:
        number = signal_of(code)
        how = f"crashed with {signal_words(number)}" if number else f"ended with code {code}"
        raise ReleaseError(
            f"its golden replay {how} on this device{last_words(err)}; see the versions of the "
            "engines in its lock"
        ) from error
    if found.get("error"):
        raise ReleaseError(f"its golden replay failed on this device: {found['error']}")
    return replayed


def environment(layout: Layout) -> dict[str, str]:
    """Return the variables that a release runs with.

    The cache is the agent's own: what a service could write, root must not write to.
    """
    return {**os.environ, "XDG_CACHE_HOME": str(layout.cache), "PYTHONUNBUFFERED": "1"}


def _let_read(cache: Path) -> None:
    """Let every user read the verdicts, whose folders are their owner's alone at first."""
    for folder in (cache, *cache.glob("edge-sdk"), *cache.glob("edge-sdk/verdicts")):
        if folder.is_dir():
            folder.chmod(0o755)


def _options(words: tuple[str, ...]) -> list[str]:
    """Return what of a run's words decides how its engine is opened, and what it runs on."""
    found = []
    for option, value in pairwise(words):
        if option in _PASSED_ON:
            found += [option, value]
    return found


def run_within(
    words: list[str], variables: Mapping[str, str], limit_s: float, given: bytes = b""
) -> tuple[int, str, bytes]:
    """Run the Python of a release, `given` on its standard input; return its exit code and what it
    printed. Raises `subprocess.TimeoutExpired` when it takes longer, with nothing left of it."""
    try:
        with subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=variables,
            cwd="/",
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(given, limit_s)
            finally:
                _end(process)
    except OSError as error:
        raise ReleaseError(f"its Python does not start: {error.strerror}; flash again") from error
    return process.returncode, out.decode(errors="replace"), err


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process and of those that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
