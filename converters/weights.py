"""Trained weights into a torch module, with an error that names the first keys that do not fit."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

from device_profiles.errors import WeightsError

_WRAPPERS = ("state_dict", "model_state_dict", "model")


def load_weights(module: Any, path: Path) -> str:
    """Load `path` (.safetensors, or .pth/.pt read with `weights_only=True`) into `module`.

    Returns the file's SHA-256 in hex. Raises WeightsError when the file cannot be read, holds
    something other than tensors, or does not match the module's state dict exactly.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"weights {path} cannot be read: {error.strerror}") from error
    state = _read(path)
    _match(module, state, path)
    module.load_state_dict(state)
    return digest


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_pickle(path)


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(
            f"weights {path} are not a whole .safetensors file ({error}); fetch them again"
        ) from error


def _read_pickle(path: Path) -> dict[str, Any]:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise WeightsError(
            f"weights {path} cannot be read with weights_only=True (code in weights is never run); "
            "save the state dict alone: torch.save(model.state_dict(), ...)"
        ) from error
    for key in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"weights {path} hold no state dict of tensors; save model.state_dict()")
    # nn.DataParallel puts "module." before every key.
    return {key.removeprefix("module."): value for key, value in state.items()}


def _match(module: Any, state: dict[str, Any], path: Path) -> None:
    wanted = module.state_dict()
    # BatchNorm's step counter is not a weight, and older files lack it.
    for key in wanted.keys() - state.keys():
        if key.endswith("num_batches_tracked"):
            state[key] = wanted[key]
    lacking = [key for key in wanted if key not in state]
    extra = [key for key in state if key not in wanted]
    if lacking or extra:
        raise WeightsError(
            f"weights {path} do not fit the architecture: {_first('missing', lacking)}; "
            f"{_first('unexpected', extra)}; choose the factory that these weights were trained with"
        )
    for key, tensor in wanted.items():
        if state[key].shape != tensor.shape:
            raise WeightsError(
                f"weights {path} do not fit the architecture: {key} is "
                f"{tuple(state[key].shape)}, the model has {tuple(tensor.shape)}"
            )


def _first(what: str, keys: list[str]) -> str:
    return f"{len(keys)} {what} (first: {keys[0]})" if keys else f"0 {what}"
