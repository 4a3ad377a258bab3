"""Whole nets as TFLite: the answers of the original, no transposition, and their accuracy in int8.

Everything here is measured on real images with real weights, except where there are none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.capture import Captured, capture
from converters.formats import tflite
from converters.loaders import LoadOptions, load_model
from converters.produce import Prepared, prepare, produce
from converters.recipe import Recipe
from converters.zoo import create
from edge_sdk.workflows.golden import reductions
from runtime.contract import InputContract
from runtime.engines import EngineOptions, open_engine
from runtime.golden import MIN_VARIATION, float_tolerance
from runtime.host import host
from runtime.images import image_files, read_image
from runtime.preprocess import normalize, prepare_batch
from tests.converters.op_matrix import operators

Frames = NDArray[np.uint8]

PHOTOS = "classification/imagenet_even500"
FACES = "detection/faces/images"
STREETS = "detection/coco_val/images"
PEOPLE = "segmentation/person_crops/images"
SHARP = "superres/Set5/HR"
CIFAR = "classification/cifar10_jpg"
CLASSIFIERS = "classification/weights"


@dataclass(frozen=True)
class Net:
    """A model of the zoo or a file of the pack, its weights, and images that it is made for."""

    model: str
    images: str
    weights: str = ""
    preprocess: str | None = None

    def __str__(self) -> str:
        return self.model.rpartition("/")[2]


NETS = [
    Net("zoo:mobilenet_v1_025_tf", PHOTOS, "mobilenet_v1_0.25_224_imagenet.safetensors"),
    Net("zoo:mobilenet_v2_tf", PHOTOS, "mobilenet_v2_1.0_224_imagenet_offgrid.safetensors"),
    Net("zoo:cifar_resnet20", CIFAR, "cifar_resnet20.safetensors"),
    Net("segmentation/weights/SINet.onnx", PEOPLE, preprocess="raw,color=BGR,"
        "mean=102.890434:111.25247:126.91212,std=16047.89:16019.44:16920.70"),
    Net("segmentation/weights/prisma_nchw.onnx", PEOPLE, preprocess="unit"),
    Net("detection/weights/FastestDet.onnx", STREETS, preprocess="unit,color=BGR"),
    Net("detection/weights/yunet_n_320_320.onnx", FACES, preprocess="raw,color=BGR"),
    Net("detection/weights/version-RFB-320.onnx", FACES, preprocess="raw,mean=127,std=128"),
    Net("superres/weights/rfdn_x4_64.onnx", SHARP, preprocess="unit"),
    Net("zoo:espcn_x2", SHARP, "../../superres/weights/espcn_x2.safetensors"),
]  # fmt: skip
# Ten seconds and more of a core each, and like others that are not: run on request.
LARGE = [Net("zoo:vdsr", SHARP, "../../superres/weights/vdsr.safetensors")]
SLOW = pytest.mark.slow


@cache
def prepared(net: Net, pack: Path) -> Prepared:
    spec = net.model if net.model.startswith("zoo:") else str(pack / net.model)
    weights = pack / CLASSIFIERS / net.weights if net.weights else None
    options = LoadOptions(weights, net.preprocess)
    captured = load_model(spec, options)
    contract = options.contract(captured.contract) or captured.contract
    assert contract is not None
    return prepare(captured, contract)


def frames_of(folder: Path, contract: InputContract, count: int) -> list[Frames]:
    paths = image_files(folder)
    taken = paths[:: max(len(paths) // count, 1)][:count]
    batches = (prepare_batch(read_image(path), contract) for path in taken)
    return [batch[len(batch) // 2 :][:1] for batch in batches]  # of tiles one in the middle


def answers(data: bytes, frames: list[Frames], engine: str = "litert") -> list[NDArray[np.generic]]:
    opened = open_engine(engine, data, EngineOptions(threads=2))
    rows = [opened.run([frame]) for frame in frames]
    opened.close()
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def check_same(ready: Prepared, frames: list[Frames]) -> Counter[str]:
    """Compare the float file with the original model; return the operators that it holds."""
    data = tflite.write(ready.graph, {})
    names = [value.name or "" for value in ready.graph.graph.outputs]
    batches = [ready.captured.reference(normalize(frame, ready.contract)) for frame in frames]
    reference = dict(
        zip(names, (np.concatenate(c) for c in zip(*batches, strict=True)), strict=True)
    )
    for name, actual in zip(names, answers(data, frames), strict=True):
        tolerance = float_tolerance(name, reference[name], *reductions(ready.graph))
        spread = np.ptp(reference[name], axis=0).max() / np.abs(reference[name]).max()
        assert spread > 10 * MIN_VARIATION, (
            "an answer that does not depend on the image proves nothing"
        )
        error = np.abs(actual.astype(np.float64) - reference[name])
        print(f"{name}: largest difference {error.max():.3g}, may be {tolerance.absolute:.3g}")
        assert error.max() <= tolerance.absolute
    return operators(data)


@pytest.mark.models
@pytest.mark.parametrize("net", [*NETS, *(pytest.param(n, marks=SLOW) for n in LARGE)], ids=str)
def test_answers_of_the_original_without_a_transposition(net: Net, model_pack: Path) -> None:
    ready = prepared(net, model_pack)
    found = check_same(ready, frames_of(model_pack / net.images, ready.contract, 3))
    assert not found["TRANSPOSE"], found


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        pytest.param("shufflenet_v2_x05", marks=SLOW),
        pytest.param("mobilenet_v3_small", marks=SLOW),
    ],
)
def test_random_weights(name: str) -> None:
    import torch

    from converters.zoo._settle import settle_batchnorm

    torch.manual_seed(0)
    model = create(name).eval()
    contract = model.input_contract
    frames = [
        np.random.default_rng(seed).integers(0, 256, (1, *contract.shape), np.uint8)
        for seed in range(3)
    ]
    batch = torch.from_numpy(np.concatenate([normalize(f, contract) for f in frames * 4]))
    settle_batchnorm(model, batch)
    captured: Captured = capture(model, batch[:1])
    found = check_same(prepare(captured, contract), frames)
    assert not found["TRANSPOSE"], found


# ---- Integers ----------------------------------------------------------------------------------


@cache
def photos(pack: Path, contract: InputContract) -> tuple[list[Frames], NDArray[np.int64]]:
    """Return the 500 photos and their classes, of 1001: class 0 is background."""
    paths = image_files(pack / PHOTOS)
    frames = [prepare_batch(read_image(path), contract) for path in paths]
    return frames, np.array([int(path.name[:4]) + 1 for path in paths])


def int8(ready: Prepared, format_name: str, frames: list[Frames]) -> bytes:
    engine = {"onnx": "onnxruntime", "tflite": "litert"}[format_name]
    return produce(ready, Recipe(format_name, engine, "cpu", "int8"), frames, {}).data


def top1(data: bytes, frames: list[Frames], engine: str = "litert") -> NDArray[np.intp]:
    return np.argmax(answers(data, frames, engine)[0][:, 1:], axis=1) + 1


# Top-1 of the pack's own integer files on these 500 photos, trained for integers by their authors.
@pytest.mark.models
@pytest.mark.parametrize(
    ("name", "weights", "least"),
    [
        ("mobilenet_v1_025_tf", "mobilenet_v1_0.25_224_imagenet.safetensors", 56.2),
        pytest.param(
            *("mobilenet_v2_tf", "mobilenet_v2_1.0_224_imagenet_dequant.safetensors", 88.6),
            marks=SLOW,
        ),
    ],
)
def test_int8_is_no_less_accurate_than_the_authors_own(
    name: str, weights: str, least: float, model_pack: Path
) -> None:
    ready = prepared(Net(f"zoo:{name}", PHOTOS, weights), model_pack)
    frames, classes = photos(model_pack, ready.contract)
    found = 100 * (top1(int8(ready, "tflite", frames[::8]), frames) == classes).mean()
    print(f"{name}: {found:.1f} %, the authors' file {least} %")
    assert found >= least


@pytest.mark.models
@pytest.mark.parametrize("weights", ["offgrid", "dequant"])
def test_both_formats_give_the_same_classes(weights: str, model_pack: Path) -> None:
    if host().saturates_int8_pairs:
        pytest.skip("onnxruntime's int8 kernels saturate on this CPU: no measure of another file")
    file = f"mobilenet_v2_1.0_224_imagenet_{weights}.safetensors"
    ready = prepared(Net("zoo:mobilenet_v2_tf", PHOTOS, file), model_pack)
    frames, _ = photos(model_pack, ready.contract)
    by_onnx = top1(int8(ready, "onnx", frames[::8]), frames, "onnxruntime")
    by_tflite = top1(int8(ready, "tflite", frames[::8]), frames)
    same = (by_onnx == by_tflite).mean()
    print(f"the same class on {100 * same:.1f} % of {len(frames)}")
    assert same >= 0.99


@pytest.mark.models
@pytest.mark.parametrize("net", [NETS[0], NETS[2], pytest.param(NETS[1], marks=SLOW)], ids=str)
def test_classifiers_are_integers_from_end_to_end(net: Net, model_pack: Path) -> None:
    ready = prepared(net, model_pack)
    frames = frames_of(model_pack / net.images, ready.contract, 32)
    data = int8(ready, "tflite", frames[::2])
    found = operators(data)
    assert (found["QUANTIZE"], found["DEQUANTIZE"]) == (1, 1), found
    exact = answers(tflite.write(ready.graph, {}), frames)[0].astype(np.float64)
    error = answers(data, frames)[0] - exact
    ratio = 10 * np.log10(exact.var() / (error**2).mean())
    print(f"{net}: {ratio:.1f} dB")
    # 10 dB is what `--precision auto` asks of outputs that are not decoded.
    assert ratio > 10
