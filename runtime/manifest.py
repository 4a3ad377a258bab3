"""The manifest: what a bundle says of itself, as frozen values and as canonical JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from device_profiles.errors import BundleError
from runtime.contract import InputContract

SCHEMA = "1.1"
T = TypeVar("T")


@dataclass(frozen=True)
class FileEntry:
    """One file of a bundle: its path inside, SHA-256 in hex, and size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class TensorSpec:
    """Name, numpy dtype name and shape of a tensor; -1 in the shape is a free dimension."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Artifact:
    """One rung of the ladder: a model file for one engine.

    `provider` is the execution provider asked for (`cpu`, `cuda`, ...). `saturation_safe` is true
    when 8-bit products were kept small enough for kernels that add pairs of them in 16 bits.
    """

    file: FileEntry
    format: str
    engine: str
    provider: str
    precision: str
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    saturation_safe: bool = False

    @property
    def label(self) -> str:
        """Short name for tables, such as `onnx int8 on onnxruntime/cpu`."""
        return f"{self.format} {self.precision} on {self.engine}/{self.provider}"


@dataclass(frozen=True)
class Tolerance:
    """How far one output of one artifact may be from its recorded golden output.

    `absolute` bounds every element, `rms` the root mean square over the golden set; `reason`
    says where the numbers come from.
    """

    output: str
    absolute: float
    rms: float
    reason: str


@dataclass(frozen=True)
class Golden:
    """The golden set: `count` frames in `file`, and per artifact (in ladder order) tolerances."""

    file: FileEntry
    count: int
    tolerances: tuple[tuple[Tolerance, ...], ...]


@dataclass(frozen=True)
class Manifest:
    """Everything that a device or a person must know about a bundle.

    `artifacts` is the ladder, best first. `recipe` says what was done to the model, `evidence`
    what was measured, `requires` what the device must have, `profile` for which device
    (`name`, `digest`) it was made. `decoder` says how the task reads the outputs (its name and
    options), empty where there is nothing to choose. All of them are plain JSON values.
    """

    name: str
    task: str
    input: InputContract
    artifacts: tuple[Artifact, ...]
    golden: Golden
    profile: Mapping[str, Any]
    labels: FileEntry | None = None
    requires: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    extra_files: tuple[FileEntry, ...] = ()
    schema: str = SCHEMA
    decoder: Mapping[str, Any] = field(default_factory=dict)

    def files(self) -> tuple[FileEntry, ...]:
        """Every file that the bundle must hold beside `manifest.json`."""
        labels = (self.labels,) if self.labels else ()
        artifacts = (artifact.file for artifact in self.artifacts)
        every = (*artifacts, *labels, self.golden.file, *self.extra_files)
        # Two rungs may share one file: the same model on two providers.
        return tuple(dict.fromkeys(every))

    def to_bytes(self) -> bytes:
        """Return the canonical JSON (sorted keys, no spaces, UTF-8) that the bundle's id hashes."""
        fields = dataclasses.asdict(dataclasses.replace(self, input=None))  # type: ignore[arg-type]
        fields["input"] = self.input.to_json()
        if not self.decoder:  # schema 1.0 has none
            del fields["decoder"]
        text = json.dumps(
            fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return text.encode()

    @property
    def id(self) -> str:
        """The bundle's identity: SHA-256, in hex, of the canonical manifest."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read a manifest; BundleError when it is not one, or of a major schema not known here."""
        try:
            fields = json.loads(data)
            schema = _text(fields, "schema")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BundleError(f"manifest.json is not a manifest: {error!r}") from error
        if schema.partition(".")[0] != SCHEMA.partition(".")[0]:
            raise BundleError(
                f"the bundle has schema {schema}, this Edge SDK reads {SCHEMA}; update edge-sdk"
            )
        try:
            return _manifest(fields)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise BundleError(f"manifest.json lacks or misstates a field: {error!r}") from error


def _typed(fields: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """Return `fields[key]`; TypeError when it is not a `kind` (a bool is no number)."""
    value = fields[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{key} is not a {kind.__name__}")
    return value


def _text(fields: Mapping[str, Any], key: str) -> str:
    return _typed(fields, key, str)


def _count(fields: Mapping[str, Any], key: str) -> int:
    count = _typed(fields, key, int)
    if count < 0:
        raise ValueError(f"{key} is negative")
    return count


def _bound(fields: Mapping[str, Any], key: str) -> float:
    """Return a bound that means something: infinity would allow anything."""
    bound = float(fields[key] if type(fields[key]) is int else _typed(fields, key, float))
    if not 0 <= bound < math.inf:
        raise ValueError(f"{key} is not a finite number from 0")
    return bound


def _file(fields: Mapping[str, Any]) -> FileEntry:
    return FileEntry(_text(fields, "path"), _text(fields, "sha256"), _count(fields, "size"))


def _tensor(fields: Mapping[str, Any]) -> TensorSpec:
    shape = _typed(fields, "shape", list)
    if not all(type(size) is int and size >= -1 for size in shape):
        raise TypeError("shape is not a list of sizes")
    return TensorSpec(_text(fields, "name"), _text(fields, "dtype"), tuple(shape))


def _artifact(fields: Mapping[str, Any]) -> Artifact:
    return Artifact(
        file=_file(fields["file"]),
        format=_text(fields, "format"),
        engine=_text(fields, "engine"),
        provider=_text(fields, "provider"),
        precision=_text(fields, "precision"),
        opset=_count(fields, "opset"),
        inputs=tuple(_tensor(t) for t in _typed(fields, "inputs", list)),
        outputs=tuple(_tensor(t) for t in _typed(fields, "outputs", list)),
        saturation_safe=_typed(fields, "saturation_safe", bool),
    )


def _tolerance(fields: Mapping[str, Any]) -> Tolerance:
    return Tolerance(
        output=_text(fields, "output"),
        absolute=_bound(fields, "absolute"),
        rms=_bound(fields, "rms"),
        reason=_text(fields, "reason"),
    )


def _rung(tolerances: Any) -> tuple[Tolerance, ...]:
    if not isinstance(tolerances, list):
        raise TypeError("the tolerances of a rung are not a list")
    return tuple(_tolerance(t) for t in tolerances)


def _golden(fields: Mapping[str, Any]) -> Golden:
    return Golden(
        file=_file(fields["file"]),
        count=_count(fields, "count"),
        tolerances=tuple(_rung(rung) for rung in _typed(fields, "tolerances", list)),
    )


def _profile(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**fields, "name": _text(fields, "name"), "digest": _text(fields, "digest")}


def _manifest(fields: Mapping[str, Any]) -> Manifest:
    artifacts = tuple(_artifact(a) for a in _typed(fields, "artifacts", list))
    if not artifacts:
        raise ValueError("a bundle needs at least one artifact")
    golden = _golden(fields["golden"])
    if len(golden.tolerances) != len(artifacts):
        raise ValueError("the golden set does not cover every artifact")
    return Manifest(
        name=_text(fields, "name"),
        task=_text(fields, "task"),
        input=InputContract.from_json(fields["input"]),
        artifacts=artifacts,
        golden=golden,
        profile=_profile(_typed(fields, "profile", dict)),
        labels=_file(fields["labels"]) if fields["labels"] is not None else None,
        requires=_typed(fields, "requires", dict),
        recipe=_typed(fields, "recipe", dict),
        evidence=_typed(fields, "evidence", dict),
        extra_files=tuple(_file(f) for f in _typed(fields, "extra_files", list)),
        schema=_text(fields, "schema"),
        decoder=_typed(fields, "decoder", dict) if "decoder" in fields else {},
    )
