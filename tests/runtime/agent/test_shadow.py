"""The canary: two releases in their environments, compared on frames of one source."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import ReleaseError, RequestError
from runtime.agent import shadow
from runtime.agent.layout import Layout
from runtime.agent.release import BUNDLE, LOCK, RELEASE, Release, Run
from runtime.agent.shadow import compared
from runtime.bundle import file_entry, open_bundle, write_bundle
from tests.runtime.agent.releases import ENVIRONMENT, LOCK_TEXT, furnish, needs
from tests.runtime.conftest import build_parts

SOURCE = "synthetic:noise?width=64&height=48&seed=3"


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """An installation with an environment."""
    made = Layout(tmp_path_factory.mktemp("root"))
    furnish(made)
    return made


@pytest.fixture(scope="module")
def old(layout: Layout) -> Release:
    """The release that runs."""
    return place(layout)


def place(
    layout: Layout, task: str = "classify", run: Sequence[str] = (), **behaviour: Any
) -> Release:
    """Put a release of one null model of this behaviour in its place."""
    draft = layout.releases / "draft"
    draft.mkdir(parents=True)
    manifest, files = build_parts((behaviour,))
    write_bundle(draft / BUNDLE, replace(manifest, task=task), files)
    (draft / LOCK).write_bytes(LOCK_TEXT)
    with open_bundle(draft / BUNDLE) as bundle:
        release = Release(
            name="null",
            bundle=bundle.id,
            environment=ENVIRONMENT,
            needs=needs(),
            files=tuple(file_entry(n, (draft / n).read_bytes()) for n in (BUNDLE, LOCK)),
            run=Run(tuple(run)),
            golden_s=20.0,
        )
    (draft / RELEASE).write_bytes(release.to_bytes())
    shutil.rmtree(layout.releases / release.id, ignore_errors=True)
    draft.rename(layout.releases / release.id)
    return release


def canary(
    layout: Layout, new: Release, old: Release, *more: str, source: str = SOURCE, frames: int = 12
) -> dict[str, Any]:
    words = ["--source", source, "--frames", str(frames), *more]
    return compared(layout, new, old.id, words)


def files(layout: Layout) -> set[str]:
    return {
        os.path.join(folder, name)
        for folder, _, names in os.walk(layout.root)
        for name in names
        if "cache" not in folder
    }


def test_nothing_is_compared_with_nothing(layout: Layout, old: Release) -> None:
    words = ["--source", "camera:99", "--frames", "5"]
    found = compared(layout, old, None, words)
    assert found["frames"] == 0
    assert "nothing runs" in found["notes"][0]


def test_a_release_agrees_with_itself_and_leaves_nothing(layout: Layout, old: Release) -> None:
    before = files(layout)
    found = canary(layout, old, old, frames=7)
    assert (found["frames"], found["judged"], found["agreement"]) == (7, 7, 1.0)
    assert found["source"] == SOURCE
    assert found["ms"]["old"] > 0 < found["ms"]["new"]
    assert "in turns" in found["notes"][0]
    assert files(layout) == before


def test_another_model_is_refused_in_the_words_that_were_promised(
    layout: Layout, old: Release
) -> None:
    other = place(layout, seed=7)
    with pytest.raises(ReleaseError) as caught:
        canary(layout, other, old)
    message = str(caught.value)
    found = re.fullmatch(
        r"the new release and the old one agree on ([\d.]+)% of 12 frames of synthetic:\S+ "
        r"\(at least 90% were asked for\)",
        message,
    )
    assert found, message
    assert float(found[1]) < 90
    # With less to ask for, the same two are let through.
    share = canary(layout, other, old, "--agreement", "0")["agreement"]
    assert share == pytest.approx(float(found[1]) / 100, abs=1e-3)


def test_a_source_that_ends_is_compared_as_far_as_it_goes(layout: Layout, old: Release) -> None:
    source = f"{SOURCE}&frames=4"
    found = canary(layout, old, old, source=source, frames=50)
    assert found["frames"] == 4
    assert f"{source} ended after 4 of 50 frames" in found["notes"]


@pytest.mark.parametrize("source", ["/dev/video97", "synthetic:shapes?colour=1"])
def test_a_source_that_does_not_open_says_what_to_do(
    layout: Layout, old: Release, source: str
) -> None:
    with pytest.raises(ReleaseError, match=r"--shadow-source URI .* or flash without a canary"):
        canary(layout, old, old, source=source)


def test_releases_of_two_tasks_cannot_be_compared(layout: Layout, old: Release) -> None:
    with pytest.raises(ReleaseError, match="new release is of task raw, the old one of classify"):
        canary(layout, place(layout, task="raw"), old)


def test_a_release_that_crashes_on_live_frames_is_refused(layout: Layout, old: Release) -> None:
    new = place(layout, crash_after=40)  # which it passes its golden set with
    with pytest.raises(ReleaseError, match=r"the new release did not answer frame .*SIGABRT"):
        canary(layout, new, old, frames=200)


def test_the_old_release_is_told_from_the_new_one(layout: Layout, old: Release) -> None:
    failing = place(layout, fail_after=40)
    with pytest.raises(ReleaseError, match=r"the old release did not answer frame .*fail_after"):
        canary(layout, old, failing, frames=200)


def test_a_release_that_hangs_is_ended(
    layout: Layout, old: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "FRAME_S", 1.0)
    new = place(layout, hang_after=40)
    start = time.monotonic()
    with pytest.raises(ReleaseError, match=r"the new release did not answer frame \d+ within 1 s"):
        canary(layout, new, old, frames=200)
    assert time.monotonic() - start < 15


def test_what_is_damaged_is_not_compared_with(layout: Layout, old: Release) -> None:
    with pytest.raises(ReleaseError, match="the release that runs is damaged"):
        compared(layout, old, "f" * 32, ["--source", SOURCE, "--frames", "1"])


def test_an_environment_that_is_gone_is_named(layout: Layout, old: Release) -> None:
    lost = replace(old, environment="1" * 32)
    folder = layout.releases / lost.id
    shutil.copytree(layout.releases / old.id, folder)
    (folder / RELEASE).write_bytes(lost.to_bytes())
    with pytest.raises(ReleaseError, match="the old release does not start"):
        canary(layout, old, lost)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--source", SOURCE],
        ["--source", SOURCE, "--frames", "0"],
        ["--source", SOURCE, "--frames", "some"],
        ["--source", SOURCE, "--frames", "3", "--agreement", "90"],
    ],
)
def test_words_that_say_nothing_are_refused(
    layout: Layout, old: Release, words: Sequence[str], tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="canary"):
        compared(layout, old, old.id, words)


def test_too_little_never_looks_like_enough(
    layout: Layout, old: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"agreement": 0.89999, "frames": 50, "judged": 7, "source": "camera:0"}
    monkeypatch.setattr(shadow, "_result", lambda *_: found)
    with pytest.raises(
        ReleaseError, match=r"agree on 89.9% of the 7 frames with something in them"
    ):
        canary(layout, old, old)
