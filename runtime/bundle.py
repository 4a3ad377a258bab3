"""Bundles: one file that holds a model for a device and the proof that it works; read and write."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from device_profiles.errors import BundleError, OutputError, RequestError
from runtime.archive import Archive, pack
from runtime.contract import InputContract
from runtime.engines import Engine, EngineOptions, open_engine
from runtime.engines._check import fits
from runtime.golden import GoldenSet, check_not_degenerate
from runtime.manifest import FileEntry, Manifest, TensorSpec
from runtime.statements import SIGNATURE, Statement, read_statements, statement_bytes

MANIFEST = "manifest.json"
MAX_MANIFEST = 4 << 20


def file_entry(path: str, data: bytes) -> FileEntry:
    """Return what a manifest says of the file `path` with content `data`."""
    return FileEntry(path, hashlib.sha256(data).hexdigest(), len(data))


def write_bundle(path: str | Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Write a bundle, whole or not at all; the same arguments give the same bytes.

    `files` are all that `manifest` names, by path. Raises BundleError when they are not exactly
    these or the golden set does not fit the manifest, DataError when the golden set proves
    nothing, OutputError when `path` cannot be written.
    """
    found = {file_entry(name, data) for name, data in files.items()}
    odd = {entry.path for entry in set(_entries(manifest, str(path)).values()) ^ found}
    if odd:
        raise BundleError(f"{path}: manifest and files do not agree on {', '.join(sorted(odd))}")
    try:
        data = manifest.to_bytes()
    except (TypeError, ValueError) as error:
        raise BundleError(f"{path}: the manifest cannot be written as JSON: {error}") from error
    if len(data) > MAX_MANIFEST:
        raise BundleError(f"{path}: the manifest has {len(data)} bytes; move evidence to files")
    _manifest(data, str(path))
    golden = _golden(manifest, files[manifest.golden.file.path], str(path))
    check_not_degenerate(golden.reference)
    _write_whole(Path(path), {MANIFEST: data, **{name: files[name] for name in sorted(files)}})


def write_statements(bundle: Bundle, statements: Iterable[Statement], path: str | Path) -> None:
    """Write an open bundle again, whole or not at all, with these statements instead of its own.

    All else stays, its id too; without any it is unsigned. Raises BundleError when they are not
    of this bundle or it was changed meanwhile, OutputError when `path` cannot be written.
    """
    said = tuple(statements)
    if any(statement.bundle != bundle.id for statement in said):
        raise BundleError(f"{bundle.path}: a statement of another bundle does not belong to it")
    files = bundle.contents()
    if said:
        files[SIGNATURE] = statement_bytes(said)
    _write_whole(Path(os.path.realpath(path)), files)


def _write_whole(path: Path, files: Mapping[str, bytes]) -> None:
    """Write beside the target and rename, so that a reader sees the old bundle or the new one."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{path}: is not a file; give the path of a file to write")
    draft = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with draft.open("xb") as file:
            for part in pack(files):
                file.write(part)
            file.flush()
            if os.path.exists(path):  # what only its owner may read stays so
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(path).st_mode))
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); choose a writable folder with space"
        ) from error
    finally:
        if os.path.exists(draft):
            draft.unlink()


def open_bundle(path: str | Path) -> Bundle:
    """Open a bundle and verify all of it: structure, names, limits, and the hash of every file.

    Raises BundleError, which says what is wrong. Files stay on disk until they are asked for.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise BundleError(f"{path}: no such file; give the path of a bundle (.edge)")
    try:
        file = path.open("rb", buffering=0)  # a buffer would hide a change of the file
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return Bundle(path, file)
    except BaseException:
        file.close()
        raise


@contextmanager
def opened(bundle: str | Path | Bundle) -> Iterator[Bundle]:
    """Yield `bundle`, opening it where it is a path; only what was opened here is closed."""
    if isinstance(bundle, Bundle):
        yield bundle
        return
    with open_bundle(bundle) as own:
        yield own


@dataclass(frozen=True)
class Runner:
    """A model ready to run: its input contract, labels and task, an open engine, and how the task
    reads its outputs."""

    contract: InputContract
    labels: tuple[str, ...]
    task: str
    engine: Engine
    decoder: Mapping[str, Any] = field(default_factory=dict)


class Bundle:
    """An open, verified bundle; `id` is the SHA-256 of its manifest, `labels` the class names.

    `statements` say who signed it, and as what; they are well-formed and of this bundle, no more:
    to verify them takes keys (`runtime.agent.trust`).
    It keeps the file open that was verified: a new bundle under the same path does not concern
    it, and a change of the file itself is found when it is read. Use it in a `with` statement.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self._lock = threading.Lock()
        self._archive = Archive(file, str(path))
        data = self._read_manifest()
        self.manifest = _manifest(data, str(path))
        self.id = hashlib.sha256(data).hexdigest()
        self.statements = self._read_statements()
        self._verify()
        self.labels = self._read_labels()

    def __enter__(self) -> Bundle:
        """Return the bundle itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the bundle."""
        self.close()

    def close(self) -> None:
        """Close the file; engines and golden sets that were opened stay usable."""
        self._file.close()

    def read(self, entry: FileEntry) -> bytes:
        """Return the content of a file of the manifest; BundleError if it changed since."""
        if entry not in self.manifest.files():
            raise BundleError(f"{self.path}: its manifest has no {entry.path}")
        with self._lock:
            if self._file.closed:
                raise BundleError(f"{self.path}: the bundle is closed; open it again")
            data = self._archive.read(entry.path)
        if file_entry(entry.path, data) != entry:
            raise BundleError(f"{self.path}: {entry.path} was changed while the bundle was open")
        return data

    def contents(self) -> dict[str, bytes]:
        """Return every file in order, the manifest first; BundleError if one changed since."""
        with self._lock:
            if self._file.closed:
                raise BundleError(f"{self.path}: the bundle is closed; open it again")
            manifest = self._archive.read(MANIFEST)
        if hashlib.sha256(manifest).hexdigest() != self.id:
            raise BundleError(f"{self.path}: {MANIFEST} was changed while the bundle was open")
        entries = sorted(self.manifest.files(), key=lambda entry: entry.path)
        return {MANIFEST: manifest, **{entry.path: self.read(entry) for entry in entries}}

    def golden(self) -> GoldenSet:
        """Return the golden set; BundleError when it does not fit the manifest."""
        return _golden(self.manifest, self.read(self.manifest.golden.file), str(self.path))

    def open_engine(
        self,
        rung: int = 0,
        options: EngineOptions | None = None,
        opened_by: Callable[[str, bytes, EngineOptions], Engine] = open_engine,
    ) -> Engine:
        """Load artifact `rung` of the ladder in its engine, which `opened_by` opens.

        Without `options` it runs on the artifact's provider; given ones are taken as they are,
        their provider too. Raises RequestError when there is no such rung, BundleError when the
        model is not what the manifest says, and what `opened_by` raises.
        """
        ladder = self.manifest.artifacts
        if not 0 <= rung < len(ladder):
            raise RequestError(f"{self.path}: has no rung {rung}; it has 0 to {len(ladder) - 1}")
        artifact = ladder[rung]
        options = options or EngineOptions(provider=artifact.provider)
        engine = opened_by(artifact.engine, self.read(artifact.file), options)
        for stated, found in ((artifact.inputs, engine.inputs), (artifact.outputs, engine.outputs)):
            if not _agree(stated, found):
                engine.close()
                raise BundleError(
                    f"{self.path}: {artifact.file.path} has the tensors {_names(found)}, the "
                    f"manifest says {_names(stated)}"
                )
        return engine

    def runner(self, rung: int = 0, options: EngineOptions | None = None) -> Runner:
        """Return what a pipeline takes, with the engine of `open_engine`; close that at the end."""
        manifest = self.manifest
        engine = self.open_engine(rung, options)
        return Runner(manifest.input, self.labels, manifest.task, engine, manifest.decoder)

    def _read_manifest(self) -> bytes:
        first = next(iter(self._archive.members.values()), None)
        if first is None or first.name != MANIFEST:
            raise BundleError(f"{self.path}: is not a bundle (its first file is not {MANIFEST})")
        if first.size > MAX_MANIFEST:
            raise BundleError(f"{self.path}: {MANIFEST} has {first.size} bytes, over the limit")
        return self._archive.read(MANIFEST)

    def _read_statements(self) -> tuple[Statement, ...]:
        try:
            return read_statements(self._archive, self.id)
        except BundleError as error:
            raise BundleError(f"{self.path}: {error}") from error

    def _verify(self) -> None:
        entries = _entries(self.manifest, str(self.path))
        members = [m for m in self._archive.members.values() if m.name not in (MANIFEST, SIGNATURE)]
        if [member.name for member in members] != sorted(entries):
            odd = sorted(entries.keys() ^ {member.name for member in members})
            what = f"differ in {', '.join(odd)[:200]}" if odd else "are in another order"
            raise BundleError(f"{self.path}: its files and its manifest {what}")
        for member in members:
            entry = entries[member.name]
            if member.size != entry.size or self._archive.digest(member.name) != entry.sha256:
                raise BundleError(
                    f"{self.path}: {member.name} is not the file that the manifest names (wrong "
                    "size or SHA-256); get the bundle again from where it was made"
                )

    def _read_labels(self) -> tuple[str, ...]:
        if self.manifest.labels is None:
            return ()
        try:
            text = self.read(self.manifest.labels).decode()
        except UnicodeDecodeError as error:
            raise BundleError(f"{self.path}: its labels are not UTF-8 ({error.reason})") from error
        return tuple(text.removesuffix("\n").split("\n"))


def _manifest(data: bytes, where: str) -> Manifest:
    """Read a manifest and see that it is canonical, so that each bundle has one id."""
    try:
        text = json.dumps(
            json.loads(data),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
        canonical = text.encode() == data
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: {MANIFEST} is not JSON ({type(error).__name__})") from error
    if not canonical:
        raise BundleError(f"{where}: {MANIFEST} is not canonical JSON; write it with write_bundle")
    try:
        manifest = Manifest.from_bytes(data)
    except BundleError as error:
        text = "".join(c if c.isprintable() else "?" for c in str(error))
        raise BundleError(f"{where}: {text}") from error
    words = [manifest.name, manifest.task]
    words += [
        word
        for artifact in manifest.artifacts
        for word in (artifact.format, artifact.engine, artifact.provider, artifact.precision)
    ]
    specs = (s for a in manifest.artifacts for s in (*a.inputs, *a.outputs))
    words += [word for spec in specs for word in (spec.name, spec.dtype)]
    bounds = [tolerance for rung in manifest.golden.tolerances for tolerance in rung]
    words += [word for tolerance in bounds for word in (tolerance.output, tolerance.reason)]
    words += [entry.path for entry in manifest.files()]
    if not all(word.isprintable() for word in words):
        raise BundleError(f"{where}: {MANIFEST} has something else where a name belongs")
    return manifest


def _entries(manifest: Manifest, where: str) -> dict[str, FileEntry]:
    """Return the files of a manifest by path; BundleError when one path stands for two files."""
    entries = {entry.path: entry for entry in manifest.files()}
    if len(entries) != len(manifest.files()) or MANIFEST in entries:
        raise BundleError(f"{where}: its manifest names one path for two files")
    if any(path.lower() == SIGNATURE for path in entries):
        raise BundleError(f"{where}: its manifest names a file {SIGNATURE}, which signing adds")
    return entries


def _golden(manifest: Manifest, data: bytes, where: str) -> GoldenSet:
    golden = GoldenSet.from_bytes(data)
    found = (len(golden.frames), golden.frames.shape[1:], len(golden.artifacts))
    stated = (manifest.golden.count, manifest.input.shape, len(manifest.artifacts))
    if found != stated:
        raise BundleError(
            f"{where}: its golden set has (frames, shape, artifacts) {found}, its manifest {stated}"
        )
    for artifact, outputs, tolerances in zip(
        manifest.artifacts, golden.artifacts, manifest.golden.tolerances, strict=True
    ):
        names = {spec.name for spec in artifact.outputs}
        if not names == set(outputs) == {tolerance.output for tolerance in tolerances}:
            raise BundleError(
                f"{where}: golden set and tolerances do not cover the outputs of {artifact.label}"
            )
    return golden


def _agree(stated: tuple[TensorSpec, ...], found: tuple[TensorSpec, ...]) -> bool:
    return len(stated) == len(found) and all(
        (a.name, a.dtype) == (b.name, b.dtype) and fits(a.shape, b.shape)
        for a, b in zip(stated, found, strict=True)
    )


def _names(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{s.name} {s.dtype} {list(s.shape)}" for s in specs)
