"""Runner: a model ready to run, which a bundle becomes on the first rung that is proven here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from runtime.bundle import Bundle
from runtime.contract import InputContract
from runtime.decoders import merged
from runtime.engines.base import Engine
from runtime.ladder import Ladder, LadderOptions, open_ladder


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


@dataclass(frozen=True)
class BundleRunner:
    """A bundle ready to run, on a ladder that is its engine; close that at the end."""

    name: str
    contract: InputContract
    labels: tuple[str, ...]
    task: str
    engine: Ladder
    decoder: Mapping[str, Any]


def open_runner(
    bundle: Bundle | str | Path,
    options: LadderOptions | None = None,
    decoder: str | Mapping[str, Any] | None = None,
) -> BundleRunner:
    """Open a bundle on its first rung that is proven here; raises as `open_ladder` does.

    `decoder` goes before what the bundle says of its own. An open bundle has to stay open as long.
    """
    ladder = open_ladder(bundle, options)
    try:
        manifest, labels = ladder.bundle.manifest, ladder.bundle.labels
        how = merged(manifest.decoder, decoder)
    except BaseException:
        ladder.close()
        raise
    return BundleRunner(manifest.name, manifest.input, labels, manifest.task, ladder, how)
