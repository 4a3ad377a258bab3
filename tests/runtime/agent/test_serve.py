"""Becoming the run of what is current."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runtime.agent import __main__ as agent
from runtime.agent.layout import Layout
from runtime.agent.release import RELEASE
from runtime.agent.services.base import Place, ServiceOptions
from runtime.agent.unit import run_unit
from tests.runtime.agent.releases import ENVIRONMENT, make_release


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("EDGE_SDK_SYSROOT", str(tmp_path / "system"))
    monkeypatch.setenv("EDGE_SDK_SERVICE", "plain")
    monkeypatch.chdir(tmp_path)
    return Layout(tmp_path / "root")


def current(layout: Layout, words: tuple[str, ...]) -> str:
    release = make_release(layout.root / "made", words=words)
    place = layout.releases / release.id
    layout.releases.mkdir()
    (layout.root / "made").rename(place)
    (place / RELEASE).write_bytes(release.to_bytes())
    layout.switch(release.id)
    return release.id


def test_nothing_to_run_is_not_started_again(layout: Layout) -> None:
    """A unit would do that for ever: this code it leaves alone."""
    layout.root.mkdir()
    codes = [agent.main(["serve", str(layout.root)])]
    current(layout, ())
    codes.append(agent.main(["serve", str(layout.root)]))
    assert codes == [78, 78]
    unit = run_unit(Place(layout.root, "/usr/bin/python3"), ServiceOptions(), system=False)
    assert "RestartPreventExitStatus=78\n" in unit


def test_it_becomes_the_run(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda *words: became.extend(words))
    layout.root.mkdir()
    identity = current(layout, ("--source", "camera:0"))
    assert agent.main(["serve", str(layout.root)]) == 0
    program, words, variables = became
    assert program == words[0] == f"{layout.environments}/{ENVIRONMENT}/bin/python"
    assert words[1:7] == [
        "-I", "-m", "edge_sdk.cli", "run", f"{layout.releases}/{identity}/bundle.edge", "--source",
    ]  # fmt: skip
    assert words[8:] == ["--stats", f"{layout.root}/work/stats.json", "--log", "json"]
    assert variables["XDG_CACHE_HOME"] == str(layout.cache)
