"""Data sets: what is found, what is taken of it, and what is said when it is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from device_profiles.errors import DataError
from runtime.datasets import Dataset, Sample, Sampling, images, open_dataset, take


def write_image(path, value=128):
    cv2 = pytest.importorskip("cv2")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.full((4, 5, 3), value, np.uint8))[1].tobytes())


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def listing(dataset):
    return [(s.path.relative_to(dataset.root).as_posix(), s.label) for s in dataset.samples]


def test_image_folder(tmp_path):
    touch(tmp_path, "dog/b.jpg", "dog/a.JPEG", "cat/x/1.png", "cat/notes.txt", "ant/.hidden.png")
    touch(tmp_path, ".git/z.png")
    dataset = open_dataset(tmp_path)
    assert listing(dataset) == [("cat/x/1.png", 1), ("dog/a.JPEG", 2), ("dog/b.jpg", 2)]
    assert dataset.class_names == {0: "ant", 1: "cat", 2: "dog"}
    assert dataset.name == tmp_path.name


@pytest.mark.parametrize("place", ["inside", "beside", "itself"])
@pytest.mark.parametrize("header", ["file,label,name\n", "\ufefffile,label,id,name\n", ""])
def test_labels_csv(tmp_path, place, header):
    folder = tmp_path / "set"
    touch(folder, "b.png", "a.png", "unlisted.png")
    extra = "n1," if ",id," in header else ""
    table = folder / "labels.csv" if place == "inside" else tmp_path / "set_labels.csv"
    table.write_text(f"{header}b.png,7,{extra}seven\n\na.png,0,{extra}zero\n", encoding="utf-8")
    dataset = open_dataset(table if place == "itself" else folder)
    assert listing(dataset) == [("b.png", 7), ("a.png", 0)]
    assert dataset.class_names == ({7: "seven", 0: "zero"} if header else None)


def test_plain_images(tmp_path):
    touch(tmp_path, "b.png", "a.jpg", "c.txt", "deeper/d.png")
    assert listing(open_dataset(tmp_path)) == [("a.jpg", None), ("b.png", None)]
    assert listing(open_dataset(str(tmp_path / "*.png"))) == [("b.png", None)]
    assert len(open_dataset(tmp_path / "a.jpg").samples) == 1
    assert len(open_dataset(tmp_path / "**" / "*.png").samples) == 2


def test_images_come_in_the_order_of_their_names(tmp_path):
    names = ["10.png", "2.png", "B.png", "a.png"]
    touch(tmp_path, *names, ".0.png")
    (tmp_path / "1.png").mkdir()
    assert [path for path, _ in listing(open_dataset(tmp_path))] == names
    assert [path for path, _ in listing(open_dataset(tmp_path / "*.png"))] == names
    touch(tmp_path / "set" / "two", *names)
    touch(tmp_path / "set" / "one", *names)
    dataset = open_dataset(tmp_path / "set")
    assert [s.path.name for s in dataset.samples] == names * 2


def test_a_csv_goes_before_folders_and_folders_before_plain_images(tmp_path):
    touch(tmp_path, "x/a.png", "y/b.png")
    assert open_dataset(tmp_path).class_names == {0: "x", 1: "y"}
    (tmp_path / "labels.csv").write_text("x/a.png,3\n")
    assert listing(open_dataset(tmp_path)) == [("x/a.png", 3)]


def test_one_folder_of_images_is_not_a_class(tmp_path):
    touch(tmp_path, "images/a.png")
    with pytest.raises(DataError, match="it has the folders images: give one of them"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.png,0\nno.png,1\nnone.png,1\n", r"names 2 files of 3 .*first: no\.png, none\.png"),
        ("file,label\na.png,cat\n", r"line 2: .*integer class from 0, found 'cat'"),
        ("a.png,0\n\nb.png,-1\n", r"line 3: .*found '-1'"),
        ("a.png,0\nb.png\n", r"line 2: .*found 'nothing'"),
        ("a.png,0\na.png,1\n", r"lists a\.png twice"),
        ("file,label\n", "lists no images"),
        ("", "lists no images"),
        ("f,l,name\na.png,0,x\nb.png,0,y\n", "line 3: class 0 is called 'y', before it was 'x'"),
        (b"a.png,\xff\n", "not a CSV in UTF-8"),
    ],
)
def test_bad_csv(tmp_path, rows, message):
    touch(tmp_path, "a.png", "b.png")
    (tmp_path / "labels.csv").write_bytes(rows if isinstance(rows, bytes) else rows.encode())
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere", "does not exist"), ("*.png", "does not exist"), (".", "no images in")],
)
def test_nothing_there(tmp_path, path, message):
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / path)


def many(counts):
    root = Path("/data")
    samples = [Sample(root / f"{c}_{i}.png", c) for c, n in counts.items() for i in range(n)]
    return Dataset("many", root, tuple(samples))


def taken(counts, **sampling):
    return take(many(counts), Sampling(**sampling))


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (9, [3, 3, 3]),
        (10, [3, 3, 4]),
        (30, [5, 12, 13]),
        (500, [5, 40, 60]),
        (None, [5, 40, 60]),
        (2, [1, 1]),
    ],
)
def test_sampling_is_balanced_over_classes(count, shares):
    dataset = taken({0: 40, 1: 5, 2: 60}, count=count)
    assert sorted(Counter(s.label for s in dataset.samples).values()) == shares


def test_sampling_keeps_the_order_and_follows_the_seed():
    whole = many({0: 50, 1: 50}).samples
    first, again, other = (taken({0: 50, 1: 50}, count=20, seed=s).samples for s in (0, 0, 1))
    assert first == again
    assert first != other
    assert [whole.index(s) for s in first] == sorted(whole.index(s) for s in first)


def test_sampling_is_the_same_on_every_machine():
    """The lowest sha256 of "0:<path in the set>" per class, whatever the root and the Python."""
    dataset = taken({0: 10, 1: 10}, count=4)
    assert [s.path.name for s in dataset.samples] == ["0_0.png", "0_7.png", "1_0.png", "1_5.png"]


def test_sampling_nothing_is_refused():
    with pytest.raises(DataError, match="at least 1"):
        Sampling(0)


def test_reader(tmp_path):
    for index in range(3):
        write_image(tmp_path / f"{index}.png", index * 10)
    reader = images(open_dataset(tmp_path))
    assert [int(image[0, 0, 0]) for _, image in reader] == [0, 10, 20]
    assert [sample.path.name for sample, _ in reader] == ["0.png", "1.png", "2.png"]
    assert len(reader) == 3
    assert reader.unreadable == []


def test_unreadable_images_are_named_and_counted(tmp_path):
    for index in range(8):
        write_image(tmp_path / f"{index}.png")
    (tmp_path / "3.png").write_bytes(b"broken")
    (tmp_path / "5.png").write_bytes(b"")
    dataset = open_dataset(tmp_path)
    reader = images(dataset, max_unreadable=0.25)
    assert len(list(reader)) == 6
    assert [path.name for path in reader.unreadable] == ["3.png", "5.png"]
    assert len(list(reader)) == 6
    assert len(reader.unreadable) == 2
    with pytest.raises(DataError, match=r"2 of 8 images .*20% allowed \(first: 3\.png, 5\.png\)"):
        list(images(dataset, max_unreadable=0.2))


def test_not_one_readable_image(tmp_path):
    pytest.importorskip("cv2")
    touch(tmp_path, "a.png", "b.png")
    with pytest.raises(DataError, match="2 of 2 images"):
        list(images(open_dataset(tmp_path), max_unreadable=1.0))


@pytest.mark.models
@pytest.mark.skipif("EDGE_SDK_MODELS" not in os.environ, reason="EDGE_SDK_MODELS is not set")
def test_model_pack():
    root = Path(os.environ["EDGE_SDK_MODELS"], "classification")
    dataset = open_dataset(root / "imagenet_even500", Sampling(100))
    assert len(dataset.samples) == 100
    assert len({sample.label for sample in dataset.samples}) == 100
    assert dataset.class_names is not None
    assert dataset.class_names[2] == "great_white_shark"
    small = open_dataset(root / "cifar10_jpg", Sampling(50))
    assert set(Counter(s.label for s in small.samples).values()) == {5}


def test_opening_a_data_set_does_not_import_opencv(tmp_path):
    touch(tmp_path, "a.png")
    code = (
        "import sys; from runtime.datasets import open_dataset; "
        f"open_dataset({str(tmp_path)!r}); assert 'cv2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
