"""Sources: what they yield, and the one line they fail with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from device_profiles.errors import SourceError
from runtime.sources import SourceOptions, connect, open_source
from runtime.sources.base import Source


def frames_of(source: Source) -> list[Any]:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    return frames


def write_image(path: Path, value: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((24, 32, 3), value, np.uint8))
    return path


def write_video(path: Path, count: int = 40, code: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 25, (64, 48))
    assert writer.isOpened()
    rng = np.random.default_rng(0)
    for index in range(count):
        frame = rng.integers(0, 80, (48, 64, 3), np.uint8)
        frame[:, :32] = index * 6
        writer.write(frame)
    writer.release()
    return path


# --- which source a URI names


@pytest.mark.parametrize(
    "uri", ["nowhere.mp4", "nowhere/", "*.jpg", "nowhere.png", "", "ftp://x/y", "synthetic"]
)
def test_what_is_no_source_is_named_with_the_kinds(uri: str, tmp_path: Path) -> None:
    uri = str(tmp_path / uri) if uri else "x"
    with pytest.raises(
        SourceError, match=r"no such file, and not a source .*camera, gstreamer, images"
    ):
        open_source(uri)


# --- images


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_image(tmp_path / f"shot{number}.png", number)
    write_image(tmp_path / ".hidden.png")
    (tmp_path / "notes.txt").write_text("x")
    source = open_source(str(tmp_path))
    assert (source.live, source.fps, source.count) == (False, None, 3)
    frames = frames_of(source)
    assert [frame.name for frame in frames] == ["shot1.png", "shot2.png", "shot10.png"]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 10]
    assert source.read() is None


@pytest.mark.parametrize("pattern", ["*.png", "a/*.png", "a/[0-9].png", "a/1.png"])
def test_globs_and_single_files(pattern: str, tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "1.png")
    write_image(tmp_path / "2.png")
    assert len(frames_of(open_source(str(tmp_path / pattern)))) == 1


def test_a_grey_file_comes_as_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "g.png"), np.full((4, 5), 9, np.uint8))
    image = frames_of(open_source(str(tmp_path / "g.png")))[0].image
    assert image.shape == (4, 5, 3)
    assert image.dtype == np.uint8


def test_a_folder_without_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no image files"):
        open_source(str(tmp_path))


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("b.jpg", cut),
        ("b.jpg", lambda data: data[:3]),
        ("b.png", cut),
        ("b.png", lambda _: b""),
        ("b.png", lambda _: b"not an image"),
    ],
)
def test_an_unreadable_image_is_named(name: str, damage: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    path = write_image(tmp_path / name)
    path.write_bytes(damage(path.read_bytes()))
    source = open_source(str(tmp_path))
    assert source.read() is not None
    with pytest.raises(SourceError, match=rf"{name}.*replace or remove it"):
        source.read()


def test_a_jpeg_with_a_thumbnail_and_a_trailer_is_whole(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.jpg")
    data = path.read_bytes()
    exif = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data
    path.write_bytes(data[:2] + exif + data[2:] + b"motion photo \xff\xda")
    assert len(frames_of(open_source(str(path)))) == 1
    path.write_bytes(data[:2] + exif + cut(data[2:]))
    with pytest.raises(SourceError, match="cut off"):
        frames_of(open_source(str(path)))


# --- video


def test_a_video_gives_every_frame_in_its_own_buffer(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "v.avi")))
    assert (source.live, source.fps, source.count) == (False, 25.0, 40)
    frames = frames_of(source)
    assert [frame.index for frame in frames] == list(range(40))
    levels = [float(frame.image[:, :32].mean()) for frame in frames]
    # One step is 6; MJPG is off by less than half of one on a flat area.
    assert levels == pytest.approx([index * 6 for index in range(40)], abs=3)
    times = [frame.captured_ns for frame in frames]
    assert times == sorted(times)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 40])
def test_a_file_that_is_no_video_says_what_to_do(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"v\.mp4: no video frame .* ffmpeg"):
        open_source(str(path))


def test_a_video_cut_off_ends_with_an_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mkv")
    path.write_bytes(cut(path.read_bytes()))
    source = open_source(str(path))
    seen = 0
    with pytest.raises(SourceError, match=r"ends after \d+ of 40 frames"):
        while source.read() is not None:
            seen += 1
    assert 10 < seen < 30


# --- camera


class FakeCapture:
    """OpenCV's capture with a clock of its choice."""

    opens = True
    frames = 2
    stamp_ms = 0.0
    fixed: ClassVar[dict[int, float]] = {}

    def __init__(self, device: int | str, backend: int = 0) -> None:
        self.device, self.released = device, False
        self.values = {cv2.CAP_PROP_FPS: 30.0}
        FakeCapture.last = self

    last: FakeCapture

    def isOpened(self) -> bool:
        return self.opens

    def set(self, key: int, value: float) -> bool:
        self.values[key] = value
        return True

    def get(self, key: int) -> float:
        if key == cv2.CAP_PROP_POS_MSEC:
            return self.stamp_ms
        return self.fixed.get(key, self.values.get(key, 0.0))

    def read(self, image: Any = None) -> tuple[bool, Any]:
        self.frames -= 1
        return self.frames >= 0, np.zeros((4, 4, 3), np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[FakeCapture]:
    kind = type("Capture", (FakeCapture,), {})
    monkeypatch.setattr(cv2, "VideoCapture", kind)
    return kind


@pytest.mark.parametrize(
    ("uri", "device"),
    [
        ("0", 0),
        ("camera:2", 2),
        ("/dev/video1", "/dev/video1"),
        ("camera:/dev/video1", "/dev/video1"),
    ],
)
def test_cameras_are_live_and_hold_few_frames(
    uri: str, device: int | str, camera: type[FakeCapture]
) -> None:
    source = connect(f"{uri}?width=320&height=240&fps=15&format=MJPG", SourceOptions())
    assert (source.live, source.count, source.fps) == (True, None, 15.0)
    capture = FakeCapture.last
    assert capture.device == device
    wanted = {
        cv2.CAP_PROP_BUFFERSIZE: 2,
        cv2.CAP_PROP_FRAME_WIDTH: 320,
        cv2.CAP_PROP_FRAME_HEIGHT: 240,
        cv2.CAP_PROP_FPS: 15,
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
    }
    assert capture.values == wanted
    first, second = source.read(), source.read()
    assert first and second
    assert (first.index, second.index) == (0, 1)
    with pytest.raises(SourceError, match="gives no more frames"):
        source.read()
    source.close()
    assert capture.released


def test_a_camera_that_does_not_open_says_why_it_may_be(camera: type[FakeCapture]) -> None:
    camera.opens = False
    with pytest.raises(SourceError, match=r"camera:7: .*usermod.*edge-sdk doctor"):
        open_source("camera:7")


def test_a_missing_camera_of_this_machine_is_a_source_error() -> None:
    with pytest.raises(SourceError, match="does not open"):
        open_source("camera:97")


def test_a_size_that_the_camera_changes_is_refused(camera: type[FakeCapture]) -> None:
    camera.fixed = {cv2.CAP_PROP_FRAME_WIDTH: 640.0}
    with pytest.raises(SourceError, match="gives width 640, not 1280"):
        open_source("camera:0?width=1280")
    assert FakeCapture.last.released


@pytest.mark.parametrize(
    ("age_ms", "believed"), [(40.0, True), (60_000.0, False), (-5000.0, False)]
)
def test_the_time_stamp_of_the_driver_is_used_if_it_is_of_our_clock(
    age_ms: float, believed: bool, camera: type[FakeCapture]
) -> None:
    source = connect("camera:0", SourceOptions())
    now = time.monotonic_ns()
    camera.stamp_ms = now / 1e6 - age_ms
    frame = source.read()
    assert frame
    assert (frame.captured_ns < now) is believed


@pytest.mark.parametrize(("seconds", "whole"), [(4.0, True), (2.0, False)])
def test_a_stated_count_counts_only_if_the_time_falls_short_too(
    seconds: float, whole: bool, camera: type[FakeCapture], tmp_path: Path
) -> None:
    (tmp_path / "v.mkv").touch()
    camera.frames, camera.stamp_ms = 50, seconds * 1000
    camera.fixed = {cv2.CAP_PROP_FRAME_COUNT: 100, cv2.CAP_PROP_FPS: 25}
    source = open_source(str(tmp_path / "v.mkv"))
    if whole:
        assert len(frames_of(source)) == 50
    else:
        with pytest.raises(SourceError, match="50 of 100"):
            frames_of(source)


# --- options


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("camera:0?widht=3", "no option 'widht'; did you mean width"),
        ("camera:0?width=big", "width must be a number, not 'big'"),
        ("camera:front", "is no camera"),
        ("synthetic:noise?live=yes", "live must be 0 or 1"),
        ("synthetic:noise?fps=-1", "fps must not be negative"),
        ("synthetic:noise?fps=nan", "fps must not be negative"),
        ("synthetic:noise?width=0", "width must be positive"),
        ("synthetic:cards?size=2", "size is a share, at most 1"),
        ("synthetic:nosie", "no scene 'nosie'; did you mean noise"),
        ("synthetic:cards", "give cards their images=FOLDER"),
        ("synthetic:cards?images=/nowhere", "no such folder"),
    ],
)
def test_a_wrong_option_is_named(uri: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(uri)


# --- synthetic


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    root = tmp_path / "cards + more"
    for label, value in (("cat", 40), ("dog", 200)):
        for number in range(2):
            write_image(root / label / f"{label}{number}.png", value)
    return root


def test_scenes_repeat_exactly_and_seeds_differ(cards: Path) -> None:
    for scene in ("noise?", "shapes?", f"cards?images={cards}&"):
        uri = f"synthetic:{scene}frames=20&width=160&height=120&hold=5"
        one, two = frames_of(open_source(uri)), frames_of(open_source(uri))
        other = frames_of(open_source(uri + "&seed=1"))
        assert len(one) == len(two) == 20
        assert one[0].image.shape == (120, 160, 3)
        assert all(np.array_equal(a.image, b.image) for a, b in zip(one, two, strict=True))
        assert [a.truth for a in one] == [b.truth for b in two]
        assert any(not np.array_equal(a.image, b.image) for a, b in zip(one, other, strict=True))
        assert not np.array_equal(one[0].image, one[1].image)


def test_cards_show_each_image_for_a_while_and_know_its_class(cards: Path) -> None:
    uri = f"synthetic:cards?images={cards}&frames=20&width=160&height=120&hold=5"
    source = open_source(uri)
    assert (source.live, source.count, source.fps) == (False, 20, 30.0)
    frames = frames_of(source)
    names = [frame.name for frame in frames]
    assert [len(set(names[at : at + 5])) for at in range(0, 20, 5)] == [1, 1, 1, 1]
    assert len(set(names)) == 4
    for frame in frames:
        assert frame.truth == frame.name[:3]
        # The middle shows the picture, up to the flicker of 8% and the mean of the grain.
        middle = frame.image[50:70, 70:90].mean()
        assert middle == pytest.approx({"cat": 40, "dog": 200}[frame.truth], rel=0.1)


def test_images_outside_a_class_folder_have_no_truth(tmp_path: Path) -> None:
    write_image(tmp_path / "plain.png")
    frame = open_source(f"synthetic:cards?images={tmp_path}&frames=1").read()
    assert frame
    assert (frame.name, frame.truth) == ("plain.png", None)


def test_a_card_that_does_not_decode_is_named(cards: Path) -> None:
    for path in cards.glob("*/*.png"):
        path.write_bytes(b"no")
    with pytest.raises(SourceError, match=r"(cat|dog)\d\.png is not an image"):
        open_source(f"synthetic:cards?images={cards}").read()


def test_shapes_are_where_the_truth_says() -> None:
    frame = open_source("synthetic:shapes").read()
    assert frame
    assert [label for label, *_ in frame.truth] == ["disc", "square", "triangle"]
    _, left, top, right, bottom = next(box for box in frame.truth if box[0] == "triangle")
    # The last one drawn is on top: its foot is as wide as its box.
    assert (frame.image[bottom - 1, left:right] == (220, 120, 40)).all()
    assert 0 <= top < bottom <= 480


def test_live_scenes_keep_the_pace_and_may_be_endless() -> None:
    source = open_source("synthetic:noise?live=1&fps=50&frames=0&width=16&height=16")
    assert (source.live, source.count) == (True, None)
    frames = [source.read() for _ in range(6)]
    times = [frame.captured_ns for frame in frames if frame]
    # Frame 5 is due 100 ms after the first; later on a busy machine, never much earlier.
    assert times[5] - times[0] > 80e6
