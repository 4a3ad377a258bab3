"""The part of YAML in which data.yaml files are written: keys with text, lists or tables of text.

So a device needs no YAML package. What is not of this part (anchors, tags, blocks of text,
nesting) is refused under the keys that are asked for, and passed over under others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Union

from device_profiles.errors import DataError

Value = Union[str, list[str], dict[str, str], None]  # noqa: UP007 - evaluated on Python 3.10
Line = tuple[int, str]

_QUOTED = r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'"""
_KEY = re.compile(r"([A-Za-z_][\w-]*)\s*:(?:\s+(.*))?$")
_PAIR = re.compile(rf"({_QUOTED}|[^\"':]+?)\s*:\s+(.+)$")
# One part of [a, 'b'] or {0: a, 1: 'b'}, up to its comma.
_PART = re.compile(rf"\s*(?:(\w+)\s*:\s+)?({_QUOTED}|[^,\"'\[\]{{}}][^,\[\]{{}}]*?)\s*(?:,\s*|$)")
# What opens something that this reader does not know (YAML 1.2.2, 5.3 indicator characters).
_INDICATORS = (*"&*!|>%@`[]{},", "- ", "? ", ": ")

_NOTHING = ("~", "null")


def read_yaml(text: str, keys: Collection[str]) -> dict[str, Value]:
    """Return the values of those of `keys` that stand at the top of the file `text`.

    DataError says which line is not of the part of YAML that is read here.
    """
    found: dict[str, Value] = {}
    for key, lines in _blocks(text):
        if key in keys:
            if key in found:
                raise DataError(f"line {lines[0][0]}: {key} stands there twice")
            found[key] = _value(lines)
    return found


def _blocks(text: str) -> Iterator[tuple[str, list[Line]]]:
    """Yield every key at the top with its lines: what follows the colon, and what is below."""
    key, lines = "", list[Line]()
    for number, raw in enumerate(text.splitlines(), 1):
        line = _uncommented(raw)
        if not line.strip() or (line == "---" and not key):
            continue
        if key and (_is_open(lines) or (line[0] in " \t-" and line != "---")):
            lines.append((number, line))
            continue
        head = _KEY.match(line)
        if head is None:
            raise _strange(number, line)
        if key:
            yield key, lines
        key, lines = head[1], [(number, head[2] or "")]
    if key:
        yield key, lines


def _uncommented(line: str) -> str:
    quote = ""
    for index, character in enumerate(line):
        before = line[:index].rstrip()[-1:]
        if quote:
            if character == quote and line[index - 1] != "\\":
                quote = ""
        elif character in "\"'" and before in ("", "[", "{", ",", ":", "-", character):
            quote = character
        elif character == "#" and line[index - 1 : index] in ("", " ", "\t"):
            return line[:index].rstrip()
    return line.rstrip()


def _is_open(lines: list[Line]) -> bool:
    return lines[0][1][:1] in ("[", "{") and lines[-1][1][-1:] not in ("]", "}")


def _value(lines: list[Line]) -> Value:
    (number, first), *below = lines
    if first[:1] in ("[", "{"):
        return _flow(number, " ".join(text.strip() for _, text in lines))
    if first:
        if below:
            raise _strange(*below[0])
        return None if first in _NOTHING else _text(number, first)
    if not below:
        return None
    depths = {len(text) - len(text.lstrip(" ")) for _, text in below}
    if len(depths) > 1:
        raise _strange(*below[0])
    if all(text.lstrip(" ")[:2] == "- " for _, text in below):
        return [_text(at, text.lstrip(" ")[2:]) for at, text in below]
    return _table([(at, _PAIR.match(text.lstrip(" ")), text) for at, text in below])


def _table(rows: list[tuple[int, re.Match[str] | None, str]]) -> dict[str, str]:
    table: dict[str, str] = {}
    for number, pair, line in rows:
        key = _text(number, pair[1]) if pair else ""
        if pair is None or key in table:
            raise _strange(number, line)
        table[key] = _text(number, pair[2])
    return table


def _flow(number: int, text: str) -> Value:
    """Read [a, b] or {0: a, 1: b} in one line."""
    closing = {"[": "]", "{": "}"}[text[0]]
    inner, at = text[1:-1].strip(), 0
    parts: list[re.Match[str]] = []
    while text[-1] == closing and at < len(inner):
        part = _PART.match(inner, at)
        if part is None or bool(part[1]) != (closing == "}"):
            break
        parts.append(part)
        at = part.end()
    if at < len(inner) or text[-1] != closing:
        raise _strange(number, text)
    if closing == "]":
        return [_text(number, part[2]) for part in parts]
    return _table([(number, _PAIR.match(part[0].strip(", ")), part[0]) for part in parts])


def _text(number: int, text: str) -> str:
    text = text.strip()
    if text[:1] == '"':
        try:
            return str(json.loads(text))
        except ValueError as error:
            raise _strange(number, text) from error
    if text[:1] == "'":
        if re.fullmatch(_QUOTED, text) is None:
            raise _strange(number, text)
        return text[1:-1].replace("''", "'")
    if not text or text.startswith(_INDICATORS) or ": " in text or text[-1] == ":":
        raise _strange(number, text)
    return text


def _strange(number: int, text: str) -> DataError:
    return DataError(
        f"line {number}: {text.strip()!r:.60} is not read here; write keys with text, a list or "
        "a table of names, as data.yaml files have them"
    )
