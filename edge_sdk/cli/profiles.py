"""`edge-sdk profiles`: the devices, or one in full."""

from __future__ import annotations

import argparse
import json

from device_profiles.profile import load, names
from edge_sdk.cli.base import Outcome
from edge_sdk.report import Table, table

HELP = "list the devices, or show one in full"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", nargs="?", help="a device, or a TOML file")


def run(arguments: argparse.Namespace) -> Outcome:
    """Show one profile or all."""
    if arguments.name:
        profile = load(arguments.name)
        found = {"name": profile.name, "digest": profile.digest, **profile.to_json()}
        return Outcome(found, json.dumps(found, indent=2, ensure_ascii=False))
    profiles = [load(name) for name in names()]
    rows = tuple(
        (
            p.name,
            p.title,
            p.hardware.arch,
            " ".join(p.hardware.features),
            ", ".join(f"{rung.engine}/{rung.provider}" for rung in p.engines),
        )
        for p in profiles
    )
    listing = Table("Devices", ("name", "device", "arch", "features", "engines"), rows)
    data = {"profiles": [{"name": p.name, "title": p.title, "digest": p.digest} for p in profiles]}
    return Outcome(data, table(listing))
