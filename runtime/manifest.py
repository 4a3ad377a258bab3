"""The manifest: what a bundle says of itself, as frozen values and as canonical JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from device_profiles.errors import BundleError
from runtime.contract import InputContract

SCHEMA = "1.0"


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

    `provider` is the execution provider asked for (`cpu`, `cuda`, ...). `saturation_safe` is true when
    8-bit products were kept small enough for kernels that add pairs of them in 16 bits.
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
    (`name`, `digest`) it was made. All of them are plain JSON values.
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
            schema = str(fields["schema"])
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(f"manifest.json is not a manifest: {error!r}") from error
        if schema.split(".")[0] != SCHEMA.split(".")[0]:
            raise BundleError(
                f"the bundle has schema {schema}, this Edge SDK reads {SCHEMA}; update edge-sdk"
            )
        try:
            return _manifest(fields)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BundleError(f"manifest.json lacks or misstates a field: {error!r}") from error


def _file(fields: Mapping[str, Any]) -> FileEntry:
    path, sha256, size = fields["path"], fields["sha256"], fields["size"]
    if not (isinstance(path, str) and isinstance(sha256, str) and isinstance(size, int)):
        raise TypeError("a file entry needs a path, a sha256 and a size")
    return FileEntry(path, sha256, size)


def _tensors(items: list[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(t["name"], t["dtype"], tuple(t["shape"])) for t in items)


def _artifact(fields: Mapping[str, Any]) -> Artifact:
    return Artifact(
        file=_file(fields["file"]),
        format=fields["format"],
        engine=fields["engine"],
        provider=fields["provider"],
        precision=fields["precision"],
        opset=int(fields["opset"]),
        inputs=_tensors(fields["inputs"]),
        outputs=_tensors(fields["outputs"]),
        saturation_safe=bool(fields["saturation_safe"]),
    )


def _golden(fields: Mapping[str, Any]) -> Golden:
    return Golden(
        file=_file(fields["file"]),
        count=int(fields["count"]),
        tolerances=tuple(
            tuple(
                Tolerance(t["output"], float(t["absolute"]), float(t["rms"]), t["reason"])
                for t in rung
            )
            for rung in fields["tolerances"]
        ),
    )


def _manifest(fields: Mapping[str, Any]) -> Manifest:
    artifacts = tuple(_artifact(a) for a in fields["artifacts"])
    if not artifacts:
        raise ValueError("a bundle needs at least one artifact")
    golden = _golden(fields["golden"])
    if len(golden.tolerances) != len(artifacts):
        raise ValueError("the golden set does not cover every artifact")
    return Manifest(
        name=str(fields["name"]),
        task=str(fields["task"]),
        input=InputContract.from_json(fields["input"]),
        artifacts=artifacts,
        golden=golden,
        profile=dict(fields["profile"]),
        labels=_file(fields["labels"]) if fields["labels"] else None,
        requires=dict(fields["requires"]),
        recipe=dict(fields["recipe"]),
        evidence=dict(fields["evidence"]),
        extra_files=tuple(_file(f) for f in fields["extra_files"]),
        schema=str(fields["schema"]),
    )
