"""What was measured on a device for the model of latency: beside the user's own profiles.

`PROFILE.calibration.json` holds the points and the machine they are of. The fit in it is for
people: it is made anew from the points wherever it is used.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from device_profiles.errors import OutputError, ProfileError, RequestError
from device_profiles.profile import Profile, own_folder
from edge_sdk.emulation.counts import Counts
from edge_sdk.workflows.latency_model import Fit, Subject, fit, terms

FORMAT = "edge-sdk calibration 1"

# What two machines must have in common for figures of one to hold for the other.
_SAME = ("model", "arch", "features", "cpu", "memory_mb")
_MOST_BYTES = 8 << 20
_MOST = 1e15


@dataclass(frozen=True)
class Point:
    """One artifact that was timed on the device, by one thread, and counted on the emulated one.

    `artifact` is the SHA-256 of its file, `network` what the artifacts of one model have in common.
    """

    artifact: str
    network: str
    precision: str
    engine: str
    version: str
    subject: Subject
    ms: float

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        counts = self.subject.counts
        return {
            "artifact": self.artifact,
            "network": self.network,
            "precision": self.precision,
            "engine": self.engine,
            "engine_version": self.version,
            "size_bytes": self.subject.size,
            "instructions": dict(counts.instructions),
            "bytes": dict(counts.bytes),
            "ms": self.ms,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Point:
        """Return the point that `to_json` wrote; TypeError, ValueError or KeyError for others."""
        names = ("artifact", "network", "precision", "engine", "engine_version")
        artifact, network, precision, engine, version = (_text(fields[name]) for name in names)
        counts = Counts(_numbers(fields["instructions"]), _numbers(fields["bytes"]))
        if counts.total <= 0:
            raise ValueError("no instructions")
        subject = Subject(counts, int(_number(fields["size_bytes"])))
        ms = _number(fields["ms"])
        if not ms > 0:
            raise ValueError("ms is not positive")
        return cls(artifact, network, precision, engine, version, subject, ms)


@dataclass(frozen=True)
class Calibration:
    """Points of one machine; `machine` are its facts as of `runtime.about`, `made` a date."""

    profile: str
    machine: Mapping[str, Any]
    made: str
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """What the machine is called."""
        return str(self.machine.get("model") or self.machine.get("name") or "a machine")

    @property
    def engines(self) -> set[tuple[str, str]]:
        """The engines that the points are of, with their versions."""
        return {(point.engine, point.version) for point in self.points}

    def fit(self, profile: Profile) -> Fit:
        """Return the model of latency that fits the points; RequestError as of `terms`."""
        rows = np.array([terms(profile, point.subject) for point in self.points])
        took = np.array([point.ms for point in self.points])
        return fit(rows, took, [point.network for point in self.points])

    def with_points(self, points: Sequence[Point]) -> Calibration:
        """Return these points and `points`, which replace those of the same artifacts."""
        known = {point.artifact: point for point in (*self.points, *points)}
        return replace(self, points=tuple(known.values()))

    def to_json(self, profile: Profile) -> dict[str, Any]:
        """Return what its file holds."""
        return {
            "format": FORMAT,
            "profile": self.profile,
            "made": self.made,
            "machine": dict(self.machine),
            "fit": self.fit(profile).to_json(),
            "points": [point.to_json() for point in self.points],
        }


def calibration_file(profile: Profile) -> Path:
    """Return where the calibration of a profile lies; it may not be there."""
    return own_folder() / f"{profile.name}.calibration.json"


def read_calibration(profile: Profile) -> Calibration | None:
    """Return the calibration of a profile; None where there is none.

    ProfileError, naming the file, for one that cannot be read or is of another form.
    """
    path = calibration_file(profile)
    mend = "remove it, and calibrate anew: edge-sdk bench --calibrate"
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror}); {mend}") from error
    if len(data) > _MOST_BYTES:
        raise ProfileError(f"{path}: is too large for a calibration; {mend}")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"{path}: is not JSON; {mend}") from error
    try:
        if fields["format"] != FORMAT or not isinstance(fields["machine"], dict):
            raise ValueError(f"it is no {FORMAT!r}")
        points = tuple(Point.from_json(each) for each in fields["points"])
        if not points:
            raise ValueError("it has no points")
        profile_name, made = str(fields["profile"]), str(fields["made"])
        return Calibration(profile_name, fields["machine"], made, points)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ProfileError(f"{path}: is no calibration ({error!r:.80}); {mend}") from error


def write_calibration(calibration: Calibration, profile: Profile) -> Path:
    """Write it beside the user's own profiles, whole or not at all; OutputError when it cannot."""
    path = calibration_file(profile)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_text(json.dumps(calibration.to_json(profile), indent=1) + "\n")
            os.replace(draft, path)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}); see that the folder is yours and has "
            "space, or name another by XDG_CONFIG_HOME"
        ) from error
    return path


def require_same_machine(known: Calibration, machine: Mapping[str, Any], path: Path) -> None:
    """Raise RequestError, naming what differs, where points are of another kind of machine."""
    odd = [key for key in _SAME if known.machine.get(key) != machine.get(key)]
    if odd:
        said = "; ".join(f"{k}: {known.machine.get(k)} there, {machine.get(k)} here" for k in odd)
        raise RequestError(
            f"{path} is of another machine ({said}); remove it, or calibrate a profile of your own "
            "that inherits from this one"
        )


def another_kind(machine: Mapping[str, Any], profile: Profile) -> str:
    """Return in what a machine (facts as of `runtime.about`) is not a profile's device; nothing
    where it is of its kind, as far as the profile tells."""
    hardware = profile.hardware
    if machine.get("arch") != hardware.arch:
        return f"the machine is {machine.get('arch')}, the device {hardware.arch}"
    features = machine.get("features")
    odd = {*features} ^ {*hardware.features} if isinstance(features, list) else {"features"}
    if odd:
        return f"the machine and the device differ in {', '.join(sorted(map(str, odd)))}"
    parts = {f"{c.implementer}/{c.part}" for c in hardware.clusters if c.implementer and c.part}
    found = {core.rpartition(" x")[0] for core in str(machine.get("cpu")).split(", ")}
    if parts and parts != found:
        return f"the cores are {', '.join(sorted(found))}, not {', '.join(sorted(parts))}"
    return ""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError(f"{value!r:.20} is no line of text")
    return value


def _numbers(fields: Any) -> dict[str, int]:
    return {str(name): int(_number(value)) for name, value in fields.items()}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r:.20} is no number")
    if not (math.isfinite(value) and 0 <= value < _MOST):
        raise ValueError(f"{value!r:.20} is out of range")
    return float(value)
