"""Tasks: outputs become results, and results become JSON and pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from device_profiles.errors import EngineError, RequestError
from runtime.contract import InputContract
from runtime.tasks import TaskContext, decoder

SIZES = [(48, 64), (120, 160), (480, 640), (1080, 1920), (640, 96)]


def context(labels: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> TaskContext:
    return TaskContext(labels, InputContract(8, 8), 480, 640, names)


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean classify"):
        decoder("clasify")


# --- classify


@pytest.mark.parametrize("shape", [(1, 4), (1, 4, 1, 1), (1, 1, 1, 4)])
def test_logits_become_probabilities(shape: tuple[int, ...]) -> None:
    logits = np.array([1.0, -2.0, 3.0, 0.5], np.float32)
    result = decoder("classify")([logits.reshape(shape)], context(("a", "b", "c", "d")))
    expected = np.exp(logits) / np.exp(logits).sum()
    assert result.softmax
    assert (result.index, result.label) == (2, "c")
    assert [ranked.label for ranked in result.top] == ["c", "a", "d", "b"]
    assert [ranked.score for ranked in result.top] == pytest.approx(sorted(expected)[::-1])


@pytest.mark.parametrize("off", [0.0, 0.015, -0.015])
def test_probabilities_stay_as_they_are(off: float) -> None:
    result = decoder("classify")([np.array([[0.25, 0.75 + off]])], context())
    assert not result.softmax
    assert (result.index, result.label, result.score) == (1, "1", 0.75 + off)


def test_large_logits_do_not_overflow_and_ties_go_to_the_lower_index() -> None:
    result = decoder("classify")([np.array([[9e4, 1e5, 1e5]], np.float32)], context())
    assert [ranked.index for ranked in result.top] == [1, 2, 0]
    assert [ranked.score for ranked in result.top] == [0.5, 0.5, 0.0]


def test_only_the_best_five_are_kept() -> None:
    scores = np.random.default_rng(0).normal(size=(1, 1001))
    result = decoder("classify")([scores], context())
    assert [ranked.index for ranked in result.top] == np.argsort(-scores[0])[:5].tolist()


@pytest.mark.parametrize(
    ("output", "labels", "error", "message"),
    [
        (np.zeros((1, 3)), ("a", "b"), RequestError, "3 classes, but there are 2 labels"),
        (np.zeros((2, 3)), (), RequestError, "not one score per class"),
        (np.zeros((1, 4, 7, 7)), (), RequestError, "not one score per class"),
        (np.array([[np.nan, 1.0]]), (), EngineError, "not finite"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(
    output: np.ndarray, labels: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        decoder("classify")([output], context(labels))


# --- raw


def test_raw_gives_figures_of_every_output() -> None:
    outputs = [np.array([[1.0, np.inf, 3.0]]), np.full((1, 2, 2), np.nan), np.ones((1,), np.int8)]
    first, second, third = decoder("raw")(outputs, context(names=("a", "b", "c"))).outputs
    assert (first.name, first.shape, first.dtype) == ("a", (1, 3), "float64")
    assert (first.min, first.max, first.mean, first.not_finite) == (1.0, 3.0, 2.0, 1)
    assert (second.min, second.max, second.mean, second.not_finite) == (None, None, None, 4)
    assert (third.dtype, third.mean) == ("int8", 1.0)
    assert decoder("raw")(outputs[2:], context()).outputs[0].name == "output 0"


# --- every task


RESULTS = {
    "classify": decoder("classify")(
        [np.array([[5.0, 4.0, 1.0]])], context(("Großer Münsterländer, a very long name", "b", "c"))
    ),
    "raw": decoder("raw")([np.arange(6.0).reshape(1, 6)] * 3, context()),
}


@pytest.mark.parametrize("task", RESULTS)
def test_results_are_strict_json(task: str) -> None:
    text = json.dumps(RESULTS[task].to_json(), allow_nan=False)
    assert json.loads(text) == RESULTS[task].to_json()


@pytest.mark.parametrize("task", RESULTS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("ground", [0, 128, 255])
def test_results_are_legible_at_any_size_on_any_ground(
    task: str, size: tuple[int, int], ground: int
) -> None:
    image = np.full((*size, 3), ground, np.uint8)
    RESULTS[task].draw(image)
    # White letters stand on dark, whatever is below.
    assert image[1, 1].max() < 100
    assert image.max() > 240
    # At least the lower third is left to the picture.
    assert (image[-size[0] // 3 :] == ground).all()
