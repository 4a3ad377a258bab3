"""Capture of torch modules: the graph answers as torch does, and the module is left in peace."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from converters.capture import IR_VERSION, OPSET, Captured, capture, example_for
from converters.graphs import shape_of, to_bytes
from converters.zoo._settle import settle_batchnorm
from converters.zoo.digits import digits_cnn, load_split
from device_profiles.errors import ContractError, MissingError, ModelError
from runtime.contract import InputContract
from runtime.preprocess import normalize
from tests.converters.graph_cases import compute

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (1, 3, 8, 8)
IMAGE = torch.zeros(SHAPE)


def answers(captured: Captured, image: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Run the captured graph exactly as it is."""
    (value,) = captured.graph.graph.inputs
    return compute(ir.to_proto(captured.graph), {str(value.name): image})


def assert_answers_as_torch(captured: Captured, images: np.ndarray[Any, Any]) -> None:
    """Compare graph and reference on varied images, of which each output must tell some apart.

    Both add the same some 1000 float32 terms per output in another order, and batch norm is folded
    in one of them: 1e-5 of the largest magnitude is 160 roundings.
    """
    pairs = [(answers(captured, one[None]), captured.reference(one[None])) for one in images]
    for index in range(len(pairs[0][1])):
        graph = np.stack([ours[index] for ours, _ in pairs])
        original = np.stack([theirs[index] for _, theirs in pairs])
        assert graph.shape == original.shape
        assert original.std(axis=0).max() > 0.1 * original.std() > 0
        assert np.abs(graph - original).max() < 1e-5 * np.abs(original).max()


@pytest.fixture(scope="module")
def digits() -> Captured:
    return capture(digits_cnn(), torch.zeros(1, 1, 32, 32))


class Branches(nn.Module):
    """Nested outputs, a dictionary out of alphabetical order, batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.frozen = nn.BatchNorm2d(4).eval()

    def forward(self, x: Tensor) -> dict[str, Any]:
        y = self.frozen(self.stem(x))
        return {"z": y, "a": (y.mean((2, 3)), [y.relu()])}


def in_training() -> Branches:
    torch.manual_seed(0)
    net = Branches()
    settle_batchnorm(net, torch.randn(32, *SHAPE[1:]))
    net.train()
    net.frozen.eval()
    return net


@pytest.fixture(scope="module")
def module() -> Branches:
    return in_training()


@pytest.fixture(scope="module")
def branches(module: Branches) -> Captured:
    example = torch.randn(4, *SHAPE[1:], requires_grad=True)
    return capture(module, example, InputContract(8, 8), "branches")


def test_trained_digits_are_read_as_torch_reads_them(digits: Captured) -> None:
    split = load_split()
    images = normalize(split.heldout_images[:64, :, :, None], digits_cnn().input_contract)
    assert_answers_as_torch(digits, images)
    read = [int(answers(digits, one[None])[0].argmax()) for one in images]
    assert np.mean(read == split.heldout_labels[:64]) > 0.9


def test_what_the_module_says_of_itself_is_kept(digits: Captured) -> None:
    assert digits.contract == digits_cnn().input_contract
    assert (digits.task, digits.name) == ("classify", "digitscnn")
    assert digits.origin == {"exporter": f"torch {torch.__version__.split('+')[0]}"}


def test_graph_is_as_promised(digits: Captured) -> None:
    (value,) = digits.graph.graph.inputs
    assert shape_of(value) == (1, 1, 32, 32)
    assert value.dtype == ir.DataType.FLOAT
    assert (digits.graph.opset_imports[""], digits.graph.ir_version) == (OPSET, IR_VERSION)
    assert shape_of(digits.graph.graph.outputs[0]) == (1, 10)


def test_nested_outputs_come_in_the_order_of_the_reference(branches: Captured) -> None:
    shapes = [shape_of(value) for value in branches.graph.graph.outputs]
    assert shapes == [(1, 4, 6, 6), (1, 4), (1, 4, 6, 6)]
    images = np.random.default_rng(0).standard_normal((8, *SHAPE[1:]), dtype=np.float32)
    assert_answers_as_torch(branches, images)


def test_example_gives_batch_one_whatever_its_batch(branches: Captured) -> None:
    assert shape_of(branches.graph.graph.inputs[0]) == SHAPE
    assert (branches.contract, branches.name) == (InputContract(8, 8), "branches")


def test_module_stays_in_training_and_as_it_was(module: Branches, branches: Captured) -> None:
    twin = in_training()
    assert [m.training for m in module.modules()] == [m.training for m in twin.modules()]
    assert module.training and not module.frozen.training
    for key, tensor in twin.state_dict().items():
        assert torch.equal(tensor, module.state_dict()[key])
    assert all(weight.requires_grad for weight in module.parameters())


def test_reference_does_not_follow_the_module_into_further_training() -> None:
    module = nn.Sequential()
    module.add_module("task", nn.Conv2d(3, 2, 1))
    captured = capture(module, IMAGE)
    assert captured.task is None  # a part of that name says nothing
    image = np.ones(SHAPE, np.float32)
    before = captured.reference(image)[0]
    with torch.no_grad():
        module.get_parameter("task.weight").zero_()
    assert np.ptp(before) > 0
    np.testing.assert_array_equal(captured.reference(image)[0], before)


def digest(captured: Captured) -> str:
    return hashlib.sha256(to_bytes(captured.graph)).hexdigest()


@pytest.mark.slow
def test_another_process_gives_the_same_bytes(digits: Captured, tmp_path: Path) -> None:
    # From another folder too, and with another order of every set.
    code = (
        "import hashlib, torch\n"
        "from converters.capture import capture\n"
        "from converters.graphs import to_bytes\n"
        "from converters.zoo.digits import digits_cnn\n"
        "captured = capture(digits_cnn(), torch.zeros(1, 1, 32, 32))\n"
        "print(hashlib.sha256(to_bytes(captured.graph)).hexdigest())\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest(digits)


def test_no_path_of_this_machine_is_in_the_graph(digits: Captured) -> None:
    assert str(ROOT).encode() not in to_bytes(digits.graph)


class Bends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Misshapes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(7, -1)


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("first line\nsecond line")


class Drops(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5)  # its default is training


class Unnormalised(nn.Module):
    input_contract = "imagenet"

    def forward(self, x: Tensor) -> Tensor:
        return x


class Locked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


BAD = [
    (Bends(), IMAGE, ModelError, "bends: .*data-dependent.*torch.export"),
    (Misshapes(), IMAGE, ModelError, r"misshapes: .*\(1, 3, 8, 8\).*shape '\[7, -1\]' is invalid"),
    (Raises(), IMAGE, ModelError, "raises: .*first line; see"),
    (Drops(), IMAGE, ModelError, "drops: Dropout .*training mode.*training=self.training"),
    (Unnormalised(), IMAGE, ContractError, "input_contract is of type str; .*--preprocess"),
    (Locked(), IMAGE, ModelError, "locked cannot be copied: .*lock"),
    (nn.ReLU(), torch.zeros(3, 8, 8), ModelError, r"shape \(3, 8, 8\); give one of \(1, C"),
    (nn.ReLU(), None, ModelError, r"relu: the example has shape \(\)"),
    (nn.ReLU, IMAGE, ModelError, "given type; it must be a torch.nn.Module"),
    ("net.onnx", IMAGE, ModelError, "given str; it must be a torch.nn.Module"),
    (None, IMAGE, ModelError, "given NoneType; it must be"),
]


@pytest.mark.parametrize(("module", "example", "kind", "words"), BAD, ids=range(len(BAD)))
def test_what_cannot_be_captured_is_one_line_and_no_noise(
    module: Any,
    example: Any,
    kind: type[Exception],
    words: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    capfd.readouterr()
    with pytest.raises(kind, match=words) as caught:
        capture(module, example)
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_without_torch_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingError, match=r"edge-sdk\[convert\]"):
        capture(object(), np.zeros(SHAPE, np.float32))


def test_an_example_needs_a_contract_and_repeats_itself() -> None:
    with pytest.raises(ContractError, match=r"net .*--preprocess imagenet,height=224"):
        example_for(None, "net")
    example = example_for(InputContract(4, 5), "net")
    assert (example.shape, example.dtype) == ((1, 3, 4, 5), np.float32)
    np.testing.assert_array_equal(example, example_for(InputContract(4, 5), "net"))
