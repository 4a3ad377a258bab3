from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from device_profiles.errors import BundleError, DataError, EngineError
from runtime.archive import pack
from runtime.engines import Array, Engine, EngineOptions, open_engine
from runtime.engines.null import null_model
from runtime.golden import GoldenSet, check_not_degenerate, float_tolerance, glance, replay
from runtime.manifest import TensorSpec, Tolerance

FRAMES = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 3), np.uint8)
INPUTS = [TensorSpec("image", "uint8", (1, 4, 4, 3))]
OUTPUTS = [TensorSpec("a:0", "float32", (1, 5)), TensorSpec("b/c", "float32", (1, 2))]
Behaviour = dict[str, float]


def _engine(behaviour: Behaviour | None = None) -> Engine:
    return open_engine("null", null_model(INPUTS, OUTPUTS, **(behaviour or {})))


def _answers(engine: Engine) -> dict[str, Array]:
    rows = [engine.run([frame[None]]) for frame in FRAMES]
    columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
    return {spec.name: column for spec, column in zip(engine.outputs, columns, strict=True)}


def _golden() -> GoldenSet:
    answers = _answers(_engine())
    return GoldenSet(FRAMES, answers, (answers, {n: a + np.float32(1) for n, a in answers.items()}))


def _tolerances(absolute: float, rms: float = 1e9) -> list[Tolerance]:
    return [Tolerance(spec.name, absolute, rms, "a test") for spec in OUTPUTS]


def test_bytes_and_back() -> None:
    golden = _golden()
    again = GoldenSet.from_bytes(golden.to_bytes())
    np.testing.assert_array_equal(again.frames, FRAMES)
    pairs = zip(
        (golden.reference, *golden.artifacts), (again.reference, *again.artifacts), strict=True
    )
    for before, after in pairs:
        assert list(before) == list(after)
        for name, array in before.items():
            np.testing.assert_array_equal(after[name], array)
            assert after[name].dtype == array.dtype


def test_equal_sets_have_equal_bytes_whatever_their_memory_order() -> None:
    golden = _golden()
    reference = {name: np.asfortranarray(array) for name, array in golden.reference.items()}
    other = GoldenSet(np.asfortranarray(FRAMES), reference, golden.artifacts)
    assert other.to_bytes() == golden.to_bytes()


def test_numpy_reads_the_file() -> None:
    with np.load(io.BytesIO(_golden().to_bytes()), allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["frames"], FRAMES)


@pytest.mark.parametrize(
    ("frames", "output", "message"),
    [
        (FRAMES.astype(np.float32), np.ones((16, 2)), "uint8"),
        (FRAMES[0], np.ones((4, 2)), "uint8"),
        (FRAMES, np.ones((15, 2)), "one row"),
        (FRAMES, np.ones(()), "one row"),
        (FRAMES, np.full((16, 2), np.nan), "not finite"),
    ],
)
def test_arrays_that_do_not_belong_together(
    frames: NDArray[np.uint8], output: Array, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        GoldenSet(frames, {"y": output}, ())


def _npy(array: Array, **changes: object) -> bytes:
    """Return an `.npy` file whose header says what `changes` say."""
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape, **changes}
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def _pickled() -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.array([print], dtype=object), (1, 0))
    return file.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        {"frames.npy": _npy(FRAMES, shape=(1 << 40, 4, 4, 3))},
        {"frames.npy": _npy(FRAMES, shape=(-16, -4, 4, 3))},
        {"frames.npy": _npy(FRAMES, shape=(15, 4, 4, 3))},
        {"frames.npy": _npy(FRAMES, fortran_order=True)},
        {"frames.npy": _npy(FRAMES, descr="|O")},
        {"frames.npy": _npy(FRAMES, descr="|V1")},
        {"frames.npy": _npy(FRAMES, descr="|i1")},
        {"frames.npy": _pickled()},
        {"frames.npy": b"\x93NUMPY\1\0"},
        {"frames.npy": b""},
        {"frames.npy": _npy(FRAMES[:8])},
        {"more.npy": _npy(FRAMES)},
        {"outputs.json": b""},
        {"outputs.json": b"[]"},
        {"outputs.json": b"1"},
        {"outputs.json": b'[["a", "b", "c"]]'},
        {"outputs.json": b"[" * 100_000},
        {"0/0.npy": _npy(np.full((16, 2), np.inf))},
    ],
)
def test_files_that_are_no_golden_set(change: dict[str, bytes]) -> None:
    names = json.dumps([["a"], ["a"]]).encode()
    answer = _npy(np.ones((16, 2)))
    good = {"outputs.json": names, "frames.npy": _npy(FRAMES), "0/0.npy": answer, "1/0.npy": answer}
    GoldenSet.from_bytes(b"".join(pack(good)))
    with pytest.raises(BundleError, match="not a golden set") as caught:
        GoldenSet.from_bytes(b"".join(pack({**good, **change})))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_archive() -> None:
    with pytest.raises(BundleError, match=r"golden\.npz: it is not a zip"):
        GoldenSet.from_bytes(b"junk" * 10)


def test_a_replay_passes_on_the_engine_that_was_recorded() -> None:
    result = replay(_engine(), _golden(), 0, _tolerances(0, 0))
    assert result.passed
    assert [d.worst for d in result.differences] == [0, 0]


@pytest.mark.parametrize(
    ("noise", "absolute", "rms", "passed"),
    # The null engine adds `noise` to every element: largest difference and rms are both 0.5,
    # give or take one rounding of fp32 at 256 (1.5e-5).
    [
        (0.5, 0.501, 0.501, True),
        (0.5, 0.499, 0.501, False),
        (0.5, 0.501, 0.499, False),
        (-0.5, 0.499, 0.501, False),
    ],
)
def test_a_replay_passes_within_its_tolerance(
    noise: float, absolute: float, rms: float, passed: bool
) -> None:
    result = replay(_engine({"noise": noise}), _golden(), 0, _tolerances(absolute, rms))
    assert result.passed == passed
    assert [d.worst for d in result.differences] == pytest.approx([0.5, 0.5], abs=1e-4)
    assert [d.rms for d in result.differences] == pytest.approx([0.5, 0.5], abs=1e-4)
    assert ("'a:0' is off by 0.5" in result.reason) == (not passed)


def test_a_replay_compares_with_its_own_rung() -> None:
    assert replay(_engine({"noise": 1}), _golden(), 1, _tolerances(1e-4)).passed
    assert not replay(_engine(), _golden(), 1, _tolerances(1e-4)).passed


@pytest.mark.parametrize("count", [1, 5, 16, 99])
def test_a_glance_takes_a_few_frames_and_allows_what_an_element_may_differ_by(count: int) -> None:
    """The root mean square is that of the whole set: only then it counts."""
    noisy, tight = _engine({"noise": 0.5}), _tolerances(0.501, 0.1)
    assert glance(noisy, _golden(), 0, tight, count).passed == (count < len(FRAMES))
    assert not glance(noisy, _golden(), 0, _tolerances(0.499), count).passed
    with pytest.raises(EngineError, match="fails now"):
        glance(_engine({"fail_after": min(count, 16) - 1}), _golden(), 0, tight, count)
    assert glance(_engine({"fail_after": min(count, 16)}), _golden(), 0, tight, count).passed


class _Spoiled:
    """An engine whose answer to one frame is replaced."""

    def __init__(self, frame: int, spoil: Callable[[Array], Array]) -> None:
        self._engine, self._frame, self._spoil = _engine(), frame, spoil
        self.name, self.version, self.provider = "spoiled", "1", "cpu"
        self.inputs, self.outputs = self._engine.inputs, self._engine.outputs

    def run(self, inputs: list[Array]) -> list[Array]:
        first, second = self._engine.run(inputs)
        hit = np.array_equal(inputs[0][0], FRAMES[self._frame])
        return [first, self._spoil(second) if hit else second]


def _with(value: float) -> Callable[[Array], Array]:
    return lambda array: np.where([[False, True]], np.float32(value), array)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_with(math.nan), "frame 9: output 'b/c' is not finite"),
        (_with(math.inf), "frame 9: output 'b/c' is not finite"),
        (lambda a: a[:, :1], "frame 9: output 'b/c' has shape [1, 1], the golden one [1, 2]"),
        (lambda a: a + np.float32(7), "'b/c' is off by 7 in frame 9"),
    ],
)
def test_a_replay_names_the_frame(spoil: Callable[[Array], Array], message: str) -> None:
    result = replay(_Spoiled(9, spoil), _golden(), 0, _tolerances(1e-3))  # type: ignore[arg-type]
    assert not result.passed
    assert message in result.reason
    json.dumps(result.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    "tolerances",
    [[], _tolerances(1)[:1], [*_tolerances(1), Tolerance("other", 1, 1, "a test")]],
)
def test_a_replay_that_does_not_cover_every_output_fails(tolerances: list[Tolerance]) -> None:
    result = replay(_engine(), _golden(), 0, tolerances)
    assert not result.passed
    assert "does not cover" in result.reason


def test_a_replay_without_frames_fails() -> None:
    golden = _golden()
    answers = {name: array[:0] for name, array in golden.reference.items()}
    empty = GoldenSet(FRAMES[:0], answers, (answers,))
    assert not replay(_engine(), empty, 0, _tolerances(1)).passed


RNG = np.random.default_rng(1)
LOGITS = RNG.normal(size=(16, 10))
BIAS = RNG.normal(size=10)


@pytest.mark.parametrize(
    "outputs",
    [LOGITS, LOGITS + 100, BIAS + 0.01 * LOGITS, RNG.normal(size=(16, 3, 8, 8)), LOGITS[:, :1]],
)
def test_outputs_that_follow_the_input(outputs: Array) -> None:
    check_not_degenerate({"y": outputs})


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (np.zeros((16, 10)), "hardly varies"),
        (np.tile(BIAS, (16, 1)), "hardly varies"),
        (BIAS + 1e-4 * LOGITS, "hardly varies"),
        (0.1 + 1e-6 * LOGITS, "hardly varies"),  # a stuck softmax
        (np.where(np.arange(16)[:, None] == 3, LOGITS, BIAS), "hardly varies"),  # one odd frame
        (np.zeros((16, 0)), "hardly varies"),
        (LOGITS[:15], "15 frames; give at least 16"),
        (np.where(LOGITS > 2, np.nan, LOGITS), "not finite"),
    ],
)
def test_outputs_that_prove_nothing(outputs: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_not_degenerate({"good": LOGITS[:16], "y": outputs})


def test_the_float_tolerance_lies_between_rounding_and_answers() -> None:
    """ResNet-18's figures: 20 layers, sums of up to 512 x 3 x 3 products, logits up to 20."""
    tolerance = float_tolerance("y", np.array([[-20.0, 5.0]]), 4608, 20)
    assert 1e-3 < tolerance.absolute < 1e-2
    assert tolerance.rms < tolerance.absolute
    assert "20 layers" in tolerance.reason


@pytest.mark.parametrize("length", [4, 256, 8192])
def test_the_float_tolerance_holds_for_sums_in_any_order(length: int) -> None:
    rng = np.random.default_rng(length)
    rows = rng.normal(size=(64, length)).astype(np.float32)
    weights = rng.normal(size=length).astype(np.float32)
    products = rows * weights
    forth = np.cumsum(products, axis=1)[:, -1]
    back = np.cumsum(products[:, ::-1], axis=1)[:, -1]
    tolerance = float_tolerance("y", forth, length, 1)
    difference = np.abs(forth - back)
    assert difference.max() <= tolerance.absolute
    assert difference.max() > 0 or length < 8


MODELS = {
    # file: (longest sum of products, layers, mean, divisor of the pixels)
    "detection/weights/FastestDet.onnx": (336, 70, 0, 255),
    "detection/weights/version-RFB-320.onnx": (2304, 52, 127, 128),
    "segmentation/weights/SINet.onnx": (144, 61, 110, 60 * 255),
}


def _executions(model: bytes) -> Iterator[Engine]:
    for threads in (1, 2):
        for simulate in (False, True):
            yield open_engine("onnxruntime", model, EngineOptions("cpu", threads, simulate))


@pytest.mark.models
@pytest.mark.parametrize("model", MODELS)
def test_the_float_tolerance_covers_the_executions_of_real_nets(model: str) -> None:
    folder = os.environ.get("EDGE_SDK_MODELS")
    if not folder:
        pytest.skip("EDGE_SDK_MODELS is not set; it names the folder of the model pack")
    cv2 = pytest.importorskip("cv2")
    length, layers, mean, divisor = MODELS[model]
    paths = sorted((Path(folder) / "detection/coco_val/images").glob("*.jpg"))[:3]
    results = []
    for engine in _executions((Path(folder) / model).read_bytes()):
        _, _, height, width = engine.inputs[0].shape
        images = [cv2.resize(cv2.imread(str(path)), (width, height)) for path in paths]
        batch = [((i.transpose(2, 0, 1)[None] - np.float32(mean)) / divisor) for i in images]
        rows = [engine.run([x.astype(np.float32)]) for x in batch]
        results.append([np.concatenate(column) for column in zip(*rows, strict=True)])
    for other in results[1:]:
        for expected, found in zip(results[0], other, strict=True):
            tolerance = float_tolerance("y", expected, length, layers)
            difference = np.abs(expected - found)
            assert difference.max() <= tolerance.absolute / 2
            assert math.sqrt((difference**2).mean()) <= tolerance.rms / 2
