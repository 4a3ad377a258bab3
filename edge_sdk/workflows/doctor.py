"""Workflow: what is wrong with this machine, with the line that mends it."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from edge_sdk.report import Gate, Report, Table
from edge_sdk.workflows.doctor_devices import (
    SYSTEM_SITE,
    look_at_board,
    look_at_cameras,
    look_at_clocks,
    look_at_libcamera,
    look_at_time,
)
from edge_sdk.workflows.doctor_providers import look_at_providers
from edge_sdk.workflows.finding import Finding
from runtime.host import host

# Below this a bundle, its copy and the logs of a device no longer fit comfortably.
LOW_DISK_MB = 500


def doctor(root: Path = Path("/")) -> Report:
    """Look at Python, packages, CPU, cameras, the board below `root` and the disk; a fault is a
    failed gate."""
    findings = [finding for look in _LOOKS for finding in look()]
    findings += [finding for look in _DEVICES for finding in look(root)]
    rows = tuple((f.name, f.level, f.detail, f.remedy) for f in findings)
    faults = [f for f in findings if f.level == "fault"]
    gates = tuple(Gate(f.name, False, f"{f.detail}: {f.remedy}") for f in faults)
    summary = f"{len(faults)} faults in {len(findings)} findings."
    return Report(
        title="Doctor",
        summary=summary,
        tables=(Table("This machine", ("what", "", "found", "what to do"), rows),),
        charts=(),
        gates=gates,
        facts={"findings": [vars(f) for f in findings]},
        notes=(),
    )


def _python() -> list[Finding]:
    found = f"{platform.python_version()} on {platform.platform()}"
    if sys.version_info < (3, 10):  # noqa: UP036 - pip's check can be overridden
        return [Finding("python", "fault", found, "install Python 3.10 or newer")]
    return [Finding("python", "ok", found)]


def _cpu() -> list[Finding]:
    here = host()
    detail = f"{here.arch}, {' '.join(sorted(here.features)) or 'features unknown'}"
    if here.saturates_int8_pairs:
        return [
            Finding(
                "cpu",
                "note",
                f"{detail}; its int8 kernels saturate pairs of products",
                "convert for generic-x86 to run int8 here; others are simulated by `check`",
            )
        ]
    return [Finding("cpu", "ok", detail)]


def _package(name: str, module: str, extra: str, why: str) -> Callable[[], list[Finding]]:
    def look() -> list[Finding]:
        remedy = f"pip install 'edge-sdk[{extra}]'"
        if importlib.util.find_spec(module) is None:
            return [Finding(name, "note", f"not installed ({why})", remedy)]
        if broken := _broken(module):
            return [Finding(name, "fault", f"installed, but does not import: {broken}", remedy)]
        try:
            return [Finding(name, "ok", version(name))]
        except PackageNotFoundError:
            return [Finding(name, "ok", "importable; its version is not known")]

    return look


def _litert() -> list[Finding]:
    why = "runs TFLite artifacts"
    current = _package("ai-edge-litert", "ai_edge_litert", "tflite", why)
    # What the engine takes where LiteRT has no wheels.
    older = _package("tflite-runtime", "tflite_runtime", "tflite", why)
    found = [importlib.util.find_spec(name) for name in ("ai_edge_litert", "tflite_runtime")]
    return older() if found[0] is None and found[1] is not None else current()


def _broken(module: str) -> str:
    """Return why an installed module does not import, on one line; nothing when it does."""
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - whatever a half-installed package raises; reported
        return next(iter(str(error).splitlines()), "") or type(error).__name__
    return ""


def _opencv() -> list[Finding]:
    wheels = sorted(
        {
            name
            for found in distributions()
            if (name := (found.metadata["Name"] or "").lower()).startswith("opencv-")
        }
    )
    if len(wheels) > 1:
        keep = wheels[0]
        return [
            Finding(
                "opencv",
                "fault",
                f"{len(wheels)} wheels overwrite each other: {', '.join(wheels)}",
                f"pip uninstall -y {' '.join(wheels)} && pip install {keep}",
            )
        ]
    if importlib.util.find_spec("cv2") is None:
        remedy = "pip install 'edge-sdk[camera]'"
        return [Finding("opencv", "note", "not installed (cameras, videos, images)", remedy)]
    if broken := _broken("cv2"):
        remedy = "pip install opencv-python-headless, which needs no display libraries"
        return [Finding("opencv", "fault", f"installed, but does not import: {broken}", remedy)]
    cv2 = importlib.import_module("cv2")
    build = cv2.getBuildInformation()
    line = next((text for text in build.splitlines() if "GStreamer:" in text), "")
    if "YES" in line:
        return [Finding("opencv", "ok", f"{cv2.__version__}, with GStreamer")]
    detail = f"{cv2.__version__}, without GStreamer, which csi:// and gst: need"
    remedy = f"for those: sudo apt install python3-opencv; {SYSTEM_SITE}; no wheel of opencv in it"
    return [Finding("opencv", "note", detail, remedy)]


def _providers() -> list[Finding]:
    if importlib.util.find_spec("onnxruntime") is None or _broken("onnxruntime"):
        return []
    return look_at_providers()


def _disk() -> list[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / 2**20
    if free < LOW_DISK_MB:
        return [Finding("disk", "fault", f"{free:.0f} MiB free", "free some space")]
    return [Finding("disk", "ok", f"{free / 1024:.1f} GiB free here")]


_LOOKS: tuple[Callable[[], list[Finding]], ...] = (
    _python,
    _cpu,
    _package("numpy", "numpy", "all", "needed by everything"),
    _package("onnxruntime", "onnxruntime", "onnx", "runs ONNX artifacts"),
    _providers,
    _litert,
    _opencv,
    _package("torch", "torch", "convert", "converts models; not needed on a device"),
    _package("onnx", "onnx", "convert", "converts models; not needed on a device"),
    _disk,
)
_DEVICES: tuple[Callable[[Path], list[Finding]], ...] = (
    look_at_cameras,
    look_at_libcamera,
    look_at_board,
    look_at_clocks,
    look_at_time,
)
