"""What comes to a device: damaged, more, less, other than announced; none of it is admitted."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.errors import OutputError, ReleaseError
from runtime.agent import stage
from runtime.agent.layout import Layout
from runtime.agent.release import BUNDLE, LOCK, RELEASE, Release
from runtime.agent.stage import Offer, admit, receive
from runtime.agent.state import State
from runtime.archive import Member
from runtime.manifest import FileEntry
from tests.runtime.agent.releases import deliver, furnish, make_release

NAMES = (BUNDLE, LOCK, RELEASE)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Release]:
    """A release as a host has it."""
    folder = tmp_path_factory.mktemp("sent") / "release"
    return folder, make_release(folder)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A device with an environment and no release."""
    found = Layout(tmp_path / "root")
    furnish(found)
    return found


def come(layout: Layout, sent: tuple[Path, Release]) -> Path:
    """Let a release come, and return the folder that it lies in."""
    folder, release = sent
    wanted = receive(layout, State(), Offer(release, ()))
    deliver(layout, folder, wanted.files, release)
    return layout.incoming / release.id


def refused(layout: Layout, release: Release, reason: str) -> None:
    """See that what came is refused, and that nothing is left of it."""
    with pytest.raises(ReleaseError, match=reason):
        admit(layout, State(), release, allow_downgrade=False)
    assert not (layout.incoming / release.id).exists()
    assert os.listdir(layout.releases) == []


def test_flipped_bytes_of_every_file(layout: Layout, sent: tuple[Path, Release]) -> None:
    release = sent[1]
    chance = random.Random(6)
    for number in range(100):
        draft = come(layout, sent)
        path = draft / NAMES[number % 3]
        data = bytearray(path.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        refused(layout, release, f"{path.name} (came damaged|is not what was announced)")
    come(layout, sent)
    admit(layout, State(), release, allow_downgrade=False)
    assert sorted(os.listdir(layout.releases / release.id)) == sorted(NAMES)


def link(path: Path) -> None:
    """Put a link to a file of the same content in the place of a file."""
    other = path.parent.parent.parent / f"other-{path.name}"
    shutil.move(path, other)
    path.symlink_to(other)


def folder(path: Path) -> None:
    """Put a folder in the place of a file."""
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    """Put a pipe in the place of a file: who opens it waits for ever."""
    path.unlink()
    os.mkfifo(path)


Change = Callable[[Path], object]
CHANGES: list[tuple[Change, str]] = [
    (lambda p: p.unlink(), "it differs in lock.txt; flash it again"),
    (lambda p: p.with_name("more.pth").write_text("import os"), "it differs in more.pth"),
    (lambda p: p.with_name(".hidden").touch(), "it differs in .hidden"),
    (lambda p: p.with_name("folder").mkdir(), "it differs in folder"),
    (lambda p: p.write_bytes(p.read_bytes()[:-1]), "lock.txt came damaged"),
    (lambda p: p.write_bytes(p.read_bytes() + b"\n"), "lock.txt came damaged"),
    (lambda p: p.write_bytes(b""), "lock.txt came damaged"),
    (link, "lock.txt came damaged .*no plain file"),
    (folder, "lock.txt came damaged .*no plain file"),
    (pipe, "lock.txt came damaged .*no plain file"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES)
def test_files_that_are_others(
    layout: Layout, sent: tuple[Path, Release], change: Change, reason: str
) -> None:
    draft = come(layout, sent)
    change(draft / LOCK)
    refused(layout, sent[1], reason)


@pytest.mark.parametrize("name", ["../../../tmp/x.json", "/etc/cron.d/x.json5"])
def test_names_in_the_bundle_that_lead_elsewhere(
    layout: Layout, sent: tuple[Path, Release], tmp_path: Path, name: str
) -> None:
    """Its release was made for it, so that every hash is right."""
    old = b"models/model.0.json"
    assert len(name) == len(old)
    data = (sent[0] / BUNDLE).read_bytes().replace(old, name.encode())
    hostile = tmp_path / "hostile"
    shutil.copytree(sent[0], hostile)
    (hostile / BUNDLE).write_bytes(data)
    entry = FileEntry(BUNDLE, hashlib.sha256(data).hexdigest(), len(data))
    release = replace(sent[1], files=(entry, sent[1].files[1]))
    come(layout, (hostile, release))
    refused(layout, release, BUNDLE)
    assert Member(name, 0, 0, 0).name == name


def test_another_bundle_than_the_release_names(layout: Layout, sent: tuple[Path, Release]) -> None:
    release = replace(sent[1], bundle="1" * 64)
    come(layout, (sent[0], release))
    refused(layout, release, "another bundle than its release names")


def test_what_a_disk_damaged_is_sent_anew(layout: Layout, sent: tuple[Path, Release]) -> None:
    """Another release would share the file: it is read before it is linked."""
    come(layout, sent)
    admit(layout, State(), sent[1], allow_downgrade=False)
    held = layout.releases / sent[1].id / LOCK
    held.chmod(0o644)
    held.write_bytes(b"#" * held.stat().st_size)
    other = replace(sent[1], name="other")
    assert receive(layout, State(), Offer(other, ())).files == (LOCK,)
    # And of the release itself: what comes takes the place of what was damaged.
    assert receive(layout, State(), Offer(sent[1], ())).files == (LOCK,)
    deliver(layout, sent[0], (LOCK,), sent[1])
    about = held.with_name(RELEASE)
    about.chmod(0o644)
    about.write_bytes(b"")
    admit(layout, State(), sent[1], allow_downgrade=False)
    assert about.read_bytes() == sent[1].to_bytes()
    assert held.read_bytes() == (sent[0] / LOCK).read_bytes()


@pytest.mark.parametrize("stays", [True, False])
def test_what_can_be_gone_back_to_is_never_removed(
    layout: Layout, sent: tuple[Path, Release], stays: bool
) -> None:
    come(layout, sent)
    admit(layout, State(), sent[1], allow_downgrade=False)
    (layout.releases / sent[1].id / "more").touch()
    state = State(previous=sent[1].id if stays else None)
    with pytest.raises(ReleaseError, match="it differs in more"):
        admit(layout, state, sent[1], allow_downgrade=False)
    assert (layout.releases / sent[1].id / BUNDLE).exists() == stays


def test_nothing_is_written_where_there_is_no_room(
    layout: Layout, sent: tuple[Path, Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "free_bytes", lambda path: stage.MARGIN_BYTES + sent[1].size - 1)
    before = sorted(layout.root.rglob("*"))
    with pytest.raises(ReleaseError, match=r"MB free and the release needs .* free some space"):
        receive(layout, State(), Offer(sent[1], ()))
    assert sorted(layout.root.rglob("*")) == before
    monkeypatch.setattr(stage, "free_bytes", lambda path: stage.MARGIN_BYTES + sent[1].size)
    receive(layout, State(), Offer(sent[1], ()))


def test_wheels_count_and_what_they_unpack_to(
    layout: Layout, sent: tuple[Path, Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = replace(sent[1], environment="1" * 32, unpacked=5_000_000)
    wheels = (FileEntry("a.whl", "0" * 64, 3_000_000),)
    free = stage.MARGIN_BYTES + 8_000_000
    monkeypatch.setattr(stage, "free_bytes", lambda path: free)
    with pytest.raises(ReleaseError, match="the release needs 8 MB"):
        receive(layout, State(), Offer(release, wheels))


def test_a_folder_that_may_not_be_made(layout: Layout, sent: tuple[Path, Release]) -> None:
    layout.releases.write_text("a file")
    with pytest.raises(OutputError, match="cannot be written: File exists; see the disk"):
        receive(layout, State(), Offer(sent[1], ()))
