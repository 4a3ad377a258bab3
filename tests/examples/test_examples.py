"""Every example runs as its first lines say, on the synthetic source."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from converters.recipe import recipes
from converters.zoo.digits import load_split
from converters.zoo.espcn import espcn_x2
from converters.zoo.resnet import ResNet, resnet18
from device_profiles.profile import load as load_profile
from edge_sdk import ConvertOptions, convert, open_bundle
from runtime.preprocess import normalize, prepare
from runtime.sources import open_source

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of the synthetic camera, far enough apart to differ."""
    folder = tmp_path_factory.mktemp("photos")
    source = open_source("synthetic:shapes?width=320&height=240&frames=640")
    frames = itertools.islice(iter(source.read, None), 0, None, 40)
    for frame in frames:
        cv2.imwrite(str(folder / f"{frame.index:04d}.png"), frame.image)
    source.close()
    return folder


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Let ResNet-18 take images of 96x96 pixels, which cost a fifth."""
    with pytest.MonkeyPatch.context() as patch:
        contract = replace(ResNet.input_contract, height=96, width=96, shorter_side=112)
        patch.setattr(ResNet, "input_contract", contract)
        yield


@pytest.fixture(scope="module")
def weights(small: None, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights with calibrated batch norm: without it every answer would be the bias."""
    torch.manual_seed(0)
    model = resnet18()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over what it sees
    images = [prepare(cv2.imread(str(p)), model.input_contract) for p in sorted(photos.iterdir())]
    batch = torch.stack(
        [torch.from_numpy(normalize(i[None], model.input_contract)[0]) for i in images]
    )
    with torch.no_grad():
        model.train()(batch)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few held-out digits, one folder per class."""
    root = tmp_path_factory.mktemp("digits")
    split = load_split()
    for index in range(100):
        folder = root / str(split.heldout_labels[index])
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / f"{index:03d}.png"), split.heldout_images[index])
    return root


@pytest.fixture(scope="module")
def bundle(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for the device of the example."""
    path = tmp_path_factory.mktemp("bundle") / "digits.edge"
    device = EXAMPLES / "your_own_device.toml"
    convert("zoo:digits_cnn", device, path, digits, ConvertOptions(samples=32))
    return path


def test_convert_a_model(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "resnet18.edge"
    load("convert_a_model").main(str(weights), str(photos), str(output))
    with open_bundle(output) as opened:
        assert opened.manifest.name == "resnet18"
        assert opened.manifest.artifacts[-1].precision == "fp32"
        said = capsys.readouterr().out
        assert all(artifact.label in said for artifact in opened.manifest.artifacts)
        assert opened.id[:12] in said


def test_camera_inference(bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "camera_inference.py"), str(bundle)]
    command += ["synthetic:shapes?frames=20"]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == [str(i) for i in range(20)]
    assert "'results': 20" in lines[-1]
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 20


def test_camera_inference_is_a_dozen_lines() -> None:
    code = (EXAMPLES / "camera_inference.py").read_text().split('"""')[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 12


@pytest.fixture(scope="module")
def doubling(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose net makes four pixels, a little darker, of each."""
    folder = tmp_path_factory.mktemp("doubling")
    weights = {name: torch.zeros_like(value) for name, value in espcn_x2().state_dict().items()}
    for layer, outputs in (("conv1", 1), ("conv2", 1), ("conv3", 4)):
        kernel = weights[f"{layer}.weight"]
        kernel[:outputs, 0, kernel.shape[2] // 2, kernel.shape[3] // 2] = 1
    torch.save(weights, folder / "espcn.pth")
    (folder / "small").mkdir()
    for photo in photos.iterdir():
        small = cv2.resize(cv2.imread(str(photo)), (96, 72), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / "small" / photo.name), small)
    tiles = replace(espcn_x2().input_contract, height=64, width=64)
    options = ConvertOptions(weights=folder / "espcn.pth", preprocess=tiles)
    device, path = EXAMPLES / "your_own_device.toml", folder / "espcn.edge"
    convert("zoo:espcn_x2", device, path, folder / "small", options)
    return path


def test_enhance_a_video(
    doubling: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "synthetic:shapes?width=200&height=150&frames=6"
    output = tmp_path / "larger.mp4"
    assert load("enhance_a_video").main(str(doubling), source, str(output)) == 6
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "frame 0: 200x150 to 400x300"
    assert said[-1] == f"wrote 6 frames to {output}"
    film = cv2.VideoCapture(str(output))
    pictures = [film.read()[1] for _ in range(7)]
    film.release()
    assert pictures[6] is None
    frames = open_source(source)
    for frame, picture in zip(iter(frames.read, None), pictures, strict=False):
        nearest = cv2.resize(frame.image, (400, 300), interpolation=cv2.INTER_NEAREST)
        both = (cv2.cvtColor(p, cv2.COLOR_BGR2GRAY).ravel() for p in (nearest, picture))
        assert np.corrcoef(*both)[0, 1] > 0.98  # a codec was between them
    frames.close()


def test_check_accuracy(bundle: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = load("check_accuracy").main(str(bundle), str(digits))
    assert report.passed, report.gates
    said = capsys.readouterr().out
    assert "PASS  accuracy budget" in said
    assert "n = 100" in said


def test_your_own_device() -> None:
    profile = load_profile(EXAMPLES / "your_own_device.toml")
    parent = load_profile("raspberry-pi-5")
    assert profile.hardware.features == parent.hardware.features
    assert profile.hardware.memory_mb == 8192
    assert [recipe.precision for recipe in recipes(profile)] == ["int8", "fp32"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_examples_start_from_the_front_door(path: Path) -> None:
    imports = [
        line for line in path.read_text().splitlines() if line.startswith(("from ", "import "))
    ]
    own = [
        line for line in imports if line.split()[1].split(".")[0] in ("runtime", "device_profiles")
    ]
    assert own == []
