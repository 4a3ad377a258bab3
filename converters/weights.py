"""Trained weights into a torch module, with an error that names the first keys that do not fit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from device_profiles.errors import WeightsError, missing

_WRAPPERS = ("state_dict", "model_state_dict", "model")
# What nn.DataParallel and torch.compile put before every key.
_PREFIXES = ("module.", "_orig_mod.")


def load_weights(module: Any, path: Path) -> str:
    """Load `path` (.safetensors, or .pth/.pt read with `weights_only=True`) into `module`.

    Returns the file's SHA-256 in hex. Raises WeightsError when the file cannot be read, holds
    something other than tensors, or does not match the module's state dict exactly, in which case
    the module stays as it is; MissingError without torch or safetensors.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(
            f"weights {path} cannot be read: {error.strerror}; give a .safetensors or .pth file"
        ) from error
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    wanted = module.state_dict()
    state = _unprefixed(state, wanted)
    _match(state, wanted, path)
    module.load_state_dict(state)
    return digest


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise missing("safetensors", "convert") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(
            f"weights {path} are not a whole .safetensors file ({error}); fetch them again"
        ) from error


def _read_pickle(path: Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        raise missing("torch", "convert") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        raise WeightsError(
            f"weights {path} cannot be read with weights_only=True (code in weights is never run); "
            "fetch them again, or save the state dict alone: torch.save(model.state_dict(), ...)"
        ) from error
    for key in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"weights {path} hold no state dict of tensors; save model.state_dict()")
    return state


def _unprefixed(state: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    for prefix in _PREFIXES:
        # The architecture may itself have a part of that name.
        if not wanted.keys() & state.keys() and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _match(state: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    # BatchNorm's step counter is not a weight, and older files lack it.
    for key, tensor in wanted.items():
        if key.endswith("num_batches_tracked"):
            state.setdefault(key, tensor)
    lacking = [key for key in wanted if key not in state]
    extra = [key for key in state if key not in wanted]
    misfit = f"weights {path} do not fit the architecture"
    remedy = "choose the factory that these weights were trained with"
    if lacking or extra:
        raise WeightsError(
            f"{misfit}: {_first('missing', lacking)}; {_first('unexpected', extra)}; {remedy}"
        )
    for key, tensor in wanted.items():
        found = state[key]
        if found.shape != tensor.shape:
            raise WeightsError(
                f"{misfit}: {key} is {tuple(found.shape)}, the model has {tuple(tensor.shape)}; "
                f"{remedy}"
            )
        if tensor.is_floating_point() and not found.is_floating_point():
            raise WeightsError(
                f"{misfit}: {key} is {found.dtype}, the model has {tensor.dtype}; "
                "give the float weights"
            )


def _first(what: str, keys: list[str]) -> str:
    return f"{len(keys)} {what} (first: {keys[0]})" if keys else f"0 {what}"
