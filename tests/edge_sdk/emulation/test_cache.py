"""The cache: whole or not at all, one builder at a time, whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from device_profiles.errors import MissingError, OutputError
from edge_sdk.emulation import cache
from edge_sdk.emulation.cache import built, cache_root, folder, size_mb
from runtime.progress import Silent, reporting_to


def making(text: str) -> Callable[[Path], None]:
    def build(draft: Path) -> None:
        draft.mkdir()
        (draft / "file").write_text(text)

    return build


def test_a_thing_is_built_once(tmp_path: Path) -> None:
    path = tmp_path / "kind/key"
    assert built(path, making("first")) == path
    assert (built(path, making("second")) / "file").read_text() == "first"


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("EDGE_SDK_CACHE", raising=False)
    assert folder("kind", "key") == tmp_path / "xdg/edge-sdk/kind/key"
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("EDGE_SDK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which its specification says to ignore
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache/edge-sdk"


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def build(draft: Path) -> None:
        making("half")(draft)
        raise MissingError("no network")

    path = tmp_path / "key"
    with pytest.raises(MissingError, match="no network"):
        built(path, build)
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == []
    assert (built(path, making("whole")) / "file").read_text() == "whole"


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    def build(draft: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"No space left on device; free some .*EDGE_SDK_CACHE"):
        built(tmp_path / "key", build)


def test_a_cache_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        built(tmp_path / "file/kind/key", making(""))


def test_a_builder_that_was_killed_is_made_up_for(tmp_path: Path) -> None:
    path = tmp_path / "key"
    program = (
        "import sys, time; from pathlib import Path; from edge_sdk.emulation.cache import built\n"
        "def build(draft):\n"
        "    draft.mkdir(); (draft / 'half').touch(); print('building', flush=True)\n"
        "    time.sleep(60)\n"
        "built(Path(sys.argv[1]), build)"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_with_path()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"building\n"
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    built(path, making("whole"))
    assert [p.name for p in path.iterdir()] == ["file"]
    assert not list(tmp_path.glob("*.draft"))


def _with_path() -> dict[str, str]:
    root = Path(cache.__file__).parents[2]
    return {**os.environ, "PYTHONPATH": str(root)}


class Said(Silent):
    """Keeps the steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)


def test_two_builders_take_turns_and_the_second_says_so(tmp_path: Path) -> None:
    path, count = tmp_path / "key", []
    begun, go_on = threading.Event(), threading.Event()

    def slow(draft: Path) -> None:
        count.append(1)
        begun.set()
        assert go_on.wait(10)
        making("one")(draft)

    first = threading.Thread(target=built, args=(path, slow))
    first.start()
    assert begun.wait(10)
    said = Said()

    def second() -> None:
        with reporting_to(said):
            built(path, slow)

    waiting = threading.Thread(target=second)
    waiting.start()
    deadline = time.monotonic() + 10
    while not said.steps and time.monotonic() < deadline:
        time.sleep(0.01)
    go_on.set()
    first.join(10)
    waiting.join(10)
    assert said.steps == [f"another process builds {path}; waiting for it"]
    assert count == [1]


def test_the_size_is_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_bytes(os.urandom(3_000_000))
    (tmp_path / "a/link").symlink_to("/usr")  # which is not followed
    os.sync()
    assert 3.0 <= size_mb(tmp_path) < 3.2
