"""The graph rewrites: one pass per file of this folder, run in the order that they declare.

A pass of one's own imports `Pass`, `Decline` and the words for reading and changing a graph from
here; `examples/your_own_pass.py` is one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import onnx_ir as ir

from converters.passes._graph import (
    bypass,
    constant,
    is_op,
    make,
    needed,
    only_user,
    replace,
    set_constant,
)
from converters.passes.base import Decline, Pass, PassReport, Skip
from device_profiles.errors import ModelError, RequestError
from runtime import plugins

__all__ = [
    "Decline",
    "Pass",
    "PassReport",
    "Skip",
    "bypass",
    "constant",
    "is_op",
    "load",
    "load_path",
    "make",
    "names",
    "needed",
    "only_user",
    "replace",
    "run",
    "set_constant",
]

MAX_ROUNDS = 20


def names() -> list[str]:
    """Return the names of all passes, in the order in which they run."""
    return [one.name for one in _ordered([load(name) for name in plugins.names(__name__)])]


def load(name: str) -> Pass:
    """Return the pass of this folder called `name`; RequestError names the nearest otherwise."""
    return _only_pass(plugins.load(__name__, name))


def load_path(path: Path) -> Pass:
    """Return the pass in the .py file at `path`; RequestError when it does not hold exactly one."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise RequestError(f"no pass file at {path}; give the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RequestError(f"pass file {path} does not import: {error}; mend it") from error
    return _only_pass(module)


def _only_pass(module: ModuleType) -> Pass:
    found = [
        thing
        for thing in vars(module).values()
        if isinstance(thing, type)
        and issubclass(thing, Pass)
        and thing.__module__ == module.__name__
    ]
    if len(found) != 1:
        where = module.__file__ or module.__name__
        raise RequestError(f"{where} defines {len(found)} passes; a pass file defines exactly one")
    return found[0]()


def run(
    model: ir.Model,
    only: Sequence[str] | None = None,
    extra: Sequence[Pass] = (),
) -> list[PassReport]:
    """Rewrite `model` in place until no pass changes anything; return one report per pass.

    `only` limits the passes by name; `extra` adds passes of one's own (see `load_path`). A report
    counts over all rounds; its skips are those of the last one. ModelError when a pass breaks the
    graph or when the passes do not come to rest.
    """
    chosen = [load(name) for name in (plugins.names(__name__) if only is None else only)]
    order = _ordered([*chosen, *extra])
    fired = dict.fromkeys((one.name for one in order), 0)
    for _ in range(MAX_ROUNDS):
        reports = [one(model) for one in order]
        for report in reports:
            fired[report.name] += report.fired
        if not any(report.fired for report in reports):
            return [PassReport(r.name, fired[r.name], r.skips) for r in reports]
    restless = ", ".join(report.name for report in reports if report.fired)
    raise ModelError(f"the passes {restless} still fire after {MAX_ROUNDS} rounds; leave one out")


def _ordered(passes: Sequence[Pass]) -> list[Pass]:
    by_name = {one.name: one for one in passes}
    if len(by_name) != len(passes):
        twice = next(p.name for p in passes if by_name[p.name] is not p)
        raise RequestError(f"two passes are called {twice}; rename one")
    sorter = TopologicalSorter({one.name: set(one.after) & set(by_name) for one in passes})
    order: list[Pass] = []
    try:
        sorter.prepare()
    except CycleError as error:
        raise RequestError(f"the passes {', '.join(error.args[1])} wait for each other") from error
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += [by_name[name] for name in ready]
        sorter.done(*ready)
    return order
