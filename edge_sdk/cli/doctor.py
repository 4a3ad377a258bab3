"""`edge-sdk doctor`: what is wrong with a machine."""

from __future__ import annotations

import argparse

from edge_sdk.cli.base import Outcome, add_on, add_report, report_outcome

HELP = "look for faults of a machine, with the line that mends each"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_on(parser, "where to look")
    parser.add_argument(
        "--profile", metavar="NAME", help="what it is meant to be: a device, or a TOML file"
    )
    add_report(parser)


def run(arguments: argparse.Namespace) -> Outcome:
    """Look and report."""
    from device_profiles.profile import load
    from edge_sdk.workflows.doctor import doctor

    profile = load(arguments.profile) if arguments.profile else None
    report = doctor(on=arguments.on or "local", profile=profile)
    return report_outcome(report, arguments.report)
