"""The canary: the new release answers beside the old one, before the switch, on the same frames."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from device_profiles.errors import EdgeError, ReleaseError, RequestError
from runtime.agent.golden import environment, python_of, run_within
from runtime.agent.layout import Layout
from runtime.agent.release import BUNDLE, RELEASE, Release
from runtime.deaths import last_words, signal_of, signal_words

AGREEMENT = 0.9
FRAME_S = 60.0
"""How long at the most a frame may take: to come, or one of the two to answer it."""
_PASSED_ON = ("--threads", "--provider")
_WITHOUT = "flash without a canary"


@dataclass(frozen=True)
class _Asked:
    source: str
    frames: int
    agreement: float = AGREEMENT


def compared(
    layout: Layout, release: Release, current: str | None, words: Sequence[str]
) -> dict[str, Any]:
    """Compare a release with the `current` one on frames of a source, and return what was found.

    `words` are `--source URI --frames N [--agreement SHARE]`.
    Raises ReleaseError with the reason where the two agree on less, or cannot be compared.
    """
    asked = _asked(words)
    if current is None:
        return {"frames": 0, "notes": ["nothing runs that it could be compared with"]}
    request = {
        "source": asked.source,
        "frames": asked.frames,
        "old": _command(layout, _known(layout, current)),
        "new": _command(layout, release),
        "start_s": release.golden_s,
        "frame_s": FRAME_S,
    }
    found = _result(layout, release, request)
    if found["agreement"] < asked.agreement:
        raise ReleaseError(
            f"the new release and the old one agree on {_percent(found['agreement'])} of "
            f"{_frames(found)} of {found['source']} (at least {_percent(asked.agreement)} were "
            "asked for)"
        )
    return found


def _asked(words: Sequence[str]) -> _Asked:
    given = dict(zip(words[::2], words[1::2], strict=False))
    try:
        asked = _Asked(
            given["--source"], int(given["--frames"]), float(given.get("--agreement", AGREEMENT))
        )
    except (KeyError, ValueError) as error:
        raise RequestError(f"a canary is not asked for like this: {error!r}") from error
    if asked.frames < 1 or not 0 <= asked.agreement <= 1:
        raise RequestError("a canary takes at least one frame, and an agreement from 0 to 1")
    return asked


def _known(layout: Layout, identity: str) -> Release:
    """Return the release that runs."""
    try:
        return Release.from_bytes((layout.releases / identity / RELEASE).read_bytes())
    except (OSError, EdgeError) as error:
        raise ReleaseError(
            f"the release that runs is damaged, nothing can be compared with it: {error}; "
            f"{_WITHOUT}"
        ) from error


def _command(layout: Layout, release: Release) -> list[str]:
    """Return what answers with a release, in its own environment and as it is run."""
    bundle = layout.releases / release.id / BUNDLE
    words = [str(python_of(layout, release)), "-I", "-m", "runtime.answers", str(bundle)]
    for option, value in pairwise(release.run.words):
        if option in _PASSED_ON:
            words += [option, value]
    return words


def _result(layout: Layout, release: Release, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the comparison printed; ReleaseError when that is an error, or nothing."""
    words = [str(python_of(layout, release)), "-I", "-m", "runtime.shadow"]
    # Each of its steps has a limit of its own, which says what hangs.
    limit_s = 2 * request["start_s"] + 3 * FRAME_S * (request["frames"] + 1)
    given = json.dumps(request).encode()
    try:
        code, out, err = run_within(words, environment(layout), limit_s, given)
    except subprocess.TimeoutExpired as error:
        raise ReleaseError(f"the canary did not end within {limit_s:.0f} s; {_WITHOUT}") from error
    try:
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        reason = found.get("error")
        if reason is None:
            found["agreement"] = float(found["agreement"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        number = signal_of(code)
        how = f"crashed with {signal_words(number)}" if number else f"ended with code {code}"
        raise ReleaseError(f"the canary {how}{last_words(err)}; {_WITHOUT}") from error
    if reason is None:
        return found
    if found.get("kind") == "SourceError":
        reason = (
            f"{reason}; a camera that the running release holds cannot be opened again: name other "
            f"frames by --shadow-source URI (a file on the device, an RTSP address), or {_WITHOUT}"
        )
    raise ReleaseError(f"nothing was compared: {reason}")


def _frames(found: Mapping[str, Any]) -> str:
    frames, judged = found["frames"], found["judged"]
    if judged == frames:
        return f"{frames} frames"
    return f"the {judged} frames with something in them, out of {frames},"


def _percent(share: float) -> str:
    """Return a share in percent, rounded down, so that too little never looks like enough."""
    return f"{math.floor(1000 * share + 1e-9) / 10:g}%"
