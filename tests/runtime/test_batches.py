"""A batch gives what its rows give, whole or one by one."""

from __future__ import annotations

import numpy as np
import pytest

from device_profiles.errors import EngineError
from runtime.batches import run_batch
from runtime.engines import EngineOptions, open_engine
from runtime.engines.null import null_model
from runtime.manifest import TensorSpec

BATCH = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3), np.uint8)


class Counted:
    """The null engine, which counts its runs."""

    def __init__(self, batch: int, rows: int = 1) -> None:
        spec = TensorSpec("image", "uint8", (-1, 6, 8, 3))
        outputs = (TensorSpec("a", "float32", (-1, 4)), TensorSpec("b", "uint8", (-1, 2, 2)))
        self._engine = open_engine("null", null_model((spec,), outputs), EngineOptions())
        self.name, self.version, self.provider = "counted", "1", "cpu"
        self.inputs = (TensorSpec("image", "uint8", (batch, 6, 8, 3)),)
        self.outputs = outputs
        self.runs = 0
        self._rows = rows

    def run(self, inputs):
        self.runs += 1
        return [np.repeat(output, self._rows, 0) for output in self._engine.run(inputs)]

    def close(self):
        self._engine.close()


@pytest.mark.parametrize(("batch", "runs"), [(-1, 1), (5, 1), (1, 5)])
def test_a_batch_gives_what_its_rows_give(batch, runs):
    engine, plain = Counted(batch), Counted(-1)
    outputs = run_batch(engine, BATCH)
    assert engine.runs == runs
    for index, row in enumerate(BATCH):
        for whole, alone in zip(outputs, plain.run([row[None]]), strict=True):
            assert (whole[index] == alone[0]).all()
            assert whole.dtype == alone.dtype


def test_one_picture_is_run_as_it_is():
    engine = Counted(1)
    assert [output.shape for output in run_batch(engine, BATCH[:1])] == [(1, 4), (1, 2, 2)]
    assert engine.runs == 1


@pytest.mark.parametrize(("batch", "count"), [(4, 5), (-1, 0), (1, 0)])
def test_a_batch_that_does_not_fit_is_refused(batch, count):
    with pytest.raises(EngineError, match=f"no batch of {count} fits"):
        run_batch(Counted(batch), BATCH[:count])


@pytest.mark.parametrize("batch", [-1, 1])
def test_outputs_that_belong_to_no_picture_are_refused(batch):
    with pytest.raises(EngineError, match=r"output 'a' of 5 pictures has shape \[10, 4\]"):
        run_batch(Counted(batch, rows=2), BATCH)
