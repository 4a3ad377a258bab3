"""Bundles that somebody damaged or forged: each is refused, with one line that says why."""

from __future__ import annotations

import dataclasses
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import BundleError
from runtime import archive
from runtime.bundle import open_bundle
from runtime.manifest import Manifest

Files = list[tuple[zipfile.ZipInfo, bytes]]


def _entry(name: str, mode: int = 0o100644, **fields: Any) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename = name  # the constructor would tidy it
    info.create_system, info.external_attr = 3, mode << 16
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def _read(path: Path) -> Files:
    with zipfile.ZipFile(path) as source:
        return [(_entry(name), source.read(name)) for name in source.namelist()]


def _zip(files: Files, comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for info, data in files:
            target.writestr(info, data, info.compress_type)
        target.comment = comment
    return out.getvalue()


def _refuse(path: Path, data: bytes, message: str | None = None) -> None:
    path.write_bytes(data)
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert len(text) < 600


def test_the_forger_s_tools_write_a_good_bundle_when_nothing_is_forged(null_bundle: Path) -> None:
    good = null_bundle.read_bytes()
    assert _zip(_read(null_bundle)) == good


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/etc/passwd", "names are relative"),
        ("../up", "names are relative"),
        ("models/../../up", "names are relative"),
        ("models//x", "names are relative"),
        ("./x", "names are relative"),
        ("models/.", "names are relative"),
        ("models/..", "names are relative"),
        ("folder/", "names are relative"),
        ("models\\x", "names are relative"),
        ("C:x", "names are relative"),
        ("x\ny", "names are relative"),
        ("x\n", "names are relative"),
        ("\x1b[2Jx", "names are relative"),
        ("x.", "names are relative"),
        (".hidden", "names are relative"),
        ("tëst", "names are relative"),
        ("", "names are relative"),
        ("x" * 241, "names are relative"),
        ("labels.txt", "two of that name"),
        ("LABELS.txt", "two of that name"),
        ("manifest.json", "two of that name"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names(null_bundle: Path, name: str, message: str) -> None:
    _refuse(null_bundle, _zip([*_read(null_bundle), (_entry(name), b"x")]), message)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (_entry("x", mode=0o120777), "it is a link"),
        (_entry("x", mode=0o040755), "it is a folder"),
        (_entry("x", compress_type=zipfile.ZIP_DEFLATED), "it is compressed"),
        (_entry("x", compress_type=zipfile.ZIP_LZMA), "it is compressed"),
        (_entry("x", mode=0o100755), "record is not ours"),
        (_entry("x", mode=0o020644), "record is not ours"),
        (_entry("x", date_time=(2026, 1, 1, 0, 0, 0)), "record is not ours"),
        (_entry("x", create_system=0), "record is not ours"),
        (_entry("x", comment=b"c"), "record is not ours"),
        (_entry("x", extra=b"\xfe\xca\x00\x00"), "record is not ours"),
        (_entry("x"), "differ in x"),
    ],
)
def test_entries(null_bundle: Path, entry: zipfile.ZipInfo, message: str) -> None:
    _refuse(null_bundle, _zip([*_read(null_bundle), (entry, b"x" * 100)]), message)


def _patch(data: bytes, mark: bytes, at: int, value: bytes) -> bytes:
    """Overwrite a field of the last record that begins with `mark`."""
    start = data.rindex(mark) + at
    return data[:start] + value + data[start + len(value) :]


def _directory(data: bytes) -> int:
    """Return the offset of the directory, as the end record states it."""
    return int(struct.unpack("<I", data[-6:-2])[0])


LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
LIE = struct.pack("<I", 0xFFFFFFF0)


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda d: b"", "too short"),
        (lambda d: d[:21], "too short"),
        (lambda d: b"#!" + d, "end record is wrong"),
        (lambda d: d + b"\0", "bytes added at its end"),
        (lambda d: _patch(d, END, 20, b"\1\0") + b"c", "bytes added at its end"),
        (lambda d: _patch(d, END, 8, b"\xff\xff\xff\xff"), "65535 entries, the limit is 256"),
        (lambda d: _patch(d, END, 8, b"\5\0\5\0"), "bytes beside its entries"),
        (lambda d: _patch(d, END, 8, b"\7\0\7\0"), "directory is cut short"),
        (lambda d: _patch(d, END, 12, LIE), "end record is wrong"),
        (lambda d: _patch(d, END, 16, LIE), "end record is wrong"),
        (lambda d: _patch(d, CENTRAL, 8, b"\1"), "it is encrypted"),
        (lambda d: _patch(d, CENTRAL, 20, LIE), "sizes contradict"),
        (lambda d: _patch(d, CENTRAL, 20, LIE + LIE), "its size lies"),
        (lambda d: _patch(d, CENTRAL, 20, struct.pack("<II", 1, 1)), "local header says otherwise"),
        (lambda d: _patch(d, CENTRAL, 28, b"\xff\xff"), "record is not ours"),
        (lambda d: _patch(d, CENTRAL, 42, b"\0\0\0\0"), "record is not ours"),
        (lambda d: _patch(d, LOCAL, 30, b"X"), "local header says otherwise"),
        (lambda d: _patch(d, LOCAL, 6, b"\1"), "local header says otherwise"),
        (lambda d: _patch(d, LOCAL, 18, LIE), "local header says otherwise"),
        (lambda d: _patch(d, LOCAL, 0, b"XX"), "local header says otherwise"),
    ],
)
def test_headers(null_bundle: Path, forge: Callable[[bytes], bytes], message: str) -> None:
    _refuse(null_bundle, forge(null_bundle.read_bytes()), message)


def test_bytes_hidden_between_entries(null_bundle: Path) -> None:
    data = null_bundle.read_bytes()
    at = _directory(data)
    moved = struct.pack("<I", at + 6)
    forged = data[:at] + b"hidden" + data[at:-6] + moved + data[-2:]
    _refuse(null_bundle, forged, "bytes beside its entries")


def test_a_directory_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.edge"
    with path.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(0, 2)
        file.write(struct.pack("<4s4H2IH", END, 0, 0, 1, 1, 1 << 30, 0, 0))
    with pytest.raises(BundleError, match="more than names can need"):
        open_bundle(path)


def test_more_bytes_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.edge"
    with path.open("wb") as file:
        file.truncate(archive.MAX_BYTES + 1)
    with pytest.raises(BundleError, match="the limit is 2147483648"):
        open_bundle(path)


def test_more_entries_than_the_limit(null_bundle: Path) -> None:
    many = [(_entry(f"x{i}"), b"") for i in range(257)]
    _refuse(null_bundle, _zip([*_read(null_bundle), *many]), "the limit is 256")
    with pytest.raises(BundleError, match="more than 256 files"):
        list(archive.pack({info.filename: data for info, data in many}))


def test_a_manifest_over_the_limit(null_bundle: Path) -> None:
    files = _read(null_bundle)
    files[0] = (files[0][0], b" " * ((4 << 20) + 1))
    _refuse(null_bundle, _zip(files), "over the limit")


def test_the_wrong_files(null_bundle: Path) -> None:
    manifest, *files = _read(null_bundle)
    _refuse(null_bundle, _zip([manifest, *files[1:]]), r"differ in evidence/accuracy\.json")
    _refuse(null_bundle, _zip([manifest, *reversed(files)]), "are in another order")
    _refuse(null_bundle, _zip([*files, manifest]), r"its first file is not manifest\.json")
    _refuse(null_bundle, _zip([]), r"its first file is not manifest\.json")


@pytest.mark.parametrize("which", range(1, 6))
def test_other_content_of_the_same_size(null_bundle: Path, which: int) -> None:
    files = _read(null_bundle)
    info, data = files[which]
    files[which] = (info, data[:-1] + bytes([data[-1] ^ 1]))
    _refuse(null_bundle, _zip(files), f"{info.filename} is not the file that the manifest names")


def test_any_flipped_byte(null_bundle: Path) -> None:
    """Every header byte, and a hundred random ones: no byte of a bundle is without meaning."""
    good = null_bundle.read_bytes()
    dice = random.Random(0)
    with zipfile.ZipFile(null_bundle) as source:
        starts = [info.header_offset for info in source.infolist()]
        contents = [30 + len(info.filename) for info in source.infolist()]
    headers = {s + i for s, size in zip(starts, contents, strict=True) for i in range(size + 2)}
    headers |= set(range(_directory(good), len(good)))
    for position in headers | {dice.randrange(len(good)) for _ in range(100)}:
        bad = bytearray(good)
        bad[position] ^= dice.randrange(1, 256)
        _refuse(null_bundle, bytes(bad))


def test_truncation_anywhere(null_bundle: Path) -> None:
    good = null_bundle.read_bytes()
    for size in [*range(0, len(good), 61), *range(len(good) - 100, len(good))]:
        _refuse(null_bundle, good[:size], "too short|cut short|end record")


def _forge_manifest(path: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    files = _read(path)
    fields = json.loads(files[0][1])
    change(fields)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _zip([(files[0][0], text.encode()), *files[1:]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema="2.0"), "schema 2.0, this Edge SDK reads 1.1; update edge-sdk"),
        (lambda m: m.update(schema="2\n\x1b[2J"), r"schema 2\?\?\[2J, this"),
        (lambda m: m["labels"].update(path="a\nb"), "where a name belongs"),
        (lambda m: m["artifacts"][0].update(provider="\x1b[2J"), "where a name belongs"),
        (lambda m: m.pop("schema"), "is not a manifest"),
        (lambda m: m.pop("golden"), "lacks or misstates a field"),
        (lambda m: m["artifacts"].clear(), "at least one artifact"),
        (lambda m: m["golden"]["tolerances"].pop(), "does not cover every artifact"),
        (lambda m: m.update(name="\x1b[2J"), "where a name belongs"),
        (lambda m: m.update(task="a\nb"), "where a name belongs"),
        (lambda m: m["golden"]["tolerances"][0][0].update(reason="\r"), "where a name belongs"),
        (lambda m: m["artifacts"][0]["file"].update(size=1), "is not the file"),
        (lambda m: m["artifacts"][0]["file"].update(path="/etc/passwd"), "differ in /etc/passwd"),
        (lambda m: m["labels"].update(path="manifest.json"), "one path for two files"),
        (lambda m: m["extra_files"].append({**m["labels"], "size": 0}), "one path for two files"),
        (lambda m: m["input"].update(resize="squash"), "resize 'squash' is unknown"),
        (lambda m: m["input"].update(mean=[10**400]), "mean is too large"),
        (lambda m: m["input"].update(height="6"), "height '6' is not valid"),
        (lambda m: m.update(input=5), "preprocessing must be an object"),
        (lambda m: m["evidence"].update(top1=float("nan")), "is not JSON"),
        (lambda m: m["evidence"].update(top1=float("inf")), "is not JSON"),
    ],
)
def test_manifests(
    null_bundle: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    _refuse(null_bundle, _forge_manifest(null_bundle, change), message)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 200_000 + b"]" * 200_000, "is not JSON"),
        (b'"\\ud800"', "is not JSON"),
        (b"9" * 5000, "is not JSON"),
        (b"1e999", "is not JSON"),
        (b"{} ", "not canonical"),
        (b'{"a":1,"a":1}', "not canonical"),
        (b"\xef\xbb\xbf{}", "is not JSON|not canonical"),
        (b"[]", "is not a manifest"),
        (b"null", "is not a manifest"),
    ],
)
def test_manifests_that_are_not_json(null_bundle: Path, manifest: bytes, message: str) -> None:
    files = _read(null_bundle)
    _refuse(null_bundle, _zip([(files[0][0], manifest), *files[1:]]), message)


def test_a_newer_minor_schema_opens(null_bundle: Path) -> None:
    null_bundle.write_bytes(
        _forge_manifest(null_bundle, lambda m: m.update(schema="1.7", novelty={"x": 1}))
    )
    with open_bundle(null_bundle) as bundle:
        assert bundle.manifest.schema == "1.7"
        assert bundle.id != bundle.manifest.id  # it covers what this version does not know


def test_a_golden_set_of_another_model(
    tmp_path: Path, null_parts: Callable[..., tuple[Manifest, dict[str, bytes]]]
) -> None:
    manifest, files = null_parts()
    other = dataclasses.replace(manifest.input, height=7)
    content = {"manifest.json": dataclasses.replace(manifest, input=other).to_bytes()}
    content |= dict(sorted(files.items()))
    (tmp_path / "a.edge").write_bytes(b"".join(archive.pack(content)))
    with open_bundle(tmp_path / "a.edge") as bundle, pytest.raises(BundleError, match="golden set"):
        bundle.golden()
