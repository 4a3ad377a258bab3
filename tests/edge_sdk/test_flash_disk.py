"""Disks that are full or may not be written: nothing is lost, and what runs goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_sdk.shipping.session import Session
from edge_sdk.workflows import flash as workflow
from runtime.host import host
from tests.edge_sdk.cli_cases import Run
from tests.edge_sdk.refusal_cases import Standing, standing_in, told, within

pytestmark = pytest.mark.skipif(
    host().arch != "x86_64", reason="the bundles of these tests are for generic-x86"
)
ROOMY, NARROW = "128m", "24m"
"""Sizes of the device's disk: with room for a release, and with less than is left free."""


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A device on a file system of its own."""
    folder = tmp_path_factory.mktemp("disk")
    place = folder / "device"
    place.mkdir()
    if not mounted("-t", "tmpfs", "-o", f"size={ROOMY}", "tmpfs", str(place)):
        pytest.skip("to mount a file system is not allowed here")
    try:
        with standing_in(folder) as standing:
            yield standing
    finally:
        subprocess.run(["umount", "--lazy", place], check=False)


def mounted(*words: str) -> bool:
    """Mount something, and say whether that was possible."""
    try:
        return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def fill(root: Path) -> None:
    """Leave no byte free."""
    with (root / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def empty(root: Path) -> None:
    """Free what was filled."""
    (root / "ballast").unlink(missing_ok=True)


def test_no_room_is_seen_before_anything_is_written(edge: Run, standing: Standing) -> None:
    root = str(standing.device.root)
    assert mounted("-o", f"remount,size={NARROW}", root)
    try:
        with standing.unmoved("no room"):
            said = edge("flash", standing.good("large", 80), *standing.words())
            assert said.code == 1
            assert "MB free and the release needs" in said.last
            assert "free some space there" in said.last
    finally:
        assert mounted("-o", f"remount,size={ROOMY}", root)


def before_request(name: str, work: Callable[[], None]) -> Callable[..., Any]:
    """Return what does some work before a request of a session."""
    real = Session.request

    def request(session: Session, do: str, **fields: Any) -> Any:
        if do == name:
            work()
        return real(session, do, **fields)

    return request


def test_a_disk_that_fills_while_files_come(
    edge: Run, standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, send = standing.device.root, workflow._send

    def filled(*arguments: Any) -> Any:
        fill(root)
        return send(*arguments)

    monkeypatch.setattr(workflow, "_send", filled)
    try:
        with standing.unmoved("full while files come", left=True):
            said = edge("flash", standing.good("sent", 81), *standing.words())
            empty(root)
            assert (said.code, "No space left on device; free some space" in said.last) == (1, True)
            assert said.last.startswith("edge-sdk flash: ")
    finally:
        empty(root)


def test_a_disk_that_fills_before_the_release_is_staged(
    edge: Run, standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = standing.device.root
    monkeypatch.setattr(Session, "request", before_request("install", lambda: fill(root)))
    try:
        with standing.unmoved("full while it is installed"):
            said = edge("flash", standing.good("staged", 82), *standing.words())
            empty(root)
            assert (said.code, "No space left on device; free some space" in said.last) == (1, True)
    finally:
        empty(root)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["golden", "service", "switch", "health"])
def test_a_disk_that_fills_at_a_step(
    edge: Run, standing: Standing, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """No release shows its health there, and the one before it runs, though its disk is full."""
    root, before = standing.device.root, standing.seen()
    take = workflow.Steps.take

    def taken(steps: workflow.Steps, message: Any) -> None:
        if message.get("step") == step and message.get("state") == "begin":
            fill(root)
        take(steps, message)

    monkeypatch.setattr(workflow.Steps, "take", taken)
    words = standing.words()
    words[words.index("--within") + 1] = "4"
    try:
        standing.gaps.mark()
        said = edge("flash", standing.good(f"at-{step}", 83), *words)
        within(10.0, lambda: standing.device.shown() is not None)
        told(f"full at {step}", standing.gaps.longest())
        assert said.code == 1
        assert any(why in said.last for why in ("No space left on", "is full")), said.err
        assert standing.seen().link == before.link == standing.seen().current
    finally:
        empty(root)


def test_a_disk_that_may_not_be_written(edge: Run, standing: Standing) -> None:
    root = str(standing.device.root)
    assert mounted("--bind", root, root)
    try:
        assert mounted("-o", "remount,ro,bind", root)
        with standing.unmoved("read-only"):
            said = edge("flash", standing.good("read-only", 84), *standing.words())
            assert (said.code, "is on a read-only file system" in said.last) == (1, True), said.err
    finally:
        subprocess.run(["umount", root], check=True)


def test_the_next_good_flash_succeeds(edge: Run, standing: Standing) -> None:
    said = edge("flash", standing.good("next", 89), *standing.words(), "--json")
    assert said.code == 0, said.err
    assert standing.seen().current == said.json["facts"]["release"]
