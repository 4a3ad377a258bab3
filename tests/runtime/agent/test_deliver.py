"""What comes on a medium to a device that trusts keys: only what one of them signed as a whole."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import ReleaseError
from runtime.agent.layout import READY
from runtime.agent.recover import boot
from runtime.agent.release import BUNDLE, RELEASE, Health, Release, vouched_digest
from runtime.agent.state import State, load, save
from runtime.agent.trust import Pins
from runtime.bundle import file_entry, open_bundle, write_statements
from runtime.statements import Statement, statement_bytes
from tests.runtime.agent.rehearsal import WORDS, Stage
from tests.runtime.agent.releases import make_release
from tests.runtime.agent.signer import Signer

ME, YOU = Signer("me", b"1" * 32), Signer("you", b"2" * 32)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """An installation that runs a release, and trusts one key."""
    found = Stage(tmp_path, monkeypatch)
    found.bring(State(), "A", 1)
    Pins(found.layout.keys).pin(ME.public.line)
    return found


def said(signer: Signer, what: str, version: int = 7) -> Statement:
    return signer.signed(Statement(what, "stable", "", "", "2026-11-29", version))


def laid(stage: Stage, version: int = 7) -> tuple[Release, dict[str, Any]]:
    """Lay a release whose bundle is signed into `incoming`; return it with what it needs said."""
    folder = stage.folder / "new"
    release = make_release(folder, 5, WORDS)
    with open_bundle(folder / BUNDLE) as bundle:
        statement = said(ME, bundle.id, version)
        write_statements(bundle, [statement], folder / BUNDLE)
    entry = file_entry(BUNDLE, (folder / BUNDLE).read_bytes())
    release = replace(release, files=(entry, release.files[1]), health=Health(1, 0.2))
    shutil.copytree(folder, stage.layout.incoming / release.id)
    (stage.layout.incoming / release.id / RELEASE).write_bytes(release.to_bytes())
    ready = {
        "release": release.id,
        "wheels": [],
        "signature": statement_bytes([statement]).decode(),
        "release_signature": statement_bytes([said(ME, vouched_digest(release, False))]).decode(),
    }
    return release, ready


def booted(stage: Stage, ready: dict[str, Any]) -> None:
    (stage.layout.incoming / READY).write_text(json.dumps(ready))
    boot(stage.layout, lambda step, **facts: None)


def test_a_release_that_is_signed_as_a_whole(stage: Stage) -> None:
    release, ready = laid(stage)
    booted(stage, ready)
    state = load(stage.layout)
    assert state.current == release.id == stage.service.runs
    assert state.channels["stable"] == {"version": 7, "bundle": release.bundle}


@pytest.mark.parametrize("by", [None, YOU])
def test_one_of_which_only_the_bundle_is_signed(stage: Stage, by: Signer | None) -> None:
    before = stage.layout.current_id()
    release, ready = laid(stage)
    whole = [said(by, vouched_digest(release, False))] if by else []
    ready["release_signature"] = statement_bytes(whole).decode() if whole else ""
    ready["pins"] = [YOU.public.line]  # nor does it bring a key
    with pytest.raises(ReleaseError, match=r"none of them signed the release: .* flash --key"):
        booted(stage, ready)
    assert load(stage.layout).current == before == stage.service.runs
    pinned = Pins(stage.layout.keys).keys()
    assert [key.name for key in pinned] == ["me"]


@pytest.mark.parametrize("vouched", [False, True])
def test_an_older_one_comes_only_where_its_signer_said_so(stage: Stage, vouched: bool) -> None:
    """The flag lies beside what is signed, for whoever has the medium to write."""
    before = stage.layout.current_id()
    seen = {"stable": {"version": 8, "bundle": "b" * 64}}
    save(stage.layout, replace(load(stage.layout), channels=seen))
    release, ready = laid(stage)
    ready["allow_downgrade"] = True
    if vouched:
        whole = said(ME, vouched_digest(release, True))
        ready["release_signature"] = statement_bytes([whole]).decode()
        booted(stage, ready)
    else:
        with pytest.raises(ReleaseError, match="none of them signed the release"):
            booted(stage, ready)
    assert load(stage.layout).current == (release.id if vouched else before)
    assert load(stage.layout).channels == seen
