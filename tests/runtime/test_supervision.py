"""Results as types of the package supervision: in its words, whether it is installed or not."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from device_profiles.errors import MissingError
from runtime.tasks._segmentation import SegmentationMap
from runtime.tasks.classify import Classification, Ranked
from runtime.tasks.detect import Detection, Detections

THINGS = Detections(
    (
        Detection(3, "bus", 0.91234, 10.0, 20.0, 60.0, 70.0, 7, ((20.0, 30.0),)),
        Detection(0, "dog", 0.5, 100.0, 5.0, 150.0, 90.0),
    )
)
CLASSES = Classification(2, "c", 0.7, (Ranked(2, "c", 0.7), Ranked(0, "a", 0.3)), softmax=False)
AREAS = SegmentationMap(np.eye(6, dtype=np.uint8), ("background", "line"))


class Words(dict[str, Any]):
    """What a type of supervision was called with."""

    @classmethod
    def empty(cls) -> Words:
        return cls()


@pytest.fixture
def supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package, as far as it concerns us."""
    module: Any = ModuleType("supervision")
    module.Detections = module.Classifications = Words
    monkeypatch.setitem(sys.modules, "supervision", module)


@pytest.mark.parametrize("result", [THINGS, CLASSES, AREAS])
def test_not_installed(result: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingError, match="install it with: pip install supervision"):
        result.to_supervision()


def test_things(supervision: None) -> None:
    words = THINGS.to_supervision()
    assert words["xyxy"].tolist() == [[10, 20, 60, 70], [100, 5, 150, 90]]
    assert words["confidence"] == pytest.approx([0.91234, 0.5])
    assert words["class_id"].tolist() == [3, 0]
    assert words["tracker_id"].tolist() == [7, -1]
    assert words["data"]["class_name"].tolist() == ["bus", "dog"]
    assert Detections(()).to_supervision()["xyxy"].shape == (0, 4)
    assert Detections(THINGS.items[1:]).to_supervision()["tracker_id"] is None


def test_classes(supervision: None) -> None:
    words = CLASSES.to_supervision()
    assert words["class_id"].tolist() == [2, 0]
    assert words["confidence"] == pytest.approx([0.7, 0.3])


def test_areas(supervision: None) -> None:
    words = AREAS.to_supervision()
    assert words["xyxy"].tolist() == [[0, 0, 6, 6]]
    assert words["mask"].tolist() == [np.eye(6, dtype=bool).tolist()]
    assert words["data"]["class_name"].tolist() == ["line"]
    assert (
        SegmentationMap(np.zeros((6, 6), np.uint8), ("background", "line")).to_supervision() == {}
    )


def test_in_the_real_package() -> None:
    """Its own checks of shapes pass."""
    package = pytest.importorskip("supervision", reason="supervision is not installed")
    assert isinstance(THINGS.to_supervision(), package.Detections)
    assert len(Detections(()).to_supervision()) == 0
    assert isinstance(CLASSES.to_supervision(), package.Classifications)
    assert AREAS.to_supervision().mask.shape == (1, 6, 6)
