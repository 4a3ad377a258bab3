"""`edge-sdk wheelhouse`: all that is installed on a device, in a folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sdk.cli.base import Outcome
from edge_sdk.report import Table, table

if TYPE_CHECKING:
    from device_profiles.profile import Profile
    from edge_sdk.workflows.wheelhouse import Wheelhouse

HELP = "collect the wheels of a device in a folder, to install without a network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "requirements",
        nargs="*",
        metavar="REQUIREMENT",
        help="narrows the choice or adds a package, such as onnxruntime==1.20.1",
    )
    parser.add_argument(
        "--profile", required=True, metavar="NAME", help="the device, or a TOML file"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--python", metavar="3.N", help="the device's Python (default: the profile's first)"
    )
    parser.add_argument(
        "--lock", type=Path, metavar="FILE", help="the wheels to take (default: the profile's)"
    )


def run(arguments: argparse.Namespace) -> Outcome:
    """Collect and list."""
    from device_profiles.profile import load
    from edge_sdk.workflows.wheelhouse import wheelhouse

    profile = load(arguments.profile)
    house = wheelhouse(
        profile,
        arguments.output,
        arguments.requirements,
        python=arguments.python,
        lock=arguments.lock,
    )
    return _outcome(house, profile)


def _outcome(house: Wheelhouse, profile: Profile) -> Outcome:
    from edge_sdk.workflows.wheelhouse import pin_reasons

    lock = house.lock
    reasons = pin_reasons(profile)
    wheels = [
        {
            "name": wheel.name,
            "version": wheel.version,
            "file": wheel.file,
            "sha256": wheel.sha256,
            "size": wheel.size,
            "reason": reasons.get(wheel.name, ""),
        }
        for wheel in lock.wheels
    ]
    data = {
        "folder": str(house.folder),
        "lock": str(house.lock_path),
        "profile": lock.profile,
        "python": lock.platform.python,
        "wheels": wheels,
        "size": house.size,
        "unpacked": house.unpacked,
        "system": list(lock.system),
        "notes": list(lock.notes),
        "others": list(house.others),
    }
    rows = tuple(
        (wheel.name, wheel.version, f"{(wheel.size or 0) / 1e6:.1f}", reasons.get(wheel.name, ""))
        for wheel in lock.wheels
    )
    title = f"Wheels for {lock.profile} ({lock.platform})"
    text = table(Table(title, ("wheel", "version", "MB", "why this one"), rows))
    return Outcome(data, "\n".join([text, *_lines(house)]))


def _lines(house: Wheelhouse) -> list[str]:
    lock = house.lock
    lines = [
        f"{house.size / 1e6:.1f} MB in {house.folder}; {house.unpacked / 1e6:.0f} MB when installed"
    ]
    if lock.system:
        lines.append(f"from the device's system: sudo apt-get install {' '.join(lock.system)}")
    lines += [f"note: {note}" for note in lock.notes]
    if house.others:
        lines.append(f"not of this lock, and left alone: {', '.join(house.others)}")
    return [
        *lines,
        f"put it on a device: edge-sdk flash BUNDLE --to TARGET --wheelhouse {house.folder}",
        "or by hand, there: python3 -m pip install --no-index --find-links DIR --no-deps "
        "--require-hashes -r DIR/lock.txt",
    ]
