"""The file of a profile: facts, each below the comment that says where it comes from, as TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH = 100


@dataclass(frozen=True)
class Fact:
    """One key of a profile: its section ("" is the top), its value as JSON, and its source.

    A list of tables is an array of tables.
    """

    section: str
    key: str
    value: Any
    source: str = ""


def toml(facts: Sequence[Fact], head: str) -> str:
    """Return the facts as the text of a TOML file that begins with the comment `head`."""
    lines = [*_comment(head)]
    for section in dict.fromkeys(fact.section for fact in facts):
        mine = [fact for fact in facts if fact.section == section]
        plain = [fact for fact in mine if not _is_tables(fact.value)]
        if plain:
            lines += ["", f"[{section}]"] if section else [""]
        for fact in plain:
            lines += [*_comment(fact.source), f"{fact.key} = {_value(fact.value)}"]
        for fact in (fact for fact in mine if _is_tables(fact.value)):
            lines += _tables(fact)
    return "\n".join(lines) + "\n"


def _tables(fact: Fact) -> Iterator[str]:
    name = f"{fact.section}.{fact.key}" if fact.section else fact.key
    for index, table in enumerate(fact.value):
        yield from ("", f"[[{name}]]")
        if index == 0:
            yield from _comment(fact.source)
        yield from (f"{key} = {_value(value)}" for key, value in table.items())


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _value(value: Any) -> str:
    """Return a string, number, truth or list of strings as TOML, which reads JSON's the same.

    But for the character that JSON lets stand: 0x7f.
    """
    return json.dumps(value).replace("\x7f", "\\u007f")


def _comment(text: str) -> Iterator[str]:
    """Yield `text` as comments; a machine's own words may hold anything, and stay on one line."""
    line = "#"
    for word in "".join(c if c.isprintable() else " " for c in text).split():
        if len(line) + 1 + len(word) > _WIDTH and line != "#":
            yield line
            line = "#"
        line += f" {word}"
    if line != "#":
        yield line
