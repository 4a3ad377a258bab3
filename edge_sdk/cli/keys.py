"""`edge-sdk keys`: the keys that sign bundles, and that devices pin."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sdk.cli import _passphrase
from edge_sdk.cli.base import Outcome
from edge_sdk.report import Table, table
from runtime.logs import KINDS

if TYPE_CHECKING:
    from runtime.agent.trust import PublicKey

HELP = "make, list and export the keys that sign bundles"

_ACTIONS = {
    "new": "make a key: a private file that only you can read, and the line that devices pin",
    "list": "list the keys that there are",
    "export": "show the public line of a key, for devices and for whoever verifies",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare an action each, with the options of all verbs in either place."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, said in _ACTIONS.items():
        action = actions.add_parser(name, help=said, description=said)
        if name != "list":
            action.add_argument("name", help="what the key is called")
        if name == "new":
            action.add_argument(
                "--passphrase", action="store_true", help="ask for a passphrase to protect it with"
            )
            _passphrase.add_passphrase_file(action)
        if name == "export":
            action.add_argument("-o", "--output", type=Path, metavar="F", help="write it to a file")
        keep = argparse.SUPPRESS
        action.add_argument("--json", action="store_true", default=keep, help="one JSON object")
        action.add_argument("--log", choices=KINDS, default=keep, help="how logs are written")
        action.add_argument("--debug", action="store_true", default=keep, help="show tracebacks")


def run(arguments: argparse.Namespace) -> Outcome:
    """Do what is asked."""
    if arguments.action == "list":
        return _list()
    if arguments.action == "export":
        return _export(arguments.name, arguments.output)
    return _new(arguments)


def _new(arguments: argparse.Namespace) -> Outcome:
    from edge_sdk.shipping.keys import key_folder, new_key

    passphrase = _passphrase.given(arguments.passphrase_file)
    if passphrase is None and arguments.passphrase:
        passphrase = _passphrase.chosen()
    key = new_key(arguments.name, passphrase)
    private = key_folder() / f"{key.name}.key"
    how = "has no passphrase" if passphrase is None else "is under its passphrase"
    text = (
        f"made the key {key.name} ({key.id})\n"
        f"private, which {how}; keep it, and a copy elsewhere: {private}\n"
        f"public, for devices and for whoever verifies: {key.line}"
    )
    facts = {"private": str(private), "protected": passphrase is not None}
    return Outcome({**_facts(key), **facts}, text)


def _list() -> Outcome:
    from edge_sdk.shipping.keys import key_folder, own_keys

    found = own_keys()
    rows = tuple(
        (
            key.public.name,
            key.public.id,
            "yes" if key.private else "no",
            "yes" if key.protected else "no" if key.private else "",
        )
        for key in found
    )
    text = table(Table("Keys", ("name", "id", "private", "passphrase"), rows, str(key_folder())))
    facts = [
        {**_facts(key.public), "private": key.private, "protected": key.protected} for key in found
    ]
    empty = "no keys yet; make one: edge-sdk keys new NAME"
    return Outcome({"folder": str(key_folder()), "keys": facts}, text if rows else empty)


def _export(name: str, output: Path | None) -> Outcome:
    from edge_sdk.shipping.keys import find_public

    key = find_public(name)
    if output is None:
        return Outcome(_facts(key), key.line)
    from device_profiles.errors import OutputError
    from edge_sdk.workflows.limits import check_writable

    check_writable(output)
    try:
        output.write_text(f"{key.line}\n")
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror}; see df") from error
    return Outcome({**_facts(key), "output": str(output)}, f"the public key is in {output}")


def _facts(key: PublicKey) -> dict[str, Any]:
    return {"name": key.name, "id": key.id, "public": key.line}
