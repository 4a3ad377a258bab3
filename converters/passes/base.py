"""Pass: one graph rewrite that declares what it needs, checks what it did and says why it did not.

A pass is one file with one class; the file's name is the pass's name. It visits every node and
for each returns True (rewritten), False (not a candidate) or raises `Decline` with the reason why
a candidate was left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from device_profiles.errors import ModelError

MIN_OPSET = 11  # before it Clip and Pad keep their numbers in attributes


class Decline(Exception):
    """Raised by `Pass.rewrite` when a candidate is left alone; the text is the reason."""


@dataclass(frozen=True)
class Skip:
    """A candidate `node` (its name) that a pass left alone, and the reason."""

    node: str
    reason: str


@dataclass(frozen=True)
class PassReport:
    """How often the pass `name` fired, and which candidates it left alone at the end."""

    name: str
    fired: int
    skips: tuple[Skip, ...] = ()


class Pass:
    """Base of every pass; calling one rewrites a model in place and returns a `PassReport`.

    `after` names the passes that should run first. Subclasses give `rewrite` (per node) or `apply`
    (whole model), and may raise ModelError from `requires` and `ensures`. After every pass the
    base checks that the model's inputs and outputs are as they were, that each value is made
    before it is used and that nothing dangles; ModelError names the pass otherwise.
    """

    name: ClassVar[str]
    after: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        """Name the pass after its file."""
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__module__.rpartition(".")[2]

    def requires(self, model: ir.Model) -> None:
        """Raise ModelError when `model` is not what the pass can work on."""
        if model.functions:
            raise ModelError(
                f"pass {self.name} needs a model without functions; run inline_functions first"
            )

    def ensures(self, model: ir.Model) -> None:
        """Raise ModelError when `model` is not what the pass promises to leave behind."""

    def rewrite(self, node: ir.Node) -> bool:
        """Rewrite the graph around `node`: True when done, False when it is no candidate.

        Raises Decline with a reason when a candidate is left alone; nothing is changed then.
        """
        raise NotImplementedError

    def apply(self, model: ir.Model) -> tuple[int, list[Skip]]:
        """Visit all nodes, subgraphs included; return how often the pass fired, and the skips.

        ModelError names the pass and the node when `rewrite` fails.
        """
        fired, skips = 0, []
        for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
            if node.graph is None:  # removed by an earlier rewrite of this sweep
                continue
            try:
                fired += self.rewrite(node)
            except Decline as reason:
                skips.append(Skip(label(node), str(reason)))
            except Exception as error:
                raise ModelError(
                    f"pass {self.name} failed at {label(node)}: {error!r}; leave it out"
                ) from error
        return fired, skips

    def __call__(self, model: ir.Model) -> PassReport:
        """Check, rewrite `model` in place, check again; ModelError when a check fails."""
        opset = model.opset_imports.get("", MIN_OPSET)
        if opset < MIN_OPSET:
            raise ModelError(
                f"the model uses opset {opset}; export it again with opset {MIN_OPSET} or newer"
            )
        self.requires(model)
        inputs, outputs = _face(model.graph.inputs), _face(model.graph.outputs)
        fired, skips = self.apply(model)
        kept = len(outputs) == len(model.graph.outputs) and all(
            map(_refines, _face(model.graph.outputs), outputs)
        )
        if _face(model.graph.inputs) != inputs or not kept:
            raise ModelError(
                f"pass {self.name} changed the model's inputs or outputs; leave it out"
            )
        for value, user in _dangling(model.graph, set()):
            raise ModelError(
                f"pass {self.name} left {value} without a producer before {user}; leave it out"
            )
        self.ensures(model)
        return PassReport(self.name, fired, tuple(skips))


def label(node: ir.Node) -> str:
    """Return what a person finds `node` by: its name, or that of its first output."""
    return node.name or node.outputs[0].name or node.op_type


Face = tuple[str | None, ir.DataType | None, tuple[int | str | None, ...] | None]


def _face(values: Iterable[ir.Value]) -> list[Face]:
    """Return the name, type and shape of each value; free sizes by the name of their symbol."""
    shapes = ((value, value.shape) for value in values)
    return [
        (
            value.name,
            value.dtype,
            None if shape is None else tuple(d if isinstance(d, int) else d.value for d in shape),
        )
        for value, shape in shapes
    ]


def _refines(now: Face, then: Face) -> bool:
    """Return whether an output is what it was; sizes that were free may be known by now."""
    same = now[0] == then[0] and then[1] in (None, now[1])
    if then[2] is None or now[2] is None:
        return same and then[2] is None
    pairs = zip(now[2], then[2], strict=False)
    return (
        same and len(now[2]) == len(then[2]) and all(n == t or type(t) is not int for n, t in pairs)
    )


def _dangling(graph: ir.Graph, outer: set[ir.Value]) -> Iterator[tuple[str, str]]:
    known = outer | set(graph.inputs) | set(graph.initializers.values())
    for node in graph:
        for value in node.inputs:
            if value is not None and value not in known:
                yield str(value.name), label(node)
        for attribute in node.attributes.values():
            if attribute.type is ir.AttributeType.GRAPH:
                yield from _dangling(attribute.as_graph(), known)
        known |= set(node.outputs)
    for value in graph.outputs:
        if value not in known:
            yield str(value.name), "the end of the graph"
