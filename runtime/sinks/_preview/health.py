"""Whether a run does what it should: every source live, and results that flow."""

from __future__ import annotations

from typing import Any

from runtime.sinks._preview.feed import Feed
from runtime.status import RunStatus, SourceState

_SILENCE_S = 5.0
_SLOW = 3
"""A result may take so many times as long as they usually do: a slow model is not ill."""


def health(feed: Feed) -> tuple[bool, dict[str, Any]]:
    """Return whether the run is healthy, and what to tell: reasons, sources, and what runs."""
    status = feed.status()
    reasons = [*_source_reasons(status), *_flow_reasons(feed, status)]
    engine = dict(status.engine) if status else {}
    sources = {source.uri: source.state.value for source in status.sources} if status else {}
    return not reasons, {
        "status": "failing" if reasons else "ok",
        "reasons": reasons,
        "sources": sources,
        "engine": engine or feed.facts,
    }


def _source_reasons(status: RunStatus | None) -> list[str]:
    if status is None:
        return ["the run does not tell its state"]
    return [
        f"{source.uri} is {source.state.value}" + (f": {source.reason}" if source.reason else "")
        for source in status.sources
        if source.state is not SourceState.LIVE
    ]


def _flow_reasons(feed: Feed, status: RunStatus | None) -> list[str]:
    usual_ms = status.total.get("age", {}).get("p50_ms", 0.0) if status else 0.0
    if feed.closed:
        return ["the run has ended"]
    if not feed.results:
        return [f"no result yet, {feed.silence_s:.0f} s after the start"]
    if feed.silence_s > max(_SILENCE_S, _SLOW * usual_ms / 1e3):
        return [f"no result for {feed.silence_s:.0f} s"]
    return []
