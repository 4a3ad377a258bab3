"""Looks at OpenCV: one copy of it, that imports, with what cameras and streams need."""

from __future__ import annotations

import re
from typing import Any

from edge_sdk.looks.base import SOFTWARE, Finding, Scene
from edge_sdk.looks.camera import SYSTEM_PACKAGES, SYSTEM_SITE
from edge_sdk.looks.packages import Wanted, broken, install
from runtime.sysfs import Sysfs

_WANTED = Wanted("opencv-python-headless", "cv2", "camera", "cameras, videos, images", "opencv")
_ABLE = re.compile(r"^\s*(FFMPEG|GStreamer|v4l/v4l2|GUI|GTK\+?|QT5?):[ \t]*(\S+)", re.MULTILINE)


def look_at_wheels(scene: Scene) -> list[Finding]:
    """Find two wheels that write into one folder, and a wheel that hides the system's OpenCV."""
    wheels = [name for name in sorted(scene.packages) if name.startswith("opencv-")]
    if len(wheels) > 1:
        detail = f"{len(wheels)} wheels overwrite each other: {', '.join(wheels)}"
        remedy = f"pip uninstall -y {' '.join(wheels)} && pip install {wheels[0]}"
        return [Finding("opencv", "fault", detail, remedy)]
    system = Sysfs(scene.root).find(f"{SYSTEM_PACKAGES}/cv2*")
    if wheels and system and not scene.packages[wheels[0]].folder.endswith("dist-packages"):
        detail = f"{wheels[0]} stands beside the system's python3-opencv: which one is imported "
        detail += "depends on the environment, and the wheel has no GStreamer"
        remedy = f"keep one; for csi:// and gst: pip uninstall -y {wheels[0]}, and {SYSTEM_SITE}"
        return [Finding("opencv", "note", detail, remedy)]
    return []


def look_at_build(scene: Scene) -> list[Finding]:
    """Say what OpenCV was built with."""
    trial = scene.attempt("cv2", _told)
    if not trial.found:
        detail = f"not installed ({_WANTED.why})"
        return [Finding("opencv", "note", detail, install(scene, _WANTED))]
    if trial.failure:
        wheel = next((n for n in scene.packages if n.startswith("opencv-")), _WANTED.package)
        headless = "pip install opencv-python-headless, which needs no display libraries"
        found = broken(scene, wheel, trial, headless)
        return [Finding("opencv", found.level, found.detail, found.remedy)]
    version, _, build = trial.answer.partition("\n")
    able = {key: value not in ("NO", "NONE") for key, value in _ABLE.findall(build)}
    gui = any(able.get(key) for key in able if key not in _MEDIA)
    parts = [_MEDIA[key] if able.get(key) else f"no {_MEDIA[key]}" for key in _MEDIA]
    detail = f"{version}: {', '.join(parts)}, {'windows' if gui else 'no windows'}"
    if not able.get("FFMPEG") and not able.get("GStreamer"):
        remedy = install(scene, _WANTED)
        return [Finding("opencv", "fault", f"{detail}: it reads no videos and streams", remedy)]
    if not able.get("GStreamer") and scene.emulated:  # no camera there either
        return [Finding("opencv", "ok", detail)]
    if not able.get("GStreamer"):
        remedy = f"for csi:// and gst: sudo apt install python3-opencv; {SYSTEM_SITE}; no wheel "
        return [Finding("opencv", "note", detail, f"{remedy}of opencv in it")]
    return [Finding("opencv", "ok", detail)]


_MEDIA = {"FFMPEG": "FFmpeg", "GStreamer": "GStreamer", "v4l/v4l2": "V4L2"}


def _told(cv2: Any) -> str:
    return f"{cv2.__version__}\n{cv2.getBuildInformation()}"


OF = SOFTWARE
LOOKS = (look_at_wheels, look_at_build)
