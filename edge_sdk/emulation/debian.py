"""A Debian system of another architecture as a folder: by apt, signed, without root's rights.

apt works with a state of its own, so that this machine's packages and architectures stay as they
are. Packages are extracted and never configured: that would run their scripts, emulated, for
minutes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from device_profiles.errors import EdgeError, MissingError, OutputError
from edge_sdk.emulation.bytecode import compile_modules
from edge_sdk.emulation.cache import built, folder
from runtime.progress import step, track

PYTHON = ("libgomp1", "libpython3-stdlib", "libstdc++6", "python3-minimal", "zlib1g")
"""A release's own Python, and the libraries that wheels expect of every system (PEP 600)."""

#: Of each release: the minor version of Python, and glibc (packages.debian.org: python3, libc6).
RELEASES = {"bookworm": ("3.11", "2.36"), "trixie": ("3.13", "2.41")}

_CALLED = {"aarch64": "arm64", "armv7l": "armhf", "x86_64": "amd64"}
_MIRROR = "http://deb.debian.org/debian"
_KEYRINGS = tuple(
    Path(f"/usr/share/keyrings/debian-archive-keyring.{kind}") for kind in ("gpg", "pgp")
)
_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
# For people, or for programs that are not here; gconv is of character sets beside Unicode's.
_LEFT_OUT = ("usr/share", "usr/games", "usr/lib/*/gconv", "var")
# What update-alternatives would link up: numpy's linear algebra.
_ALTERNATIVES = ("blas/libblas.so.3", "lapack/liblapack.so.3")
_FULL = "No space left on device"
_LAYOUT = "1"  # of what is made here: raise it with any change
# Hosts run commands after apt's work; it is not theirs this time. Proxies and the like are kept.
_CONFIGURATION = """
#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Default-Release "";
APT::Install-Recommends "0";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "1";
Dir::State "{place}";
Dir::State::Lists "{place}/lists";
Dir::State::status "{place}/status";
Dir::Cache "{place}";
Dir::Cache::archives "{place}/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "{place}/sources.list";
Dir::Etc::sourceparts "{place}/none";
Dir::Etc::preferences "{place}/none";
Dir::Etc::preferencesparts "{place}/none";
Dir::Log "{place}";
"""


@dataclass(frozen=True)
class DebianRoot:
    """A system as a folder, with `packages` (`libc6=2.36-9+deb12u14`, sorted) in it."""

    path: Path
    packages: tuple[str, ...]

    @property
    def python(self) -> Path:
        """The program of its Python, such as `.../usr/bin/python3.11`."""
        return (self.path / "usr/bin/python3").resolve()

    @property
    def python_version(self) -> str:
        """Its Python's minor version, such as `3.11`."""
        return self.python.name.removeprefix("python")

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of what is in it."""
        return hashlib.sha256("\n".join(self.packages).encode()).hexdigest()


def debian_root(arch: str, release: str, packages: Sequence[str] = ()) -> DebianRoot:
    """Return Debian's Python for `arch` (as in a profile), and `packages`, of `release`.

    What was made once is kept, whatever the mirror has by now: `packages` of the result tell.
    MissingError where apt is not there or the mirror does not answer, OutputError where the cache
    cannot be written.
    """
    wanted = sorted({*PYTHON, *packages})
    what = f"{release}-{_CALLED[arch]}"
    key = hashlib.sha256(" ".join([_LAYOUT, what, *wanted]).encode()).hexdigest()[:16]

    def build(draft: Path) -> None:
        draft.mkdir()
        _make(draft, _CALLED[arch], release, wanted)

    path = built(folder("debian", f"{what}-{key}"), build)
    return DebianRoot(path / "root", tuple((path / "packages").read_text().split()))


def _make(draft: Path, arch: str, release: str, wanted: Sequence[str]) -> None:
    apt = _Apt(draft / "apt", arch, release)
    step(f"asking {apt.mirror} what Debian {release} has for {arch}")
    apt.update()
    listed = apt.resolve(wanted)
    megabytes = sum(size for _, size in listed) / 1e6
    step(f"fetching {len(listed)} packages of Debian {release} for {arch} ({megabytes:.0f} MB)")
    apt.fetch(wanted)
    root = draft / "root"
    for archive in track(sorted(apt.archives.glob("*.deb")), f"extracting Debian for {arch}"):
        _run("dpkg-deb", "-x", str(archive), str(root))
    shutil.rmtree(apt.place)
    _settle(root)
    python = (root / "usr/bin/python3").resolve().name.removeprefix("python")
    compile_modules(root / "usr/lib" / f"python{python}", python)
    compile_modules(root / "usr/lib/python3", python)
    names = sorted(name for name, _ in listed)
    (draft / "packages").write_text("".join(f"{name}\n" for name in names))


class _Apt:
    """apt with a state of its own in `place`."""

    def __init__(self, place: Path, arch: str, release: str) -> None:
        for program, package in (("apt-get", "apt"), ("dpkg-deb", "dpkg")):
            _require(shutil.which(program), program, package)
        keyring = next((path for path in _KEYRINGS if path.is_file()), None)
        _require(keyring, str(_KEYRINGS[0]), "debian-archive-keyring")
        self.place, self.archives = place, place / "archives"
        for name in ("lists/partial", "archives/partial", "none"):
            (place / name).mkdir(parents=True)
        (place / "status").touch()
        self.mirror = _mirror()
        source = f"deb [signed-by={keyring}] {self.mirror} {release} main\n"
        (place / "sources.list").write_text(source)
        (place / "apt.conf").write_text(_CONFIGURATION.format(arch=arch, place=place))

    def update(self) -> None:
        """Fetch the list of packages."""
        hint = "see the network and the proxy (http_proxy); what was fetched once is kept"
        self._get(hint, "update")

    def resolve(self, wanted: Sequence[str]) -> list[tuple[str, int]]:
        """Return all packages that it takes (`name=version`) and their sizes in bytes."""
        hint = "see that the release has these packages"
        said = self._get(hint, "-y", "--print-uris", "install", *wanted)
        # 'http://.../libc6_2.36-9_arm64.deb' libc6_2.36-9_arm64.deb 2146016 MD5Sum:...
        found = re.findall(r"^'\S+' (\S+?)_(\S+)_\w+\.deb (\d+)", said, re.MULTILINE)
        return [(f"{name}={unquote(version)}", int(size)) for name, version, size in found]

    def fetch(self, wanted: Sequence[str]) -> None:
        """Download the packages, whose hashes the signed list tells."""
        hint = "see the network and the space on the disk"
        self._get(hint, "-y", "--download-only", "install", *wanted)

    def _get(self, hint: str, *arguments: str) -> str:
        try:
            return _run("apt-get", "-qq", "-c", str(self.place / "apt.conf"), *arguments)
        except OutputError:
            raise
        except EdgeError as error:
            raise MissingError(
                f"an emulated device's system cannot be had from {self.mirror}: {error}; {hint}"
            ) from error


def _require(found: object, what: str, package: str) -> None:
    if not found:
        raise MissingError(
            f"{what} is not here, and an emulated device is made of Debian's packages; install it "
            f"with: sudo apt-get install {package} (other distributions have a package of that "
            "name as well)"
        )


def _mirror() -> str:
    """Return the mirror of Debian that this machine uses, if any, else the one for everybody."""
    fields = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    try:
        said = _run("apt-get", "indextargets", "--format", fields, "Created-By: Packages")
    except EdgeError:
        return _MIRROR
    found = (line.split("|") for line in said.splitlines())
    own = (parts[2] for parts in found if parts[:2] == ["Debian", "Debian"])
    return next(own, _MIRROR).rstrip("/")


def _run(*command: str) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
        check=False,
    )
    if done.returncode:
        lines = done.stderr.splitlines() or [f"code {done.returncode}"]
        said = [line for line in lines if line.startswith("E: ")] or lines
        if _FULL in done.stderr:
            raise OutputError(
                f"the disk is full while Debian is fetched or extracted ({command[0]}: {_FULL}); "
                "free some space, or name another folder by EDGE_SDK_CACHE"
            )
        raise EdgeError(f"{command[0]} failed: {said[0].removeprefix('E: ')}")
    return done.stdout


def _settle(root: Path) -> None:
    """Do what the packages' scripts would: little, as only a Python runs here."""
    for name in _MERGED:
        _merge(root, name)
    for path in [path for name in _LEFT_OUT for path in root.glob(name)]:
        shutil.rmtree(path)
    for link in [path for path in root.rglob("*") if path.is_symlink()]:
        target = os.readlink(link)
        if os.path.isabs(target):  # an emulator's prefix holds for paths, not for what links say
            link.unlink()
            link.symlink_to(os.path.relpath(root / target.lstrip("/"), link.parent))
    for name in _ALTERNATIVES:
        for library in root.glob(f"usr/lib/*/{name}"):
            link = library.parent.parent / library.name
            if not link.exists():
                link.symlink_to(library.relative_to(link.parent))
    # Otherwise the loader would read this machine's, which name libraries of another CPU.
    for name in ("ld.so.cache", "ld.so.preload"):
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc" / name).write_bytes(b"")


def _merge(root: Path, name: str) -> None:
    """Move what is in /lib to /usr/lib and link the one to the other, as Debian is since 12."""
    place = root / name
    if place.is_dir() and not place.is_symlink():
        for path in [path for path in place.rglob("*") if path.is_symlink() or not path.is_dir()]:
            moved = root / "usr" / path.relative_to(root)
            moved.parent.mkdir(parents=True, exist_ok=True)
            path.rename(moved)
        shutil.rmtree(place)
    if (root / "usr" / name).is_dir() and not place.is_symlink():
        place.symlink_to(f"usr/{name}")
