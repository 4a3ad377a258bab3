"""Profile: what a device is. `load` reads one by name or path, `names` are the shipped ones."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_profiles.decode import check, decode, encode
from device_profiles.errors import ProfileError
from device_profiles.nearest import hint
from device_profiles.sections import (
    TEXT,
    Budget,
    Camera,
    Cost,
    Emulation,
    EngineRung,
    Hardware,
    Quantization,
    Software,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SHIPPED = Path(__file__).parent


@dataclass(frozen=True)
class Profile:
    """What a device is: facts that decide how a model is converted for it and run on it.

    `name` is the stem of the file's name, `title` what people call the device. `engines` is the
    ladder, best first.
    """

    name: str
    title: str = field(metadata=TEXT)
    hardware: Hardware
    software: Software
    quantization: Quantization
    engines: tuple[EngineRung, ...] = field(metadata={"key": "engine"})
    camera: Camera = field(default_factory=Camera)
    budget: Budget = field(default_factory=Budget)
    cost: Cost = field(default_factory=Cost)
    emulation: Emulation = field(default_factory=Emulation)

    def __post_init__(self) -> None:
        rungs = [(rung.engine, rung.provider) for rung in self.engines]
        if not rungs:
            raise ProfileError("engine is empty; add an [[engine]] table")
        for rung in rungs:
            if rungs.count(rung) > 1:
                raise ProfileError(f"engine lists {'/'.join(rung)} twice; merge the two tables")

    @property
    def saturates_int8_pairs(self) -> bool:
        """Whether 8-bit multiply-accumulate adds pairs of products in 16 saturating bits.

        On x86-64 without VNNI it does (`vpmaddubsw`; onnxruntime's page "Quantize ONNX models",
        "When and why do I need to try U8U8?"); Arm and VNNI accumulate in 32 bits.
        """
        return self.hardware.arch == "x86_64" and "vnni" not in self.hardware.features

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the canonical JSON of the resolved profile."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the resolved profile as JSON-ready values under the keys of the TOML file."""
        values: dict[str, Any] = encode(self)
        return values

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Profile:
        """Return the profile that `to_json` wrote; ProfileError when it is not one."""
        return decode(cls, fields, "profile")


@dataclass(frozen=True)
class _File(Profile):
    """The keys that a file may have: those of a profile, and its parent."""

    inherits: str = ""


def names() -> list[str]:
    """Return the names of the shipped profiles, sorted."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def own_folder() -> Path:
    """Return the folder of the user's own profiles, which may not be there: `edge-sdk/profiles` in
    the user's configuration (XDG_CONFIG_HOME, else `~/.config`)."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(base if os.path.isabs(base) else os.path.expanduser("~/.config"))
    return home / "edge-sdk" / "profiles"


def own_names() -> list[str]:
    """Return the names of the user's own profiles, sorted; a shipped one goes before its like."""
    try:
        found = {path.stem for path in own_folder().glob("*.toml")}
    except OSError:  # a folder that may not be read holds nothing for us
        return []
    return sorted(found.difference(names()))


def load(name_or_path: str | Path) -> Profile:
    """Return the profile of that name, shipped or the user's own, or the one in that TOML file.

    A `Path`, and a string that ends in `.toml` or holds a slash, is a file. ProfileError, one line,
    names the file and the key: unknown profile, section or key (with the nearest known ones),
    wrong type or value, missing key, unreadable file, circular `inherits`.
    """
    path = _find(name_or_path, Path())
    return decode(Profile, {**_resolve(path, ()), "name": path.stem}, str(path))


def _find(name_or_path: str | Path, folder: Path) -> Path:
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text:
        return folder / Path(text).expanduser()
    if text in names():
        return _SHIPPED / f"{text}.toml"
    if text in own_names():
        return own_folder() / f"{text}.toml"
    known = [*names(), *own_names()]
    raise ProfileError(f"no profile is called {text!r}; {hint(text, known)} (a path ends in .toml)")


def _resolve(path: Path, heirs: tuple[Path, ...]) -> dict[str, Any]:
    """Return the table in `path` merged into what it inherits; `heirs` lead to it."""
    chain = (*heirs, path.resolve())
    if path.resolve() in heirs:
        trail = " -> ".join(str(step) for step in chain)
        raise ProfileError(f"profiles inherit in a circle: {trail}; remove one `inherits`")
    table = _read(path)
    check(_File, table, str(path))
    if table.pop("name", path.stem) != path.stem:
        raise ProfileError(f"{path}: a profile is called as its file is; rename it or drop `name`")
    if "inherits" not in table:
        return table
    try:
        inherited = _find(table.pop("inherits"), path.parent)
    except ProfileError as error:
        raise ProfileError(f"{path}: inherits: {error}") from error
    return _merge(_resolve(inherited, chain), table)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProfileError(f"the profile {path} does not exist; check the path") from error
    except OSError as error:
        raise ProfileError(f"the profile {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ProfileError(f"the profile {path} is not valid TOML: {error}") from error


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
