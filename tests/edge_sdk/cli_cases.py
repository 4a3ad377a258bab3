"""What the tests of the front door share: the words for it, and models made for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from runtime.bundle import file_entry, open_bundle, write_bundle
from runtime.manifest import FileEntry, Manifest

DEVICE = "raspberry-pi-5"
# What the digits CNN says of its input, in the words of the command line.
PREPROCESS = "unit,color=GRAY,resize=center-crop,interpolation=area"
SAMPLES = 48


@dataclass(frozen=True)
class Digits:
    """ImageFolder trees: 100 digits to calibrate and judge by, 60 others to check by."""

    train: Path
    heldout: Path


@dataclass(frozen=True)
class Said:
    """What one run of the command line said: its exit code, standard output and error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output; anything beside it is an error."""
        assert self.out.count("\n") == 1
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    @property
    def last(self) -> str:
        """The last line on standard error."""
        return self.err.splitlines()[-1]


Run = Callable[..., Said]


class Fragile(nn.Module):
    """A good classifier that no 8-bit format keeps: its logits ride on a large constant."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.input_contract = inner.input_contract

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, which float32 still knows to a thousandth."""
        # The activation keeps the passes from folding one constant into the other.
        return nn.functional.relu(self.inner(x) + 1e4) - 1e4


def rewrite(
    source: Path,
    target: Path,
    files: Mapping[str, bytes] | None = None,
    change: Callable[[Manifest], Manifest] = lambda manifest: manifest,
) -> Path:
    """Write a bundle with other files and another manifest, consistent as only its maker could."""
    with open_bundle(source) as bundle:
        content = {entry.path: bundle.read(entry) for entry in bundle.manifest.files()}
        manifest = bundle.manifest
    content.update(files or {})

    def entry(old: FileEntry) -> FileEntry:
        return file_entry(old.path, content[old.path])

    manifest = replace(
        manifest,
        artifacts=tuple(replace(a, file=entry(a.file)) for a in manifest.artifacts),
        golden=replace(manifest.golden, file=entry(manifest.golden.file)),
        extra_files=tuple(map(entry, manifest.extra_files)),
    )
    write_bundle(target, change(manifest), content)
    return target


def listing(folder: Path) -> dict[str, bytes]:
    """Return every file below `folder` with its content: nothing may come, go or change."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
