"""Looks at numpy and the engines: installed, importable here, and among the releases that work."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sdk.looks._samples import tflite_sample
from edge_sdk.looks._versions import release, satisfies
from edge_sdk.looks.base import SOFTWARE, Ask, Finding, Scene, Trial

if TYPE_CHECKING:
    from device_profiles.profile import Profile
    from device_profiles.sections import Pin

# What Python says of a module that was compiled against another numpy.
_ABI = re.compile(
    r"compiled using NumPy 1|compiled against (ABI|API) version|_ARRAY_API not found"
    r"|numpy\.\w+ size changed|numpy\.core\.multiarray failed to import"
)
# Packages that bring the module `onnxruntime`; these beside them bring others.
_BESIDE = ("onnxruntime-extensions", "onnxruntime-genai", "onnxruntime-tools")


def _version(module: Any) -> str:
    return str(getattr(module, "__version__", ""))


def _infer(module: Any) -> str:
    """Run a convolution: only there is it seen that this was compiled for another numpy."""
    interpreter = module.Interpreter(model_content=tflite_sample())
    interpreter.allocate_tensors()
    interpreter.invoke()
    return str(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).shape)


@dataclass(frozen=True)
class Wanted:
    """A package: `module` is what is imported to see that it works, `extra` of ours installs it;
    `engine` is the one that it is for, empty where all need it; `ask` is tried on the module."""

    package: str
    module: str
    extra: str
    why: str
    engine: str = ""
    ask: Ask = _version


NUMPY = Wanted("numpy", "numpy", "all", "needed by everything")
_TFLITE = "runs TFLite artifacts"
RUNTIMES = (
    Wanted("onnxruntime", "onnxruntime", "onnx", "runs ONNX artifacts", "onnxruntime"),
    Wanted(
        "ai-edge-litert",
        "ai_edge_litert.interpreter",
        "tflite",
        "runs TFLite artifacts",
        "litert",
        _infer,
    ),
    # What the engine takes where LiteRT has no wheels.
    Wanted(
        "tflite-runtime",
        "tflite_runtime.interpreter",
        "tflite",
        "runs TFLite artifacts",
        "litert",
        _infer,
    ),
)


def look_at_numpy(scene: Scene) -> list[Finding]:
    """Import numpy."""
    return [_look(scene, NUMPY)]


def look_at_engines(scene: Scene) -> list[Finding]:
    """Import what the engines run on: of those that the profile has, or of all."""
    rungs = {rung.engine for rung in scene.profile.engines} if scene.profile else None
    found = []
    for engine in dict.fromkeys(wanted.engine for wanted in RUNTIMES):
        looked = [(w, _look(scene, w)) for w in RUNTIMES if w.engine == engine]
        # One package is enough for an engine; where none is there, the first is missed.
        there = [finding for _, finding in looked if not finding.detail.startswith(_ABSENT)]
        missed = [looked[0][1]] if rungs is None or engine in rungs else []
        found += there or missed
    return found


_ABSENT = "not installed"


def _look(scene: Scene, wanted: Wanted) -> Finding:
    trial = scene.attempt(wanted.module, wanted.ask)
    remedy = install(scene, wanted)
    if not trial.found:
        level = "note" if wanted.engine else "fault"
        return Finding(wanted.package, level, f"{_ABSENT} ({wanted.why})", remedy)
    if trial.failure:
        return broken(scene, wanted.package, trial)
    # Other builds of it, for a GPU say, are packages of other names with the same module.
    brought = [name for name in scene.packages if name.startswith(wanted.package)]
    version = scene.version(wanted.package, *brought)
    return Finding(wanted.package, "ok", version or "importable; its version is not known")


def install(scene: Scene, wanted: Wanted) -> str:
    """Return the line that installs a package on the machine of `scene`."""
    pins = ",".join(p.specifier for p in _pins(scene.profile) if p.package == wanted.package)
    if "edge-sdk" in scene.packages and not pins and not scene.emulated:
        return f"pip install 'edge-sdk[{wanted.extra}]'"
    return installing(scene, wanted.package, pins)


def installing(scene: Scene, package: str, specifier: str = "") -> str:
    """Return the line that installs a release of a package on the machine of `scene`."""
    if scene.emulated:
        return f"write {package}{specifier} into the lock: --on emulated:PROFILE,lock=FILE"
    return f"pip install '{package}{specifier}'"


def broken(scene: Scene, package: str, trial: Trial, remedy: str = "") -> Finding:
    """Return the finding of a package whose import failed: for numpy's sake, by a crash, for want
    of a library, or else; `remedy` is for the last."""
    have = scene.version(NUMPY.package)
    abi = package != NUMPY.package and (_ABI.search(trial.words) or _ABI.search(trial.failure))
    if have and abi:
        built, other = ("1", "<2") if release(have) >= (2,) else ("2", ">=2")
        detail = f"compiled for numpy {built}, beside numpy {have}: it does not work"
        return Finding(package, "fault", detail, installing(scene, NUMPY.package, other))
    if trial.signal is not None:
        version = scene.version(package) or "installed"
        detail = f"{version}: {trial.failure}"
        return Finding(package, "fault", detail, _other(scene, package))
    lacking = re.search(r"(lib[\w.+-]+?\.so[\d.]*): cannot open shared object", trial.failure)
    if lacking and lacking[1] in _LIBRARIES:
        remedy = f"sudo apt-get install {_LIBRARIES[lacking[1]]}"
    elif not remedy:
        remedy = f"pip install --force-reinstall --no-cache-dir {package}"
    return Finding(package, "fault", f"installed, but does not work: {trial.failure}", remedy)


# Debian's packages of libraries that wheels expect of the system; piwheels.org's do of more.
_LIBRARIES = {
    "libatomic.so.1": "libatomic1",
    "libgfortran.so.5": "libgfortran5",
    "libgomp.so.1": "libgomp1",
    "libopenblas.so.0": "libopenblas0",
    "libstdc++.so.6": "libstdc++6",
}


def _other(scene: Scene, package: str) -> str:
    pins = [p.specifier for p in _candidates(scene)[1] if p.package == package]
    version = scene.version(package)
    return installing(scene, package, ",".join(pins) or (f"!={version}" if version else ""))


def look_at_two_onnxruntimes(scene: Scene) -> list[Finding]:
    """Find packages that write into the same folder: what is imported is a mixture."""
    both = sorted(
        name
        for name in scene.packages
        if re.fullmatch(r"onnxruntime(-\w+)*", name) and not name.startswith(_BESIDE)
    )
    if len(both) < 2:
        return []
    keep = next(name for name in reversed(both))  # the one for the accelerator has the CPU as well
    remedy = f"pip uninstall -y {' '.join(both)} && pip install {keep}"
    detail = f"{len(both)} packages overwrite each other: {', '.join(both)}"
    return [Finding("onnxruntime", "fault", detail, remedy)]


def look_at_pins(scene: Scene) -> list[Finding]:
    """Find releases that are known not to do on this device, by the profile that was named, or by
    what the profiles of its CPU have in common."""
    whose, pins = _candidates(scene)
    found = []
    for pin in pins:
        have = scene.version(pin.package)
        if have is None or satisfies(have, pin.specifier):
            continue
        detail = f"{have}; {whose} wants {pin.specifier}: {pin.reason}"
        level = "fault" if scene.profile else "note"
        remedy = installing(scene, pin.package, pin.specifier)
        found.append(Finding(pin.package, level, detail, remedy))
    return found


def _pins(profile: Profile | None) -> tuple[Pin, ...]:
    return profile.software.pins if profile else ()


def _candidates(scene: Scene) -> tuple[str, tuple[Pin, ...]]:
    """Return whose pins count here, and the pins."""
    if scene.profile:
        return scene.profile.name, _pins(scene.profile)
    cores = _cores(scene.root / "proc/cpuinfo")
    if not cores:
        return "", ()
    try:
        from device_profiles.profile import load, names
    except ImportError:  # of tomli, on Python 3.10; its own look says so
        return "", ()
    alike = [profile for profile in map(load, names()) if _has(profile) == cores]
    pins = _pins(alike[0]) if alike else ()
    common = tuple(pin for pin in pins if all(pin in _pins(profile) for profile in alike))
    return " and ".join(profile.name for profile in alike), common


def _has(profile: Profile) -> set[tuple[str, str]]:
    return {(c.implementer, c.part) for c in profile.hardware.clusters if c.implementer and c.part}


def _cores(cpuinfo: Path) -> set[tuple[str, str]]:
    """Return the kinds of Arm cores in a /proc/cpuinfo: implementer and part."""
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return set()
    found = (re.findall(rf"^CPU {key}\s*: (\S+)", text, re.MULTILINE) for key in _IDS)
    return set(zip(*found))  # noqa: B905 - the lines come in pairs


_IDS = ("implementer", "part")


def look_at_tomli(scene: Scene) -> list[Finding]:
    """Python has read profiles by itself since 3.11."""
    if sys.version_info >= (3, 11) or "tomli" in scene.packages:
        return []
    return [Finding("tomli", "fault", "not installed (reads profiles)", "pip install tomli")]


OF = SOFTWARE
LOOKS = (
    look_at_numpy,
    look_at_engines,
    look_at_two_onnxruntimes,
    look_at_pins,
    look_at_tomli,
)
