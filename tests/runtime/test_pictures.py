"""The folder of pictures: which frames, under which names, and that none is half there."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest

from device_profiles.errors import OutputError
from runtime.sinks import SinkContext, open_sink
from runtime.sinks.pictures import Pictures
from tests.runtime.preview_cases import RESULT, STAMP, frame


def write(uri: str, count: int, source: str = "a") -> None:
    sink = open_sink(uri)
    assert isinstance(sink, Pictures)
    for index in range(count):
        sink.write(frame(index, source), RESULT, STAMP)
    sink.close()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["000000.jpg", "000001.jpg", "000002.jpg", "000003.jpg", "000004.jpg"]),
        ("?every=2", ["000000.jpg", "000002.jpg", "000004.jpg"]),
        ("?every=9&format=png", ["000000.png"]),
    ],
)
def test_pictures_are_named_by_frame_and_nothing_else_is_left(
    query: str, names: list[str], tmp_path: Path
) -> None:
    write(f"{tmp_path}/shots/{query}", 5)
    assert sorted(os.listdir(tmp_path / "shots")) == names
    picture = cv2.imread(str(tmp_path / "shots" / names[0]))
    assert picture is not None
    assert picture.shape == (48, 64, 3)
    assert abs(int(picture[45, 60, 0]) - 60) < 4
    assert picture.max() > 150, "nothing was drawn"


def test_an_existing_folder_needs_no_slash_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("mine")
    write(str(tmp_path), 1)
    write(str(tmp_path), 1)
    assert sorted(os.listdir(tmp_path)) == ["000000.jpg", "other.txt"]


def test_frames_of_several_sources_do_not_collide(tmp_path: Path) -> None:
    sink = open_sink(f"{tmp_path}/")
    for source in ("a", "b", "a", "c"):
        sink.write(frame(7, source), RESULT, STAMP)
    sink.close()
    assert sorted(os.listdir(tmp_path)) == ["000007-2.jpg", "000007-3.jpg", "000007.jpg"]


def test_every_counts_the_results_of_each_source(tmp_path: Path) -> None:
    sink = open_sink(f"{tmp_path}/?every=2")
    for index in range(4):
        for source in ("a", "b"):
            sink.write(frame(index, source), RESULT, STAMP)
    sink.close()
    kept = ["000000-2.jpg", "000000.jpg", "000002-2.jpg", "000002.jpg"]
    assert sorted(os.listdir(tmp_path)) == kept


def test_quality_makes_them_smaller(tmp_path: Path) -> None:
    sizes = []
    for quality in (10, 95):
        write(f"{tmp_path}/?quality={quality}", 1)
        sizes.append((tmp_path / "000000.jpg").stat().st_size)
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("format=bmp", "must be jpg or png"),
        ("quality=0", "1 to 100"),
        ("every=0", "every must be 1"),
        ("every=x", "whole number"),
        ("evry=2", "did you mean every"),
    ],
)
def test_a_wrong_option_is_an_output_error(query: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=says):
        open_sink(f"{tmp_path}/shots/?{query}", SinkContext())


def test_an_unwritable_folder_fails_before_work_starts(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"make the folder .*missing first"):
        open_sink(f"{tmp_path}/missing/shots/")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        open_sink(f"{tmp_path}/file/")


def test_a_folder_that_goes_away_is_an_output_error(tmp_path: Path) -> None:
    sink = open_sink(f"{tmp_path}/shots/")
    (tmp_path / "shots").rmdir()
    with pytest.raises(OutputError, match=r"000000.jpg: cannot be written .*make the folder"):
        sink.write(frame(), RESULT, STAMP)
    sink.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_an_output_error_and_leaves_no_piece(tmp_path: Path) -> None:
    sink = open_sink(f"{tmp_path}/")
    (tmp_path / ".part.jpg").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        sink.write(frame(), RESULT, STAMP)
    sink.close()
    assert os.listdir(tmp_path) == []
