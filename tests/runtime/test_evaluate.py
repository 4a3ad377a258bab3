"""Evaluation: intervals against published tables, comparisons against numpy."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from device_profiles.errors import DataError, GateError
from runtime.evaluate import terms
from runtime.evaluate._intervals import Interval, bootstrap, paired_difference, wilson
from runtime.evaluate._judgement import Judgement
from runtime.evaluate.classification import Comparer, compare
from runtime.evaluate.raw import Difference, OutputDifference, RawComparer
from runtime.plugins import names


# Newcombe 1998, Statistics in Medicine 17:857-872, Table I, method 3 (score)
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_matches_the_published_table(successes, n, low, high):
    interval = wilson(successes, n)
    assert interval.value == successes / n
    # The table has four decimals.
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


def test_wilson_at_the_ends_and_with_other_confidence():
    assert wilson(0, 7).low == 0
    assert wilson(7, 7).high == 1
    assert wilson(7, 7).low == pytest.approx(1 - wilson(0, 7).high)
    wide, narrow = wilson(3, 10, 0.99), wilson(3, 10, 0.9)
    assert wide.low < narrow.low < 0.3 < narrow.high < wide.high


# Newcombe 1998, Statistics in Medicine 17:2635-2650, Table III, method 10
@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((20, 12, 2, 16), 0.0562, 0.3292),
        ((18, 12, 2, 18), 0.0562, 0.3290),
        ((36, 14, 0, 0), 0.1528, 0.4167),
        ((35, 14, 0, 1), 0.1461, 0.4175),
        ((18, 14, 0, 18), 0.1441, 0.3963),
        ((2, 97, 1, 0), 0.8721, 0.9854),
        ((1, 97, 1, 1), 0.8736, 0.9850),
        ((0, 29, 1, 0), 0.6666, 0.9882),
        ((0, 30, 0, 0), 0.8395, 1.0),
        ((54, 0, 0, 0), -0.0664, 0.0664),
        ((30, 0, 0, 24), -0.0358, 0.0358),
    ],
)
def test_paired_difference_matches_the_published_table(cells, low, high):
    interval = paired_difference(*cells)
    # Four decimals; in one row the last of them is off by one.
    assert interval.low == pytest.approx(low, abs=1e-4)
    assert interval.high == pytest.approx(high, abs=1e-4)
    swapped = paired_difference(cells[0], cells[2], cells[1], cells[3])
    assert (swapped.low, swapped.high) == pytest.approx((-interval.high, -interval.low))


def test_paired_difference_covers_the_truth():
    """Of 95% intervals about 95% hold the truth; 93% leaves room for chance in 2000 draws."""
    generator = np.random.default_rng(0)
    shares = (0.83, 0.05, 0.03, 0.09)
    draws = generator.multinomial(200, shares, size=2000)
    intervals = [paired_difference(*map(int, draw)) for draw in draws]
    held = np.mean([i.low <= shares[1] - shares[2] <= i.high for i in intervals])
    assert 0.93 <= held <= 0.99


def test_no_samples_is_an_error():
    with pytest.raises(DataError, match="at least one sample"):
        wilson(0, 0)
    with pytest.raises(DataError, match="at least one sample"):
        Comparer().result()


def outputs(count=200, classes=10, noise=0.3, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    reference = generator.normal(size=(count, classes)).astype(np.float32)
    reference[np.arange(count), labels] += 2
    artifact = reference + generator.normal(size=reference.shape).astype(np.float32) * noise
    return reference, artifact, labels


def test_compare_counts_what_numpy_counts():
    reference, artifact, labels = outputs()
    result = compare(reference, artifact, labels)
    first = [(x.argmax(1) == labels) for x in (reference, artifact)]
    five = [
        (np.argsort(-x, axis=1)[:, :5] == labels[:, None]).any(1) for x in (reference, artifact)
    ]
    assert result.n == 200
    assert result.reference.top1 == wilson(int(first[0].sum()), 200)
    assert result.artifact.top1 == wilson(int(first[1].sum()), 200)
    assert result.reference.top5 == wilson(int(five[0].sum()), 200)
    assert result.artifact.top5 == wilson(int(five[1].sum()), 200)
    assert result.agreement.value == (reference.argmax(1) == artifact.argmax(1)).mean()
    assert result.drop.value == pytest.approx(100 * (first[0].mean() - first[1].mean()))
    a, b = first
    cells = [int(x.sum()) for x in (a & b, a & ~b, ~a & b, ~a & ~b)]
    assert result.drop == paired_difference(*cells).scaled(100)
    error = reference.astype(float) - artifact
    assert result.max_abs_difference == np.abs(error).max()
    expected = 10 * math.log10((reference.astype(float) ** 2).sum() / (error**2).sum())
    assert result.snr_db == pytest.approx(expected)


def test_streaming_gives_the_same_as_all_at_once():
    reference, artifact, labels = outputs()
    comparer = Comparer()
    for r, a, label in zip(reference, artifact, labels, strict=True):
        comparer.add(r[None], a[None, :, None, None], int(label))
    assert comparer.result() == compare(reference, artifact, labels)


def test_equal_scores_go_to_the_lowest_class():
    scores = np.array([[1.0, 1, 1, 1, 1, 1, 0]])
    tops = [compare(scores, scores, [label]).reference for label in (0, 1, 4, 5)]
    assert [t.top1.value for t in tops] == [1, 0, 0, 0]
    assert [t.top5.value for t in tops] == [1, 1, 1, 0]


def test_identical_outputs():
    reference, _, _ = outputs(classes=4)
    result = compare(reference, reference)
    assert result.snr_db == math.inf
    assert result.max_abs_difference == 0
    assert result.agreement.value == 1
    assert (result.reference, result.artifact, result.drop) == (None, None, None)


@pytest.mark.parametrize(("classes", "labelled"), [(4, True), (10, True), (4, False)])
def test_a_comparison_is_json(classes, labelled):
    reference, artifact, labels = outputs(classes=classes)
    result = compare(reference, reference if labelled else artifact, labels if labelled else None)
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert data["n"] == 200
    assert (data["snr_db"] is None) == labelled
    assert data["agreement"]["confidence"] == 0.95
    if labelled:
        assert (data["reference"]["top5"] is None) == (classes == 4)
        assert data["drop"]["value"] == 0
        assert data["drop"]["low"] < 0 < data["drop"]["high"]


@pytest.mark.parametrize(
    ("reference", "artifact", "labels", "error", "message"),
    [
        ([[1, 2]], [[1, 2, 3]], None, GateError, "shape"),
        ([[1, 2]], [[1, math.nan]], None, GateError, "artifact is not finite"),
        ([[1, -math.inf]], [[1, 2]], None, GateError, "reference is not finite"),
        ([[1, 2]], [[1, 2]], [2], DataError, "label 2 is outside the model's 2 classes"),
        ([[1, 2]], [[1, 2]], [-1], DataError, "label -1 is outside"),
        ([[1, 2]], [[1, 2], [1, 2]], None, DataError, "different numbers"),
        ([[1, 2]], [[1, 2]], [0, 0], DataError, "different numbers"),
    ],
)
def test_what_cannot_be_compared_is_refused(reference, artifact, labels, error, message):
    with pytest.raises(error, match=message):
        compare(np.array(reference, float), np.array(artifact, float), labels)


def test_labels_for_some_images_only_are_refused():
    comparer = Comparer()
    comparer.add(np.zeros(3), np.zeros(3), 1)
    comparer.add(np.zeros(3), np.zeros(3))
    with pytest.raises(DataError, match="1 of 2 images have a label"):
        comparer.result()


def test_raw_outputs_are_compared_one_by_one():
    boxes, scores = np.arange(12.0).reshape(1, 3, 4), np.full((1, 3), 2, np.float16)
    comparer = RawComparer()
    for shift in (0.0, 0.5):
        comparer.add({"boxes": boxes, "scores": scores}, {"boxes": boxes + shift, "scores": scores})
    far, same = comparer.result()
    assert (far.name, far.max_abs) == ("boxes", 0.5)
    assert far.snr_db == pytest.approx(10 * math.log10(2 * (boxes**2).sum() / (12 * 0.25)))
    pair = np.concatenate([boxes, boxes + 0.5]).ravel(), np.concatenate([boxes, boxes]).ravel()
    norms = np.linalg.norm(pair[0]) * np.linalg.norm(pair[1])
    assert far.cosine == pytest.approx(pair[0] @ pair[1] / norms)
    assert (same.max_abs, same.snr_db, same.cosine) == (0, math.inf, pytest.approx(1))
    assert json.dumps(same.to_json(), allow_nan=False).count("null") == 1
    assert comparer.n == 2


def test_raw_outputs_must_correspond():
    with pytest.raises(GateError, match="outputs are b, the reference's a"):
        RawComparer().add({"a": np.zeros(1)}, {"b": np.zeros(1)})


@pytest.mark.parametrize(
    ("reference", "artifact", "snr", "cosine"),
    [([0, 0], [0, 0], math.inf, 1), ([0, 0], [1, 0], -math.inf, 0), ([1, 0], [-1, 0], -6.0206, -1)],
)
def test_difference_of_silent_outputs(reference, artifact, snr, cosine):
    difference = Difference()
    difference.add(np.array(reference, float), np.array(artifact, float))
    assert difference.snr_db == pytest.approx(snr, abs=1e-4)
    assert difference.cosine == cosine


def test_scaled_keeps_the_confidence():
    assert Interval(0.1, 0.0, 0.2, 0.9).scaled(100) == Interval(10, 0, 20, 0.9)


def test_bootstrap_of_a_mean():
    """Close to the textbook's interval, the same at every run, and paired where it belongs."""
    rng = np.random.default_rng(3)
    values = rng.normal(5, 2, 400)
    other = values + 1 + rng.normal(0, 0.01, 400)

    def figures(weights):
        means = [weights @ column / weights.sum() for column in (values, other)]
        return [*means, means[1] - means[0]]

    found = bootstrap(len(values), figures)
    assert found == bootstrap(len(values), figures)
    half = 1.96 * values.std() / 20
    assert found[0].value == pytest.approx(values.mean())
    assert (found[0].low, found[0].high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.03
    )
    assert found[2].high - found[2].low < 0.01 < half


def test_bootstrap_of_what_has_no_value():
    """In some draws, and in none."""

    def figures(weights):
        return [weights[0] / weights[0] if weights[0] else math.nan, math.nan]

    some, none = bootstrap(2, figures, times=50)
    assert (some.value, some.low, some.high) == (1, 1, 1)
    assert math.isnan(none.value)
    assert math.isnan(none.low)


def test_a_judgement_is_json():
    output = OutputDifference("y", 0.5, math.inf, 1.0)
    figures = {"psnr": Interval(30.0, 29.0, 31.0), "other": None}
    told = Judgement(3, "PSNR", figures, figures, None, None, (output,), {"areas": [1]}).to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == {
        "n": 3, "metric": "PSNR", "drop": None, "agreement": None, "areas": [1],
        "reference": {"psnr": Interval(30.0, 29.0, 31.0).to_json(), "other": None},
        "artifact": {"psnr": Interval(30.0, 29.0, 31.0).to_json(), "other": None},
        "outputs": [{"name": "y", "max_abs": 0.5, "snr_db": None, "cosine": 1.0}]}  # fmt: skip


@pytest.mark.parametrize("task", names("runtime.tasks"))
def test_every_task_is_judged(task):
    """In terms that a table can be made of, and in the form that every result has."""
    told = terms(task)
    assert len({figure.key for figure in told.figures}) == len(told.figures)
    assert told.lost in ("points", "dB")
    assert (told.truth is None) == (not told.figures)
    assert told.allowed > 0
