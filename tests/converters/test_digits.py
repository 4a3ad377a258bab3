"""The digits CNN: its shipped weights, the data behind them, and the script that made them."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

from converters.zoo import digits, train_digits
from converters.zoo.digits import Split, digits_cnn, load_split, write_image_folders
from converters.zoo.train_digits import augment, count_correct, prepared, train
from device_profiles.errors import MissingError, OutputError, WeightsError


@pytest.fixture(scope="module")
def split() -> Split:
    return load_split()


@pytest.fixture(scope="module")
def stated() -> dict[str, Any]:
    with safe_open(digits.WEIGHTS, "pt") as file:
        return dict(json.loads(file.metadata()["training"]))


def test_heldout_accuracy_is_the_one_that_the_weights_state(
    split: Split, stated: dict[str, Any]
) -> None:
    correct = count_correct(digits_cnn(), split.heldout_images, split.heldout_labels)
    assert (correct, len(split.heldout_labels)) == (
        stated["heldout_correct"],
        stated["heldout_total"],
    )
    assert stated["heldout_accuracy"] >= 0.98


def test_the_stated_figure_is_of_these_very_digits(split: Split, stated: dict[str, Any]) -> None:
    digest = hashlib.sha256(split.heldout_images.tobytes()).hexdigest()
    assert digest == stated["heldout_sha256"]


def test_split_is_disjoint_complete_and_stratified(split: Split) -> None:
    from sklearn.datasets import load_digits

    assert split.train_images.shape == (1197, 32, 32)
    assert split.heldout_images.shape == (600, 32, 32)
    everything = [*split.train_images, *split.heldout_images]
    # No two of the digits are alike, so distinct images are distinct samples.
    assert len({image.tobytes() for image in everything}) == 1797
    classes = np.bincount(load_digits().target)
    heldout = np.bincount(split.heldout_labels)
    assert (np.abs(heldout - classes * 600 / 1797) < 1).all()
    assert (heldout + np.bincount(split.train_labels) == classes).all()


def test_images_are_dark_ink_on_white_paper_and_keep_the_scan(split: Split) -> None:
    from sklearn.datasets import load_digits

    assert split.train_images.dtype == np.uint8
    assert split.train_images.max() == 255
    assert split.train_images.min() == 0
    assert np.median(split.train_images) > 200
    # Four by four pixels again hold about the ink that was counted there: bilinear interpolation
    # smooths, so they correlate instead of being equal.
    ink = (255.0 - split.train_images[0]).reshape(8, 4, 8, 4).mean(axis=(1, 3)).ravel()
    likeness = [np.corrcoef(ink, scan.ravel())[0, 1] for scan in load_digits().images]
    best = int(np.argmax(likeness))
    assert likeness[best] > 0.95
    assert load_digits().target[best] == split.train_labels[0]


def test_outputs_vary_and_margins_do_not_hang_on_rounding(split: Split) -> None:
    with torch.no_grad():
        logits = digits_cnn()(prepared(split.heldout_images))
    assert logits.std(dim=0).min() > 0.5
    best = logits.topk(2, dim=1).values
    # Float32 sums in another order differ by about 1e-5: no answer may change with the machine.
    assert (best[:, 0] - best[:, 1]).min() > 1e-3


def test_model_is_small_and_takes_its_contract() -> None:
    model = digits_cnn(pretrained=False)
    assert 30_000 <= sum(p.numel() for p in model.parameters()) <= 60_000
    height, width, channels = model.input_contract.shape
    assert model(torch.rand(2, channels, height, width)).shape == (2, 10)
    assert not model.training
    assert digits.WEIGHTS.stat().st_size < 300_000


def test_lost_weights_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(digits, "WEIGHTS", tmp_path / "digits.safetensors")
    with pytest.raises(WeightsError, match=r"digits\.safetensors"):
        digits_cnn()


def test_image_folders_round_trip_pixel_exact(tmp_path: Path, split: Split) -> None:
    train_root, heldout_root = write_image_folders(tmp_path)
    assert (train_root, heldout_root) == (tmp_path / "train", tmp_path / "heldout")
    halves = (
        (train_root, split.train_images, split.train_labels),
        (heldout_root, split.heldout_images, split.heldout_labels),
    )
    for root, images, labels in halves:
        assert sorted(folder.name for folder in root.iterdir()) == [str(c) for c in range(10)]
        assert len(list(root.glob("*/*.png"))) == len(images)
        for label in range(10):
            files = sorted((root / str(label)).glob("*.png"))
            assert files[0].name == "0001.png"
            read = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files]
            np.testing.assert_array_equal(np.stack(read), images[labels == label])


def test_image_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot be written .*another folder"):
        write_image_folders(tmp_path / "file")


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("sklearn.datasets", lambda path: load_split()),
        ("cv2", write_image_folders),
    ],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str, call: Any
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingError, match="pip install 'edge-sdk"):
        call(tmp_path)


def test_augmented_digits_stay_bytes_and_differ(split: Split) -> None:
    torch.manual_seed(0)
    images = prepared(split.train_images[:16])
    seen = augment(images)
    assert seen.shape == images.shape
    assert float(seen.min()) >= 0 and float(seen.max()) <= 1
    torch.testing.assert_close(seen * 255, (seen * 255).round(), atol=1e-4, rtol=0)
    assert not torch.equal(seen, augment(images))


def test_training_learns(split: Split) -> None:
    model = train(split, epochs=4)
    # Chance is 10%; labels out of order or a step left out stay near it.
    assert count_correct(model, split.heldout_images, split.heldout_labels) > 0.5 * 600


def test_training_repeats_itself(split: Split) -> None:
    few = split._replace(train_images=split.train_images[:96], train_labels=split.train_labels[:96])
    first, second = train(few, epochs=2).state_dict(), train(few, epochs=2).state_dict()
    for key, tensor in first.items():
        torch.testing.assert_close(tensor, second[key], atol=0, rtol=0)


def test_script_writes_weights_that_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stated: dict[str, Any]
) -> None:
    monkeypatch.setattr(train_digits, "train", lambda split: digits_cnn())
    out = tmp_path / "digits.safetensors"
    threads = torch.get_num_threads()
    try:
        train_digits.main(out)
    finally:
        torch.set_num_threads(threads)
    with safe_open(out, "pt") as file:
        written = json.loads(file.metadata()["training"])
    assert written["heldout_correct"] == stated["heldout_correct"]
    monkeypatch.setattr(digits, "WEIGHTS", out)
    digits_cnn()
