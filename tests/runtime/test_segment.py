"""Segmentation: the plain definition in float64 is the oracle; every form of output is read."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from device_profiles.errors import ContractError, EngineError, RequestError
from runtime.contract import InputContract
from runtime.preprocess import placement
from runtime.tasks import decoder
from runtime.tasks.base import TaskContext
from runtime.tasks.segment import SegmentationMap

LABELS = ("background", "cat", "dog", "sky")
STRETCH = InputContract(32, 48)


def scores(classes=4, height=8, width=12, seed=0):
    """Smooth scores, so that classes are in patches and borders between cells."""
    noise = np.random.default_rng(seed).normal(size=(classes, height, width)).astype(np.float32)
    return np.stack([cv2.GaussianBlur(plane, (0, 0), 1.0) for plane in noise])


def context(frame=(50, 70), contract=STRETCH, labels=LABELS):
    return TaskContext(labels, contract, *frame)


def between(planes, frame, contract):
    """Interpolate `planes` at the centres of the frame's pixels: (classes, height, width) float64,
    NaN where the model saw nothing. What is beyond the picture's last cell is that cell's."""
    place = placement(*frame, contract)
    at, seen = [], []
    for size, scale, offset, cells, model in (
        (frame[0], place.scale_y, place.offset_y, planes.shape[1], contract.height),
        (frame[1], place.scale_x, place.offset_x, planes.shape[2], contract.width),
    ):
        pitch = model / cells
        centre = (np.arange(size) + 0.5 - offset) / scale / pitch
        seen.append((centre > 0) & (centre < cells))
        # Cells whose centres are in bars of a letterbox are no part of the picture.
        inside = np.flatnonzero(
            ((np.arange(cells) + 0.5) * pitch * scale + offset > -1e-9)
            & ((np.arange(cells) + 0.5) * pitch * scale + offset < size + 1e-9)
        )
        at.append(np.clip(centre - 0.5, inside[0], inside[-1]))
    rows, columns = (np.floor(a + 1e-9).astype(int) for a in at)
    down, right = (np.clip(a - f, 0, 1) for a, f in zip(at, (rows, columns), strict=True))
    wide = np.pad(planes.astype(np.float64), ((0, 0), (0, 1), (0, 1)), mode="edge")
    across = [
        wide[:, r][:, :, columns] * (1 - right) + wide[:, r][:, :, columns + 1] * right
        for r in (rows, rows + 1)
    ]
    found = across[0] * (1 - down)[:, None] + across[1] * down[:, None]
    found[:, ~(seen[0][:, None] & seen[1])] = np.nan
    return found


@pytest.mark.parametrize(
    "contract",
    [
        STRETCH,
        InputContract(32, 48, resize="letterbox"),
        InputContract(48, 32, resize="letterbox"),
        InputContract(32, 48, resize="center-crop"),
        InputContract(48, 32, resize="center-crop", shorter_side=60),
    ],
    ids=str,
)
@pytest.mark.parametrize("frame", [(50, 70), (32, 48), (100, 60), (20, 60), (210, 220)])
@pytest.mark.parametrize("stride", [1, 4, 8])
def test_scores_are_interpolated_before_the_best_is_taken(contract, frame, stride):
    planes = scores(4, contract.height // stride, contract.width // stride)
    result = decoder("segment")([planes[None]], context(frame, contract))
    exact = between(planes, frame, contract)
    unseen = np.isnan(exact[0])
    assert ((result.classes == result.unknown) == unseen).all()
    expected = np.nan_to_num(exact).argmax(0)
    top = np.sort(np.nan_to_num(exact), axis=0)
    near = top[-1] - top[-2] < 1e-5  # float32 may fall to either side there
    assert ((result.classes == expected) | unseen | near).all()
    assert near[~unseen].mean() < 0.01
    assert result.classes.dtype == np.uint8


def test_a_picture_thinner_than_a_cell_is_of_the_cell_that_holds_it():
    contract = InputContract(32, 48, resize="letterbox")
    planes = np.zeros((2, 4, 6), np.float32)
    planes[1, 2] = 1  # rows 16 to 24 of the model's picture, of which the frame is 14 to 17
    planes[0, 0], planes[0, 3] = 9, 9
    result = decoder("segment")([planes[None]], context((6, 90), contract, LABELS[:2]))
    assert (result.classes == 1).all()


def test_pixels_that_a_centre_crop_cut_off_are_unknown():
    contract = InputContract(32, 32, resize="center-crop")
    result = decoder("segment")([scores(4, 8, 8)[None]], context((40, 80), contract))
    assert (result.classes[:, :20] == 255).all()
    assert (result.classes[:, 60:] == 255).all()
    assert (result.classes[:, 20:60] < 4).all()
    assert result.to_json()["unknown"] == 0.5


def test_bars_of_a_letterbox_are_no_part_of_the_picture():
    """What the model says of the bars is not mixed into the picture's last pixels."""
    contract = InputContract(32, 32, resize="letterbox")
    planes = np.zeros((2, 8, 8), np.float32)
    planes[0, :2], planes[0, 6:] = 100, 100  # the bars
    planes[1, 2:6] = 1
    result = decoder("segment")([planes[None]], context((40, 80), contract, LABELS[:2]))
    assert (result.classes == 1).all()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("labels", [(), LABELS])
def test_both_layouts_are_told_apart(last, labels):
    planes = scores()
    output = planes.transpose(1, 2, 0) if last else planes
    given = context(labels=labels)
    result = decoder("segment")([output[None]], given)
    assert (result.classes == decoder("segment")([planes[None]], given).classes).all()
    assert result.labels == (labels or ("0", "1", "2", "3"))


def test_an_axis_that_cannot_be_told_must_be_said():
    output = scores(4, 4, 4)[None]
    given = TaskContext(LABELS, InputContract(16, 16), 20, 20)
    with pytest.raises(RequestError, match="say axis: first or last"):
        decoder("segment")([output], given)
    first = decoder("segment", {"axis": "first"})([output], given)
    last = decoder("segment", {"axis": "last"})([output.transpose(0, 2, 3, 1)], given)
    assert (first.classes == last.classes).all()


@pytest.mark.parametrize("shape", [(1, 8, 12), (1, 1, 8, 12), (1, 8, 12, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_classes_that_the_model_chose_are_taken_as_they_are(shape, dtype):
    cells = scores().argmax(0)
    result = decoder("segment")([cells.reshape(shape).astype(dtype)], context())
    rows, columns = (np.arange(50) + 0.5) * 8 // 50, (np.arange(70) + 0.5) * 12 // 70
    assert (result.classes == cells[rows.astype(int)][:, columns.astype(int)]).all()


def test_a_map_takes_the_nearest_cell():
    planes = scores()
    result = decoder("segment", {"upsample": "map"})([planes[None]], context())
    cells = planes.argmax(0)[None].astype(np.uint8)
    assert (result.classes == decoder("segment")([cells], context()).classes).all()


def test_more_than_255_classes():
    planes = np.zeros((300, 8, 12), np.float32)
    planes[299, :4], planes[7, 4:] = 1, 1
    result = decoder("segment")([planes[None]], context(labels=()))
    assert result.classes.dtype == np.uint16
    assert [share.index for share in result.present] == [7, 299]
    assert result.unknown == 65535
    image = np.full((50, 70, 3), 100, np.uint8)
    result.draw(image)
    assert (image[-1] != 100).any()


@pytest.mark.parametrize(
    ("form", "kind"),
    [("one", "probabilities"), ("one", "logits"), ("two", "probabilities"), ("two", "logits")],
)
@pytest.mark.parametrize("said", [False, True])
def test_a_matte_is_the_subjects_probability(form, kind, said):
    logit = scores(1)[0] * 6
    likely = 1 / (1 + np.exp(-logit))
    one, two = (logit, [-logit / 2, logit / 2])
    if kind == "probabilities":
        one, two = likely, [1 - likely, likely]
    planes = np.stack(two if form == "two" else [one])
    spec = {"matte": True, **({"scores": kind} if said else {})}
    result = decoder("segment", spec)([planes[None]], context(labels=("background", "person")))
    exact = between(likely[None], (50, 70), STRETCH)[0] * 255
    assert np.abs(result.alpha - exact).max() <= 0.51
    assert (result.classes == (result.alpha >= 128)).all()
    assert result.to_json()["coverage"] == pytest.approx(exact.mean() / 255, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 8, 12), (1, 8, 12, 1), (1, 1536)])
def test_one_score_for_each_pixel_is_a_matte(shape):
    likely = cv2.resize(scores(1)[0], (48, 32)) if shape == (1, 1536) else scores(1)[0]
    likely = (likely - likely.min()) / np.ptp(likely)
    result = decoder("segment")([likely.reshape(shape)], context(labels=()))
    assert result.labels == ("background", "foreground")
    assert np.abs(result.alpha - between(likely[None], (50, 70), STRETCH)[0] * 255).max() <= 0.51


def test_the_threshold_and_the_background_of_a_matte():
    likely = np.linspace(0, 1, 96, dtype=np.float32).reshape(1, 1, 8, 12)
    given = context(labels=("person", "wall"))
    result = decoder("segment", {"threshold": 0.9, "background": 1})([likely], given)
    assert ((result.classes == 0) == (result.alpha >= 230)).all()
    assert result.background == 1


def test_to_json_round_trips_the_map_as_coco_does():
    planes = scores()
    result = decoder("segment", {"rle": True})([planes[None]], context())
    fields = json.loads(json.dumps(result.to_json()))
    found = np.full((50, 70), 255, np.uint8)
    for row in fields["classes"]:
        height, width = row["rle"]["size"]
        flags = np.repeat(np.arange(len(row["rle"]["counts"])) % 2, row["rle"]["counts"])
        mask = flags.reshape(width, height).T.astype(bool)
        found[mask] = row["index"]
        assert row["share"] == pytest.approx(mask.mean())
        left, top, right, bottom = row["box"]
        assert mask[top:bottom, left:right].sum() == mask.sum()
        assert mask[top:bottom, left].any()
        assert mask[top:bottom, right - 1].any()
        assert mask[top, left:right].any()
        assert mask[bottom - 1, left:right].any()
        assert row["label"] == LABELS[row["index"]]
    assert (found == result.classes).all()
    shares = [row["share"] for row in fields["classes"]]
    assert shares == sorted(shares, reverse=True)
    assert (fields["height"], fields["width"], fields["unknown"]) == (50, 70, 0)
    assert fields["coverage"] is None


def test_drawing_paints_things_and_leaves_the_background():
    classes = np.zeros((200, 300), np.uint8)
    classes[120:, 200:] = 1
    classes[:, :20] = 255
    image = np.full((200, 300, 3), 100, np.uint8)
    SegmentationMap(classes, LABELS).draw(image)
    assert (image[130:, 20:190] == 100).all()
    assert (image[120:, :20] == 100).all()
    assert len(np.unique(image[120:, 200:].reshape(-1, 3), axis=0)) == 1
    assert (image[150, 250] != 100).any()


def test_drawing_a_matte_darkens_what_is_not_the_subject():
    alpha = np.zeros((20, 30), np.uint8)
    alpha[:, 15:] = 255
    image = np.full((20, 30, 3), 200, np.uint8)
    SegmentationMap((alpha > 0).view(np.uint8), ("background", "person"), 0, alpha).draw(image)
    assert (image[:, 15:] == 200).all()
    assert (image[:, :15] == 70).all()


@pytest.mark.parametrize("color", [True, False])
def test_composite_blends_within_a_level(color):
    rng = np.random.default_rng(0)
    frame, other = (rng.integers(0, 256, (150, 40, 3), np.uint8) for _ in range(2))
    alpha = rng.integers(0, 256, (150, 40), np.uint8)
    result = SegmentationMap((alpha > 127).view(np.uint8), ("a", "b"), 0, alpha)
    ground = (10, 250, 90) if color else other
    exact = frame + (np.asarray(ground, np.float64) - frame) * (1 - alpha[..., None] / 255)
    assert np.abs(result.composite(frame, ground) - exact).max() <= 1
    cutout = result.cutout(frame)
    assert (cutout[..., :3] == frame).all()
    assert (cutout[..., 3] == alpha).all()


@pytest.mark.parametrize("ground", [np.zeros((9, 9, 3), np.uint8), np.zeros((20, 30, 3))])
def test_composite_refuses_another_size(ground):
    result = SegmentationMap(np.zeros((20, 30), np.uint8), ("a", "b"))
    with pytest.raises(RequestError, match="cannot be blended"):
        result.composite(np.zeros((20, 30, 3), np.uint8), ground)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(value):
    planes = scores()
    planes[2, 3, 4] = value
    with pytest.raises(EngineError, match="not finite"):
        decoder("segment")([planes[None]], context())


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 96), np.float32, "no score or class per pixel"),
        ((2, 4, 8, 12), np.float32, "no score or class per pixel"),
        ((1, 4, 8, 12, 1), np.float32, "no score or class per pixel"),
        ((1, 4, 0, 12), np.float32, "no score or class per pixel"),
        ((1, 5, 8, 12), np.float32, "does not tell which axis"),
        ((1, 4, 12, 8), np.float32, "does not tell which axis"),
    ],
)
def test_outputs_of_another_form_are_refused(shape, dtype, message):
    with pytest.raises(RequestError, match=message):
        decoder("segment")([np.zeros(shape, dtype)], context())


def test_a_class_without_a_label_is_refused():
    with pytest.raises(RequestError, match="gives class 4, but there are 4 labels"):
        decoder("segment")([np.full((1, 8, 12), 4, np.int32)], context())
    with pytest.raises(RequestError, match="gives class -1"):
        decoder("segment")([np.full((1, 8, 12), -1, np.int32)], context())


def test_a_background_that_is_none_of_the_classes_is_refused():
    with pytest.raises(RequestError, match="background 4 is none of the 4 classes"):
        decoder("segment", {"background": 4})([scores()[None]], context())


@pytest.mark.parametrize("option", [{"matte": True}, {"threshold": 0.5}, {"scores": "logits"}])
def test_a_matte_of_many_classes_is_refused(option):
    with pytest.raises(RequestError):
        decoder("segment", option)([scores()[None]], context())
    with pytest.raises(RequestError, match="leave matte, threshold and scores out"):
        decoder("segment", option)([np.zeros((1, 8, 12), np.uint8)], context())


def test_tiles_are_refused():
    contract = InputContract(32, 48, resize="tile")
    with pytest.raises(ContractError, match="resize=tile is for enhancement"):
        decoder("segment")([scores()[None]], context(contract=contract))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"mate": True}, "did you mean matte"),
        ({"matte": 1}, "give true or false"),
        ({"rle": "yes"}, "give true or false"),
        ({"upsample": "logit"}, "did you mean logits"),
        ({"axis": "C"}, "axis 'C' is not valid"),
        ({"scores": "softmax"}, "scores 'softmax' is not valid"),
        ({"background": -2}, "give a class from 0, or -1 for none"),
        ({"background": True}, "give a class from 0"),
        ({"threshold": 0}, "give a number between 0 and 1"),
        ({"threshold": 1}, "give a number between 0 and 1"),
        ({"threshold": float("nan")}, "give a number between 0 and 1"),
        ({"threshold": "0.5"}, "give a number between 0 and 1"),
        ({"threshold": True}, "give a number between 0 and 1"),
    ],
)
def test_mistakes_are_named(spec, message):
    with pytest.raises(RequestError, match=message):
        decoder("segment", spec)
