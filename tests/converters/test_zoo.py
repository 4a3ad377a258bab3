"""The zoo against published parameter counts, published keys and the weights of the model pack."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from converters.zoo import create, names
from converters.zoo._settle import settle_batchnorm
from converters.zoo.shufflenet import _shuffled
from device_profiles.errors import MissingError, ModelError

# Published: torchvision's model pages; the akamaster/pytorch_resnet_cifar10 weights; for the TF
# nets the trainable parameters of keras.applications, less one scale per normalised channel
# (folded), plus the classifier's 1001st class.
PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_small": 2_542_856,
    "shufflenet_v2_x05": 1_366_792,
    "shufflenet_v2": 2_278_604,
    "mobilenet_v1_tf": 4_231_976 - 10_944 + 1025,
    "mobilenet_v1_025_tf": 470_072 - 2_736 + 257,
    "mobilenet_v2_tf": 3_504_872 - 17_056 + 1281,
    "cifar_resnet20": 269_722,
    "cifar_resnet32": 464_154,
    "cifar_resnet44": 658_586,
    "cifar_resnet56": 853_018,
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def images(model: Any, count: int) -> torch.Tensor:
    height, width, channels = model.input_contract.shape
    colours = torch.randn(count, channels, 1, 1)  # noise alone looks the same once it is pooled
    return colours + torch.randn(count, channels, height, width)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count_is_the_published_one(name: str) -> None:
    assert sum(p.numel() for p in create(name).parameters()) == PARAMETERS[name]


# Millions of multiplications and additions: the papers of MobileNetV2 (table 4), MobileNetV3
# (table 3) and ShuffleNetV2 (table 8). They round and count differently: within 1.5%.
MULTIPLY_ADDS = {
    "mobilenet_v2": 300,
    "mobilenet_v3_small": 56,
    "shufflenet_v2_x05": 41,
    "shufflenet_v2": 146,
}


@pytest.mark.parametrize("name", MULTIPLY_ADDS)
def test_multiply_adds_are_the_published_ones(name: str) -> None:
    model = create(name)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images(model, 1))
    assert counter.get_total_flops() / 2e6 == pytest.approx(MULTIPLY_ADDS[name], rel=0.015)


def test_names_lists_every_model() -> None:
    assert set(PARAMETERS) <= set(names())
    assert names() == sorted(names())


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"no model 'resnet19'.*resnet18"):
        create("resnet19")


def test_hyphens_are_taken_as_underscores() -> None:
    assert type(create("cifar-resnet20")) is type(create("cifar_resnet20"))


def test_without_torch_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingError, match=r"edge-sdk\[convert\]"):
        names()


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnet50",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "mobilenet_v1_025_tf",
        "shufflenet_v2_x05",
        "shufflenet_v2",
        "cifar_resnet20",
    ],
)
def test_model_is_a_classifier_in_eval_mode_whose_output_varies(name: str) -> None:
    model = create(name)
    assert not model.training
    assert model.task == "classify"
    batch = images(model, 4)
    settle_batchnorm(model, batch)
    with torch.no_grad():
        logits = model(batch)
    classes = {"mobilenet_v1_025_tf": 1001, "cifar_resnet20": 10}.get(name, 1000)
    assert logits.shape == (4, classes)
    assert logits.std(dim=0).mean() > 0.1 * logits.std()


# Keys and shapes of torchvision's published state dicts that tell its layout from others.
TORCHVISION_KEYS = [
    ("resnet18", "conv1.weight", (64, 3, 7, 7)),
    ("resnet18", "bn1.running_var", (64,)),
    ("resnet18", "layer1.0.conv2.weight", (64, 64, 3, 3)),
    ("resnet18", "layer2.0.downsample.0.weight", (128, 64, 1, 1)),
    ("resnet18", "layer4.1.bn2.num_batches_tracked", ()),
    ("resnet18", "fc.bias", (1000,)),
    ("resnet50", "layer1.0.downsample.1.running_mean", (256,)),
    ("resnet50", "layer3.5.conv3.weight", (1024, 256, 1, 1)),
    ("resnet50", "fc.weight", (1000, 2048)),
    ("mobilenet_v2", "features.0.0.weight", (32, 3, 3, 3)),
    ("mobilenet_v2", "features.1.conv.0.0.weight", (32, 1, 3, 3)),
    ("mobilenet_v2", "features.1.conv.1.weight", (16, 32, 1, 1)),
    ("mobilenet_v2", "features.2.conv.1.1.running_mean", (96,)),
    ("mobilenet_v2", "features.17.conv.3.bias", (320,)),
    ("mobilenet_v2", "features.18.0.weight", (1280, 320, 1, 1)),
    ("mobilenet_v2", "classifier.1.weight", (1000, 1280)),
    ("mobilenet_v3_small", "features.0.1.bias", (16,)),
    ("mobilenet_v3_small", "features.1.block.0.0.weight", (16, 1, 3, 3)),
    ("mobilenet_v3_small", "features.1.block.1.fc1.weight", (8, 16, 1, 1)),
    ("mobilenet_v3_small", "features.4.block.2.fc2.weight", (96, 24, 1, 1)),
    ("mobilenet_v3_small", "features.11.block.3.1.running_var", (96,)),
    ("mobilenet_v3_small", "features.12.0.weight", (576, 96, 1, 1)),
    ("mobilenet_v3_small", "classifier.3.weight", (1000, 1024)),
    ("shufflenet_v2", "conv1.1.weight", (24,)),
    ("shufflenet_v2", "stage2.0.branch1.2.weight", (58, 24, 1, 1)),
    ("shufflenet_v2", "stage2.0.branch2.0.weight", (58, 24, 1, 1)),
    ("shufflenet_v2", "stage3.7.branch2.3.weight", (116, 1, 3, 3)),
    ("shufflenet_v2", "stage4.3.branch2.6.running_mean", (232,)),
    ("shufflenet_v2", "conv5.0.weight", (1024, 464, 1, 1)),
    ("shufflenet_v2", "fc.weight", (1000, 1024)),
]
TORCHVISION_KEY_COUNT = {
    "resnet18": 122,
    "resnet50": 320,
    "mobilenet_v2": 314,
    "mobilenet_v3_small": 244,
    "shufflenet_v2": 338,
}


@pytest.mark.parametrize(("name", "key", "shape"), TORCHVISION_KEYS)
def test_state_dict_has_torchvisions_keys(name: str, key: str, shape: tuple[int, ...]) -> None:
    state = create(name).state_dict()
    assert tuple(state[key].shape) == shape
    assert len(state) == TORCHVISION_KEY_COUNT[name]


def test_bottleneck_has_its_stride_in_the_3x3_convolution() -> None:
    block = create("resnet50").get_submodule("layer2.0")
    assert (block.get_submodule("conv1").stride, block.get_submodule("conv2").stride) == (
        (1, 1),
        (2, 2),
    )


def test_shuffled_channels_come_from_both_halves_in_turn() -> None:
    x = torch.rand(2, 12, 3, 5)
    assert torch.equal(_shuffled(x), nn.ChannelShuffle(2)(x))


def test_squeeze_excite_scales_each_channel_by_one_factor() -> None:
    layer = create("mobilenet_v3_small").get_submodule("features.1.block.1")
    x = torch.rand(2, 16, 5, 7) + 1
    with torch.no_grad():
        factors = layer(x) / x
    assert factors.std(dim=(2, 3)).max() < 1e-6  # a factor is at most 1, to float32 rounding
    assert 0 <= factors.min() < factors.max() <= 1


def test_tf_padding_puts_the_odd_zero_after() -> None:
    layer = create("mobilenet_v1_025_tf").get_submodule("features.0")
    nn.init.ones_(layer.conv.weight)
    image = torch.zeros(1, 3, 224, 224)
    image[..., 0, 0] = 1  # seen by one window only, because none starts before the image
    assert int((layer(image)[0, 0] > 0).sum()) == 1
    assert layer(image).shape[-2:] == (112, 112)


def test_settle_batchnorm_normalises_and_restores_the_layers() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, momentum=0.3)).eval()
    batch = 5 + 3 * torch.randn(8, 1, 9, 9)
    settle_batchnorm(model, batch)
    with torch.no_grad():
        out = model(batch)
    # The statistics are this batch's own; 1e-5 is also the epsilon in BatchNorm's divisor.
    torch.testing.assert_close(out.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)
    assert not model[1].training
    assert model[1].momentum == 0.3


@pytest.fixture(scope="module")
def pack() -> Path:
    root = os.environ.get("EDGE_SDK_MODELS")
    if not root:
        pytest.skip("EDGE_SDK_MODELS does not name the model pack")
    return Path(root)


def reference_archs(pack: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_archs", pack / "reference_archs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PACK = [
    ("cifar_resnet20", "cifar_resnet20.safetensors", "CifarResNet", (3,)),
    ("mobilenet_v1_025_tf", "mobilenet_v1_0.25_224_imagenet.safetensors", "MobileNetV1", (0.25,)),
    ("mobilenet_v2_tf", "mobilenet_v2_1.0_224_imagenet_dequant.safetensors", "MobileNetV2", ()),
    ("mobilenet_v2_tf", "mobilenet_v2_1.0_224_imagenet_offgrid.safetensors", "MobileNetV2", ()),
]


@pytest.mark.models
@pytest.mark.parametrize(("name", "file", "reference", "arguments"), PACK)
def test_pack_weights_give_the_packs_outputs(
    pack: Path, name: str, file: str, reference: str, arguments: tuple[Any, ...]
) -> None:
    weights = load_file(pack / "classification" / "weights" / file)
    model = create(name)
    model.load_state_dict(weights, strict=True)
    expected = getattr(reference_archs(pack), reference)(*arguments).eval()
    expected.load_state_dict(weights, strict=True)
    batch = images(model, 4)
    with torch.no_grad():
        ours, theirs = model(batch), expected(batch)
    # The same float32 sums in another order: logits of some 10 to 30, about 1e-6 of that per layer.
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert ours.std(dim=0).mean() > 0.1
