"""Bundles on emulated devices: the golden set, real pictures, and what only their CPUs tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from converters.capture import Captured
from device_profiles.errors import GateError, MissingError
from device_profiles.profile import Profile, load
from edge_sdk import CheckOptions, Conversion, ConvertOptions, check, convert
from edge_sdk.targets import open_target
from edge_sdk.targets.emulated import EmulatedTarget
from edge_sdk.workflows.gate import GateOptions
from runtime.host import host
from tests.edge_sdk.cli_cases import SAMPLES, Digits, Run

pytestmark = pytest.mark.emulated

Make = Callable[..., Conversion]


@pytest.fixture(scope="module")
def built() -> Callable[[str], str]:
    """Return the address of an emulated device that is built; skips where none can be."""

    def build(name: str) -> str:
        uri = f"emulated:{name}"
        with closing(open_target(uri)) as target:
            assert isinstance(target, EmulatedTarget)
            try:
                _ = target.device
            except MissingError as error:
                pytest.skip(str(error))
        return uri

    return build


@pytest.fixture(scope="module")
def make(captured: Captured, digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return what converts the digits CNN for a device."""
    folder = tmp_path_factory.mktemp("emulated")

    def converted(profile: str | Profile, **options: object) -> Conversion:
        name = profile if isinstance(profile, str) else profile.name
        given = ConvertOptions(samples=SAMPLES, weigh="none", **options)  # type: ignore[arg-type]
        return convert(captured, profile, folder / f"{name}.edge", digits.train, given)

    return converted


@pytest.mark.parametrize(
    "device",
    [
        "raspberry-pi-4b",
        "raspberry-pi-5",
        # Another CPU with the instructions of the first, and the same numbers to the bit.
        pytest.param("raspberry-pi-zero-2w", marks=pytest.mark.slow),
    ],
)
def test_what_is_made_for_a_device_holds_on_its_cpu(
    device: str, built: Callable[[str], str], make: Make
) -> None:
    built(device)
    made = make(device, gate=GateOptions("always"))
    said = " ".join(made.notes)
    assert f"golden outputs reproduced on emulated:{device}" in said
    assert "int8" in said
    assert "fp32" in said
    assert made.path.is_file()


def test_a_32_bit_board_runs_its_tflite_rung(
    built: Callable[[str], str], make: Make, digits: Digits
) -> None:
    uri = built("raspberry-pi-2b")
    made = make("raspberry-pi-2b", gate=GateOptions("never"))
    options = CheckOptions(on=uri, samples=20)
    report = check(made.path, digits.heldout, options)
    assert report.passed, [gate.detail for gate in report.gates]
    there = [row for row in report.facts["artifacts"] if row["where"] == uri]
    assert {row["format"] for row in there} == {"tflite"}
    assert report.facts["target"]["about"]["arch"] == "armv7l"
    assert all(row["agreement"]["value"] >= 0.9 for row in there)


def test_a_desk_that_saturates_misjudges_what_the_device_computes_right(
    built: Callable[[str], str], make: Make, digits: Digits
) -> None:
    if not host().saturates_int8_pairs:
        pytest.skip("the int8 kernels of this machine do not saturate")
    uri = built("raspberry-pi-4b")
    made = make("generic-arm64", format="onnx", gate=GateOptions("never"))
    facts = check(made.path, digits.heldout, CheckOptions(on=uri, samples=20)).facts
    rows = {row["where"]: row for row in facts["artifacts"] if row["precision"] == "int8"}
    # Saturated sums cost this net 20 dB of its 34 here (a 100th of the error's power on the board).
    assert rows[uri]["snr_db"] > rows["here"]["snr_db"] + 6
    assert rows[uri]["golden"]["passed"]


def test_a_run_on_files(built: Callable[[str], str], make: Make, digits: Digits, edge: Run) -> None:
    uri = built("raspberry-pi-4b")
    made = make("raspberry-pi-4b", gate=GateOptions("never"))
    said = edge("run", made.path, "--source", digits.heldout / "3", "--on", uri, "--json")
    assert said.code == 0, said.err
    assert "onnxruntime/cpu" in said.json["summary"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "release", "fits"),
    [
        ("raspberry-pi-4b", "1.20.1", True),
        ("raspberry-pi-4b", "1.21.0", False),
        ("raspberry-pi-4b", "1.22.0", True),
        ("raspberry-pi-5", "1.21.0", True),
    ],
)
def test_a_release_that_its_cpu_cannot_run_is_found_before_the_device_is(
    device: str, release: str, fits: bool, built: Callable[[str], str], make: Make, tmp_path: Path
) -> None:
    built(device)
    lock = tmp_path / "lock.txt"
    lock.write_text(f"onnxruntime=={release}\n")
    profile = dataclasses.replace(load(device), name=f"{device}-{release.replace('.', '-')}")
    gate = GateOptions("always", lock)
    if fits:
        assert make(profile, format="onnx", gate=gate).path.is_file()
        return
    with pytest.raises(GateError, match=r"SIGILL \(illegal instruction\)"):
        make(profile, format="onnx", gate=gate)
    assert not (tmp_path / f"{profile.name}.edge").exists()
