"""What a cost is compared with: an earlier one, from a file, of the very same device."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from device_profiles.errors import DataError, RequestError
from edge_sdk.report import Gate

# Facts that must be equal for two counts to be of the same thing, and what each is called.
_SAME = {
    "cpu": "the emulated CPU",
    "wheels": "the wheels (digest of the lock)",
    "python": "the system's Python",
    "threads": "the threads",
}


def percent(text: str) -> float:
    """Return the number of `2%`, `2 %` or `2`; RequestError for anything else or below 0."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%?\s*", text)
    if found is None:
        raise RequestError(f"{text!r} is no percentage; say such as 2%")
    return float(found[1])


def read_cost_file(path: Path) -> Mapping[str, Any]:
    """Return the facts of a cost report (what --json prints); DataError when it is none."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a COST.json") from error
    except ValueError as error:
        raise DataError(f"{path}: is not JSON; give what bench --cost --json printed") from error
    facts = found.get("facts", found) if isinstance(found, dict) else None
    if not isinstance(facts, dict) or facts.get("kind") != "cost" or "artifacts" not in facts:
        raise DataError(f"{path}: is no cost; give what bench --cost --json printed")
    return facts


def require_same(before: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Raise RequestError, naming what differs, unless both were counted on the same device."""
    for key, words in _SAME.items():
        if before.get(key) != now.get(key):
            raise RequestError(
                f"{where} was counted with another of {words}: {before.get(key)}, here "
                f"{now.get(key)}; count both on the same target"
            )


def increase(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> float | None:
    """Return by how many percent a rung costs more than it did; None where it was not there."""
    if before is None:
        return None
    old = int(before["inference"]["total"])
    return 100.0 * (int(now["inference"]["total"]) - old) / old


def by_name(facts: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the counted rungs by their names."""
    return {each["artifact"]: each for each in facts["artifacts"]}


def gates(
    before: Mapping[str, Any], now: Mapping[str, Any], allowed: float, where: str
) -> Sequence[Gate]:
    """Return a gate per rung of both, and a failed one where they have none in common.

    `allowed` is in percent; `where` names what came before.
    """
    old, new = by_name(before), by_name(now)
    found = []
    for name in new:
        more = increase(old.get(name), new[name])
        if more is not None:
            detail = f"{more:+.2f} % instructions against {where}, {allowed:g} % allowed"
            found.append(Gate(f"cost of {name}", more <= allowed, detail))
    names = ", ".join(old) or "none"
    return found or [Gate("cost", False, f"{where} has no rung of the same name (it has {names})")]
