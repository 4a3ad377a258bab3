"""Which wheels fit which device."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from device_profiles.errors import RequestError
from device_profiles.profile import Profile
from edge_sdk.wheels.tags import DEFAULT_LIBC, Platform, platform_of

PI = Platform("aarch64", "3.11", "glibc 2.36")


def test_every_older_glibc_is_listed_newest_first() -> None:
    tags = PI.tags
    assert tags[0] == "manylinux_2_36_aarch64"
    assert [f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)] == [
        tag for tag in tags if tag.startswith("manylinux_")
    ]
    assert tags[-2:] == ("manylinux2014_aarch64", "linux_aarch64")


def test_x86_has_the_older_names_as_well() -> None:
    tags = Platform("x86_64", "3.12", "glibc 2.31").tags
    assert {"manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64"} <= set(tags)
    assert "manylinux_2_5_x86_64" in tags
    assert not any("2010" in tag for tag in PI.tags)


def test_musl_has_tags_of_its_own() -> None:
    assert Platform("aarch64", "3.12", "musl 1.2").tags == (
        "musllinux_1_2_aarch64",
        "musllinux_1_1_aarch64",
        "musllinux_1_0_aarch64",
        "linux_aarch64",
    )


@pytest.mark.parametrize(
    ("file", "fits"),
    [
        ("onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_aarch64.whl", True),
        ("tflite_runtime-2.14.0-cp311-cp311-manylinux_2_34_aarch64.whl", True),
        ("numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl", True),
        ("opencv_python_headless-5.0.0.93-cp37-abi3-manylinux2014_aarch64.whl", True),
        ("tomli-2.5.0-py3-none-any.whl", True),
        ("numpy-2.4.6-cp311-cp311-manylinux_2_38_aarch64.whl", False),
        ("numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl", False),
        ("numpy-2.4.6-cp312-cp312-manylinux_2_28_aarch64.whl", False),
        ("numpy-2.4.6-cp311-cp311-musllinux_1_2_aarch64.whl", False),
        ("numpy-2.4.6-cp313-cp313t-manylinux_2_28_aarch64.whl", False),
    ],
)
def test_a_wheel_fits_by_its_name(file: str, fits: bool) -> None:
    assert PI.fits(file) is fits


@pytest.mark.parametrize("file", ["numpy.whl", "numpy-2.4.6.tar.gz", "numpy-x-y-z-w.whl"])
def test_what_is_no_wheel_is_refused(file: str) -> None:
    with pytest.raises(RequestError, match="is not the file name of a wheel"):
        PI.fits(file)


@pytest.mark.parametrize(
    "fields",
    [("aarch64;", "3.11", "glibc 2.36"), ("aarch64", "3", "glibc 2.36"), ("aarch64", "3.11", "2")],
)
def test_fields_are_checked(fields: tuple[str, str, str]) -> None:
    with pytest.raises(RequestError, match="write such as"):
        Platform(*fields)


def test_a_profile_gives_its_platform(board: Profile) -> None:
    first = board.software.python[0]
    assert platform_of(board) == Platform("aarch64", first, str(board.software.libc))
    assert platform_of(board, board.software.python[-1]).python == board.software.python[-1]
    unknown = replace(board, software=replace(board.software, libc=None))
    assert platform_of(unknown).libc == DEFAULT_LIBC
    with pytest.raises(RequestError, match=r"has Python .*, not 3.7; add it"):
        platform_of(board, "3.7")


def test_an_environment_without_packaging_is_told_what_to_install() -> None:
    code = "import sys; sys.modules['packaging'] = None; import edge_sdk.wheels"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("device_profiles.errors.MissingError: packaging is not installed")
