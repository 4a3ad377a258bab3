"""Looks at cameras: what V4L2 has, who may open it and who holds it, and libcamera."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import re
import struct
from pathlib import Path

from edge_sdk.looks.base import MACHINE, Finding, Scene
from edge_sdk.looks.packages import Wanted, broken
from runtime.sysfs import Sysfs

SYSTEM_PACKAGES = "usr/lib/python3/dist-packages"
"""Where Debian keeps what its own Python sees, and a virtual environment does not."""

SYSTEM_SITE = "python3 -m venv --system-site-packages VENV"

# linux/videodev2.h: _IOR('V', 0, struct v4l2_capability), its size, and flags of it.
_QUERYCAP = 0x80685600
_CAPABILITY = struct.Struct("16s32s32sIII12x")
_CAPTURES = 0x1 | 0x1000  # V4L2_CAP_VIDEO_CAPTURE, and the same with several planes
_DEVICE_CAPS = 0x80000000
# What libcamera opens beside the nodes of the camera.
_OF_LIBCAMERA = ("dev/media[0-9]*", "dev/dma_heap/*")


def look_at_cameras(scene: Scene) -> list[Finding]:
    """Find the V4L2 nodes, what they are, and whether this user may open them."""
    files = Sysfs(scene.root)
    nodes = [Path(path) for path in files.find("dev/video[0-9]*")]
    known = files.find("sys/class/video4linux/video[0-9]*")
    if not nodes and known:
        names = ", ".join(filter(None, (files.text(f"{path}/name") for path in known)))
        remedy = "start the container with --device /dev/video0 (and so on), or mount /dev"
        return [Finding("camera", "fault", f"the kernel has {names}, but /dev has no node", remedy)]
    if not nodes:
        return [Finding("camera", "note", "no /dev/video*", "plug a camera in, or use a file")]
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        names = ", ".join(f"/dev/{node.name}" for node in closed)
        return [Finding("camera", "fault", f"no permission for {names}", _admission(closed[0]))]
    cameras = [node for node in nodes if _captures(node)]
    others = f"{len(nodes) - len(cameras)} more that give no frames"
    if not cameras:
        told = ", ".join(f"/dev/{node.name}{_named(files, node.name)}" for node in nodes[:3])
        detail = f"{len(nodes)} nodes, and none gives frames (codecs and the like: {told})"
        remedy = "plug a camera in; one on the CSI connector of a Raspberry Pi is picamera://0"
        return [Finding("camera", "note", detail, remedy)]
    detail = ", ".join(f"/dev/{node.name}{_named(files, node.name)}" for node in cameras)
    return [
        Finding("camera", "ok", detail + (f"; {others}" if len(cameras) < len(nodes) else "")),
        *_held(scene, cameras),
    ]


def _named(files: Sysfs, node: str) -> str:
    name = files.text(f"sys/class/video4linux/{node}/name")
    return f" ({name})" if name else ""


def _captures(node: Path) -> bool:
    """Whether a node gives frames; one that does not answer may."""
    found = capabilities(node)
    return found is None or bool(found & _CAPTURES)


def capabilities(node: Path) -> int | None:
    """Return what a V4L2 node can do (VIDIOC_QUERYCAP); None where it does not tell."""
    answer = bytearray(_CAPABILITY.size)
    try:
        device = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.ioctl(device, _QUERYCAP, answer)
    except OSError:
        return None
    finally:
        os.close(device)
    *_, driver, node_alone = _CAPABILITY.unpack(answer)
    return int(node_alone if driver & _DEVICE_CAPS else driver)


def _held(scene: Scene, cameras: list[Path]) -> list[Finding]:
    """Find programs that have a camera open: only one can have frames of it."""
    nodes = {f"/dev/{node.name}" for node in cameras}
    found: dict[tuple[str, int], None] = {}
    for process in scene.root.glob("proc/[0-9]*"):
        with contextlib.suppress(OSError):  # it ended, or is another user's
            for file in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if (node := os.readlink(file)) in nodes:
                        found[node, int(process.name)] = None
    files = Sysfs(scene.root)
    return [
        Finding(
            "camera in use",
            "note",
            f"{node} is open in {files.text(f'proc/{number}/comm') or 'a program'} ({number})",
            f"end that program before you use the camera: kill {number}",
        )
        for node, number in found
    ]


def _admission(node: Path) -> str:
    """Return what lets this user open a node: to be in its group, or to log in as one who is."""
    try:
        group = grp.getgrgid(node.stat().st_gid)
        user = pwd.getpwuid(os.getuid()).pw_name
    except (KeyError, OSError):  # a container knows neither the groups nor the users outside
        return "start the container with --group-add video, or as a user who may"
    if user in group.gr_mem:
        return f"log in again: you are in the group {group.gr_name}, this session is not yet"
    return f"sudo usermod -aG {group.gr_name} {user}, then log in again"


def look_at_libcamera(scene: Scene) -> list[Finding]:
    """Say whether picamera2 is installed for the system's Python, visible here, and importable."""
    system = scene.root / SYSTEM_PACKAGES
    trial = scene.attempt("picamera2", lambda module: str(getattr(module, "__version__", "")))
    if trial.found and trial.failure:
        remedy = f"make the environment with the system's own Python: /usr/bin/{SYSTEM_SITE}"
        return [broken(scene, _PICAMERA.package, trial, remedy)]
    if trial.found:
        return [Finding("picamera2", "ok", "visible"), *_closed_to_libcamera(scene)]
    if (system / "picamera2").exists():
        detail = "installed for the system's Python, not visible in this environment"
        return [Finding("picamera2", "note", detail, SYSTEM_SITE)]
    if (system / "libcamera").exists():
        detail = "libcamera is there without picamera2, which picamera:// needs"
        return [Finding("picamera2", "note", detail, "sudo apt install python3-picamera2")]
    wanted = scene.profile.camera.source if scene.profile else ""
    if re.match(r"picamera\b", wanted):
        detail = f"not installed, and the profile's camera is {wanted}"
        return [Finding("picamera2", "note", detail, "sudo apt install python3-picamera2")]
    return []


_PICAMERA = Wanted("picamera2", "picamera2", "camera", "CSI cameras of a Raspberry Pi", "picamera2")


def _closed_to_libcamera(scene: Scene) -> list[Finding]:
    nodes = [Path(path) for kind in _OF_LIBCAMERA for path in Sysfs(scene.root).find(kind)]
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if not closed:
        return []
    names = ", ".join(f"/{node.relative_to(scene.root)}" for node in closed)
    return [Finding("libcamera", "fault", f"no permission for {names}", _admission(closed[0]))]


OF = MACHINE
LOOKS = (look_at_cameras, look_at_libcamera)
