"""The text of a lock: read back as written, refused with its line where it is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from device_profiles.errors import RequestError
from edge_sdk.wheels.lock import Lock, Request, Wheel, parse
from edge_sdk.wheels.tags import Platform

PI = Platform("aarch64", "3.11", "glibc 2.36")
ARM = "cp311-cp311-manylinux_2_28_aarch64"
NUMPY = Wheel("numpy", "2.4.6", f"numpy-2.4.6-{ARM}.whl", "a" * 64, 16_000_000)
ENGINE = Wheel("ai-edge-litert", "2.3.0", f"ai_edge_litert-2.3.0-{ARM}.whl", "b" * 64)
LOCK = Lock("some-board", PI, (NUMPY, ENGINE), ("python3-x",), ("mind: the gap",), "edge-sdk 1")
HEAD = LOCK.to_text().split("ai-edge-litert")[0]


def test_text_reads_back() -> None:
    text = LOCK.to_text()
    assert Lock.from_text(text) == LOCK
    assert Lock.from_text(text).to_text() == text
    assert f"numpy==2.4.6 --hash=sha256:{'a' * 64} # {NUMPY.file} 16000000" in text.splitlines()


def test_pip_reads_the_text() -> None:
    """Every line is a comment, or a requirement whose comment pip cuts off at white space and #."""
    for line in LOCK.to_text().splitlines():
        before = line.partition("#")[0]
        assert before == "" or before.endswith(" ")


def test_order_notes_and_sizes_do_not_change_the_digest() -> None:
    other = Lock("other-board", PI, (ENGINE, replace(NUMPY, size=None)))
    assert other.digest == LOCK.digest
    assert other.wheels[0] == ENGINE
    assert replace(LOCK, wheels=(NUMPY,)).digest != LOCK.digest
    assert replace(LOCK, wheels=(replace(NUMPY, sha256="c" * 64), ENGINE)).digest != LOCK.digest


def test_the_digest_tells_pythons_apart() -> None:
    pure = Wheel("tomli", "2.5.0", "tomli-2.5.0-py3-none-any.whl", "d" * 64)
    digests = {Lock("x", replace(PI, python=p), (pure,)).digest for p in ("3.11", "3.13")}
    assert len(digests) == 2


def test_version_of_a_package() -> None:
    assert LOCK.version_of("AI_Edge.LiteRT") == "2.3.0"
    assert LOCK.version_of("torch") is None


def test_plain_lines_and_those_of_other_tools_are_requests() -> None:
    text = f"""
        # made with a text editor
        onnxruntime==1.21.0   # dies on old cores
        numpy>=1.26,<2
        tomli==2.0.1 \\
            --hash=sha256:{"e" * 64} \\
            --hash=sha256:{"f" * 64}
    """
    assert parse(text, "x").requests == (
        Request("onnxruntime==1.21.0"),
        Request("numpy<2,>=1.26"),
        Request("tomli==2.0.1", ("e" * 64, "f" * 64)),
    )
    with pytest.raises(RequestError, match=r"x: onnxruntime==1.21.0 names no file; resolve it"):
        Lock.from_text(HEAD + "onnxruntime==1.21.0", "x")


WHOLE = f"--hash=sha256:{'a' * 64} # numpy-2.4.6-{ARM}.whl"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("numpy=2", "is not understood"),
        ("-r other.txt", "is not understood"),
        ("--index-url http://evil.example/", "is not understood"),
        ("numpy @ http://evil.example/numpy.whl", "more than a name"),
        ("numpy[extra]==2.4.6", "more than a name"),
        ("numpy==2.4.6; python_version < '4'", "more than a name"),
        ("numpy==2.4.6 --hash=md5:abc", "is not understood"),
        ("numpy==2.4.6 --hash=sha256:ABC", "is not understood"),
        (f"numpy {WHOLE}", "exact version"),
        (f"numpy>=2.4.6 {WHOLE}", "exact version"),
        (f"numpy==2.4.* {WHOLE}", "is not numpy 2.4"),
        (f"numpy==2.4.6 # numpy-2.4.6-{ARM}.whl", "one hash"),
        (f"numpy==2.4.5 {WHOLE}", "is not numpy 2.4.5"),
        (f"scipy==2.4.6 {WHOLE}", "is not scipy 2.4.6"),
        (f"numpy==2.4.6 --hash=sha256:{'a' * 64} # numpy.whl", "is not the file name of a wheel"),
    ],
)
def test_a_wrong_line_is_named(line: str, why: str) -> None:
    with pytest.raises(RequestError) as caught:
        Lock.from_text(f"{HEAD}{line}\n", "my.lock")
    message = str(caught.value)
    assert message.startswith(f"my.lock, line {len(HEAD.splitlines()) + 1}: ")
    assert why in message
    assert "\n" not in message


def test_paths_in_file_names_are_no_files() -> None:
    """What follows the hash is a comment unless it is a plain name: nothing leaves its folder."""
    line = f"numpy==2.4.6 --hash=sha256:{'a' * 64} # ../numpy-2.4.6-{ARM}.whl"
    assert parse(line, "x").wheels == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LOCK.to_text().replace("# arch: aarch64\n", ""), "lacks the line '# arch: ...'"),
        (LOCK.to_text().replace("aarch64\n", "riscv64\n"), "does not fit Python 3.11 on riscv64"),
        (LOCK.to_text().replace("python: 3.11", "python: 3.12"), "does not fit Python 3.12"),
        (LOCK.to_text().replace("glibc 2.36", "glibc 2.17"), "does not fit"),
        (LOCK.to_text().replace("glibc 2.36", "newest"), "is not a C library"),
        (LOCK.to_text() + f"{NUMPY}\n", "numpy is there twice"),
        ("", "lacks the line"),
    ],
)
def test_a_lock_that_contradicts_itself_is_refused(text: str, why: str) -> None:
    with pytest.raises(RequestError, match=why) as caught:
        Lock.from_text(text, "my.lock")
    assert str(caught.value).startswith("my.lock: ")
