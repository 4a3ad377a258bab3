"""Runner: a model ready to run, which a bundle becomes on the first rung that is proven here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from runtime.bundle import Bundle, opened
from runtime.bundle import Runner as BundleRunner
from runtime.contract import InputContract
from runtime.engines.base import Engine
from runtime.ladder import choose_rung


class Runner(Protocol):
    """A model ready to run: what a pipeline needs to know of a bundle."""

    @property
    def contract(self) -> InputContract:
        """How a frame becomes the model's input."""

    @property
    def labels(self) -> Sequence[str]:
        """Names of the classes; may be empty."""

    @property
    def task(self) -> str:
        """Name of the task that decodes the outputs."""

    @property
    def decoder(self) -> Mapping[str, Any]:
        """How the task reads the outputs; empty where there is nothing to choose."""

    @property
    def engine(self) -> Engine:
        """The loaded artifact; it takes uint8 (1, height, width, channels). Stays open."""


def open_runner(bundle: Bundle | str | Path) -> BundleRunner:
    """Open a bundle on its first healthy rung; close the runner's engine at the end."""
    with opened(bundle) as found:
        choice = choose_rung(found)
        manifest = found.manifest
        return BundleRunner(
            manifest.input, found.labels, manifest.task, choice.engine, manifest.decoder
        )
