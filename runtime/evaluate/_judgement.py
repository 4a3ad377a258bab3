"""The result of an evaluation whose figures are not proportions: one form for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.evaluate._intervals import Interval
from runtime.evaluate.raw import OutputDifference

Figures = Mapping[str, Interval | None]


@dataclass(frozen=True)
class Judgement:
    """What an artifact's outputs on `n` images say about it, against its reference.

    `reference` and `artifact` hold the figures by key, and `drop` what was lost of the first, by
    its name `metric`; all None without ground truth. `agreement` is a share of 1, None where there
    was nothing to agree on. `outputs` are the differences before anything is decoded. `more` is
    what else the JSON has, beside `base.Result.to_json`.
    """

    n: int
    metric: str | None
    reference: Figures | None
    artifact: Figures | None
    drop: Interval | None
    agreement: Interval | None
    outputs: tuple[OutputDifference, ...]
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        own = {key: value for key, value in vars(self).items() if key != "more"}
        return {
            **self.more,
            **own,
            "reference": _figures(self.reference),
            "artifact": _figures(self.artifact),
            "drop": self.drop.to_json() if self.drop else None,
            "agreement": self.agreement.to_json() if self.agreement else None,
            "outputs": [output.to_json() for output in self.outputs],
        }


def _figures(figures: Figures | None) -> dict[str, Any] | None:
    if figures is None:
        return None
    return {key: value.to_json() if value else None for key, value in figures.items()}
