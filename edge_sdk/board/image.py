"""A board's disk and what it boots from, made of Debian's packages: no emulation, no root's rights.

The disk is a file system as mke2fs makes it of a folder; debugfs gives its files to root where who
makes it is somebody else.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from device_profiles.errors import EdgeError, MissingError, OutputError
from edge_sdk.board import cpio, system
from edge_sdk.board.modules import modules
from edge_sdk.emulation.cache import built, folder
from edge_sdk.emulation.debian import DebianRoot, debian_root
from runtime.progress import step

PACKAGES = ("busybox-static", "openssh-server", "openssh-sftp-server", "python3", "rsync")
DISK_MB = 4096
"""The size that the board sees; the file holds only what was written."""

_LAYOUT = "1"  # of what is made here: raise it with any change
# What boots comes from outside; the rest is for people, or for programs that are not there.
_LEFT_OUT = frozenset(
    ("boot", "usr/lib/modules", "usr/lib/systemd", "usr/lib/udev", "usr/share", "usr/lib/firmware")
)


@dataclass(frozen=True)
class Image:
    """Files of a board as it leaves the factory: `disk` is copied, the others are read."""

    disk: Path
    kernel: Path
    initrd: Path

    @property
    def key(self) -> str:
        """What tells one image from another."""
        return self.disk.parent.name


def board_image(
    arch: str, release: str, kernel: str, extra: Sequence[str] = (), site: Path | None = None
) -> Image:
    """Return the image of a system of `arch` with the folder `site` on its Python's path.

    `release` and `extra` are Debian's names of a release and of packages, `kernel` of the kernel's
    package. It is made once. MissingError without apt, e2fsprogs or the network, OutputError where
    the cache cannot be written.
    """
    for program in ("mke2fs", "debugfs"):
        _require(program)
    debian = debian_root(arch, release, (*PACKAGES, kernel, *extra))
    facts = [_LAYOUT, debian.digest, str(site), _texts()]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    path = folder("boards", f"{debian.path.parent.name}-{key}")

    def build(draft: Path) -> None:
        draft.mkdir()
        step(f"making a disk of Debian {release} for {arch}")
        _boot_files(debian.path, draft)
        _stage(debian, site, draft / "root")
        _format(draft / "root", draft / "disk")
        shutil.rmtree(draft / "root")

    built(path, build)
    return Image(path / "disk", path / "kernel", path / "initrd")


def _texts() -> list[object]:
    return [system.FIRST, system.FILES, system.PROGRAMS, system.FOLDERS, system.LINKS, DISK_MB]


def _require(program: str) -> str:
    # They lie where only root's PATH leads.
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise MissingError(
            f"{program} is not here, and a board's disk is made with it; install it with: sudo "
            "apt-get install e2fsprogs"
        )
    return found


def _boot_files(root: Path, draft: Path) -> None:
    """Write the kernel and what it starts from: drivers, busybox, the first program."""
    kernels = sorted((root / "boot").glob("vmlinu[xz]-*"))
    if not kernels:
        raise EdgeError(f"Debian's package of the kernel has none in {root / 'boot'}")
    shutil.copyfile(kernels[0], draft / "kernel")
    drivers = modules(root / "usr/lib/modules" / kernels[0].name.partition("-")[2])
    order = "".join(f"{name}.ko\n" for name, _ in drivers)
    entries = [
        *map(cpio.folder, ("bin", "dev", "keys", "modules", "proc", "root", "sys")),
        cpio.file("bin/busybox", (root / "usr/bin/busybox").read_bytes(), 0o755),
        cpio.file("init", system.FIRST.encode(), 0o755),
        cpio.file("modules/order", order.encode()),
        *(cpio.file(f"modules/{name}.ko", content) for name, content in drivers),
    ]
    (draft / "initrd").write_bytes(gzip.compress(cpio.archive(entries), 1, mtime=0))


def _stage(debian: DebianRoot, site: Path | None, stage: Path) -> None:
    """Lay out the disk's files: links to those of the cache, and our own."""
    _link(debian.path, stage)
    for name in system.FOLDERS:
        (stage / name).mkdir(parents=True, exist_ok=True)
    for texts, mode in ((system.FILES, 0o644), (system.PROGRAMS, 0o755)):
        for name, text in texts.items():
            place = stage / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)  # it may be a link to the cache's
            place.write_text(text)
            place.chmod(mode)
    for name, target in system.LINKS.items():
        (stage / name).unlink(missing_ok=True)
        (stage / name).symlink_to(target)
    shell, busybox = system.SHELL
    if not os.path.lexists(stage / shell):
        (stage / shell).symlink_to(busybox)
    if site is not None:
        _link(site, stage / f"usr/local/lib/python{debian.python_version}/dist-packages")


def _link(source: Path, place: Path) -> None:
    """Copy a folder by hard links, without what is left out; by content across file systems."""
    for folder_path, names, files in os.walk(source):
        inside = os.path.relpath(folder_path, source)
        here = place / inside
        here.mkdir(parents=True, exist_ok=True)
        links = [name for name in names if os.path.islink(os.path.join(folder_path, name))]
        names[:] = [
            name
            for name in names
            if name not in links and os.path.normpath(f"{inside}/{name}") not in _LEFT_OUT
        ]
        for name in (*files, *links):
            path = Path(folder_path, name)
            if path.is_symlink():
                (here / name).symlink_to(os.readlink(path))
                continue
            try:
                os.link(path, here / name)
            except OSError:
                shutil.copy2(path, here / name)


def _format(stage: Path, disk: Path) -> None:
    with disk.open("wb") as file:
        file.truncate(DISK_MB << 20)
    command = [_require("mke2fs"), "-q", "-t", "ext4", "-m", "0", "-L", "edge"]
    _tool(*command, "-E", "root_owner=0:0", "-d", str(stage), str(disk))
    if os.geteuid() != 0:
        script = disk.with_name("owners")
        script.write_text("".join(_owners(stage)))
        _tool(_require("debugfs"), "-w", "-f", str(script), str(disk))
        script.unlink()


def _owners(stage: Path) -> Iterator[str]:
    """Yield debugfs(8)'s commands that give every file to root."""
    for path in stage.rglob("*"):
        quoted = str(path.relative_to(stage)).replace('"', '""')
        for kind in ("uid", "gid"):
            yield f'sif "/{quoted}" {kind} 0\n'


def _tool(*command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]
        raise OutputError(
            f"{os.path.basename(command[0])} cannot make {command[-1]}: {said}; see how much room "
            "there is (df), or name another folder by EDGE_SDK_CACHE"
        )
