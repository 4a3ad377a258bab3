"""Which wheels fit a device: the tags of its Python, architecture and C library.

pip matches tags literally where `--platform` is given: it does not know that a wheel for an older
C library fits a newer one. So the list is spelled out here, as PEP 600 (manylinux) and PEP 656
(musllinux) define it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from device_profiles.errors import RequestError
from device_profiles.profile import Profile
from edge_sdk.wheels._packaging import (
    InvalidWheelFilename,
    Tag,
    Version,
    compatible_tags,
    cpython_tags,
    parse_wheel_filename,
)

#: Where a profile does not name its C library: the oldest that manylinux images of today build for.
DEFAULT_LIBC = "glibc 2.28"

# The names that PEP 513, 571 and 599 gave to what PEP 600 spells by version.
_NAMED = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
# The oldest glibc, 2.N, that manylinux knows; PEP 599 brought the architectures besides x86.
_OLDEST_GLIBC = 17
_OLDEST_GLIBC_OF = {"x86_64": 5, "i686": 5}


@dataclass(frozen=True)
class Platform:
    """What decides whether a wheel fits: `arch` as in a profile, Python as `3.11`, the C library.

    `libc` is such as `glibc 2.36` or `musl 1.2`.
    """

    arch: str
    python: str
    libc: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w+", self.arch):
            raise RequestError(f"{self.arch!r} is not an architecture; write such as aarch64")
        if not re.fullmatch(r"3\.\d+", self.python):
            raise RequestError(f"{self.python!r} is not a version of Python; write such as 3.11")
        if not re.fullmatch(r"(glibc|musl) \d+\.\d+", self.libc):
            raise RequestError(
                f"{self.libc!r} is not a C library; write such as 'glibc 2.36' or 'musl 1.2'"
            )

    def __str__(self) -> str:
        return f"Python {self.python} on {self.arch} with {self.libc}"

    @property
    def abi(self) -> str:
        """The tag of CPython's binary interface, such as `cp311`."""
        return "cp" + self.python.replace(".", "")

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the platform tags that fit, newest first, such as `manylinux_2_36_aarch64`."""
        family, version = self.libc.split()
        major, minor = map(int, version.split("."))
        if family == "musl":
            known = [f"musllinux_{major}_{older}" for older in range(minor, -1, -1)]
        else:
            oldest = _OLDEST_GLIBC_OF.get(self.arch, _OLDEST_GLIBC)
            known = []
            for older in range(minor, oldest - 1, -1):
                known.append(f"manylinux_{major}_{older}")
                known += [_NAMED[older]] if older in _NAMED else []
        return tuple(f"{tag}_{self.arch}" for tag in (*known, "linux"))

    @property
    def pip_options(self) -> list[str]:
        """Return the options that make pip choose wheels for this platform instead of the host."""
        options = ["--only-binary=:all:", "--no-deps", "--implementation", "cp"]
        options += ["--python-version", self.python, "--abi", self.abi]
        for tag in self.tags:
            options += ["--platform", tag]
        return options

    def fits(self, file: str) -> bool:
        """Whether the wheel called `file` can be installed here; RequestError when it is none."""
        *_, tags = read_file_name(file)
        version = tuple(map(int, self.python.split(".")))
        ours = set(cpython_tags(version, [self.abi], self.tags))
        return not tags.isdisjoint(ours | set(compatible_tags(version, self.abi, self.tags)))


def read_file_name(file: str) -> tuple[str, Version, frozenset[Tag]]:
    """Return the name, version and tags in a wheel's file name; RequestError when it is none."""
    try:
        name, version, _, tags = parse_wheel_filename(file)
    except (InvalidWheelFilename, ValueError) as error:
        raise RequestError(f"{file!r} is not the file name of a wheel") from error
    return name, version, tags


def platform_of(profile: Profile, python: str | None = None) -> Platform:
    """Return the platform of a profile: its own first Python, or `python`.

    RequestError when the device has another Python; an unknown C library counts as `DEFAULT_LIBC`.
    """
    versions = profile.software.python
    if python is not None and python not in versions:
        raise RequestError(
            f"{profile.name} has Python {' and '.join(versions)}, not {python}; "
            "add it to `python` in a profile of your own that inherits from this one"
        )
    return Platform(
        profile.hardware.arch, python or versions[0], profile.software.libc or DEFAULT_LIBC
    )
