"""The digits CNN, captured, converted and saved once for all tests of the front door."""

from __future__ import annotations

from pathlib import Path

import cv2
import onnx_ir as ir
import pytest
import torch

from converters.capture import Captured
from converters.loaders import load_model
from converters.zoo.digits import load_split
from edge_sdk import ConvertOptions, convert
from edge_sdk.cli import main
from tests.edge_sdk.cli_cases import DEVICE, SAMPLES, Digits, Run, Said


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Keep torch from spreading a net of a few kB over every core."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    """Real digits, the first of each class, as ImageFolder trees of PNG."""
    root = tmp_path_factory.mktemp("digits")
    split = load_split()
    for tree, images, labels, each in (
        ("train", split.train_images, split.train_labels, 10),
        ("heldout", split.heldout_images, split.heldout_labels, 6),
    ):
        for label in range(10):
            folder = root / tree / str(label)
            folder.mkdir(parents=True)
            for number, image in enumerate(images[labels == label][:each], start=1):
                cv2.imwrite(str(folder / f"{number:04d}.png"), image)
    return Digits(root / "train", root / "heldout")


@pytest.fixture(scope="session")
def captured() -> Captured:
    """The trained digits CNN, captured from PyTorch."""
    return load_model("zoo:digits_cnn")


@pytest.fixture(scope="session")
def onnx_file(captured: Captured, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same net as an ONNX file: a MODEL that the command line reads without the exporter."""
    path = tmp_path_factory.mktemp("onnx") / "digits.onnx"
    ir.save(captured.graph, path)
    return path


@pytest.fixture(scope="session")
def bundle(captured: Captured, digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for another architecture than most hosts': ONNX, int8 first, float32 behind it."""
    path = tmp_path_factory.mktemp("bundle") / "digits.edge"
    convert(captured, DEVICE, path, digits.train, ConvertOptions(format="onnx", samples=SAMPLES))
    return path


@pytest.fixture
def edge(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `edge-sdk` with these arguments in this process."""

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as left:  # argparse's way
            code = left.code if isinstance(left.code, int) else -1
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run
