"""Edge SDK: from a trained CNN to a camera on a real device, with proof at every step.

Everything that programs need is here; nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.capture import Captured, capture
    from device_profiles.errors import EdgeError
    from device_profiles.profile import Profile
    from device_profiles.profile import load as load_profile
    from device_profiles.profile import names as profile_names
    from edge_sdk.report import Report
    from edge_sdk.workflows.bench import bench
    from edge_sdk.workflows.bench_options import BenchOptions
    from edge_sdk.workflows.check import check
    from edge_sdk.workflows.check_options import CheckOptions
    from edge_sdk.workflows.convert import Conversion, convert
    from edge_sdk.workflows.convert_options import ConvertOptions
    from edge_sdk.workflows.deployed import rollback
    from edge_sdk.workflows.doctor import doctor
    from edge_sdk.workflows.flash import flash
    from edge_sdk.workflows.flash_options import FlashOptions
    from edge_sdk.workflows.run import RunOptions, open_pipeline
    from runtime.bundle import Bundle, open_bundle
    from runtime.contract import InputContract
    from runtime.model_file import FileOptions
    from runtime.pipeline import Pipeline

# Public name -> the module that has it, and its name there.
_HOMES = {
    "BenchOptions": ("edge_sdk.workflows.bench_options", "BenchOptions"),
    "Bundle": ("runtime.bundle", "Bundle"),
    "Captured": ("converters.capture", "Captured"),
    "CheckOptions": ("edge_sdk.workflows.check_options", "CheckOptions"),
    "Conversion": ("edge_sdk.workflows.convert", "Conversion"),
    "ConvertOptions": ("edge_sdk.workflows.convert_options", "ConvertOptions"),
    "EdgeError": ("device_profiles.errors", "EdgeError"),
    "FileOptions": ("runtime.model_file", "FileOptions"),
    "FlashOptions": ("edge_sdk.workflows.flash_options", "FlashOptions"),
    "InputContract": ("runtime.contract", "InputContract"),
    "Pipeline": ("runtime.pipeline", "Pipeline"),
    "Profile": ("device_profiles.profile", "Profile"),
    "Report": ("edge_sdk.report", "Report"),
    "RunOptions": ("edge_sdk.workflows.run", "RunOptions"),
    "bench": ("edge_sdk.workflows.bench", "bench"),
    "capture": ("converters.capture", "capture"),
    "check": ("edge_sdk.workflows.check", "check"),
    "convert": ("edge_sdk.workflows.convert", "convert"),
    "doctor": ("edge_sdk.workflows.doctor", "doctor"),
    "flash": ("edge_sdk.workflows.flash", "flash"),
    "load_profile": ("device_profiles.profile", "load"),
    "open_bundle": ("runtime.bundle", "open_bundle"),
    "open_pipeline": ("edge_sdk.workflows.run", "open_pipeline"),
    "profile_names": ("device_profiles.profile", "names"),
    "rollback": ("edge_sdk.workflows.deployed", "rollback"),
}

__all__ = [
    "BenchOptions",
    "Bundle",
    "Captured",
    "CheckOptions",
    "Conversion",
    "ConvertOptions",
    "EdgeError",
    "FileOptions",
    "FlashOptions",
    "InputContract",
    "Pipeline",
    "Profile",
    "Report",
    "RunOptions",
    "bench",
    "capture",
    "check",
    "convert",
    "doctor",
    "flash",
    "load_profile",
    "open_bundle",
    "open_pipeline",
    "profile_names",
    "rollback",
]


def _guard() -> None:
    """Raise ImportError when a sibling package of a common name is somebody else's.

    `converters`, `runtime` and `device_profiles` are names that other projects use too.
    """
    home = Path(__file__).resolve().parent.parent
    for name in ("converters", "runtime", "device_profiles"):
        spec = importlib.util.find_spec(name)
        places = (
            [Path(p).resolve() for p in (spec.submodule_search_locations or [])] if spec else []
        )
        if spec is not None and places[:1] != [home / name]:
            found = spec.origin or (places[0] if places else name)
            raise ImportError(
                f"edge_sdk needs its own package {name!r} in {home}, but Python finds {found}; "
                "rename that one, or run from another folder or virtual environment"
            )


_guard()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edge_sdk' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    globals()[name] = value = getattr(importlib.import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
