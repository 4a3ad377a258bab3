"""Workflow: what is wrong with this machine, with the line that mends it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from edge_sdk.report import Gate, Report, Table
from runtime.host import host

# Below this a bundle, its copy and the logs of a device no longer fit comfortably.
LOW_DISK_MB = 500


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `level` is `ok`, `note` or `fault`; `remedy` mends it."""

    name: str
    level: str
    detail: str
    remedy: str = ""


def doctor() -> Report:
    """Look at Python, packages, CPU, camera and disk; a fault is a failed gate."""
    findings = [finding for look in _LOOKS for finding in look()]
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
    streams = "with GStreamer" if "YES" in line else "without GStreamer"
    return [Finding("opencv", "ok", f"{cv2.__version__}, {streams}")]


def _providers() -> list[Finding]:
    if importlib.util.find_spec("onnxruntime") is None or _broken("onnxruntime"):
        return []
    names = importlib.import_module("onnxruntime").get_available_providers()
    detail = ", ".join(name.removesuffix("ExecutionProvider") for name in names)
    return [Finding("providers", "note", f"compiled in: {detail}; a list, not a proof",
                    "edge-sdk bench BUNDLE opens each for real")]  # fmt: skip


def _cameras() -> list[Finding]:
    devices = sorted(Path("/dev").glob("video*"))
    if not devices:
        return [Finding("camera", "note", "no /dev/video*", "plug a camera in, or use a file")]
    closed = [str(d) for d in devices if not os.access(d, os.R_OK | os.W_OK)]
    if closed:
        remedy = "sudo usermod -aG video $USER, then log in again"
        return [Finding("camera", "fault", f"no permission for {', '.join(closed)}", remedy)]
    return [Finding("camera", "ok", ", ".join(map(str, devices)))]


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
    _cameras,
    _disk,
)
