"""Workflow: the main job on the model and the data that come with the SDK, end to end.

A CNN that reads handwritten digits becomes a bundle for each of three devices; every bundle is
checked against the original on digits that it never saw, and one runs on a camera scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from converters.capture import Captured
from converters.loaders import load_model
from converters.zoo import digits
from device_profiles.errors import OutputError
from edge_sdk.report import Bar, Bars, Gate, Point, Report, Scatter, Table, write_page
from edge_sdk.workflows.cells import percent, points, share
from edge_sdk.workflows.check import check
from edge_sdk.workflows.check_options import CheckOptions
from edge_sdk.workflows.convert import convert
from edge_sdk.workflows.convert_options import ConvertOptions
from edge_sdk.workflows.gate import GateOptions
from edge_sdk.workflows.run import open_pipeline
from runtime.bundle import open_bundle
from runtime.host import host
from runtime.opencv import opencv
from runtime.pipeline import RunSummary
from runtime.progress import step

DEVICES = ("raspberry-pi-5", "jetson-orin-nano", "generic-x86")
SCENE = "width=960&height=540&size=0.8"
SCENE_FRAMES = 300
HOLD = 10
_SHOTS = (4, 3)  # columns and rows of the picture in the report

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Demo:
    """What the demo made: the report, and the files, by what they are."""

    report: Report
    files: dict[str, Path]


@dataclass(frozen=True)
class _Device:
    """One device: its bundle and the report of the check."""

    bundle: Path
    profile: str
    check: Report

    @property
    def first(self) -> dict[str, Any]:
        """What the check says of the rung that runs."""
        found: dict[str, Any] = self.check.facts["artifacts"][0]
        return found


@dataclass(frozen=True)
class _Scene:
    """A finished camera run: which bundle, how many frames were read right, and a picture."""

    bundle: Path
    summary: RunSummary
    right: int
    picture: bytes


def demo(output: str | Path = "edge-demo") -> Demo:
    """Do the main job on the embedded default and leave everything that it makes in `output`.

    Raises OutputError when `output` cannot be written, MissingError without the extra `convert`.
    """
    output = Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{output} cannot be made ({error.strerror}); choose another folder with -o"
        ) from error
    step("writing 1,797 handwritten digits as images")
    train, heldout = digits.write_image_folders(output / "digits")
    step("capturing the trained CNN")
    captured = load_model("zoo:digits_cnn")
    devices = [_device(captured, name, output, train, heldout) for name in DEVICES]
    scene = _camera([device.bundle for device in devices], heldout, output / "camera.mp4")
    report = _report(devices, scene)
    caption = f"Digits as the camera sees them, with the answers of {scene.bundle.name}"
    write_page(output / "report.html", report, {caption: scene.picture})
    files = {
        **{f"bundle for {device.profile}": device.bundle for device in devices},
        "annotated video": output / "camera.mp4",
        "report with plots": output / "report.html",
    }
    return Demo(report, files)


def _device(captured: Captured, profile: str, output: Path, train: Path, heldout: Path) -> _Device:
    step(f"converting for {profile} and checking on {digits.HELD_OUT} held-out digits")
    path = output / f"digits-{profile}.edge"
    # A demonstration fetches nothing, and a proof on an emulated device does at first.
    options = ConvertOptions(judges=200, gate=GateOptions("never"))
    convert(captured, profile, path, train, options)
    return _Device(path, profile, check(path, heldout, CheckOptions(reference=captured)))


def _camera(bundles: Sequence[Path], images: Path, video: Path) -> _Scene:
    """Run the bundle that was made for this architecture on a scene of held-out digits."""
    step("running a camera scene of held-out digits")
    bundle = next((path for path in bundles if _arch(path) == host().arch), bundles[0])
    scene = f"synthetic:cards?images={quote(str(images))}&{SCENE}&frames={SCENE_FRAMES}&hold={HOLD}"
    right, shots = 0, list[Image]()
    with open_pipeline(bundle, scene, [str(video)]) as pipeline:
        for frame, result in pipeline:
            answer = result.to_json()["label"]
            right += answer == frame.truth
            if frame.index % HOLD == HOLD // 2 and len(shots) < _SHOTS[0] * _SHOTS[1]:
                shots.append(_shot(frame.image, result))
        return _Scene(bundle, pipeline.summary(), right, _sheet(shots))


def _arch(path: Path) -> str:
    with open_bundle(path) as bundle:
        return str(bundle.manifest.profile["arch"])


def _shot(image: Image, result: Any) -> Image:
    drawn = image.copy()
    result.draw(drawn)
    small: Image = opencv().resize(drawn, None, fx=0.3, fy=0.3, interpolation=3)
    return small


def _sheet(shots: Sequence[Image]) -> bytes:
    """Return the shots side by side, as a PNG."""
    columns = _SHOTS[0]
    rows = [np.concatenate(shots[i : i + columns], axis=1) for i in range(0, len(shots), columns)]
    data: bytes = opencv().imencode(".png", np.concatenate(rows))[1].tobytes()
    return data


def _report(devices: Sequence[_Device], scene: _Scene) -> Report:
    reference = devices[0].first["reference"]
    summary = scene.summary
    gates = [
        Gate(f"{d.profile}: {gate.name}", gate.passed, gate.detail)
        for d in devices
        for gate in d.check.gates
    ]
    complete = summary.results == summary.frames == SCENE_FRAMES
    gates.append(
        Gate(
            "camera scene: no frame lost",
            complete,
            f"{summary.results} results of {summary.frames} frames",
        )
    )
    return Report(
        title="From a trained CNN to three devices",
        summary=(
            f"A CNN that reads {share(reference['top1'])} of {reference['n']} held-out handwritten "
            f"digits, converted for {len(devices)} devices, checked for each, and run on a camera."
        ),
        tables=(_table(devices), _scene_table(scene)),
        charts=(_accuracy(devices), _sizes(devices), _stages(summary)),
        gates=tuple(gates),
        facts={
            "devices": {d.profile: dict(d.check.facts) for d in devices},
            "camera": {**summary.to_json(), "right": scene.right, "bundle": str(scene.bundle)},
        },
        notes=(
            "real data: scikit-learn's handwritten digits (UCI, 1998); "
            "top-1 in brackets: 95 % Wilson intervals, lost: paired",
            *(
                f"{d.profile}: simulated, because this machine is not of that architecture and "
                "lacks its providers or its arithmetic"
                for d in devices
                if d.first["arithmetic"] == "simulated"
            ),
        ),
    )


def _table(devices: Sequence[_Device]) -> Table:
    columns = ("device", "runs", "kB", "top-1, %", "lost, points", "golden set")
    rows = tuple(
        (
            d.profile,
            f"{d.first['precision']} on {d.first['provider']}",
            f"{d.first['size_bytes'] / 1e3:.0f}",
            percent(d.first["artifact"]["top1"]),
            points(d.first["drop"]),
            "reproduced" if d.check.passed else "NOT reproduced",
        )
        for d in devices
    )
    reference = devices[0].first["reference"]
    note = f"the original, in PyTorch: {percent(reference['top1'])} %, n = {reference['n']}"
    return Table("Three devices, one model", columns, rows, note)


def _scene_table(scene: _Scene) -> Table:
    summary = scene.summary
    columns = ("bundle", "frames", "results", "read right", "per second", "age of result, ms")
    age = summary.stages["age"]["p50_ms"]
    row = (
        scene.bundle.name, summary.frames, summary.results,
        f"{scene.right} ({scene.right / max(summary.results, 1):.1%})", round(summary.fps), age,
    )  # fmt: skip
    note = f"on this machine; {SCENE_FRAMES // HOLD} different held-out digits, {HOLD} frames each"
    return Table("The camera scene", columns, (row,), note)


def _accuracy(devices: Sequence[_Device]) -> Bars:
    found = [("PyTorch", devices[0].first["reference"]["top1"], False)]
    found += [(d.profile, d.first["artifact"]["top1"], True) for d in devices]
    bars = tuple(
        Bar(name, 100 * t["value"], 100 * t["low"], 100 * t["high"], own) for name, t, own in found
    )
    return Bars("Top-1 on held-out digits", "%", bars, "whiskers: 95 % confidence (Wilson)")


def _sizes(devices: Sequence[_Device]) -> Scatter:
    spots = tuple(
        Point(
            f"{d.profile} {a['precision']}",
            a["size_bytes"] / 1e3,
            100 * a["artifact"]["top1"]["value"],
        )
        for d in devices
        for a in d.check.facts["artifacts"]
        if a["format"] == d.first["format"]  # the other format's points lie on these
    )
    return Scatter("Accuracy against size", "size of the artifact, kB", "top-1, %", spots)


def _stages(summary: RunSummary) -> Bars:
    stages = ("capture", "preprocess", "infer", "decode", "sink")
    bars = tuple(
        Bar(name, summary.stages[name]["p50_ms"], None, None, name == "infer") for name in stages
    )
    return Bars("The camera scene: median time per frame", "ms", bars, "the stages overlap")
