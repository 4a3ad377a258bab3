"""The device wheel: the packages of a device, as they run here, in one wheel.

It is two things at once: one of the wheels of a device's environment, and the agent, which the
device's bare Python imports from the file itself. So it is stored, not compressed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from device_profiles.errors import OutputError
from edge_sdk.emulation.cache import built, folder
from edge_sdk.targets._code import package_home

PACKAGES = ("device_profiles", "edge_sdk", "runtime")
NAME = "edge-sdk"
#: What a package holds beside what editors and interpreters leave there.
SUFFIXES = (".py", ".toml", ".html", ".css", ".js", ".safetensors", ".c", ".h")
_MARKER = "py.typed"
#: What a device needs at the least; engines and cameras are wheels that its lock names.
REQUIRES = ("numpy>=1.26", "tomli>=2; python_version < '3.11'")
_PYTHON = ">=3.10"
_TAG = "py3-none-any"
_MODE = 0o100644 << 16


@dataclass(frozen=True)
class DeviceWheel:
    """A wheel in the cache: `file` is its name, `sha256` in hex, `size` in bytes."""

    path: Path
    file: str
    sha256: str
    size: int
    version: str


def device_wheel() -> DeviceWheel:
    """Return the wheel of the packages that run here; the same code gives the same bytes.

    Its version is this one's with a hash of the code, such as `0.1.0+device.1a2b3c4d`: what is
    changed is another version. OutputError where the cache cannot be written.
    """
    code = _code()
    called = f"{_version()}+device.{_digest(code)[:8]}"
    file = f"{NAME.replace('-', '_')}-{called}-{_TAG}.whl"
    data = _archive({**code, **_metadata(called, code)})
    sha256 = hashlib.sha256(data).hexdigest()

    def build(place: Path) -> None:
        place.mkdir()
        (place / file).write_bytes(data)

    # Where wheels of an index are kept too: whoever collects those of a lock finds it there.
    path = built(folder("wheels", sha256), build) / file
    return DeviceWheel(path, file, sha256, len(data), called)


def _version() -> str:
    """Return the version that is installed here, without what a device wheel adds to it."""
    try:
        return version(NAME).partition("+")[0]
    except PackageNotFoundError:  # run from a folder
        return "0"


def _code() -> dict[str, bytes]:
    """Return the files of the packages by their names in the wheel, sorted."""
    return {
        f"{package}/{path.relative_to(home).as_posix()}": _read(path)
        for package in PACKAGES
        for home in (package_home(package),)
        for path in sorted(_files(home), key=lambda path: path.relative_to(home).as_posix())
    }


def _files(home: Path) -> Iterator[Path]:
    for path in home.rglob("*"):
        inside = path.relative_to(home)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
        if not hidden and (path.suffix in SUFFIXES or path.name == _MARKER) and path.is_file():
            yield path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OutputError(
            f"{path} of edge-sdk cannot be read: {error.strerror}; install edge-sdk again"
        ) from error


def _digest(code: Mapping[str, bytes]) -> str:
    lines = (f"{hashlib.sha256(data).hexdigest()} {name}\n" for name, data in code.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _metadata(called: str, code: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of the folder dist-info (the binary distribution format, PEP 427)."""
    info = f"{NAME.replace('-', '_')}-{called}.dist-info"
    about = ["Metadata-Version: 2.1", f"Name: {NAME}", f"Version: {called}"]
    about += ["Summary: What runs on a device of Edge SDK.", f"Requires-Python: {_PYTHON}"]
    about += [f"Requires-Dist: {line}" for line in REQUIRES]
    wheel = ["Wheel-Version: 1.0", f"Generator: {NAME}", "Root-Is-Purelib: true", f"Tag: {_TAG}"]
    scripts = ["[console_scripts]", f"{NAME} = edge_sdk.cli:main"]
    texts = {"METADATA": about, "WHEEL": wheel, "entry_points.txt": scripts}
    texts["top_level.txt"] = list(PACKAGES)
    files = {f"{info}/{name}": _text(lines) for name, lines in texts.items()}
    record = [_record(name, data) for name, data in {**code, **files}.items()]
    return {**files, f"{info}/RECORD": _text([*record, f"{info}/RECORD,,"])}


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _record(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}"


def _archive(files: Mapping[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)  # of 1980, whatever the file's own date
            entry.create_system = 3  # Unix, as the mode is
            entry.external_attr = _MODE
            archive.writestr(entry, data)
    return sink.getvalue()
