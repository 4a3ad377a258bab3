"""What the public index really has for the devices that are shipped."""

from __future__ import annotations

import pytest

from device_profiles.errors import MissingError
from device_profiles.profile import Profile, load, names
from edge_sdk.wheels.lock import Lock
from edge_sdk.wheels.resolve import resolve

pytestmark = pytest.mark.network


def lock_for(profile: Profile) -> Lock:
    try:
        return resolve(profile)
    except MissingError as error:
        pytest.skip(str(error))


# 64-bit and 32-bit Arm; the others share their platforms.
FIRST = ("raspberry-pi-4b", "raspberry-pi-5", "raspberry-pi-zero-2w", "raspberry-pi-2b")
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in names() if name not in FIRST]


@pytest.mark.parametrize("name", [*FIRST, *OTHERS])
def test_every_device_has_a_lock(name: str) -> None:
    profile = load(name)
    lock = lock_for(profile)
    assert lock.version_of("numpy") or "python3-numpy" in lock.system
    assert Lock.from_text(lock.to_text()) == lock
    assert all(wheel.size for wheel in lock.wheels)


def test_the_last_onnxruntime_for_python_3_10() -> None:
    lock = lock_for(load("jetson-orin-nano"))
    assert lock.version_of("onnxruntime") == "1.23.2"
    assert lock.version_of("tomli")
