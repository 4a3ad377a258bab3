"""`path/to/file.py:factory` and `package.module:factory`: a function that returns a torch module."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from converters.capture import Captured, capture_module, example_for, first_line
from converters.loaders.base import LoadOptions
from converters.weights import load_weights
from device_profiles.errors import EdgeError, ModelError
from device_profiles.nearest import hint

_DOTTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


def accepts(spec: str) -> bool:
    """Tell whether `spec` is FILE.py:FUNCTION or MODULE:FUNCTION."""
    path, _, function = spec.rpartition(":")
    return function.isidentifier() and (path.endswith(".py") or _is_module(spec))


def _is_module(spec: str) -> bool:
    # A prefix such as `zoo:` belongs to another loader; a module that is meant has a dot in its
    # name or can be found.
    return bool(_DOTTED.match(spec)) and "." in spec.partition(":")[0]


def load_model(spec: str, options: LoadOptions) -> Captured:
    """Import the file or module, call the factory, load the weights, capture the module."""
    path, _, function = spec.rpartition(":")
    module = _import_file(Path(path)) if path.endswith(".py") else _import_module(path)
    factory = getattr(module, function, None)
    if not callable(factory):
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise ModelError(f"{path} has no function {function!r}; {hint(function, public)}")
    return capture_factory(factory, spec, function, options)


def capture_factory(factory: Any, spec: str, name: str, options: LoadOptions) -> Captured:
    """Call `factory` without arguments, load the weights asked for, and capture its module."""
    try:
        net = factory()
    except EdgeError:
        raise
    except Exception as error:
        raise ModelError(f"{spec} failed when called: {first_line(error)}") from error
    if not callable(getattr(net, "state_dict", None)):
        raise ModelError(f"{spec} returned {type(net).__name__}, not a torch.nn.Module")
    origin: dict[str, Any] = {"model": name}
    if options.weights:
        origin["weights_sha256"] = load_weights(net, options.weights)
    contract = options.contract(getattr(net, "input_contract", None))
    captured = capture_module(net, example_for(contract, spec), name, origin)
    return dataclasses.replace(captured, contract=contract)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(f"edge_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    # dataclasses and pickling look a module up by its name while it runs.
    sys.modules[spec.name] = module
    # A model file may import its neighbours, as it does where it was trained.
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise ModelError(f"{path} failed on import: {first_line(error)}") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelError(f"module {name} cannot be imported: {first_line(error)}") from error
