"""The folder as registry, and modules that other packages add to it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from device_profiles.errors import RequestError
from runtime import plugins

POINTS = [EntryPoint("counting", "collections", "edge_sdk.sinks")]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the groups of entry points that were asked for; `counting` is a foreign sink."""
    groups: list[str] = []

    def entry_points(group: str) -> list[EntryPoint]:
        groups.append(group)
        return [point for point in POINTS if point.group == group]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    plugins._external.cache_clear()
    yield groups
    plugins._external.cache_clear()


def test_the_names_are_those_of_the_files() -> None:
    found = plugins.names("runtime.engines")
    assert {"null", "onnxruntime"} <= set(found)
    assert not {"base", "_check"} & set(found)
    assert found == sorted(found)


def test_other_packages_add_modules(asked: list[str]) -> None:
    assert "counting" in plugins.names("runtime.sinks")
    assert "counting" not in plugins.names("runtime.sources")
    assert plugins.load("runtime.sinks", "counting").__name__ == "collections"
    assert "collections" in [module.__name__ for module in plugins.load_all("runtime.sinks")]


def test_entry_points_are_listed_once(asked: list[str]) -> None:
    plugins.load_all("runtime.sinks")
    plugins.names("runtime.sinks")
    assert asked == ["edge_sdk.sinks"]


def test_our_own_modules_need_no_list_of_packages(asked: list[str]) -> None:
    POINTS.append(EntryPoint("memory", "collections", "edge_sdk.sinks"))
    assert plugins.load("runtime.sinks", "memory").__name__ == "runtime.sinks.memory"
    assert asked == []
    POINTS.pop()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nul", r"no engine is called 'nul'; did you mean null"),
        ("base", "no engine is called 'base'"),
        ("_check", "no engine is called '_check'"),
        ("", "no engine is called ''; known: .*null"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        plugins.load("runtime.engines", name)
