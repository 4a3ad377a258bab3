"""Data sets of things in boxes: COCO, YOLO and VOC, as their tools write them, and damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from device_profiles.errors import DataError
from runtime.datasets import images, open_dataset
from runtime.datasets._yaml import read_yaml
from runtime.datasets.base import Box, Boxes

WIDTH, HEIGHT = 20, 10


def picture(path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1].tobytes())


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def seen(path: Path) -> dict[str, tuple[Box, ...]]:
    """Return the boxes of each picture, in pixels, as everyone who reads the pictures gets them."""
    found = {}
    for sample, _ in images(open_dataset(path)):
        assert isinstance(sample.truth, Boxes)
        assert not sample.truth.relative
        assert sample.label is None
        found[sample.path.name] = sample.truth.boxes
    return found


COCO = {
    "images": [
        {"id": 7, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
        {"id": 5, "file_name": "a.png"},
    ],
    "categories": [{"id": 90, "name": "cat"}, {"id": 3, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2.5, 3, 4], "area": 9.5},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 20, 10], "iscrowd": 1},
    ],
}
BOXES = {"b.png": (Box(1, 1, 2.5, 4, 6.5, False, 9.5), Box(0, 0, 0, 20, 10, True)), "a.png": ()}


@pytest.mark.parametrize(
    ("table", "folder", "given"),
    [
        ("instances.json", "images", "."),
        ("instances.json", "images", "images"),
        ("instances.json", "images", "instances.json"),
        ("instances.json", "", "."),
        ("_annotations.coco.json", "", "."),
        ("annotations/instances_val2017.json", "val2017", "."),
        ("annotations/instances_val2017.json", "val2017", "val2017"),
        ("annotations/instances_default.json", "images/default", "."),
        ("anything.json", "images", "anything.json"),
    ],
)
def test_coco(tmp_path: Path, table: str, folder: str, given: str) -> None:
    for name in BOXES:
        picture(tmp_path / folder / name)
    write(tmp_path / table, json.dumps(COCO))
    assert seen(tmp_path / given) == BOXES
    dataset = open_dataset(tmp_path / given)
    assert dataset.class_names == {0: "dog", 1: "cat"}, "numbered in the order of the ids"


def test_coco_of_several_splits(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):
        touch(tmp_path, f"{split}/a.png", f"{split}/b.png")
        write(tmp_path / "annotations" / f"instances_{split}.json", json.dumps(COCO))
    assert open_dataset(tmp_path / "val2017").root == tmp_path / "val2017"
    with pytest.raises(DataError, match=r"not one COCO file but instances_train2017\.json, inst"):
        open_dataset(tmp_path)


def altered(**entries: object) -> str:
    return json.dumps({**COCO, **entries})


def annotation(**fields: object) -> str:
    return altered(annotations=[{**COCO["annotations"][0], **fields}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        ("[" * 100_000, r"is not JSON \(RecursionError"),
        ("[]", "does not hold an object"),
        ("{}", "no list of categories"),
        (altered(images=[]), "lists no images"),
        (altered(images=[3]), "no list of images"),
        (altered(images=[{"id": 5}]), "id 5: it has no file_name"),
        (altered(images=[{"id": True, "file_name": "a.png"}]), "id True is no integer"),
        (altered(images=COCO["images"] * 2), "id 7: two images have its id"),
        (altered(images=COCO["images"][1:]), r"boxes of 1 images .*image_id 7"),
        (altered(images=[*COCO["images"], {"id": 9, "file_name": "a.png"}]), r"lists a\.png twice"),
        (altered(images=[*COCO["images"], {"id": 9, "file_name": "x.png"}]), "names 1 files of 3"),
        (altered(images=[*COCO["images"], {"id": 9, "file_name": "\0"}]), "names 1 files of 3"),
        (altered(images=[*COCO["images"], {"id": 9, "file_name": "x" * 300}]), "cannot read|names"),
        (altered(categories=[{"id": 3}, {"id": 3}]), "two categories with one id"),
        (altered(categories=[{"name": "dog"}]), "id None is no integer"),
        (annotation(category_id=4), "there is no category 4"),
        (annotation(image_id=None), "image_id None is no integer"),
        (annotation(bbox=[1, 2, 3]), r"bbox \[1, 2, 3\] is not \[x, y, width, height\]"),
        (annotation(bbox=[1, 2, 3, "4"]), "is not"),
        (annotation(bbox=[1, 2, 3, float("nan")]), "is not"),
        (annotation(bbox=[1, 2, 3, 10**400]), "is not"),
        (annotation(bbox=[1, 2, -3, 4]), "negative"),
        (annotation(area="big"), "no number"),
        (annotation(iscrowd=2), "neither 0 nor 1"),
    ],
)
def test_damaged_coco(tmp_path: Path, text: str | bytes, message: str) -> None:
    touch(tmp_path, "images/a.png", "images/b.png")
    write(tmp_path / "instances.json", text)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


NAMES = "names:\n  0: dog\n  1: 'cat'  # the smaller\n"
LINES = "1 0.5 0.5 0.2 0.4\n\n0 0.0 0.1 0.5 0.1 0.5 0.3\n"
YOLO = {
    "a.png": (Box(1, 8, 3, 12, 7), Box(0, 0, 1, 10, 3)),
    "b.png": (),
}


@pytest.mark.parametrize(
    ("yaml", "folder", "given"),
    [
        (f"val: images\n{NAMES}", "images", "."),
        (f"path: .\nval: images/val\ntrain: images/none\n{NAMES}", "images/val", "."),
        (f"path: /gone\ntrain: images\nval:\n{NAMES}", "images", "data.yaml"),
        (f"path: sub\nval: images\n{NAMES}", "sub/images", "data.yaml"),
        (f"val: ../valid/images\n{NAMES}", "valid/images", "."),
        (f"val: [valid/images]\n{NAMES}", "valid/images", "."),
        (f"val: list.txt\n{NAMES}", "images", "."),
        (f"val: elsewhere\n{NAMES}", "images/val", "images/val"),
        (NAMES, "images", "images"),
    ],
)
def test_yolo(tmp_path: Path, yaml: str, folder: str, given: str) -> None:
    for name in YOLO:
        picture(tmp_path / folder / name)
    write(tmp_path / folder.replace("images", "labels") / "a.txt", LINES)
    write(tmp_path / "list.txt", "./images/a.png\n\nimages/b.png\n")
    write(tmp_path / "data.yaml", yaml)
    found = seen(tmp_path / given)
    assert found.keys() == YOLO.keys()
    for name, boxes in YOLO.items():
        for box, wanted in zip(found[name], boxes, strict=True):
            # Sums of shares are rounded once or twice.
            assert vars(box) == pytest.approx(vars(wanted), abs=1e-12)
    assert open_dataset(tmp_path / given).class_names == {0: "dog", 1: "cat"}


def test_yolo_without_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "images/a.png", "images/b.png")
    write(tmp_path / "labels" / "b.txt", "79 0.5 0.5 1 1")
    dataset = open_dataset(tmp_path)
    assert [sample.truth for sample in dataset.samples] == [
        Boxes((), relative=True),
        Boxes((Box(79, 0, 0, 1, 1),), relative=True),
    ]
    assert dataset.class_names is None
    monkeypatch.chdir(tmp_path / "images")
    assert [s.truth for s in open_dataset(".").samples] == [s.truth for s in dataset.samples]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 1", "line 1: 4 numbers are neither"),
        ("0 0.5 0.5 1 1 1", "line 1: 6 numbers"),
        ("0 0.5 0.5 1 1\n2 0.5 0.5 1 1", "line 2: '2' is no class"),
        ("-1 0.5 0.5 1 1", "'-1' is no class"),
        ("0.0 0.5 0.5 1 1", "'0.0' is no class"),
        (f"{'9' * 5000} 0.5 0.5 1 1", "is no class"),
        ("0 8 3 12 7", "shares of the picture"),
        ("0 0.5 nan 1 1", "shares of the picture"),
        ("0 0.5 0.5 1 x", "could not convert"),
        (b"\xff", "is no text"),
    ],
)
def test_damaged_yolo_labels(tmp_path: Path, line: str | bytes, message: str) -> None:
    touch(tmp_path, "images/a.png")
    write(tmp_path / "data.yaml", f"val: images\n{NAMES}")
    write(tmp_path / "labels" / "a.txt", line)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(tmp_path)
    assert "a.txt" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("", "has no names"),
        ("names: x\nval: images", "has no names"),
        ("names: {a: b}\nval: images", "has no names"),
        (f"names: {{{'9' * 5000}: b}}\nval: images", "has no names"),
        ("names: [a, b]\nnc: 3\nval: images", "says nc: 3 and has 2 names"),
        ("names: [a]", "names no images"),
        ("names: [a]\nval: {0: a}", "names no images"),
        ("names: [a]\nval: nowhere", "names nowhere, which is not there"),
        ("names: [a]\nval: none", "no images in"),
        ("names: [a]\nval: list.txt", "names 1 images of 2 that are not there"),
        ("names: [a]\nval: images", "has a text file of boxes such as .*a.txt"),
        ("names: &x [a]\nval: images", "line 1: '&x"),
        (b"names: [\xff]", "not UTF-8"),
    ],
)
def test_damaged_data_yaml(tmp_path: Path, yaml: str | bytes, message: str) -> None:
    touch(tmp_path, "images/a.png")
    (tmp_path / "none").mkdir()
    write(tmp_path / "list.txt", "images/a.png\nimages/x.png\n")
    write(tmp_path / "data.yaml", yaml)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(tmp_path)
    assert "data.yaml" in str(caught.value) or "images" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("names: [a, 'b, c', \"d\\\"\", e f]", ["a", "b, c", 'd"', "e f"]),
        ("names: ['it''s', '#1']  # one", ["it's", "#1"]),
        ("names: [a,\nb,\n  c]\nother: 1", ["a", "b", "c"]),
        ("names: [a, b,]", ["a", "b"]),
        ("names: []", []),
        ("names: {0: a, 1: 'b: c'}", {"0": "a", "1": "b: c"}),
        ("names:\n- a\n- b c\n- \"d\"\nother: 1", ["a", "b c", "d"]),
        ("names:\n  - a # first\n\n  # none\n  - b", ["a", "b"]),
        ("names:\n  0: a\n  1: b, red\n  'x': b#2", {"0": "a", "1": "b, red", "x": "b#2"}),
        ("# Don't\nother: {a: [1,\n 2]}\nnames: it's  # \"", "it's"),
        ("---\nnames: 'a # b'", "a # b"),
        ("download: |\n  import os\n  names: no\nnames: yes", "yes"),
        ("names:", None),
        ("names: ~", None),
        ("other: 3", "absent"),
        ("names: http://x/y:z", "http://x/y:z"),
    ],
)  # fmt: skip
def test_the_part_of_yaml(text: str, value: object) -> None:
    assert read_yaml(text, ("names",)).get("names", "absent") == value


@pytest.mark.parametrize(
    "text",
    [
        "names: *other",
        "names: !!set {a}",
        "names: |\n  text",
        "names: >\n  text",
        "names: a\n  b",
        "names: [a, [b]]",
        "names: [a: b]",
        "names: {a, b}",
        "names: [a, b",
        "names: [a] b",
        "names: [a, 'b]",
        "names: 'a",
        'names: "\\x41"',
        "names: a: b",
        "names:\n  0: a\n  0: b",
        "names:\n  0: a\n    1: b",
        "names:\n  - a\n  1: b",
        "names:\n  - - a",
        "names:\n  0: [a]",
        "names:\n\t- a",
        "names: a\nnames: b",
        "names: a\n---\nnames: b",
        "just text",
        "<html>",
        "? names\n: a",
    ],
)
def test_what_is_not_of_that_part_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"line \d"):
        read_yaml(text, ("names",))


THING = "<name>{}</name><difficult>{}</difficult><bndbox>{}</bndbox>"
CORNERS = "<xmin>2</xmin><ymin>3.5</ymin><xmax>4</xmax><ymax>6</ymax>"
PART = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
XML = (
    f"<annotation><filename>other.jpg</filename><object>{THING.format('dog', 0, CORNERS)}{PART}"
    f"</object><object>{THING.format(' cat ', 1, CORNERS)}</object></annotation>"
)


@pytest.mark.parametrize("folder", ["JPEGImages", "images"])
@pytest.mark.parametrize("listed", [False, True])
def test_voc(tmp_path: Path, folder: str, listed: bool) -> None:
    for name in ("a", "b", "not-annotated"):
        picture(tmp_path / folder / f"{name}.png")
    write(tmp_path / "Annotations" / "b.xml", XML)
    write(tmp_path / "Annotations" / "a.xml", "<annotation/>")
    split = write(tmp_path / "ImageSets" / "Main" / "val.txt", "b  1\n\n")
    both = (Box(1, 1, 2.5, 4, 6), Box(0, 1, 2.5, 4, 6, crowd=True))
    wanted = {"b.png": both} if listed else {"a.png": (), "b.png": both}
    path = split if listed else tmp_path
    assert seen(path) == wanted
    assert open_dataset(path).class_names == {0: "cat", 1: "dog"}


BOMB = (
    "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><annotation>&b;</annotation>"
)


def thing(name: str = "dog", corners: str = CORNERS) -> str:
    return f"<annotation><object>{THING.format(name, 0, corners)}</object></annotation>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "has a DOCTYPE"),
        (BOMB.encode("utf-16"), "has a DOCTYPE"),
        ("<!DOCTYPE x SYSTEM 'file:///etc/passwd'><annotation/>", "has a DOCTYPE"),
        ("", "no element found"),
        ("<annotation>", "no element found"),
        (b"<?xml version='1.0' encoding='no-such'?><a/>", "encoding"),
        (b"\x00\xff", "is no annotation of VOC"),
        (thing(name=" "), "has no name"),
        (thing(corners=""), "xmin of 'dog' is no number"),
        (thing(corners=CORNERS.replace("3.5", "nan")), "ymin of 'dog' is no number"),
        (thing(corners=CORNERS.replace("3.5", "1e300")), "ymin of 'dog' is no number"),
        (thing(corners=CORNERS.replace("3.5", "x")), "could not convert"),
        (thing(corners=CORNERS.replace("3.5", "7")), "ends before it begins"),
        (thing(name="a\nb", corners=""), "xmin of 'a"),
        ("<annotation>" + "<a>" * 100_000, "no element found"),
        (" " * (16 << 20) + "x", "too many"),
    ],
)
def test_damaged_voc(tmp_path: Path, text: str | bytes, message: str) -> None:
    touch(tmp_path, "JPEGImages/a.jpg")
    write(tmp_path / "Annotations" / "a.xml", text)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(tmp_path)
    assert "a.xml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_voc_with_pictures_or_annotations_missing(tmp_path: Path) -> None:
    touch(tmp_path, "JPEGImages/a.jpg")
    write(tmp_path / "Annotations" / "b.xml", "<annotation/>")
    with pytest.raises(DataError, match=r"names 1 files of 1 .*first: b\.jpg"):
        open_dataset(tmp_path)
    split = write(tmp_path / "ImageSets" / "Main" / "val.txt", "a\n")
    with pytest.raises(DataError, match=r"cannot read .*a\.xml"):
        open_dataset(split)
    write(split, "\n")
    with pytest.raises(DataError, match="lists no pictures"):
        open_dataset(split)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["dog/a.png", "cat/b.png"], {0: "cat", 1: "dog"}),
        (["images/a.png", "annotations/b.png"], {0: "annotations", 1: "images"}),
        (["a.png", "notes.txt", "extra.json"], None),
    ],
)
def test_classes_are_still_found_as_before(
    tmp_path: Path, files: list[str], names: dict[int, str] | None
) -> None:
    touch(tmp_path, *files)
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == names
    assert all(sample.truth is None for sample in dataset.samples)


@pytest.mark.models
@pytest.mark.skipif("EDGE_SDK_MODELS" not in os.environ, reason="EDGE_SDK_MODELS is not set")
def test_model_pack_of_boxes() -> None:
    root = Path(os.environ["EDGE_SDK_MODELS"], "detection")
    dataset = open_dataset(root / "coco_val")
    truths = [sample.truth for sample in dataset.samples]
    boxes = [box for truth in truths if isinstance(truth, Boxes) for box in truth.boxes]
    assert (len(truths), len(boxes), sum(box.crowd for box in boxes)) == (33, 246, 3)
    assert dataset.class_names is not None
    assert [dataset.class_names[i] for i in (0, 11, 79)] == ["person", "stop sign", "toothbrush"]
    assert open_dataset(root / "coco_val" / "images").samples == dataset.samples
    assert len(open_dataset(root / "coco_calib" / "images").samples) == 19
    for sample, image in images(dataset):
        assert isinstance(sample.truth, Boxes)
        height, width = image.shape[:2]
        # COCO's corners have two decimals.
        limit = (width + 0.01, height + 0.01)
        assert all(b.right <= limit[0] and b.bottom <= limit[1] for b in sample.truth.boxes)
