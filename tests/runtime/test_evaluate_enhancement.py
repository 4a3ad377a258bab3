"""Enhancement against high pictures: PSNR by its definition."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from device_profiles.errors import DataError, GateError
from runtime.contract import InputContract
from runtime.datasets import images, open_dataset
from runtime.datasets.base import PictureFile
from runtime.evaluate import Judged, Seen, start, terms

LOW = np.full((100, 60, 3), 100, np.uint8)


def noise(shape, seed):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def judged(color="BGR", **decoder):
    return Judged(("picture",), InputContract(100, 60, color=color), (), decoder)


def output(picture):
    """What a net gives for a picture, 0..1, channels first."""
    return [(picture.transpose(2, 0, 1)[None] / 255).astype(np.float32)]


def psnr(one, other, border, bt601=True):
    weights = [0.114, 0.587, 0.299]
    error = (one.astype(float) - other.astype(float))[border:-border, border:-border]
    luma = error @ weights if error.shape[2] == 3 else error[..., 0]
    return 10 * np.log10(255**2 / np.mean((luma * (219 / 255 if bt601 else 1)) ** 2))


@pytest.mark.parametrize("luma", ["bt601", "full"])
def test_psnr_is_that_of_luma_within_the_border(tmp_path, luma):
    truth, one, other = (noise((200, 120, 3), seed) for seed in range(3))
    one[2:-2, 2:-2] = truth[2:-2, 2:-2] // 2 + one[2:-2, 2:-2] // 2
    larger = cv2.copyMakeBorder(truth, 0, 1, 0, 1, cv2.BORDER_CONSTANT)
    cv2.imwrite(str(tmp_path / "high.png"), larger)
    comparison = start("enhance", judged(luma=luma))
    seen = Seen(LOW, None, PictureFile(tmp_path / "high.png"))
    comparison.add(output(one), output(other), seen)
    found = comparison.result().to_json()
    expected = [psnr(picture, truth, 2, luma == "bt601") for picture in (one, other)]
    assert found["reference"]["psnr"]["value"] == pytest.approx(expected[0])
    assert found["artifact"]["psnr"]["value"] == pytest.approx(expected[1])
    assert found["drop"]["value"] == pytest.approx(expected[0] - expected[1])
    assert found["metric"] == "PSNR"
    assert found["agreement"] is None


def test_luma_is_judged_as_the_model_gave_it(tmp_path):
    """And not after its trip through colours, which rounds it."""
    rng = np.random.default_rng(0)
    low = rng.integers(0, 256, (100, 60, 3), np.uint8)
    truth = rng.integers(0, 256, (200, 120), np.uint8)
    cv2.imwrite(str(tmp_path / "high.png"), truth)
    given = np.clip(truth.astype(int) + rng.integers(-3, 4, truth.shape), 0, 255)[..., None]
    comparison = start("enhance", judged("GRAY", luma="full"))
    seen = Seen(low, None, PictureFile(tmp_path / "high.png"))
    comparison.add(output(given), output(given), seen)
    found = comparison.result().to_json()
    expected = psnr(given, truth[..., None], 2, bt601=False)
    assert found["artifact"]["psnr"]["value"] == pytest.approx(expected)
    assert found["psnr_between_db"] == 100


def test_the_mean_is_over_images_and_the_drop_is_paired(tmp_path):
    comparison = start("enhance", judged())
    ratios = []
    for seed in range(6):
        truth = noise((200, 120, 3), seed)
        cv2.imwrite(str(tmp_path / f"{seed}.png"), truth)
        pictures = [np.clip(truth.astype(int) + step * (seed + 1), 0, 255) for step in (1, 2)]
        ratios.append([psnr(picture, truth, 2) for picture in pictures])
        seen = Seen(LOW, None, PictureFile(tmp_path / f"{seed}.png"))
        comparison.add(*(output(picture) for picture in pictures), seen)
    found = comparison.result().to_json()
    assert found["n"] == 6
    one, other = np.mean(ratios, 0)
    assert found["reference"]["psnr"]["value"] == pytest.approx(one)
    assert found["drop"]["value"] == pytest.approx(one - other)
    assert found["drop"]["high"] - found["drop"]["low"] < 1  # of images that differ by 15 dB
    assert np.array(found["psnr_db"]) == pytest.approx(np.array(ratios), abs=1e-4)


def test_equal_pictures_have_100_db(tmp_path):
    truth = noise((200, 120, 3), 0)
    cv2.imwrite(str(tmp_path / "high.png"), truth)
    comparison = start("enhance", judged())
    seen = Seen(LOW, None, PictureFile(tmp_path / "high.png"))
    comparison.add(output(truth), output(truth), seen)
    assert comparison.result().to_json()["artifact"]["psnr"]["value"] == 100


def test_without_high_pictures_there_is_the_ratio_between_the_two():
    one = noise((200, 120, 3), 0)
    other = np.clip(one.astype(int) + 5, 0, 255)
    comparison = start("enhance", judged())
    comparison.add(output(one), output(other), Seen(LOW))
    found = comparison.result().to_json()
    assert found["reference"] is found["artifact"] is found["drop"] is found["metric"] is None
    error = (one.astype(float) - other) @ [0.114, 0.587, 0.299] * 219 / 255
    assert found["psnr_between_db"] == pytest.approx(10 * np.log10(255**2 / np.mean(error**2)))


@pytest.mark.parametrize("size", [(199, 120), (202, 120), (200, 122), (400, 240)])
def test_a_high_picture_of_another_size_is_refused(tmp_path, size):
    cv2.imwrite(str(tmp_path / "high.png"), noise((*size, 3), 0))
    comparison = start("enhance", judged())
    picture = output(noise((200, 120, 3), 0))
    with pytest.raises(DataError, match="the model makes 200x120"):
        comparison.add(picture, picture, Seen(LOW, None, PictureFile(tmp_path / "high.png")))


def test_what_cannot_be_compared_is_refused(tmp_path):
    truth = noise((200, 120, 3), 0)
    cv2.imwrite(str(tmp_path / "high.png"), truth)
    comparison = start("enhance", judged())
    with pytest.raises(DataError, match="at least one sample"):
        comparison.result()
    with pytest.raises(GateError, match="not finite"):
        comparison.add(output(truth), output(truth * np.nan), Seen(LOW))
    comparison = start("enhance", judged())
    comparison.add(output(truth), output(truth), Seen(LOW))
    seen = Seen(LOW, None, PictureFile(tmp_path / "high.png"))
    comparison.add(output(truth), output(truth), seen)
    with pytest.raises(DataError, match="1 of 2 images have a high picture"):
        comparison.result()


def test_terms():
    assert terms("enhance").lost == "dB"
    assert terms("enhance").truth is PictureFile


@pytest.mark.parametrize("low", ["LR", "LR_x2"])
def test_pairs_are_found_by_their_names(tmp_path, low):
    for folder, suffix in ((low, "png"), ("HR", "bmp")):
        (tmp_path / folder).mkdir()
        for stem in ("b", "a"):
            cv2.imwrite(str(tmp_path / folder / f"{stem}.{suffix}"), LOW)
    for path in (tmp_path, tmp_path / low) if low == "LR" else (tmp_path / low,):
        dataset = open_dataset(path)
        assert [(s.path.name, s.truth.path.name) for s in dataset.samples] == [
            ("a.png", "a.bmp"),
            ("b.png", "b.bmp"),
        ]
    assert len(list(images(dataset))) == 2
    (tmp_path / "HR" / "a.bmp").unlink()
    with pytest.raises(DataError, match=r"first: a\.png"):
        open_dataset(tmp_path / low)


def test_a_folder_without_low_pictures_is_named(tmp_path):
    (tmp_path / "low").mkdir()
    (tmp_path / "high").mkdir()
    with pytest.raises(DataError, match="has no pictures"):
        open_dataset(tmp_path)
