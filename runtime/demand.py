"""Demand: on which provider a bundle is to run, as the command line says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from device_profiles.errors import RequestError
from device_profiles.nearest import hint

AUTO = "auto"
_WAYS = ("prefer", "require")


@dataclass(frozen=True)
class Demand:
    """A provider that is wanted, none for the bundle's own order; `only` refuses all others."""

    provider: str = ""
    only: bool = False

    def __str__(self) -> str:
        """Return the text that `parse_demand` reads."""
        return f"{'require' if self.only else 'prefer'}:{self.provider}" if self.provider else AUTO

    def order(self, providers: Sequence[str]) -> tuple[int, ...]:
        """Return which rungs to try, in order, of a ladder whose rungs are on `providers`.

        RequestError when none is on the one that is wanted.
        """
        rungs = range(len(providers))
        if not self.provider:
            return tuple(rungs)
        if self.provider not in providers:
            raise RequestError(
                f"the ladder has no rung on {self.provider!r} (convert the model for a device that "
                f"has it); {hint(self.provider, set(providers))}"
            )
        wanted = tuple(rung for rung in rungs if providers[rung] == self.provider)
        return wanted if self.only else wanted + tuple(r for r in rungs if r not in wanted)


def parse_demand(text: str) -> Demand:
    """Read `auto`, `prefer:PROVIDER`, `require:PROVIDER`, or a provider alone, which requires it.

    Providers may hold a colon themselves (`delegate:PATH`). RequestError for anything else.
    """
    word, colon, provider = text.strip().partition(":")
    if word not in (AUTO, *_WAYS):
        word, colon, provider = "require", ":", text.strip()
    if bool(provider) != bool(colon) or (word == AUTO) == bool(colon):
        raise RequestError(f"{text!r} names no provider; give auto, prefer:cuda or require:cuda")
    return Demand(provider, only=word == "require")
