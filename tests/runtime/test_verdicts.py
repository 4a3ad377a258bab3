"""Verdicts that are kept between starts."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from runtime import verdicts as module
from runtime.verdicts import Verdict, Verdicts, cache_folder

KEY = {"files": "a", "here": {"cpu": "x"}}


def healthy() -> Verdict:
    return Verdict("", 1.5, 2.5, time.time())


def test_a_verdict_holds_for_its_rung_and_key(tmp_path: Path) -> None:
    kept = Verdicts("id", tmp_path)
    first, second = healthy(), Verdict("it crashed", at=time.time())
    kept.put(0, KEY, first)
    kept.put(1, KEY, second)
    for verdicts in (kept, Verdicts("id", tmp_path)):
        assert (verdicts.get(0, KEY), verdicts.get(1, KEY)) == (first, second)
        assert verdicts.get(2, KEY) is None
        assert verdicts.get(0, {**KEY, "files": "b"}) is None
    assert Verdicts("other", tmp_path).get(0, KEY) is None


def test_a_new_key_replaces_the_old(tmp_path: Path) -> None:
    kept = Verdicts("id", tmp_path)
    for version in range(50):
        kept.put(1, {"version": version}, healthy())
        kept.put(10, {"version": version}, healthy())
    (file,) = tmp_path.iterdir()
    assert len(json.loads(file.read_bytes())) == 2


def test_refusals_age_and_a_clock_that_was_set_back_ages_them_too() -> None:
    kept = Verdicts("id")
    for at, holds in ((-10, True), (-7200, False), (7200, False)):
        verdict = Verdict("it crashed", at=time.time() + at)
        kept.put(0, KEY, verdict)
        assert kept.get(0, KEY) == (verdict if holds else None)
        kept.put(1, KEY, Verdict("", 1.0, 1.0, time.time() + at))
        assert kept.get(1, KEY) is not None


def test_only_the_newest_bundles_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    for index in range(5):
        Verdicts(f"bundle{index}", tmp_path).put(0, KEY, healthy())
        os.utime(tmp_path / f"bundle{index}.json", (index, index))
    Verdicts("last", tmp_path).put(0, KEY, healthy())
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["bundle3", "bundle4", "last"]


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": "two\nlines", "ms": 0, "slowest_ms": 0, "at": 0},
        {"reason": "", "ms": "fast", "slowest_ms": 0, "at": 0},
        {"reason": "", "ms": float("nan"), "slowest_ms": 0, "at": 0},
        {"reason": "", "ms": 0},
        [],
    ],
)
def test_what_is_no_verdict_voids_the_file(tmp_path: Path, fields: object) -> None:
    kept = Verdicts("id", tmp_path)
    kept.put(0, KEY, healthy())
    (file,) = tmp_path.iterdir()
    file.write_text(json.dumps({**json.loads(file.read_bytes()), "1:x": fields}))
    assert Verdicts("id", tmp_path).get(0, KEY) is None


def test_many_may_write_at_once(tmp_path: Path) -> None:
    def write(rung: int) -> None:
        for _ in range(20):
            Verdicts("id", tmp_path).put(rung, KEY, healthy())

    threads = [threading.Thread(target=write, args=(rung,)) for rung in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_bytes())


def test_where_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache_folder() == Path("/var/cache/edge-sdk/verdicts")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/pi")
    assert cache_folder() == Path("/home/pi/.cache/edge-sdk/verdicts")
    monkeypatch.setenv("HOME", "nowhere")
    assert cache_folder() is None
