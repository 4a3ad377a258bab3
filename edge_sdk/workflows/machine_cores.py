"""From what a machine tells of its logical CPUs to the clusters of a profile."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from device_profiles.profile import Profile, load, names

Core = Mapping[str, Any]

_ID = re.compile(r"0x[0-9a-f]{1,3}")
_IDS = ("implementer", "part", "variant")


@lru_cache
def shipped() -> tuple[Profile, ...]:
    """Return the shipped profiles, in the order of their names."""
    return tuple(map(load, names()))


def read_text(facts: Mapping[str, Any], key: str) -> str | None:
    """Return a text of the facts, which came from elsewhere: None where it is none."""
    value = facts.get(key)
    if not isinstance(value, str):
        return None
    return "".join(c if c.isprintable() else " " for c in value).strip()[:200] or None


def read_number(facts: Mapping[str, Any], key: str) -> int | None:
    """Return a whole number above zero of the facts, None where it is none."""
    value = facts.get(key)
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(value) if 0.5 <= value < 1e12 else None


def read_list(facts: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the tables in a list of the facts."""
    value = facts.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def features(cores: Sequence[Core]) -> list[str]:
    """Return the words by which the kernel tells of the features, the same of every core."""
    told = (read_text_whole(core) for core in cores)
    return next((words.split() for words in told if words), [])


def read_text_whole(core: Core) -> str:
    """Return the line of features, which is long on x86."""
    value = core.get("features")
    return value if isinstance(value, str) else ""


def clusters(cores: Sequence[Core], arm: bool) -> list[dict[str, Any]]:
    """Return the cores as clusters, fastest first; none where a clock is not told.

    On Arm those of one part are a cluster, elsewhere those with the same caches.
    """
    physical = [core for core in cores if _is_first(core)]
    kinds: dict[tuple[Any, ...], list[Core]] = {}
    for core in physical:
        kinds.setdefault(_kind(core, arm), []).append(core)
    found = [_cluster(members, physical, arm) for members in kinds.values()]
    if any(cluster["max_mhz"] is None for cluster in found):
        return []
    return sorted(found, key=lambda cluster: -int(cluster["max_mhz"]))


def count(cores: Sequence[Core]) -> int:
    """Return the number of physical cores, at least one."""
    return max(1, sum(map(_is_first, cores)))


def _is_first(core: Core) -> bool:
    """Whether this is the first logical CPU of its core."""
    siblings = cpus(core.get("siblings"))
    return not siblings or core.get("cpu") == min(siblings)


def cpus(text: object) -> set[int]:
    """Return the numbers in a list of the kernel's, such as "0-3,8"."""
    found: set[int] = set()
    for part in text.split(",") if isinstance(text, str) else ():
        ends = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part.strip())
        if ends:
            found |= {*range(int(ends[1]), int(ends[2] or ends[1]) + 1)}
    return found


def _kind(core: Core, arm: bool) -> tuple[Any, ...]:
    if arm:
        return tuple(read_text(core, key) for key in (*_IDS, "revision"))
    caches = read_list(core, "caches")
    return (read_text(core, "name"), *(read_number(cache, "kb") for cache in caches[:3]))


def _cluster(members: list[Core], everyone: list[Core], arm: bool) -> dict[str, Any]:
    first = members[0]
    clocks = [read_number(core, "max_khz") for core in members]
    told = [clock // 1000 for clock in clocks if clock]
    lowest = read_number(first, "min_khz")
    most = max(told) if told else read_number(first, "mhz")
    cluster: dict[str, Any] = {
        "name": _name(first, arm),
        "cores": len(members),
        "max_mhz": most,
    }
    if lowest and most and lowest // 1000 <= most:
        cluster["min_mhz"] = max(1, lowest // 1000)
    return cluster | (_identity(first) if arm else {}) | _caches(first, everyone)


def _identity(core: Core) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in _IDS:
        value = (read_text(core, key) or "").lower()
        if _ID.fullmatch(value):
            found[key] = value
    revision = read_text(core, "revision") or ""
    if re.fullmatch(r"\d{1,3}", revision):
        found["revision"] = int(revision)
    words = " ".join(re.findall(r"[\w.]+", read_text_whole(core)))
    return found | ({"hwcaps": words} if words else {})


def _caches(core: Core, everyone: list[Core]) -> dict[str, int]:
    found: dict[str, int] = {}
    physical = {cpu for core in everyone if isinstance(cpu := core.get("cpu"), int)}
    for cache in read_list(core, "caches"):
        size, level = read_number(cache, "kb"), read_number(cache, "level")
        kind = (read_text(cache, "type") or "").lower()
        name = f"l{level}{kind[0] if kind and level == 1 else ''}_kb"
        if size is None or name not in ("l1d_kb", "l1i_kb", "l2_kb", "l3_kb"):
            continue
        found[name] = size
        sharing = len(cpus(cache.get("shared")) & physical)
        if level == 2 and sharing:
            found["l2_cores"] = sharing
        if level == 3 and 0 < sharing < len(physical):
            found["l3_cores"] = sharing
    return found


def _name(core: Core, arm: bool) -> str:
    """Return what people call the core: Arm's parts as the shipped profiles call them."""
    if not arm:
        return read_text(core, "name") or "CPU"
    ids = _identity(core)
    wanted = (ids.get("implementer"), ids.get("part"))
    for profile in shipped():
        for cluster in profile.hardware.clusters:
            if (cluster.implementer, cluster.part) == wanted:
                return cluster.name
    return f"Arm core {wanted[0]}/{wanted[1]}" if wanted[1] else "Arm core"
