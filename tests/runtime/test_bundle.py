from __future__ import annotations

import dataclasses
import errno
import io
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device_profiles.errors import (
    BundleError,
    DataError,
    EngineError,
    OutputError,
    RequestError,
)
from runtime.bundle import file_entry, open_bundle, write_bundle
from runtime.engines import EngineOptions
from runtime.golden import GoldenSet, replay
from runtime.manifest import Manifest

Parts = tuple[Manifest, dict[str, bytes]]
Build = Callable[..., Parts]

STORED = Path(__file__).parent / "data" / "schema-1.0.edge"


def test_what_is_written_is_read_back(null_bundle: Path, null_parts: Build) -> None:
    manifest, files = null_parts()
    with open_bundle(null_bundle) as bundle:
        assert bundle.manifest == manifest
        assert bundle.id == manifest.id
        assert bundle.labels == ("zero", "one", "two", "tree")
        assert {entry.path: bundle.read(entry) for entry in manifest.files()} == files


def test_the_golden_set_passes_on_every_rung(null_bundle: Path) -> None:
    with open_bundle(null_bundle) as bundle:
        golden = bundle.golden()
        for rung, tolerances in enumerate(bundle.manifest.golden.tolerances):
            result = replay(bundle.open_engine(rung), golden, rung, tolerances)
            assert result.passed, result.reason


def test_rungs_are_not_interchangeable(null_bundle: Path) -> None:
    with open_bundle(null_bundle) as bundle:
        tolerances = bundle.manifest.golden.tolerances[0]
        result = replay(bundle.open_engine(1), bundle.golden(), 0, tolerances)
    assert not result.passed


def test_equal_inputs_give_equal_bytes(tmp_path: Path, null_parts: Build) -> None:
    manifest, files = null_parts()
    write_bundle(tmp_path / "a.edge", manifest, files)
    os.utime(tmp_path / "a.edge", (0, 0))
    write_bundle(tmp_path / "b.edge", manifest, dict(reversed(files.items())))
    assert (tmp_path / "a.edge").read_bytes() == (tmp_path / "b.edge").read_bytes()


def test_a_stranger_to_the_format_reads_and_writes_the_same_zip(null_bundle: Path) -> None:
    again = io.BytesIO()
    with zipfile.ZipFile(null_bundle) as archive, zipfile.ZipFile(again, "w") as copy:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "manifest.json"
        for info in archive.infolist():
            plain = zipfile.ZipInfo(info.filename)  # 1980-01-01, stored
            plain.create_system, plain.external_attr = 3, 0o100644 << 16
            copy.writestr(plain, archive.read(info))
    assert again.getvalue() == null_bundle.read_bytes()


def test_two_rungs_may_share_one_file(tmp_path: Path, null_parts: Build) -> None:
    manifest, files = null_parts(({"providers": ["cpu", "cuda"]},) * 2)
    first, second = manifest.artifacts
    shared = dataclasses.replace(first, provider="cuda")
    del files[second.file.path]
    write_bundle(
        tmp_path / "a.edge", dataclasses.replace(manifest, artifacts=(shared, first)), files
    )
    with open_bundle(tmp_path / "a.edge") as bundle:
        assert [bundle.open_engine(rung).provider for rung in (0, 1)] == ["cuda", "cpu"]


def test_options_override_the_provider(null_bundle: Path) -> None:
    with open_bundle(null_bundle) as bundle, pytest.raises(EngineError, match="not on cuda"):
        bundle.open_engine(0, EngineOptions(provider="cuda"))


@pytest.mark.parametrize("rung", [-1, 2])
def test_a_rung_that_is_not_there(null_bundle: Path, rung: int) -> None:
    with open_bundle(null_bundle) as bundle, pytest.raises(RequestError, match="it has 0 to 1"):
        bundle.open_engine(rung)


def test_a_runner_is_what_a_pipeline_takes(null_bundle: Path) -> None:
    with open_bundle(null_bundle) as bundle:
        runner = bundle.runner()
    scores, box = runner.engine.run([np.zeros((1, *runner.contract.shape), np.uint8)])
    assert (runner.task, len(runner.labels)) == ("classify", 4)
    assert (scores.shape, box.shape) == ((1, 4), (1, 2, 2))


def test_a_model_that_is_not_what_the_manifest_says(tmp_path: Path, null_parts: Build) -> None:
    manifest, files = null_parts()
    first, second = manifest.artifacts
    wrong = dataclasses.replace(first.outputs[0], dtype="float64")
    lying = dataclasses.replace(first, outputs=(wrong, first.outputs[1]))
    manifest = dataclasses.replace(manifest, artifacts=(lying, second))
    write_bundle(tmp_path / "a.edge", manifest, files)
    with open_bundle(tmp_path / "a.edge") as bundle:
        with pytest.raises(BundleError, match="scores float64"):
            bundle.open_engine(0)
        bundle.open_engine(1)


def test_a_bundle_without_labels(tmp_path: Path, null_parts: Build) -> None:
    manifest, files = null_parts()
    del files["labels.txt"]
    write_bundle(tmp_path / "a.edge", dataclasses.replace(manifest, labels=None), files)
    with open_bundle(tmp_path / "a.edge") as bundle:
        assert bundle.labels == ()


def test_labels_that_are_not_utf8(tmp_path: Path, null_parts: Build) -> None:
    manifest, files = null_parts()
    files["labels.txt"] = b"caf\xe9\n"
    manifest = dataclasses.replace(manifest, labels=file_entry("labels.txt", b"caf\xe9\n"))
    write_bundle(tmp_path / "a.edge", manifest, files)
    with pytest.raises(BundleError, match="not UTF-8"):
        open_bundle(tmp_path / "a.edge")


def _without_labels(manifest: Manifest, files: dict[str, bytes]) -> Parts:
    return manifest, {name: data for name, data in files.items() if name != "labels.txt"}


def _with_more(manifest: Manifest, files: dict[str, bytes]) -> Parts:
    return manifest, {**files, "more.txt": b""}


def _with_other_content(manifest: Manifest, files: dict[str, bytes]) -> Parts:
    return manifest, {**files, "labels.txt": b"ZERO\none\ntwo\ntree\n"}


def _with_nan(manifest: Manifest, files: dict[str, bytes]) -> Parts:
    return dataclasses.replace(manifest, evidence={"top1": float("nan")}), files


def _with_array(manifest: Manifest, files: dict[str, bytes]) -> Parts:
    return dataclasses.replace(manifest, evidence={"top1": np.float32(1)}), files


def _with_novel(manifest: Manifest, files: dict[str, bytes]) -> Parts:
    return dataclasses.replace(manifest, evidence={"novel": "x" * (5 << 20)}), files


def _with_other_count(manifest: Manifest, files: dict[str, bytes]) -> Parts:
    golden = dataclasses.replace(manifest.golden, count=17)
    return dataclasses.replace(manifest, golden=golden), files


def _with_uncovered_output(manifest: Manifest, files: dict[str, bytes]) -> Parts:
    first, second = manifest.golden.tolerances
    golden = dataclasses.replace(manifest.golden, tolerances=(first, second[:1]))
    return dataclasses.replace(manifest, golden=golden), files


def _with_file(manifest: Manifest, files: dict[str, bytes], name: str) -> Parts:
    extra = (*manifest.extra_files, file_entry(name, b"x"))
    return dataclasses.replace(manifest, extra_files=extra), {**files, name: b"x"}


def _with_absolute_name(manifest: Manifest, files: dict[str, bytes]) -> Parts:
    return _with_file(manifest, files, "/etc/x")


def _with_second_manifest(manifest: Manifest, files: dict[str, bytes]) -> Parts:
    return _with_file(manifest, files, "manifest.json")


def _with_two_files_of_one_name(manifest: Manifest, files: dict[str, bytes]) -> Parts:
    return _with_file(manifest, files, "labels.txt")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_labels, "do not agree on labels.txt"),
        (_with_more, "do not agree on more.txt"),
        (_with_other_content, "do not agree on labels.txt"),
        (_with_nan, "cannot be written as JSON"),
        (_with_array, "cannot be written as JSON"),
        (_with_novel, "move evidence to files"),
        (_with_other_count, "its golden set has"),
        (_with_uncovered_output, "do not cover the outputs"),
        (_with_absolute_name, "cannot be called '/etc/x'"),
        (_with_second_manifest, "one path for two files"),
        (_with_two_files_of_one_name, "one path for two files"),
    ],
)
def test_a_bundle_that_does_not_hold_together_is_not_written(
    tmp_path: Path, null_parts: Build, spoil: Callable[..., Parts], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        write_bundle(tmp_path / "a.edge", *spoil(*null_parts()))
    assert list(tmp_path.iterdir()) == []


def test_a_golden_set_that_proves_nothing_is_not_written(tmp_path: Path, null_parts: Build) -> None:
    manifest, files = null_parts()
    golden = GoldenSet.from_bytes(files["golden.npz"])
    stuck = {name: np.ones_like(array) for name, array in golden.reference.items()}
    files["golden.npz"] = GoldenSet(golden.frames, stuck, golden.artifacts).to_bytes()
    entry = file_entry("golden.npz", files["golden.npz"])
    manifest = dataclasses.replace(
        manifest, golden=dataclasses.replace(manifest.golden, file=entry)
    )
    with pytest.raises(DataError, match="hardly varies"):
        write_bundle(tmp_path / "a.edge", manifest, files)


def test_a_full_disk_leaves_the_old_bundle(
    null_bundle: Path, null_parts: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = null_bundle.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_bundle(null_bundle, *null_parts(seed=1))
    assert null_bundle.read_bytes() == before
    assert list(null_bundle.parent.iterdir()) == [null_bundle]


@pytest.mark.parametrize("where", ["no/such/folder/a.edge", "file/a.edge", "folder", ""])
def test_a_path_that_cannot_be_written(tmp_path: Path, null_parts: Build, where: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError):
        write_bundle(tmp_path / where, *null_parts())
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("where", ["missing.edge", "", "file/x.edge"])
def test_a_path_that_cannot_be_opened(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError, match="no such file"):
        open_bundle(tmp_path / where)


def test_replacement_while_open(null_bundle: Path, null_parts: Build) -> None:
    old, _ = null_parts()
    new, new_files = null_parts(seed=1)
    with open_bundle(null_bundle) as bundle:
        write_bundle(null_bundle, new, new_files)
        assert file_entry("golden.npz", bundle.golden().to_bytes()) == old.golden.file
        with open_bundle(null_bundle) as other:
            assert (bundle.id, other.id) == (old.id, new.id)


def test_readers_never_see_half_a_bundle(null_bundle: Path, null_parts: Build) -> None:
    versions = [null_parts(seed=seed) for seed in range(2)]
    ids = {manifest.id for manifest, _ in versions}
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            for manifest, files in versions:
                write_bundle(null_bundle, manifest, files)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(100):
            with open_bundle(null_bundle) as bundle:
                assert bundle.id in ids
    finally:
        stop.set()
        writer.join()


def test_a_change_in_place_is_found_when_read(null_bundle: Path) -> None:
    with open_bundle(null_bundle) as bundle:
        model = bundle.manifest.artifacts[0].file
        position = null_bundle.read_bytes().index(bundle.read(model))
        with null_bundle.open("r+b") as file:
            file.seek(position)
            file.write(b"?")
        with pytest.raises(BundleError, match=r"model\.0\.json"):
            bundle.open_engine(0)
        bundle.open_engine(1)


def test_a_closed_bundle(null_bundle: Path) -> None:
    with open_bundle(null_bundle) as bundle:
        pass
    with pytest.raises(BundleError, match="closed"):
        bundle.golden()


def test_a_file_that_the_manifest_does_not_name(null_bundle: Path) -> None:
    with (
        open_bundle(null_bundle) as bundle,
        pytest.raises(BundleError, match=r"has no labels\.txt"),
    ):
        bundle.read(file_entry("labels.txt", b"other"))


def test_the_stored_bundle_of_schema_1_0_still_opens_and_passes() -> None:
    with open_bundle(STORED) as bundle:
        assert bundle.manifest.schema == "1.0"
        assert bundle.id == "e05ccf099b2990bc78f3952c8083e68044684384d627a2194480527f7451c771"
        golden = bundle.golden()
        for rung, tolerances in enumerate(bundle.manifest.golden.tolerances):
            assert replay(bundle.open_engine(rung), golden, rung, tolerances).passed
