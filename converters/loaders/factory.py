"""`path/to/file.py:factory`, `package.module:factory`: a function that returns a torch module."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from converters.capture import (
    Captured,
    capture_module,
    evaluating,
    example_for,
    first_line,
    stated_contract,
)
from converters.loaders.base import LoadOptions
from converters.weights import load_weights
from device_profiles.errors import EdgeError, ModelError
from device_profiles.nearest import hint

# A module has a dot in its name here, since `zoo:` and the like belong to other loaders.
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.\w+)+$")


def accepts(spec: str) -> bool:
    """Tell whether `spec` is FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION."""
    path, _, function = spec.rpartition(":")
    return function.isidentifier() and (path.endswith(".py") or bool(_DOTTED.match(path)))


def load_model(spec: str, options: LoadOptions) -> Captured:
    """Import the file or module, call the factory, load the weights, capture the module."""
    path, _, function = spec.rpartition(":")
    is_file = path.endswith(".py")
    # A model file may import its neighbours, as it does where it was trained; a module may lie in
    # the working folder, which an installed command does not search.
    with _searching(Path(path).parent if is_file else Path.cwd()):
        module = _import_file(Path(path)) if is_file else _import_module(path)
        factory = getattr(module, function, None)
        if not callable(factory):
            public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
            known = hint(function, public) if public else "it defines none"
            raise ModelError(f"{path} has no function {function!r}; {known}")
        return capture_factory(factory, spec, function, options)


def capture_factory(factory: Any, spec: str, name: str, options: LoadOptions) -> Captured:
    """Call `factory` without arguments, load the weights asked for, and capture its module."""
    try:
        net = factory()
    except EdgeError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"{spec} failed when called without arguments: {_what(error)}; mend it and try again"
        ) from error
    net = evaluating(net, f"{spec} returned")
    origin: dict[str, Any] = {"model": name}
    if options.weights is None and getattr(net, "needs_weights", False):
        raise ModelError(
            f"{spec} is an architecture with random weights; say which it was trained to, with "
            "--weights F (.safetensors or .pth)"
        )
    if options.weights:
        origin["weights_sha256"] = load_weights(net, options.weights)
    contract = options.contract(stated_contract(net, spec))
    captured = capture_module(net, example_for(contract, spec), name, origin)
    return dataclasses.replace(captured, contract=contract)


@contextlib.contextmanager
def _searching(folder: Path) -> Iterator[None]:
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the model's own code may have removed it
            sys.path.remove(place)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"{path}: no such file; give the path of the file with the factory")
    name = f"edge_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    # dataclasses and pickling look a module up by its name while it runs.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise ModelError(f"{path} failed on import: {_what(error)}; mend the file") from error
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"module {name} cannot be imported: {_what(error)}; install it, or give file.py:factory"
        ) from error


def _what(error: BaseException) -> str:
    # A script without a main guard leaves by SystemExit, whose text is only a number.
    if isinstance(error, SystemExit):
        return f"it left the program by SystemExit({error.code!r})"
    return f"{type(error).__name__}: {first_line(error)}"
