"""From what a machine tells of itself to its profile: like a shipped one, but; or complete."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from device_profiles.errors import RequestError
from device_profiles.profile import Profile
from device_profiles.sections import FEATURES
from edge_sdk.workflows.machine_cores import (
    clusters,
    count,
    features,
    read_list,
    read_number,
    read_text,
    shipped,
)
from edge_sdk.workflows.profile_file import Fact
from runtime.host import features_of

Told = Mapping[str, Any]

# packages.debian.org, python3.
_DEBIAN = {"3.9": "bullseye", "3.11": "bookworm", "3.13": "trixie"}


def facts_of(told: Told) -> tuple[str | None, list[Fact]]:
    """Return the name of the shipped profile that the machine is like, if any, and its own facts.

    A machine that calls itself as a shipped profile says inherits that one and states what
    differs. Any other states everything; what does not follow from what it told of itself is
    taken from the profile whose CPU is most like its own. RequestError for a CPU that is not known,
    and for a machine that is like none and has no engine.
    """
    arch = told.get("arch")
    if arch not in FEATURES:
        raise RequestError(
            f"the machine's CPU is a {arch}, which profiles do not know; {', '.join(FEATURES)} are"
        )
    alike = [profile for profile in shipped() if profile.hardware.arch == arch]
    parent = _same(told, alike)
    near = parent or _nearest(told, alike)
    mine = [*_top(told), *_hardware(told, parent), *_software(told), *_ladder(told, near)]
    mine += _release(told)
    if parent is not None:
        return parent.name, [fact for fact in mine if fact.value != _there(parent, fact)]
    return None, [*mine, *_taken(told, near)]


def _there(parent: Profile, fact: Fact) -> Any:
    table = parent.to_json()
    return (table[fact.section] if fact.section else table).get(fact.key)


def _same(told: Told, alike: list[Profile]) -> Profile | None:
    """Return the profile of devices that call themselves so, the longest words first."""
    model = read_text(told, "model") or ""
    found = [
        (len(words), profile.name, profile)
        for profile in alike
        for words in profile.hardware.models
        if model.startswith(words)
    ]
    return max(found)[2] if found else None


def _nearest(told: Told, alike: list[Profile]) -> Profile | None:
    """Return the profile that asks for nothing that is missing, and knows most of what is there.

    One feature too many costs right answers, one too few only speed.
    """
    here, working = _features(told), _working(told)
    parts = {(c.get("implementer"), c.get("part")) for c in _clusters(told)}

    def fits(profile: Profile) -> bool:
        rungs = {(rung.engine, rung.provider) for rung in profile.engines}
        extra = {rung for rung in rungs if rung[1] != "cpu"}
        return {*profile.hardware.features} <= here and extra <= working

    def knows(profile: Profile) -> tuple[int, int, int, int]:
        rungs = {(rung.engine, rung.provider) for rung in profile.engines}
        cores = {(c.implementer, c.part) for c in profile.hardware.clusters if c.part}
        beside = sum(provider != "cpu" for _, provider in rungs & working)
        return beside, len(cores & parts), len(profile.hardware.features), -len(cores - parts)

    return max(filter(fits, alike), key=knows, default=None)


def _features(told: Told) -> set[str]:
    arch = str(told["arch"])
    return {*features_of(features(read_list(told, "cores")))} & {*FEATURES[arch]}


def _clusters(told: Told) -> list[dict[str, Any]]:
    return clusters(read_list(told, "cores"), arm=told["arch"] != "x86_64")


def _working(told: Told) -> set[tuple[str, str]]:
    """Return the engines and providers that work there."""
    return {
        (name, provider)
        for engine in read_list(told, "engines")
        if (name := read_text(engine, "engine"))
        if isinstance(providers := engine.get("providers"), list)
        for provider in providers
        if isinstance(provider, str)
    }


def _top(told: Told) -> list[Fact]:
    cores = _clusters(told)
    name = read_text(told, "model") or (cores[0]["name"] if cores else read_text(told, "name"))
    return [Fact("", "title", name or "A machine", "What it calls itself, or its CPU.")]


def _hardware(told: Told, parent: Profile | None) -> list[Fact]:
    facts = [Fact("hardware", "arch", told["arch"], "uname -m, and the size of a pointer.")]
    if read_list(told, "cores") or parent is None:
        facts += _cores(told, parent)
    memory = read_number(told, "memory_mb")
    if memory:
        facts.append(Fact("hardware", "memory_mb", memory, "MemTotal of /proc/meminfo."))
    beside = _accelerators(told)
    if beside:
        facts.append(Fact("hardware", "accelerator", beside, "nvidia-smi, /dev and the USB bus."))
    return facts


def _cores(told: Told, parent: Profile | None) -> list[Fact]:
    cores, found, here = read_list(told, "cores"), _clusters(told), _features(told)
    little = found[-1]["cores"] if len(found) > 1 else 0
    big = count(cores) - little
    source = "/proc/cpuinfo and the topology in /sys/devices/system/cpu."
    facts = [
        Fact("hardware", "big_cores", big, source),
        Fact("hardware", "little_cores", little),
    ]
    if here or parent is None:
        known = [name for name in FEATURES[str(told["arch"])] if name in here]
        said = 'The lines "Features" or "flags" of /proc/cpuinfo.'
        facts.append(Fact("hardware", "features", known, said))
    if found:
        said = "" if any("max_khz" in core for core in cores) else _CLOCK_OF_NOW
        source = f"/proc/cpuinfo, cpufreq and cache in /sys/devices/system/cpu.{said}"
        facts.append(Fact("hardware", "cluster", _completed(found, parent), source))
    elif parent and (parent.hardware.big_cores, parent.hardware.little_cores) != (big, little):
        facts.append(
            Fact("hardware", "cluster", [], "Not told, and others than there usually are.")
        )
    return facts


_CLOCK_OF_NOW = " The clock is that of the moment: there is no cpufreq."


def _completed(found: list[dict[str, Any]], parent: Profile | None) -> list[dict[str, Any]]:
    """Return the clusters, with what the parent knows of the same core and the kernel does not."""
    known = parent.to_json()["hardware"]["cluster"] if parent else []
    by_part = {(c.get("implementer"), c.get("part")): c for c in known}
    return [by_part.get((c.get("implementer"), c.get("part")), {}) | c for c in found]


def _accelerators(told: Told) -> list[dict[str, Any]]:
    found = []
    for item in read_list(told, "accelerators"):
        name, version = read_text(item, "name"), read_text(item, "compute_capability") or ""
        if name:
            known = re.fullmatch(r"\d{1,2}\.\d{1,2}", version)
            found.append({"name": name} | ({"compute_capability": version} if known else {}))
    return found


def _software(told: Told) -> list[Fact]:
    facts = []
    python, libc = read_text(told, "python") or "", read_text(told, "libc")
    if re.fullmatch(r"3\.\d{1,3}", python):
        facts.append(Fact("software", "python", [python], "The Python that read this."))
    if name := read_text(told, "os"):
        facts.append(Fact("software", "os", name, "PRETTY_NAME of /etc/os-release."))
    if libc:
        facts.append(Fact("software", "libc", libc, "confstr CS_GNU_LIBC_VERSION."))
    return facts


def _ladder(told: Told, near: Profile | None) -> list[Fact]:
    """Return the rungs of shipped profiles that work there, those of the nearest profile first."""
    working = _working(told)
    profiles = [*([near] if near else []), *shipped()]
    rungs = {(r.engine, r.provider): r for p in reversed(profiles) for r in reversed(p.engines)}
    order = dict.fromkeys((r.engine, r.provider) for p in profiles for r in p.engines)
    ladder = [
        {
            "engine": engine,
            "provider": provider,
            "precisions": [*rungs[engine, provider].precisions],
        }
        for engine, provider in sorted(order, key=lambda rung: rung[1] == "cpu")
        if (engine, provider) in working
    ]
    if ladder:
        versions = ", ".join(
            f"{read_text(e, 'engine')} {read_text(e, 'version') or ''}".strip()
            + ("" if e.get("tried") else " (not run)")
            for e in read_list(told, "engines")
        )
        return [Fact("", "engine", ladder, f"Installed there, and seen to work: {versions}.")]
    if near is None:
        raise RequestError(
            "the machine is like no shipped profile and has no engine; install one there: "
            "pip install 'edge-sdk[onnx]'"
        )
    source = f"No engine is installed there yet: the ladder of {near.name}."
    return [Fact("", "engine", near.to_json()["engine"], source)]


def _taken(told: Told, near: Profile | None) -> list[Fact]:
    """Return what does not follow from what the machine tells: as in the nearest profile."""
    if near is None:
        source = "Nothing shipped is like it: what every engine here takes."
        return [Fact("quantization", "activation_type", "uint8", source)]
    table, source = near.to_json(), f"As in {near.name}, whose CPU is most like this one."
    facts = [
        Fact("quantization", key, value, source if n == 0 else "")
        for n, (key, value) in enumerate(table["quantization"].items())
    ]
    if table["software"]["pin"]:
        facts.insert(0, Fact("software", "pin", table["software"]["pin"], source))
    emulation = near.emulation
    if emulation.cpu is None:
        return facts
    facts.append(Fact("emulation", "cpu", emulation.cpu, source))
    cores = {cluster.get("part"): cluster["name"] for cluster in _clusters(told)}
    same = cores.keys() <= {cluster.part for cluster in near.hardware.clusters}
    said = (
        emulation.stands_in if same else f"chosen by its features for {', '.join(cores.values())}"
    )
    if said and cores:
        facts.append(Fact("emulation", "stands_in", said))
    return facts


def _release(told: Told) -> list[Fact]:
    """Return the release of Debian whose Python is that of an Arm machine."""
    release = _DEBIAN.get(read_text(told, "python") or "")
    if release is None or told["arch"] == "x86_64":
        return []
    return [Fact("emulation", "debian", release, "The release whose Python is the machine's.")]
