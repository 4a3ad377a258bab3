"""The model pack's figures of segmentation and enhancement, by the runtime's own preprocessing and
decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.batches import run_batch
from runtime.contract import InputContract
from runtime.datasets import images, open_dataset
from runtime.engines import Engine, EngineOptions, open_engine
from runtime.evaluate import Judged, Seen, start
from runtime.model_file import FileOptions, open_model_file
from runtime.preprocess import Preparer, normalize

pytestmark = pytest.mark.models

PORTRAIT = ("background", "person")
SINET = InputContract(
    320,
    320,
    color="BGR",
    mean=(102.890434 / 255, 111.25247 / 255, 126.91212 / 255),
    std=(62.93292, 62.82138, 66.355705),
)


def figures(
    engine: Engine, judged: Judged, data: Path, floats: bool = False, task: str = "segment"
) -> dict[str, Any]:
    """Return what a model alone comes to; `floats`: it takes normalised pictures."""
    comparison = start(task, judged)
    for sample, image in images(open_dataset(data)):
        batch = Preparer(judged.contract).prepare(image)
        outputs = run_batch(engine, normalize(batch, judged.contract) if floats else batch)
        comparison.add(outputs, outputs, Seen(image, None, sample.truth))
    return comparison.result().to_json()


@pytest.fixture(scope="module")
def voc(model_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of COCO beside their masks in the classes of VOC."""
    folder = tmp_path_factory.mktemp("voc")
    (folder / "images").symlink_to(model_pack / "detection" / "coco_val" / "images")
    (folder / "masks").symlink_to(model_pack / "segmentation" / "voc21_masks")
    return folder


@pytest.mark.parametrize(
    ("file", "miou", "pixels", "tolerance"),
    [
        ("deeplabv3_257_fp32.tflite", 0.3131, 0.8226, 1e-4),
        # It gives classes, whose nearest is taken: the pack's figure is of cv2's INTER_NEAREST,
        # which does not look at the centres of pixels, and of another rounding of the input.
        ("deeplabv3_mnv2_dm05_pascal_quant.tflite", 0.4476, 0.7936, 5e-4),
    ],
)
def test_deeplab(
    model_pack: Path, voc: Path, file: str, miou: float, pixels: float, tolerance: float
) -> None:
    pytest.importorskip("ai_edge_litert")
    folder = model_pack / "segmentation"
    names = (folder / "coral_bird" / "pascal_voc_segmentation_labels.txt").read_text()
    labels = tuple(names.splitlines()[:21])
    options = FileOptions("unit,scale=1/127.5,mean=1", "segment")
    model = open_model_file(folder / "weights" / file, options)
    engine = model.open_engine()
    judged = Judged(tuple(spec.name for spec in engine.outputs), model.contract, labels)
    found = figures(engine, judged, voc)
    engine.close()
    assert len(found["classes"][0]) == 13
    assert found["artifact"]["miou"]["value"] == pytest.approx(miou, abs=tolerance)
    assert found["artifact"]["pixels"]["value"] == pytest.approx(pixels, abs=tolerance)


@pytest.mark.parametrize(
    ("file", "contract", "pooled", "mean"),
    [
        ("SINet.onnx", SINET, 0.7470, 0.7276),
        ("prisma_nchw.onnx", InputContract(256, 256), 0.7413, 0.7263),
    ],
)
def test_portraits_in_onnx(
    model_pack: Path, file: str, contract: InputContract, pooled: float, mean: float
) -> None:
    folder = model_pack / "segmentation"
    model = (folder / "weights" / file).read_bytes()
    engine = open_engine("onnxruntime", model, EngineOptions())
    names = tuple(spec.name for spec in engine.outputs)
    judged = Judged(names, contract, PORTRAIT, {"matte": True})
    found = figures(engine, judged, folder / "person_crops", floats=True)
    engine.close()
    person = found["classes"][0]["person"]
    assert person["iou"] == pytest.approx(pooled, abs=1e-4)
    assert person["image_iou"] == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize(
    ("file", "pooled", "mean"),
    [("prisma-net.tflite", 0.7413, 0.7263), ("prisma_quant.tflite", 0.7380, 0.7240)],
)
def test_portraits_in_tflite(model_pack: Path, file: str, pooled: float, mean: float) -> None:
    pytest.importorskip("ai_edge_litert")
    folder = model_pack / "segmentation"
    model = open_model_file(folder / "weights" / file, FileOptions("unit", "segment"))
    engine = model.open_engine()
    names = tuple(spec.name for spec in engine.outputs)
    found = figures(engine, Judged(names, model.contract, PORTRAIT), folder / "person_crops")
    engine.close()
    person = found["classes"][0]["person"]
    assert person["iou"] == pytest.approx(pooled, abs=1e-4)
    assert person["image_iou"] == pytest.approx(mean, abs=1e-4)


def test_rfdn_in_tiles(model_pack: Path) -> None:
    """Its input is 64x64, those of Set5 are up to 128x128. It takes 0 to 255."""
    folder = model_pack / "superres"
    model = (folder / "weights" / "rfdn_x4_64.onnx").read_bytes()
    engine = open_engine("onnxruntime", model, EngineOptions())
    contract = InputContract(64, 64, resize="tile", overlap=16, scale=1.0)
    judged = Judged(tuple(spec.name for spec in engine.outputs), contract)
    found = figures(engine, judged, folder / "Set5" / "LR_pil_x4", True, "enhance")
    engine.close()
    assert found["artifact"]["psnr"]["value"] == pytest.approx(32.15, abs=0.01)
