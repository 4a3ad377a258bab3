"""Looks at execution providers: those that are listed, tried out one by one."""

from __future__ import annotations

import json
from typing import Any

from edge_sdk.looks._samples import onnx_sample
from edge_sdk.looks.base import SOFTWARE, Finding, Scene

_ENGINE = "runtime.engines.onnxruntime"


def look_at_providers(scene: Scene) -> list[Finding]:
    """List what onnxruntime was built with, and run a model on each of ours.

    A list is no proof: a provider whose driver is missing falls back to the CPU without a word.
    Each is tried in a process of its own, which it may crash or hang.
    """
    trial = scene.attempt(_ENGINE, _listed)
    if not trial.found or trial.failure:  # onnxruntime's own look says so
        return []
    listed, ours = json.loads(trial.answer)
    names = ", ".join(name.removesuffix("ExecutionProvider") for name in listed)
    found = [Finding("providers", "ok", f"onnxruntime lists {names}")]
    return found + [_try(scene, provider) for provider in ours]


def _listed(engine: Any) -> str:
    """Return, as JSON, what onnxruntime lists and which of it we can ask for."""
    import onnxruntime

    built = onnxruntime.get_available_providers()
    return json.dumps(
        [built, [o for o, (theirs, _) in engine.PROVIDERS.items() if theirs in built]]
    )


def _try(scene: Scene, provider: str) -> Finding:
    name = f"provider {provider}"
    trial = scene.attempt(_ENGINE, lambda engine: _run(engine, provider))
    if not trial.failure:
        return Finding(name, "ok", "ran a convolution")
    if provider == "cpu":
        remedy = (
            "pip install --force-reinstall --no-cache-dir onnxruntime, or another release of it"
        )
        return Finding(name, "fault", f"does not run: {trial.failure}", remedy)
    remedy = (
        "install the driver and libraries that this onnxruntime was built for, or a build "
        f"without {provider}: pip uninstall -y onnxruntime-gpu && pip install onnxruntime"
    )
    return Finding(name, "fault", f"listed, but does not run: {trial.failure}", remedy)


def _run(engine: Any, provider: str) -> str:
    from runtime.engines import EngineOptions
    from runtime.engines._check import sample_inputs

    opened = engine.open_engine(onnx_sample(), EngineOptions(provider, threads=1, alone=True))
    opened.run(sample_inputs(opened.inputs))
    return "ran"


OF = SOFTWARE
LOOKS = (look_at_providers,)
