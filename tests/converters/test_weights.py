"""Weights into a module: what fits is loaded, and every misfit is one line that names it."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from converters.weights import load_weights
from device_profiles.errors import MissingError, WeightsError

State = dict[str, Any]


def net(channels: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels))


@pytest.fixture
def trained() -> State:
    torch.manual_seed(1)
    return {key: torch.rand_like(t) if t.ndim else t for key, t in net().state_dict().items()}


def refused(path: Path, module: nn.Module | None = None) -> str:
    """Return the error for weights that must not be taken, having seen the module unchanged."""
    module = net() if module is None else module
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_weights(module, path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for key, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[key])
    return message


WRAPPED: list[Callable[[State], Any]] = [
    lambda state: state,
    lambda state: {"state_dict": state, "epoch": 3},
    lambda state: {"model_state_dict": state, "optimizer": {"lr": 0.1}},
    lambda state: {"model": state},
    lambda state: {f"module.{key}": value for key, value in state.items()},
    lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
    lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
    lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
]


@pytest.mark.parametrize("wrap", WRAPPED, ids=range(len(WRAPPED)))
def test_every_usual_way_of_saving_is_read(
    tmp_path: Path, trained: State, wrap: Callable[[State], Any]
) -> None:
    torch.save(wrap(trained), tmp_path / "net.pth")
    module = net()
    digest = load_weights(module, tmp_path / "net.pth")
    assert digest == hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()
    for key, tensor in module.state_dict().items():
        # One of the cases is stored in half precision: 11 bits of numbers below one.
        torch.testing.assert_close(tensor, trained[key], atol=2**-11, rtol=0)


def test_safetensors_are_read_exactly(tmp_path: Path, trained: State) -> None:
    save_file(trained, tmp_path / "net.safetensors")
    module = net()
    load_weights(module, tmp_path / "net.safetensors")
    for key, tensor in module.state_dict().items():
        assert torch.equal(tensor, trained[key])


@pytest.mark.parametrize("name", ["module", "_orig_mod"])
def test_a_part_of_the_architecture_may_be_called_like_a_wrapper(tmp_path: Path, name: str) -> None:
    module, other = nn.Sequential(), nn.Sequential()
    module.add_module(name, nn.Linear(2, 2))
    other.add_module(name, nn.Linear(2, 2))
    torch.save(other.state_dict(), tmp_path / "net.pth")
    load_weights(module, tmp_path / "net.pth")
    assert torch.equal(module.state_dict()[f"{name}.weight"], other.state_dict()[f"{name}.weight"])


def test_another_architecture_names_the_first_keys(tmp_path: Path, trained: State) -> None:
    state = {key.replace("0.", "stem."): value for key, value in trained.items()}
    save_file(state, tmp_path / "net.safetensors")
    message = refused(tmp_path / "net.safetensors")
    assert "2 missing (first: 0.weight)" in message
    assert "2 unexpected (first: stem." in message
    assert "factory" in message


def test_only_what_is_missing_is_counted(tmp_path: Path, trained: State) -> None:
    del trained["1.running_var"]
    torch.save(trained, tmp_path / "net.pth")
    assert "1 missing (first: 1.running_var); 0 unexpected" in refused(tmp_path / "net.pth")


def test_nothing_in_the_file(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "net.pth")
    assert "missing (first: 0.weight)" in refused(tmp_path / "net.pth")


def test_another_width_names_the_key_and_both_shapes(tmp_path: Path, trained: State) -> None:
    torch.save(trained, tmp_path / "net.pth")
    message = refused(tmp_path / "net.pth", net(channels=8))
    assert "0.weight is (4, 3, 3, 3), the model has (8, 3, 3, 3)" in message


def test_integer_weights_are_not_taken_for_floats(tmp_path: Path, trained: State) -> None:
    trained["0.weight"] = (trained["0.weight"] * 127).to(torch.int8)
    save_file(trained, tmp_path / "net.safetensors")
    assert "0.weight is torch.int8" in refused(tmp_path / "net.safetensors")


@pytest.mark.parametrize("name", ["gone.pth", "gone.safetensors", "."])
def test_no_such_file(tmp_path: Path, name: str) -> None:
    assert "cannot be read" in refused(tmp_path / name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 1, 7, 100, 0.5, -1])
def test_truncated_files(tmp_path: Path, trained: State, suffix: str, keep: float) -> None:
    path = tmp_path / f"net{suffix}"
    save_file(trained, path) if suffix == ".safetensors" else torch.save(trained, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    assert "fetch them again" in refused(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_random_bytes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    generator = np.random.default_rng(0)
    for prefix in [b"", b"\x80\x02", b"\x80\x02}q\x00(", b"PK\x03\x04"] * 10:
        path.write_bytes(prefix + generator.bytes(60))
        assert "fetch them again" in refused(path)


class Payload:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_weights_never_runs(tmp_path: Path, trained: State, zipped: bool) -> None:
    path, proof = tmp_path / "net.pth", tmp_path / "proof"
    torch.save({**trained, "extra": Payload(proof)}, path, _use_new_zipfile_serialization=zipped)
    message = refused(path)
    assert "code in weights is never run" in message
    assert "model.state_dict()" in message
    assert not proof.exists()
    torch.load(path, weights_only=False)  # the payload does work
    assert proof.exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(net(), tmp_path / "net.pth")
    assert "weights_only=True" in refused(tmp_path / "net.pth")


@pytest.mark.parametrize("content", [[torch.ones(2)], {"0.weight": 3}, torch.ones(2), None])
def test_something_other_than_a_state_dict(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "net.pth")
    assert "no state dict of tensors" in refused(tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("suffix", "package"), [(".pth", "torch"), (".safetensors", "safetensors.torch")]
)
def test_a_missing_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, package: str
) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingError, match=r"edge-sdk\[convert\]") as caught:
        load_weights(nn.Linear(1, 1), path)
    assert caught.value.exit_code == 3
