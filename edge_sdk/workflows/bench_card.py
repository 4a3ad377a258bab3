"""Device cards: what a bench found on one machine, as a JSON file that later ones compare with.

As the published cards of devices do, a card says on what was measured, in which condition, by
which runtime and at which precision, and has its units in the names of its fields.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from device_profiles.errors import OutputError, RequestError
from edge_sdk.workflows.bench_figures import Latency, Ratio

FORMAT = "edge-sdk device card 1"

_NOT_COMPARED = ("name", "byteorder", "packages")
"""Equal machines may be called differently; of the packages, the engines are compared by artifact.
"""


def write_card(path: Path, facts: Mapping[str, Any]) -> None:
    """Write the facts of a bench, whole or not at all; OutputError when that cannot be."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        draft.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutputError(
            f"{path} cannot be written ({error.strerror}); choose a writable folder with space"
        ) from error


def read_card(path: Path) -> Mapping[str, Any]:
    """Return a card, or the facts in what `bench --json` printed; RequestError when it is none."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise RequestError(
            f"{path}: cannot be read ({error.strerror}); give a card of bench -o"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path}: is not JSON; give a card of bench -o") from error
    if isinstance(found, dict) and isinstance(found.get("facts"), dict):
        found = found["facts"]
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise RequestError(
            f"{path}: is no card of this edge-sdk ({FORMAT}); make one with bench -o"
        )
    return found


def require_same(
    card: Mapping[str, Any], machine: Mapping[str, Any], setting: Mapping[str, Any], where: Path
) -> None:
    """Raise RequestError, naming what differs, where a card is of another machine or setting.

    `machine` is what `runtime.about` tells; `setting` are the `threads` asked for and the
    `governor` of the clocks.
    """
    condition = card.get("condition")
    before = condition.get("before") if isinstance(condition, Mapping) else None
    governor = before.get("governor") if isinstance(before, Mapping) else None
    then = {
        **_compared(card.get("machine")),
        "threads": card.get("threads"),
        "governor": governor,
    }
    now = {**_compared(machine), **setting}
    odd = [key for key in now if now[key] != then.get(key)]
    if odd:
        said = "; ".join(
            f"{key}: {_short(then.get(key))} there, {_short(now[key])} here" for key in odd
        )
        raise RequestError(
            f"{where} cannot be compared with: {said}; compare on one machine, with equal options"
        )


def against(card: Mapping[str, Any], facts: Mapping[str, Any], where: Path) -> list[Ratio | None]:
    """Return how long each artifact in `facts` takes relative to itself in a card; None for one
    that the card has not.

    It is found by its name and its model's, or by its name alone where both are of one model.
    RequestError where it has none, or where another engine or version ran one there.
    """
    try:
        alone = len(card["models"]) == len(facts["models"]) == 1
        found = [_against(card["artifacts"], each, alone, where) for each in facts["artifacts"]]
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            f"{where}: lacks or misstates a field of a card ({error!r:.80}); make it again"
        ) from error
    if not any(found):
        raise RequestError(f"{where} holds none of these artifacts; give the card of such")
    return found


def _against(
    known: Sequence[Mapping[str, Any]], artifact: Mapping[str, Any], alone: bool, where: Path
) -> Ratio | None:
    for other in known:
        same = alone or other["model"] == artifact["model"]
        if not same or other["artifact"] != artifact["artifact"]:
            continue
        for key in ("engine", "engine_version"):
            if other[key] != artifact[key]:
                raise RequestError(
                    f"{where} cannot be compared with: {key} of {artifact['artifact']}: "
                    f"{other[key]} there, {artifact[key]} here; run both with the same engine"
                )
        return Ratio.apart(_latency(artifact["latency_ms"]), _latency(other["latency_ms"]))
    return None


def _latency(fields: Mapping[str, Any]) -> Latency:
    low, high = map(float, fields["p50_interval"])
    p50, p90, p99, spread = (float(fields[key]) for key in ("p50", "p90", "p99", "spread"))
    return Latency(p50, low, high, p90, p99, spread)


def _compared(machine: Any) -> dict[str, Any]:
    fields = machine if isinstance(machine, Mapping) else {}
    return {key: value for key, value in fields.items() if key not in _NOT_COMPARED}


def _short(value: Any) -> str:
    words = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return words if len(words) <= 60 else words[:57] + "..."
