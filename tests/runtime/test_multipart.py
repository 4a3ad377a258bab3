"""Multipart: whatever way a camera cuts its stream, the parts are whole, and memory is bounded."""

from __future__ import annotations

import random
import re

import pytest

from device_profiles.errors import SourceError
from runtime.sources._multipart import MAX_PART_BYTES, Multipart
from runtime.sources._stream_clock import StreamClock

JPEGS = [b"\xff\xd8" + bytes([n]) * 500 + b"--frame-like\r\n\r\n\xff\xd9" for n in range(4)]


def part(jpeg: bytes, boundary: str = "--frame", length: bool = True, end: str = "\r\n") -> bytes:
    stated = f"Content-Length: {len(jpeg)}{end}" if length else ""
    return (
        f"{boundary}{end}Content-Type: image/jpeg{end}{stated}{end}".encode() + jpeg + end.encode()
    )


def contents(declared: str, data: bytes, step: int) -> list[bytes]:
    cutter = Multipart(declared)
    parts = [p for at in range(0, len(data), step) for p in cutter.feed(data[at : at + step])]
    return [p.content for p in parts]


BODIES = {
    "as RFC 2046 has it": ("frame", {}),
    "declared with its dashes": ("--frame", {}),
    "declared in quotes": ('"frame"', {}),
    "not declared": ("", {}),
    "declared wrongly": ("myboundary", {}),
    "without dashes": ("frame", {"boundary": "frame"}),
    "without dashes and declared wrongly": ("other", {"boundary": "frame"}),
    "lines that end in LF": ("frame", {"end": "\n"}),
    "of no stated length": ("frame", {"length": False}),
    "of no stated length, not declared": ("", {"length": False}),
    "of no stated length, declared wrongly": ("other", {"length": False}),
}


@pytest.mark.parametrize("step", [1, 7, 100, 100_000])
@pytest.mark.parametrize("name", BODIES)
def test_parts_are_whole_however_they_are_cut_and_arrive(name: str, step: int) -> None:
    declared, how = BODIES[name]
    jpegs = [jpeg.replace(b"--frame-like\r\n\r\n", b"") for jpeg in JPEGS]
    data = b"".join(part(jpeg, **how) for jpeg in jpegs)
    data += part(b"\xff\xd8", **how)  # the last one may end where the next begins
    assert contents(declared, data, step)[:4] == jpegs


def test_a_stated_length_goes_before_what_looks_like_a_boundary() -> None:
    assert contents("frame", b"".join(map(part, JPEGS)), 64) == JPEGS


@pytest.mark.parametrize("declared", ["frame", ""])
def test_what_stands_between_is_skipped(declared: str) -> None:
    data = b"hello\r\n" + b"\r\n\r\nnoise\r\n".join(map(part, JPEGS)) + b"--frame--\r\nbye"
    assert contents(declared, data, 5) == JPEGS


def test_a_jpeg_is_given_when_it_ends_not_when_the_next_begins() -> None:
    cutter = Multipart("frame")
    (got,) = cutter.feed(b"--frame\r\n\r\n" + b"\xff\xd8abc\xff\xd9")
    assert got.content == b"\xff\xd8abc\xff\xd9"


def test_headers_are_told_by_lower_case_name() -> None:
    (got,) = Multipart("f").feed(b"--f\r\nX-Timestamp:  12.5 \r\nodd\r\nCONTENT-LENGTH: 1\r\n\r\nz")
    assert got.headers == {"x-timestamp": "12.5", "content-length": "1"}
    assert got.content == b"z"


@pytest.mark.parametrize("length", ["0", "00", "-1", "x", "²", "", "1e3"])
def test_a_length_that_is_none_is_not_believed(length: str) -> None:
    head = f"--frame\r\nContent-Length: {length}\r\n\r\n".encode("latin-1")
    assert contents("frame", head + b"\xff\xd8a\xff\xd9", 1000) == [b"\xff\xd8a\xff\xd9"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"--frame\r\n" + b"X-Y: z\r\n" * 5000, "headers .* no end"),
        (b"--frame\r\nContent-Length: 99999999999999\r\n\r\n", "states 99999999999 bytes"),
        (b"--frame\r\nContent-Length: " + b"9" * 9000 + b"\r\n\r\n", "states 99999999999 bytes"),
        (f"--frame\r\nContent-Length: {MAX_PART_BYTES + 1}\r\n\r\n".encode(), "states"),
    ],
)
def test_a_part_without_an_end_is_an_error(data: bytes, message: str) -> None:
    cutter = Multipart("frame")
    with pytest.raises(SourceError, match=re.compile(message)):
        for at in range(0, len(data), 4096):
            cutter.feed(data[at : at + 4096])


def test_a_content_without_an_end_is_an_error_not_a_leak() -> None:
    cutter = Multipart("frame")
    cutter.feed(b"--frame\r\n\r\n\xff\xd8")
    with pytest.raises(SourceError, match="no end within"):
        for _ in range(MAX_PART_BYTES // 2**20 + 2):
            cutter.feed(bytes(2**20))


@pytest.mark.parametrize("declared", ["frame", ""])
def test_garbage_is_not_collected(declared: str) -> None:
    rng, cutter = random.Random(0), Multipart(declared)
    for _ in range(200):
        assert cutter.feed(rng.randbytes(65536)) == []
        assert len(cutter._data) <= 2**17
    assert [p.content for p in cutter.feed(b"\r\n" + part(JPEGS[0]))] == JPEGS[:1]


def test_garbage_between_whole_parts_costs_no_more_than_some_parts() -> None:
    rng = random.Random(1)
    for seed in range(30):
        data = bytearray(b"".join(part(JPEGS[n % 4]) for n in range(20)))
        for _ in range(5):
            data[rng.randrange(len(data))] = rng.randrange(256)
        got = contents("frame", bytes(data), 333)
        assert sum(content in JPEGS for content in got) >= 8, seed


# --- the clock of a stream

MS = 1_000_000


def test_a_frame_that_was_held_up_is_older_by_that_much() -> None:
    clock = StreamClock()
    assert clock.captured_ns(1000 * MS, 0) == 1000 * MS
    assert clock.captured_ns(1033 * MS, 33 * MS) == 1033 * MS
    late = clock.captured_ns(1066 * MS + 500 * MS, 66 * MS)
    assert late == pytest.approx(1066 * MS, abs=MS)
    assert clock.captured_ns(1600 * MS, 600 * MS) == pytest.approx(1600 * MS, abs=MS)


def test_no_frame_is_of_the_future_and_a_slow_start_is_mended() -> None:
    clock, rng = StreamClock(), random.Random(0)
    for index in range(2000):
        stamp = index * 33 * MS
        delay = 20 * MS + (400 * MS if index < 5 else int(rng.expovariate(1 / (10 * MS))))
        arrival = 10_000 * MS + stamp + delay
        captured = clock.captured_ns(arrival, stamp)
        assert captured <= arrival
        if index > 200:
            # The truth is 10 s later by our clock; what is unknown is the fastest way, 20 ms.
            assert 0 <= captured - (10_000 * MS + stamp) <= 25 * MS


def test_a_clock_that_runs_slower_than_ours_makes_no_frame_old() -> None:
    clock = StreamClock()
    for index in range(10_000):
        arrival = round(index * 33 * MS * (1 + 300e-6))
        captured = clock.captured_ns(arrival, index * 33 * MS)
        assert arrival - captured < 5 * MS


def test_stamps_that_go_back_begin_anew() -> None:
    clock = StreamClock()
    clock.captured_ns(5000 * MS, 4000 * MS)
    assert clock.captured_ns(5033 * MS, 0) == 5033 * MS
    assert clock.captured_ns(5066 * MS, 33 * MS) == 5066 * MS
    for arrival in (6000 * MS, 6033 * MS):  # a server that stamps nothing
        assert clock.captured_ns(arrival, 33 * MS) == arrival
