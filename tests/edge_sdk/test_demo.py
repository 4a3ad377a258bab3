from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest

from converters.capture import Captured
from edge_sdk import open_bundle
from edge_sdk.report import Gate, Report
from edge_sdk.workflows import demo as rooms
from edge_sdk.workflows import gate
from edge_sdk.workflows.demo import DEVICES, SCENE_FRAMES, Demo, demo
from tests.edge_sdk.cli_cases import Run


@pytest.fixture(scope="module")
def done(captured: Captured, tmp_path_factory: pytest.TempPathFactory) -> tuple[Demo, Path]:
    """The demo, once, in a folder whose name is no good as part of a URI."""
    output = tmp_path_factory.mktemp("demo") / "50% & more? #1"
    patch = pytest.MonkeyPatch()
    patch.setattr(rooms, "load_model", lambda name: captured)
    # It fetches nothing: it proves nothing on emulated devices, whatever is wanted elsewhere.
    patch.setenv("EDGE_SDK_PROOF", "always")
    patch.setattr(gate, "_stand_in", lambda profile, lock: pytest.fail("the demo proves"))
    try:
        return demo(output), output
    finally:
        patch.undo()


def test_gates(done: tuple[Demo, Path]) -> None:
    report = done[0].report
    assert report.passed, [gate for gate in report.gates if not gate.passed]
    names = [gate.name for gate in report.gates]
    assert names[-1] == "camera scene: no frame lost"
    assert [d for d in DEVICES if not any(name.startswith(f"{d}: golden") for name in names)] == []


def test_figures(done: tuple[Demo, Path]) -> None:
    facts = done[0].report.facts
    for device in DEVICES:
        first, *_ = facts["devices"][device]["artifacts"]
        assert first["n"] == 600
        assert first["reference"]["top1"]["value"] > 0.97
        assert first["drop"]["value"] < 1
        assert facts["devices"][device]["calibration_overlap"] == 0
    camera = facts["camera"]
    assert camera["results"] == camera["frames"] == SCENE_FRAMES == 300
    assert camera["right"] > 0.9 * SCENE_FRAMES


def test_files(done: tuple[Demo, Path]) -> None:
    found, output = done
    assert [path for path in found.files.values() if not path.is_file()] == []
    assert {path.name for path in output.iterdir()} == {
        "digits", "camera.mp4", "report.html", *(f"digits-{device}.edge" for device in DEVICES),
    }  # fmt: skip
    for device in DEVICES:
        with open_bundle(output / f"digits-{device}.edge") as bundle:
            assert bundle.manifest.profile["name"] == device
    capture = cv2.VideoCapture(str(output / "camera.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 300
    assert capture.read()[1].shape == (540, 960, 3)
    capture.release()


def test_report_needs_nothing_else(done: tuple[Demo, Path]) -> None:
    """It draws its plots and shows its picture by itself: no script, no network."""
    page = (done[1] / "report.html").read_text()
    assert re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*", page) == []
    assert "<script" not in page
    assert re.findall(r"url\((?!#|data:)", page) == []
    assert page.count("<svg") == 3
    assert page.count("data:image/png;base64,") == 1


@pytest.mark.parametrize("passed", [True, False])
def test_verb(passed: bool, edge: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Demo(
        Report("Title", "Done.", gates=(Gate("g", passed, "d"),)), {"video": tmp_path / "v"}
    )
    monkeypatch.setattr(rooms, "demo", lambda output: made)
    said = edge("demo", "-o", tmp_path)
    assert said.code == (0 if passed else 1)
    assert f"video: {tmp_path / 'v'}" in said.out
    assert edge("demo", "-o", tmp_path, "--json").json["files"] == {"video": str(tmp_path / "v")}
