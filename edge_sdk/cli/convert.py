"""`edge-sdk convert`: one bundle for one device."""

from __future__ import annotations

import argparse
from pathlib import Path

from device_profiles.sections import PRECISIONS
from edge_sdk.cli.base import Outcome, add_decoder, add_report, add_sampling, report_outcome

HELP = "make a bundle of a trained model for one device"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "model",
        help="net.onnx, net.pt2, file.py:factory, package.module:factory, "
        "zoo:NAME, torchvision:NAME or timm:NAME",
    )
    parser.add_argument(
        "--profile", required=True, help="a device (see: edge-sdk profiles) or a TOML file"
    )
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT.edge")
    parser.add_argument(
        "--calibration",
        required=True,
        type=Path,
        metavar="DATA",
        help="real images: an ImageFolder tree, images with labels.csv, or a folder",
    )
    parser.add_argument("--validation", type=Path, metavar="DATA", help="other images to judge by")
    _add_model(parser)
    _add_artifacts(parser)
    _add_proof(parser)
    add_sampling(parser, 128, "images that calibrate")
    add_report(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", type=Path, metavar="F", help=".safetensors, or a .pth state dict"
    )
    parser.add_argument(
        "--preprocess",
        metavar="P",
        help="imagenet, tf, unit, raw or a file; then "
        ",key=value overrides, such as unit,color=BGR,height=352,width=352",
    )
    parser.add_argument(
        "--task",
        metavar="T",
        help="classify, detect, segment, enhance or raw (default: what the model says)",
    )
    add_decoder(parser)
    parser.add_argument("--labels", type=Path, metavar="F", help="class names, one per line")
    parser.add_argument(
        "--label-offset",
        type=int,
        metavar="N",
        help="model class = data class + N, where names do not tell",
    )


def _add_artifacts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", default="auto", help="auto, onnx, tflite (default: auto)")
    parser.add_argument("--precision", default="auto", choices=("auto", *PRECISIONS))
    parser.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="budget: points of accuracy, or dB, that may be lost",
    )
    parser.add_argument(
        "--weigh",
        default="auto",
        metavar="WAY",
        help="how latency is known: auto (measured here where the CPU is the device's, else "
        "modelled), measure (anew), model, none",
    )
    parser.add_argument(
        "--pass",
        dest="passes",
        type=Path,
        action="append",
        default=[],
        metavar="FILE.py",
        help="a graph pass of your own; may be repeated",
    )


def _add_proof(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prove",
        choices=("auto", "always", "never"),
        default="auto",
        help="replay the golden set on the device's CPU, emulated, before the bundle is written "
        "(auto: where QEMU is installed; the first time for a device takes a minute or two)",
    )
    parser.add_argument(
        "--lock",
        type=Path,
        metavar="F",
        help="the wheels that the device has, to prove the bundle on: a requirements file",
    )


def run(arguments: argparse.Namespace) -> Outcome:
    """Convert and describe the bundle."""
    from edge_sdk.workflows.conversion_report import conversion_report
    from edge_sdk.workflows.convert import convert
    from edge_sdk.workflows.convert_options import ConvertOptions
    from edge_sdk.workflows.gate import GateOptions

    options = ConvertOptions(
        weights=arguments.weights,
        preprocess=arguments.preprocess,
        task=arguments.task,
        decoder=arguments.decoder,
        labels=arguments.labels,
        label_offset=arguments.label_offset,
        validation=arguments.validation,
        format=arguments.format,
        precision=arguments.precision,
        max_drop=arguments.max_drop,
        samples=arguments.samples,
        seed=arguments.seed,
        passes=tuple(arguments.passes),
        gate=GateOptions(arguments.prove, arguments.lock),
        weigh=arguments.weigh,
    )
    done = convert(
        arguments.model, arguments.profile, arguments.output, arguments.calibration, options
    )
    return report_outcome(conversion_report(done), arguments.report)
