"""Image files: which they are, in which order, and what is said of damaged ones."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from device_profiles.errors import DataError
from runtime.images import image_files, is_image, natural_key, read_image

cv2 = pytest.importorskip("cv2")

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)


def encode(suffix: str, image: NDArray[np.generic] = PICTURE) -> bytes:
    data: bytes = cv2.imencode(suffix, image)[1].tobytes()
    return data


def test_images_are_told_by_their_suffix() -> None:
    names = ["a.png", "a.JPG", "a.pnm", "a.webp", "a.txt", "png", "a.png.gz", "a.mp4"]
    assert [is_image(Path(name)) for name in names] == [True] * 4 + [False] * 4


def test_image_files_come_in_natural_order_without_hidden_ones_and_folders(tmp_path: Path) -> None:
    for name in ("f10.png", "f2.png", "F1.jpg", ".f0.png", "f.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in image_files(tmp_path)] == ["F1.jpg", "f2.png", "f10.png"]
    paths = [Path("s10/f1.png"), Path("s9/f10.png"), Path("s9/f9.png")]
    assert sorted(paths, key=natural_key) == [paths[2], paths[1], paths[0]]


def test_an_image_is_read_from_any_path(tmp_path: Path) -> None:
    path = tmp_path / "naïve ünï 图.png"
    path.write_bytes(encode(".png"))
    np.testing.assert_array_equal(read_image(path), PICTURE)
    np.testing.assert_array_equal(read_image(str(path)), PICTURE)


@pytest.mark.parametrize(
    ("shape", "dtype", "value"), [((6, 5), "u2", 40000), ((6, 5, 4), "u1", 99), ((6, 5), "u1", 9)]
)
def test_images_come_as_8_bit_bgr(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, value: int
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(encode(".png", np.full(shape, value, dtype)))
    image = read_image(path)
    assert image.shape == (6, 5, 3)
    assert image.dtype == np.uint8


def test_images_are_turned_as_exif_says(tmp_path: Path) -> None:
    jpeg = encode(".jpg")
    # One EXIF entry: tag 0x0112 (orientation), type SHORT, value 6 (turn right by 90 degrees).
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    body = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    path = tmp_path / "turned.jpg"
    path.write_bytes(jpeg[:2] + segment + jpeg[2:])
    assert read_image(path).shape == (40, 24, 3)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_of(width: int, height: int) -> bytes:
    """Return a PNG whose header promises more pixels than it holds."""
    header = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = _png_chunk(b"IDAT", zlib.compress(b"x"))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + _png_chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read image .*No such file"),
        (b"", "not an image that OpenCV can decode"),
        (b"not an image", "not an image that OpenCV can decode"),
        (b"\xff\xd8", "cut off"),
        (b"\xff\xd8\0\0not a marker", "not an image that OpenCV can decode"),
        *((encode(".jpg")[:size], "cut off") for size in (3, 100, 700, -2)),
        (_png_of(1_000_000, 1_000_000), "damaged or too large"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "broken.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_image(path)
    assert "broken.jpg" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(".jpg"))
    reads: list[Path] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or real(self))
    assert read_image(path).shape == PICTURE.shape
    assert reads == [path]
