"""Releases of small bundles, for tests of the agent."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from runtime.agent.environment import COMPLETE
from runtime.agent.layout import Layout
from runtime.agent.release import BUNDLE, LOCK, Health, Needs, Release, Run
from runtime.bundle import file_entry, open_bundle, write_bundle
from runtime.host import host
from tests.runtime.conftest import build_parts

LOCK_TEXT = b"# edge-sdk lock 1\n"
ENVIRONMENT = "0" * 32


def needs() -> Needs:
    """Return what this machine has."""
    return Needs("generic-x86", host().arch, "{}.{}".format(*sys.version_info))


def make_release(folder: Path, seed: int = 0, words: tuple[str, ...] = ()) -> Release:
    """Write a release's files into a folder that is not there yet, and return the release."""
    folder.mkdir(parents=True)
    write_bundle(folder / BUNDLE, *build_parts(seed=seed))
    (folder / LOCK).write_bytes(LOCK_TEXT)
    with open_bundle(folder / BUNDLE) as bundle:
        return Release(
            name=bundle.manifest.name,
            bundle=bundle.id,
            environment=ENVIRONMENT,
            needs=needs(),
            files=tuple(file_entry(n, (folder / n).read_bytes()) for n in (BUNDLE, LOCK)),
            run=Run(words),
            health=Health(2, 20.0),
        )


def deliver(layout: Layout, folder: Path, names: tuple[str, ...], release: Release) -> None:
    """Do what a transfer does: the files that are wanted arrive in `incoming`."""
    for name in names:  # by calls that a test may watch, and not synced
        place = layout.incoming / release.id / name
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(descriptor, (folder / name).read_bytes())
        os.close(descriptor)


def furnish(layout: Layout) -> None:
    """Put an environment in its place whose Python is the one that runs the tests."""
    place = layout.environments / ENVIRONMENT
    (place / "bin").mkdir(parents=True)
    program = place / "bin" / "python"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    (place / COMPLETE).write_text(ENVIRONMENT)
