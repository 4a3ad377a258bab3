"""`edge-sdk flash`: a bundle onto a device, where it is kept only if it holds."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from device_profiles.errors import RequestError
from edge_sdk.cli import _passphrase
from edge_sdk.cli.base import Outcome, add_report, report_outcome

if TYPE_CHECKING:
    from edge_sdk.shipping.keys import SigningKey

HELP = "put a bundle on a device; it is kept only if it holds there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", type=Path, help="a bundle (.edge)")
    add_to(parser, ", folder:/path (a mounted root or a stick), boot:/path (an SD card)")
    parser.add_argument("--profile", metavar="P", help="the device (default: what it was made for)")
    _add_run(parser)
    _add_wheels(parser)
    _add_health(parser)
    _add_trust(parser)
    _passphrase.add_passphrase_file(parser)
    parser.add_argument(
        "--prove",
        default="auto",
        metavar="WAY",
        help="auto, always or never: the golden set on the emulated device before anything is sent",
    )
    add_report(parser)


def add_to(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Add --to, a device."""
    parser.add_argument(
        "--to",
        required=True,
        metavar="TARGET",
        help=f"ssh://user@host[:port][/path], board:PROFILE, local[:/path]{more}",
    )
    parser.add_argument(
        "--accept-new",
        action="store_true",
        help="of an ssh address: take and note the host key of a device that nobody knows yet",
    )


def address(arguments: argparse.Namespace) -> str:
    """Return the address that was given, with what was said beside it."""
    to = str(arguments.to)
    if not arguments.accept_new:
        return to
    if not to.startswith("ssh:"):
        raise RequestError(f"--accept-new is for an address of ssh, and {to} is none; leave it out")
    return f"{to},accept-new"


def _add_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it runs there from now on, as edge-sdk run takes it")
    group.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="URI",
        help="its cameras (default: that of its profile); may be repeated",
    )
    group.add_argument("--sink", action="append", default=[], metavar="URI", help="may be repeated")
    group.add_argument("--threads", type=int, default=0, help="threads of the engine")
    group.add_argument("--provider", metavar="X", help="auto, prefer:X, require:X")
    group.add_argument(
        "--run-options", metavar="WORDS", default="", help="such as '--track --governor'"
    )
    group.add_argument(
        "--watchdog", type=float, metavar="S", help="start it again after S seconds without results"
    )
    group.add_argument("--no-service", action="store_true", help="install, and run nothing")


def _add_wheels(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what it runs on")
    group.add_argument(
        "--wheelhouse", type=Path, metavar="DIR", help="of edge-sdk wheelhouse: no network is used"
    )
    group.add_argument("--lock", type=Path, metavar="FILE", help="wheels instead of the profile's")
    group.add_argument(
        "--python", metavar="3.N", help="of the device, where it cannot be asked (default: it is)"
    )


def _add_health(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what it must show to be kept")
    group.add_argument(
        "--results", type=int, default=5, metavar="N", help="so many results (default: 5)"
    )
    group.add_argument(
        "--within", type=float, default=60.0, metavar="S", help="so soon (default: 60 s)"
    )
    group.add_argument(
        "--golden-within",
        type=float,
        default=600.0,
        metavar="S",
        help="how long its golden replay may take there (default: 600 s)",
    )
    group.add_argument(
        "--canary-shadow",
        type=int,
        default=0,
        metavar="N",
        help="compare it with what runs on N frames of the live source before the switch",
    )
    group.add_argument(
        "--shadow-source", metavar="URI", help="other frames, where the camera is not to be shared"
    )
    group.add_argument(
        "--canary-agreement",
        type=float,
        default=0.9,
        metavar="X",
        help="on what share of them the two must agree (default: 0.9)",
    )


def _add_trust(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("whom the device trusts")
    group.add_argument(
        "--pin",
        action="append",
        default=[],
        metavar="KEY",
        help="it takes only what this key signed from now on: a name of edge-sdk keys, or a file",
    )
    group.add_argument(
        "--key", metavar="KEY", help="signs what is laid on a medium for a device that has pins"
    )
    group.add_argument(
        "--allow-downgrade", action="store_true", help="take an older version of a channel"
    )


def run(arguments: argparse.Namespace) -> Outcome:
    """Flash."""
    from edge_sdk.workflows.flash import flash
    from edge_sdk.workflows.flash_options import FlashOptions, RunWords
    from edge_sdk.workflows.gate import GateOptions
    from runtime.agent.release import Health

    words = RunWords(
        sources=arguments.source,
        sinks=arguments.sink,
        threads=arguments.threads,
        provider=arguments.provider,
        more=_split(arguments.run_options),
        service=not arguments.no_service,
    )
    options = FlashOptions(
        run=words,
        profile=arguments.profile,
        wheelhouse=arguments.wheelhouse,
        lock=arguments.lock,
        python=arguments.python,
        health=Health(arguments.results, arguments.within),
        pin=arguments.pin,
        key=_key(arguments),
        allow_downgrade=arguments.allow_downgrade,
        shadow=arguments.canary_shadow,
        shadow_source=arguments.shadow_source,
        shadow_agreement=arguments.canary_agreement,
        watchdog_s=arguments.watchdog,
        golden_s=arguments.golden_within,
        gate=GateOptions(arguments.prove),
    )
    return report_outcome(flash(arguments.bundle, address(arguments), options), arguments.report)


def _key(arguments: argparse.Namespace) -> SigningKey | None:
    from edge_sdk.shipping.keys import open_key

    if arguments.key is None:
        return None

    def passphrase(path: Path) -> bytes:
        return _passphrase.given(arguments.passphrase_file) or _passphrase.asked_for(path)

    return open_key(arguments.key, passphrase)


def _split(words: str) -> list[str]:
    try:
        return shlex.split(words)
    except ValueError as error:
        raise RequestError(f"--run-options {words!r} is not understood: {error}") from error
