"""Labels: how classes are matched, and that nothing is guessed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from device_profiles.errors import DataError
from runtime.datasets import open_dataset
from runtime.labels import match_labels, read_labels

MODEL = (
    "background",
    "tench, Tinca tinca",
    "great white shark, white shark, man-eater",
    "crane",
    "maillot",
    "maillot, tank suit",
    "crane",
)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("cat\ndog\n\n \n", ("cat", "dog")),
        ("\ufeffcat\r\n\r\ndog", ("cat", "", "dog")),
        (" cat, feline \nnaïve 图\n", ("cat, feline", "naïve 图")),
    ],
)
def test_read_labels(tmp_path, text, labels):
    path = tmp_path / "labels.txt"
    path.write_bytes(text.encode())
    assert read_labels(path) == labels


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "are empty"),
        (b"\n \n", "are empty"),
        (b"\xff\xfe", "not UTF-8"),
        (None, "cannot read"),
    ],
)
def test_bad_label_files_are_named(tmp_path, content, message):
    path = tmp_path / "labels.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_labels(path)
    assert "labels.txt" in str(caught.value)


def test_names_vote_and_ambiguous_ones_abstain():
    names = {0: "tench", 1: "Great_White-Shark", 2: "crane"}
    found = match_labels(names, MODEL, 7)
    assert found.offset == 1
    assert found.how == "by name: 2 of 3 names agree on offset +1"
    assert found.mapping == {0: 1, 1: 2, 2: 3}
    assert found.to_model(2) == 3


def test_reordered_classes_are_mapped_one_by_one():
    found = match_labels({0: "dog", 1: "cat", 2: "cow"}, ("cat", "cow", "dog"), 3)
    assert found.offset is None
    assert found.mapping == {0: 2, 1: 0, 2: 1}
    assert found.how == "by name: all 3 names match, in another order"


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        ({0: "dog", 1: "cat", 2: "cow"}, ("cat", "sheep", "dog"), r"-1 by 1|\+2 by 1"),
        ({0: "ant", 1: "bee", 2: "fly"}, ("ant", "wasp", "gnat"), "only 1 of 3 .*'bee' does not"),
        ({0: "a", 1: "b"}, ("x", "y"), "only 0 of 2"),
        ({0: "crane", 1: "crane"}, ("crane", "crane"), "only 0 of 2"),
        ({0: "crane", 1: "crane", 2: "x"}, ("crane", "y", "x"), "only 1 of 3"),
        ({0: "a", 1: "b", 2: "z"}, ("b", "a", "c"), "do not agree"),
        ({1: "a", 2: "b, c"}, ("b", "c"), "only 0 of 2"),
    ],
)
def test_names_that_cannot_decide_are_refused(names, labels, message):
    with pytest.raises(DataError, match=message) as caught:
        match_labels(names, labels, len(labels))
    assert "--label-offset N" in str(caught.value)


def test_a_given_offset_is_used_against_the_names():
    found = match_labels({0: "dog", 1: "cat"}, ("cat", "dog", "cow"), 3, offset=1)
    assert found.mapping == {0: 1, 1: 2}
    assert found.how == "offset +1 as given"


@pytest.mark.parametrize(
    ("names", "present", "offset"),
    [({0: "cat", 1: "dog"}, (), 2), (None, (0, 2), 1), (None, (0, 1), -1), (None, (3,), None)],
)
def test_classes_outside_the_model_are_refused(names, present, offset):
    with pytest.raises(DataError, match="outside the model's 3 outputs"):
        match_labels(names, ("cat", "dog", "cow"), 3, offset=offset, present=present)


@pytest.mark.parametrize(
    ("labels", "names"), [((), dict(enumerate("abcdefghi"))), (("a",) * 9, None), ((), None)]
)
def test_without_names_to_compare_the_index_decides(labels, names):
    found = match_labels(names, labels, 9, present=(0, 5))
    assert found.offset == 0
    assert (found.mapping[0], found.mapping[5]) == (0, 5)
    assert found.how.startswith("by index")


def test_names_of_a_part_of_the_classes_need_labels_or_an_offset():
    names = {0: "x", 5: "y"}
    with pytest.raises(DataError, match="names 2 classes and the model has 9 outputs"):
        match_labels(names, (), 9)
    assert match_labels(names, (), 9, offset=0).mapping == {0: 0, 5: 5}


@pytest.mark.parametrize(("offset", "first", "last"), [(None, 0, 8), (1, 0, 7), (-1, 1, 9)])
def test_unknown_classes_map_as_far_as_the_model_goes(offset, first, last):
    found = match_labels(None, (), 9, offset=offset)
    assert (min(found.mapping), max(found.mapping)) == (first, last)
    assert set(found.mapping.values()) <= set(range(9))
    with pytest.raises(DataError, match=f"class {last + 1} of the data set"):
        found.to_model(last + 1)


def test_background_without_names_is_asked_about():
    with pytest.raises(DataError, match="--label-offset 1"):
        match_labels(None, MODEL, 7, present=(0, 1))
    assert match_labels(None, MODEL, 7, offset=0, present=(0, 1)).mapping == {0: 0, 1: 1}


def test_a_label_file_of_the_wrong_length_is_refused():
    with pytest.raises(DataError, match="2 labels for a model with 3 outputs"):
        match_labels(None, ("a", "b"), 3)


@pytest.mark.models
@pytest.mark.skipif("EDGE_SDK_MODELS" not in os.environ, reason="EDGE_SDK_MODELS is not set")
def test_imagenet_without_background_against_a_model_with_background():
    root = Path(os.environ["EDGE_SDK_MODELS"], "classification")
    labels = read_labels(root / "imagenet1001_labels.txt")
    names = open_dataset(root / "imagenet_even500").class_names
    found = match_labels(names, labels, 1001)
    assert found.offset == 1
    assert found.mapping[2] == 3
    assert found.how == "by name: 491 of 500 names agree on offset +1"
