"""Workflow: a real machine -> its profile, written among the user's own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_profiles.errors import EngineError, OutputError, RequestError
from device_profiles.profile import load, names, own_folder
from edge_sdk.workflows.machine import read_machine
from edge_sdk.workflows.machine_profile import facts_of
from edge_sdk.workflows.profile_file import Fact, toml
from runtime.progress import step

PATIENCE_S = 600.0
"""How long a machine may take to tell of itself: it tries every engine, an emulator slowly."""

# What an emulator shows of the machine that it runs on.
_HOSTS = ("memory_mb", "os", "accelerators")

_SAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Detected:
    """A profile that was written: where, as what text, like which shipped one, and from what."""

    path: Path
    text: str
    inherits: str | None
    facts: Mapping[str, Any]

    @property
    def address(self) -> str:
        """What `--profile` takes for it: its name among the user's own, else its path."""
        return self.path.stem if self.path.parent == own_folder() else str(self.path)


def detect(on: str | None = None, output: Path | None = None, *, force: bool = False) -> Detected:
    """Read the machine `on` (a target's address; None: this one) and write its profile.

    `output` is a `.toml` file; None is one among the user's own profiles, called as the machine
    is. Raises RequestError for a machine that profiles cannot describe or a name that will not do,
    OutputError where the file is there (unless `force`) or cannot be written, and what the target
    raises.
    """
    if output is not None and output.suffix != ".toml":
        raise RequestError(f"a profile is a .toml file, {output} is not; name it so")
    if output is not None:
        _check_free(output, force)
    step("reading the machine")
    told = read_machine() if on is None else _ask(on)
    path = output or own_folder() / f"{_name(told)}.toml"
    _check_free(path, force)
    parent, facts = facts_of(told)
    text = _text(told, parent, facts)
    _write(path, text, force)
    return Detected(path, text, parent, told)


def _ask(on: str) -> Mapping[str, Any]:
    """Return what the machine at a target's address tells of itself."""
    from edge_sdk.targets import open_target

    with contextlib.closing(open_target(on)) as target:
        emulated = target.emulated
        process = target.start(["-m", "edge_sdk.workflows.machine"])
        try:
            answer, words = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise EngineError(f"{on} did not tell of itself within {PATIENCE_S:g} s") from error
        finally:
            process.kill()
            process.wait()
    lines = answer.decode(errors="replace").splitlines()
    with contextlib.suppress(ValueError):
        told = json.loads(lines[-1] if lines else "")
        if isinstance(told, dict):
            return {k: v for k, v in told.items() if k not in _HOSTS} if emulated else told
    said = words.decode(errors="replace").strip().splitlines() or [""]
    last = "".join(c if c.isprintable() else "?" for c in said[-1])[:500]
    raise EngineError(
        f"{on} did not tell of itself (code {process.returncode}): {last or 'it said nothing'}; "
        f"see what `edge-sdk doctor --on {on}` finds"
    )


def _name(told: Mapping[str, Any]) -> str:
    """Return the machine's own name as that of a file; a shipped profile's gets `my-` before it."""
    given = told.get("name")
    name = _SAFE.sub("-", given if isinstance(given, str) else "").strip("-.")[:64]
    name = name or "machine"
    return f"my-{name}" if name in names() else name


def _text(told: Mapping[str, Any], parent: str | None, facts: list[Fact]) -> str:
    like = f"like {parent}, but for what stands here" if parent else "complete"
    head = f"Read from the machine {_name(told)} by `edge-sdk profiles --detect`: {like}."
    top = [Fact("", "inherits", parent)] if parent else []
    order = ("", "hardware", "software", "quantization", "emulation")
    # An array of tables at the top must come behind the sections' own keys.
    plain = [fact for fact in facts if fact.section or not isinstance(fact.value, list)]
    tables = [fact for fact in facts if fact not in plain]
    plain.sort(key=lambda fact: order.index(fact.section))
    return toml([*top, *plain], head) + (toml(tables, "") if tables else "")


def _check_free(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise OutputError(f"{path} is there already; add --force to overwrite it, or name another")


def _write(path: Path, text: str, force: bool) -> None:
    """Write the file whole or not at all, after it has proven to be a profile."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            draft = Path(folder, path.name)
            draft.write_text(text, encoding="utf-8")
            load(draft)
            if not force:
                _check_free(path, force)
            os.replace(draft, path)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
