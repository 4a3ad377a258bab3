"""`edge-sdk profiles`: the devices, one explained, or the profile of a machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from device_profiles.errors import ProfileError, RequestError
from device_profiles.profile import Profile, load, names, own_names
from edge_sdk.cli.base import Outcome

HELP = "list the devices, explain one, or write the profile of a machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", nargs="?", help="a device, or a TOML file")
    group = parser.add_argument_group("the profile of a machine")
    group.add_argument(
        "--detect", action="store_true", help="read a real machine and write its profile"
    )
    group.add_argument("--on", metavar="TARGET", help="the machine to read (default: this one)")
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="F.toml",
        help="where to write it (default: among your own profiles, called as the machine is)",
    )
    group.add_argument("--force", action="store_true", help="overwrite a file that is there")


def run(arguments: argparse.Namespace) -> Outcome:
    """Show one profile or all, or write one."""
    if arguments.detect:
        return _detect(arguments)
    given = {"--on": arguments.on, "--output": arguments.output, "--force": arguments.force}
    stray = [option for option, value in given.items() if value]
    if stray:
        raise RequestError(f"{stray[0]} belongs to --detect; add --detect, or leave it out")
    return _explain(load(arguments.name)) if arguments.name else _list()


def _explain(profile: Profile) -> Outcome:
    from edge_sdk.report import render
    from edge_sdk.workflows.profile_facts import explain

    found = {"name": profile.name, "digest": profile.digest, **profile.to_json()}
    return Outcome(found, render(explain(profile)))


def _list() -> Outcome:
    from edge_sdk.report import Table, table
    from edge_sdk.workflows.profile_facts import cores, emulatable, ladder, memory

    profiles, broken = _profiles()
    rows = tuple(
        (
            p.name,
            f"{cores(p)} {p.hardware.arch}",
            "" if p.hardware.memory_mb is None else memory(p),
            " ".join(p.hardware.features),
            ladder(p),
            emulatable(p),
        )
        for p in profiles
    )
    columns = ("name", "cores", "memory", "features", "engines", "emulated")
    data = [
        {
            "name": p.name,
            "title": p.title,
            "digest": p.digest,
            "arch": p.hardware.arch,
            "cores": p.hardware.cores,
            "memory_mb": p.hardware.memory_mb,
            "emulated": p.emulation.cpu is not None,
        }
        for p in profiles
    ]
    note = " ".join(["edge-sdk profiles NAME says what each fact of one changes.", *broken])
    data_of_all = {"profiles": data, "broken": broken}
    return Outcome(data_of_all, table(Table("Devices", columns, rows, note)))


def _profiles() -> tuple[list[Profile], list[str]]:
    """Return all profiles, and why some of the user's own cannot be read."""
    profiles, broken = [load(name) for name in names()], []
    for name in own_names():
        try:
            profiles.append(load(name))
        except ProfileError as error:
            broken.append(f"{error}.")
    return profiles, broken


def _detect(arguments: argparse.Namespace) -> Outcome:
    from edge_sdk.workflows.detect import detect

    if arguments.name:
        raise RequestError(f"--detect reads a machine, not {arguments.name!r}; name it by --on")
    found = detect(arguments.on, arguments.output, force=arguments.force)
    profile = load(found.path)
    data = {"path": str(found.path), "inherits": found.inherits, "facts": found.facts}
    text = (
        f"{found.text}\nwritten: {found.path}\n"
        f"use it: edge-sdk convert MODEL --profile {found.address} ..."
    )
    return Outcome({"name": profile.name, **data, "profile": profile.to_json()}, text)
