"""What our passes leave, the optimizers of others do not reduce any further."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import onnx
import onnx_ir as ir
import pytest
import torch

from converters import passes, prelude
from converters.zoo import create
from converters.zoo._settle import settle_batchnorm
from tests.converters.graph_cases import assert_same, counts, feeds, frozen

# Nodes that stay: the published layers, and nothing else. Convolutions + activations + additions +
# what the net ends with; ResNet-20's two shortcuts of option A are a Slice and a Pad each.
NODES = {
    "resnet18": 20 + 17 + 8 + 4,  # max pooling, global pooling, Reshape, Gemm
    "mobilenet_v2_tf": 52 + 35 + 10 + 3,  # global pooling, Reshape, Gemm
    "cifar_resnet20": 19 + 19 + 9 + 4 + 3,  # global pooling, Reshape, Gemm
}


def slim(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxslim

    result: onnx.ModelProto = onnxslim.slim(model)
    return result


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxsim

    result: tuple[onnx.ModelProto, bool] = onnxsim.simplify(model)
    return result[0]


def optimize(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxoptimizer

    result: onnx.ModelProto = onnxoptimizer.optimize(
        model, onnxoptimizer.get_fuse_and_elimination_passes()
    )
    return result


Graphs = dict[str, onnx.ModelProto]


@pytest.fixture(scope="module", params=sorted(NODES))
def exported(request: pytest.FixtureRequest) -> tuple[str, Any, Graphs]:
    """Return a net, and its graphs as torch exports them: folded already, and as it stands."""
    torch.manual_seed(0)
    model = create(request.param)
    channels, (height, width) = model.input_contract.channels, model.input_contract.shape[:2]
    with torch.no_grad():
        settle_batchnorm(model, torch.randn(4, channels, height, width))
    model.eval()
    example = torch.randn(1, channels, height, width)
    graphs = {}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            model, (example,), dynamo=True, external_data=False, optimize=False, verbose=False
        )
        assert program is not None
        graphs["raw"] = frozen(program.model)
        program.optimize()  # as export does by itself, where nothing else is said
        graphs["optimized"] = frozen(program.model)
    return request.param, model.input_contract, graphs


@pytest.fixture(scope="module")
def ours(exported: tuple[str, Any, Graphs]) -> Graphs:
    """Return the graphs after our passes; `shipped` takes the camera's bytes."""
    _, contract, graphs = exported
    done = {}
    for kind in ("optimized", "raw", "shipped"):
        model = ir.from_proto(graphs["raw" if kind == "shipped" else kind])
        if kind == "shipped":
            prelude.attach(model, contract)
        passes.run(model)
        done[kind] = frozen(model)
    return done


@pytest.mark.parametrize("kind", ["optimized", "raw", "shipped"])
@pytest.mark.parametrize("peer", [slim, simplify, optimize])
def test_no_peer_removes_a_node(
    exported: tuple[str, Any, Graphs],
    ours: Graphs,
    kind: str,
    peer: Callable[[onnx.ModelProto], onnx.ModelProto],
) -> None:
    copy = onnx.ModelProto()
    copy.CopyFrom(ours[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        theirs = peer(copy)
    assert not counts(ours[kind]) - counts(theirs)
    prelude_nodes = 3 if kind == "shipped" else 0  # Cast, Transpose, Sub
    assert len(ours[kind].graph.node) == NODES[exported[0]] + prelude_nodes


@pytest.mark.parametrize("kind", ["optimized", "raw"])
def test_the_net_computes_the_same(
    exported: tuple[str, Any, Graphs], ours: Graphs, kind: str
) -> None:
    before = exported[2][kind]
    assert feeds(before).keys() == feeds(ours[kind]).keys()
    assert_same(before, ours[kind])
