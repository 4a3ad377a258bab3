"""Segmentation against masks: counted by hand, and the files that masks are."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from device_profiles.errors import DataError, GateError
from runtime.contract import InputContract
from runtime.datasets import images, open_dataset
from runtime.datasets.base import MaskFile
from runtime.evaluate import Judged, Seen, start, terms
from runtime.masks import read_mask

LABELS = ("background", "cat", "dog")
JUDGED = Judged(("classes",), InputContract(4, 6), LABELS)
IMAGE = np.zeros((4, 6, 3), np.uint8)


def mask(path, rows):
    assert cv2.imwrite(str(path), np.array(rows, np.uint8))
    return MaskFile(path)


def answer(rows):
    return [np.array(rows, np.int32)[None]]


TRUTH = [[0, 0, 0, 1, 1, 255], [0, 0, 0, 1, 1, 255], [0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]]
GOOD = [[0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 0], [0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]]
# One pixel of the background taken for a cat, two of the cat for a dog.
WORSE = [[0, 0, 1, 2, 2, 2], [0, 0, 0, 1, 1, 0], [0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]]


def test_figures_are_counted_by_hand(tmp_path):
    comparison = start("segment", JUDGED)
    truth = mask(tmp_path / "a.png", TRUTH)
    comparison.add(answer(GOOD), answer(WORSE), Seen(IMAGE, None, truth))
    found = comparison.result().to_json()
    # 14 pixels of background and 8 of the cat are judged; no dog is there.
    assert found["reference"]["miou"]["value"] == 1
    assert found["artifact"]["miou"]["value"] == pytest.approx((13 / 14 + 6 / 9) / 2)
    assert found["artifact"]["pixels"]["value"] == pytest.approx(19 / 22)
    assert found["drop"]["value"] == pytest.approx(100 * (1 - (13 / 14 + 6 / 9) / 2))
    assert found["agreement"]["value"] == pytest.approx(21 / 24)
    assert found["metric"] == "mIoU"
    classes = found["classes"][1]
    assert set(classes) == {"background", "cat"}
    assert classes["cat"] == {"iou": pytest.approx(6 / 9), "image_iou": pytest.approx(6 / 9)}


def test_pixels_are_pooled_over_images_and_classes_averaged(tmp_path):
    comparison = start("segment", JUDGED)
    for index, (rows, found) in enumerate(((TRUTH, WORSE), ([[1] * 6] * 4, [[1] * 6] * 4))):
        truth = mask(tmp_path / f"{index}.png", rows)
        comparison.add(answer(found), answer(found), Seen(IMAGE, None, truth))
    result = comparison.result().to_json()
    assert result["artifact"]["miou"]["value"] == pytest.approx((13 / 14 + 30 / 33) / 2)
    cat = result["classes"][0]["cat"]
    assert cat == {"iou": pytest.approx(30 / 33), "image_iou": pytest.approx((6 / 9 + 1) / 2)}
    assert result["drop"]["value"] == result["drop"]["low"] == result["drop"]["high"] == 0
    interval = result["artifact"]["miou"]
    assert interval["low"] < interval["value"] <= interval["high"]


def test_what_the_model_did_not_see_is_wrong(tmp_path):
    judged = Judged(("classes",), InputContract(4, 4, resize="center-crop"), LABELS)
    comparison = start("segment", judged)
    truth = mask(tmp_path / "a.png", [[1] * 6] * 4)
    found = answer([[1] * 4] * 4)
    comparison.add(found, found, Seen(IMAGE, None, truth))
    result = comparison.result().to_json()
    assert result["artifact"]["pixels"]["value"] == pytest.approx(16 / 24)
    assert result["artifact"]["miou"]["value"] == pytest.approx(16 / 24)


def test_a_mask_of_nothing_that_counts_has_no_figures(tmp_path):
    comparison = start("segment", JUDGED)
    truth = mask(tmp_path / "a.png", [[255] * 6] * 4)
    comparison.add(answer(GOOD), answer(WORSE), Seen(IMAGE, None, truth))
    found = comparison.result().to_json()
    assert found["artifact"] == {"miou": None, "pixels": None}
    assert found["drop"] is None


def test_without_masks_there_is_agreement_alone():
    comparison = start("segment", JUDGED)
    comparison.add(answer(GOOD), answer(WORSE), Seen(IMAGE))
    found = comparison.result().to_json()
    assert found["agreement"]["value"] == pytest.approx(21 / 24)
    assert found["reference"] is found["artifact"] is found["drop"] is found["metric"] is None


def test_masks_for_some_images_only_are_refused(tmp_path):
    comparison = start("segment", JUDGED)
    comparison.add(answer(GOOD), answer(WORSE), Seen(IMAGE))
    comparison.add(answer(GOOD), answer(WORSE), Seen(IMAGE, None, mask(tmp_path / "a.png", TRUTH)))
    with pytest.raises(DataError, match="1 of 2 images have a mask"):
        comparison.result()
    with pytest.raises(DataError, match="at least one sample"):
        start("segment", JUDGED).result()


def test_an_artifact_that_is_not_finite_is_at_fault():
    comparison = start("segment", JUDGED)
    scores = np.zeros((1, 3, 4, 6), np.float32)
    with pytest.raises(GateError, match="not finite"):
        comparison.add([scores], [scores * np.nan], Seen(IMAGE))


@pytest.mark.parametrize(
    ("rows", "message"),
    [([[0] * 5] * 4, "must be of one size"), ([[3] * 6] * 4, "has class 3, the model has 3")],
)
def test_masks_that_do_not_belong_to_the_model_are_refused(tmp_path, rows, message):
    comparison = start("segment", JUDGED)
    truth = mask(tmp_path / "a.png", rows)
    with pytest.raises(DataError, match=message):
        comparison.add(answer(GOOD), answer(GOOD), Seen(IMAGE, None, truth))


def test_terms():
    assert terms("segment").lost == "points"
    assert terms("segment").truth is MaskFile


# ---- files -----------------------------------------------------------------------------------


def palette_png(rows, depth):
    """A PNG with a palette, as the specification has it: one filter byte 0 before each line."""
    rows = np.array(rows, np.uint8)

    def chunk(kind, body):
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    bits = np.unpackbits(rows[..., None], axis=2)[..., 8 - depth :].reshape(len(rows), -1)
    lines = b"".join(b"\0" + np.packbits(line).tobytes() for line in bits)
    head = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], depth, 3, 0, 0, 0)
    colors = bytes(range(3 * 2**depth % 256)) * 3
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"PLTE", colors[: 3 * 2**depth].ljust(3 * 2**depth, b"\7"))
        + chunk(b"tRNS", b"\0")
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_of_a_palette_the_numbers_are_read_and_not_the_colours(tmp_path, depth):
    rows = np.random.default_rng(0).integers(0, 2**depth, (5, 7))
    path = tmp_path / "mask.png"
    path.write_bytes(palette_png(rows, depth))
    assert (read_mask(path) == rows).all()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"\x89PNG\r\n\x1a\n",
        palette_png([[1]], 8)[:24],
        palette_png([[1]], 8)[:40],
        palette_png([[1]], 8)[:-30],
        palette_png([[1]], 8).replace(b"IDAT", b"IDAX"),
    ],
)
def test_a_damaged_mask_is_named(tmp_path, content):
    path = tmp_path / "mask.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mask\.png"):
        read_mask(path)


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint16)], ids=["color", "16 bits"]
)
def test_pictures_are_no_masks(tmp_path, pixels):
    cv2.imwrite(str(tmp_path / "mask.png"), pixels)
    with pytest.raises(DataError, match="save it in grey, or with a palette"):
        read_mask(tmp_path / "mask.png")
    with pytest.raises(DataError, match="cannot read mask"):
        read_mask(tmp_path / "none.png")


@pytest.mark.parametrize("names", [("images", "masks"), ("JPEGImages", "SegmentationClass")])
def test_pairs_are_found_by_their_names(tmp_path, names):
    pictures, masks = (tmp_path / name for name in names)
    pictures.mkdir()
    masks.mkdir()
    for stem in ("b", "a", "unlabelled"):
        cv2.imwrite(str(pictures / f"{stem}.jpg"), IMAGE)
    for stem in ("a", "b"):
        mask(masks / f"{stem}.png", TRUTH)
    for path in (tmp_path, masks):
        dataset = open_dataset(path)
        assert [(s.path.name, s.truth.path.name) for s in dataset.samples] == [
            ("a.jpg", "a.png"),
            ("b.jpg", "b.png"),
        ]
    ((sample, image), *_) = images(dataset)
    assert image.shape == (4, 6, 3)
    assert (read_mask(sample.truth.path) == TRUTH).all()
    listed = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("b\n")
    (tmp_path / "Annotations").mkdir()
    assert [s.path.name for s in open_dataset(listed).samples] == ["b.jpg"]
    listed.write_text("b\nunlabelled\n")
    with pytest.raises(DataError, match="none for unlabelled"):
        open_dataset(listed)


def test_a_mask_without_its_picture_is_named(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="none for any picture"):
        open_dataset(tmp_path)
    mask(tmp_path / "masks" / "a.png", TRUTH)
    with pytest.raises(DataError, match="first: a"):
        open_dataset(tmp_path)
