"""Versions against what is asked of them: as much of PEP 440 as profiles and requirements use.

The library that does all of it, packaging, is not on a device.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(r"(===|==|!=|<=|>=|~=|<|>)\s*([\w.*+!-]+)")
_NAME = re.compile(r"\s*([\w.-]+)\s*(?:\[[^\]]*\])?\s*([^;]*)(?:;(.*))?")


@dataclass(frozen=True)
class Requirement:
    """What a package asks for: a name, a specifier such as `>=1,<2`, and when (`marker`)."""

    name: str
    specifier: str
    marker: str


def requirement(text: str) -> Requirement | None:
    """Read `numpy (<2,>=1.23) ; extra == 'x'` and the like; None for what is nothing such."""
    found = _NAME.match(text)
    if found is None:
        return None
    name, specifier, marker = found.groups()
    return Requirement(
        re.sub(r"[-_.]+", "-", name).lower(), specifier.strip(" ()"), (marker or "").strip()
    )


def satisfies(version: str, specifier: str) -> bool:
    """Say whether a release is within a specifier; one that cannot be read forbids nothing.

    A pre-release counts as its release, a local version (`2.13.0+cpu`) as its public one.
    """
    return all(_holds(version, sign, bound) for sign, bound in _PART.findall(specifier))


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version without zeros at its end: `1.20.0rc1` is (1, 20)."""
    found = re.match(r"(?:\d+!)?v?(\d+(?:\.\d+)*)", version)
    numbers = list(map(int, found[1].split("."))) if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _holds(version: str, sign: str, bound: str) -> bool:
    ours, theirs = release(version), release(bound)
    if sign in ("==", "!=", "==="):
        if bound.endswith(".*"):
            wanted = tuple(map(int, re.findall(r"\d+", bound)))
            padded = ours + (0,) * (len(wanted) - len(ours))
            same = padded[: len(wanted)] == wanted
        else:
            same = ours == theirs
        return same is (sign != "!=")
    if sign == "~=":
        wanted = tuple(map(int, re.findall(r"\d+", bound)))[:-1]
        padded = ours + (0,) * (len(wanted) - len(ours))
        return ours >= theirs and padded[: len(wanted)] == wanted
    compared = {"<": ours < theirs, "<=": ours <= theirs, ">": ours > theirs, ">=": ours >= theirs}
    return compared[sign]
