"""What counts as health: results of one life."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from device_profiles.errors import ReleaseError
from runtime.agent import health
from runtime.agent.health import STATS, Results, judge
from runtime.agent.release import Health
from runtime.agent.services.base import Liveness


@dataclass
class Played:
    """A service that is another one at each look: (results so far, restarts)."""

    work: Path
    looks: list[tuple[int | None, int]]
    name: str = "plain"
    lines: list[str] = field(default_factory=list)

    def liveness(self) -> Liveness:
        results, restarts = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        status = None if results is None else {"results": results, "engine": {"label": "null"}}
        (self.work / STATS).write_text(json.dumps({"status": status}))
        return Liveness(True, bool(results), restarts=restarts)

    def log(self, _lines: int) -> list[str]:
        return self.lines


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOK_S", 0.0)


def test_results_of_one_life_count(tmp_path: Path) -> None:
    service = Played(tmp_path, [(None, 0), (1, 0), (3, 0), (5, 0)])
    found = judge(service, Results(tmp_path), Health(5, 5.0))  # type: ignore[arg-type]
    assert (found.results, found.engine["label"]) == (5, "null")


def test_many_short_lives_are_no_health(tmp_path: Path) -> None:
    service = Played(tmp_path, [(3, 0), (None, 1), (3, 1), (None, 2), (3, 2)], lines=["oh"])
    with pytest.raises(ReleaseError, match=r"3 of 5 results within 0 s.*oh"):
        judge(service, Results(tmp_path), Health(5, 0.2))  # type: ignore[arg-type]


def test_a_service_that_always_ends_is_given_up_at_once(tmp_path: Path) -> None:
    service = Played(tmp_path, [(None, n) for n in range(9)])
    with pytest.raises(ReleaseError, match="ended 3 times"):
        judge(service, Results(tmp_path), Health(5, 60.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "number", "deep", "words"])
def test_what_a_service_writes_is_not_trusted(tmp_path: Path, kind: str) -> None:
    """Root reads it, and a service may be somebody else's by now."""
    path, secret = tmp_path / STATS, tmp_path / "secret"
    secret.write_text('{"status": {"results": 9}}')
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(secret)
    elif kind == "folder":
        (path / "more").mkdir(parents=True)
    else:
        text = {"number": "5", "deep": "[" * 100_000, "words": '{"status": {"results": "x"}}'}
        path.write_text(text[kind])
    results = Results(tmp_path)
    assert (results.count(), results.engine) == (0, {})
    results.clear()
    assert not os.path.lexists(path) and secret.exists()
