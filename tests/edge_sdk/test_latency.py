"""Estimates: what they rest on, how they are labelled, and what is kept of a calibration."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from converters.recipe import Recipe
from converters.work import Work
from device_profiles.errors import MissingError, ProfileError, RequestError
from device_profiles.profile import Profile, load, own_folder
from edge_sdk.emulation.counts import Cost, Counts
from edge_sdk.targets.emulated import EmulatedTarget, open_target
from edge_sdk.workflows import calibrate as calibrating
from edge_sdk.workflows import cost as costing
from edge_sdk.workflows import weigh as weighing
from edge_sdk.workflows import weigh_emulated
from edge_sdk.workflows.calibrate import calibrate
from edge_sdk.workflows.latency import basis, estimate, estimate_of, words
from edge_sdk.workflows.latency_model import Subject
from edge_sdk.workflows.latency_points import (
    FORMAT,
    Calibration,
    Point,
    calibration_file,
    read_calibration,
    require_same_machine,
    write_calibration,
)
from edge_sdk.workflows.weight import Contender
from runtime.host import cores, host
from tests.edge_sdk.cli_cases import Run

PI = load("raspberry-pi-4b")
ON = "emulated:raspberry-pi-4b"
BYTES = {"load": 10, "store": 0, "vector_load": 5, "vector_store": 0}
MACHINE = {
    "name": "kitchen",
    "model": "Raspberry Pi 4 Model B Rev 1.5",
    "arch": "aarch64",
    "features": ["neon"],
    "cpu": "0x41/0xd08 x4",
    "memory_mb": 3792,
}


@pytest.fixture(autouse=True)
def _own_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test a configuration of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def point(number: int, version: str = "1.32.0", ms: float = 20.0) -> Point:
    counts = Counts({"vector_fma": 10_000_000 * (number + 1), "scalar": 4_000_000}, BYTES)
    subject = Subject(counts, 1_000_000)
    name = f"{number:064x}"
    return Point(name, f"net {number}", "fp32", "onnxruntime", version, subject, ms * (number + 1))


def calibration(points: int = 3, **machine: Any) -> Calibration:
    known = tuple(point(number) for number in range(points))
    return Calibration(PI.name, {**MACHINE, **machine}, "2026-01-01T00:00:00+00:00", known)


def counted(version: str = "1.32.0", engine: str = "onnxruntime") -> Cost:
    counts = Counts({"vector_fma": 10_000_000, "scalar": 4_000_000}, BYTES)
    return Cost(engine, version, "cpu", counts, counts, counts, (counts.total,))


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Cost]:
    """Count without an emulator."""
    monkeypatch.setattr(EmulatedTarget, "lock", SimpleNamespace(digest="d1"))
    monkeypatch.setattr(EmulatedTarget, "device", None)
    for module in (costing, calibrating, weigh_emulated):
        monkeypatch.setattr(module, "count", lambda *given, **options: counted())
    return counted


def test_without_a_calibration_the_estimate_says_so() -> None:
    ground = basis(PI)
    assert not ground.calibrated
    assert ground.label.startswith("uncalibrated: published figures of Arm's Cortex-A72")
    assert ground.doubt("onnxruntime", "1.0") == ""
    found = ground.estimate(counted().inference, 1_000_000)
    assert found.low < found.ms < found.high


def test_a_calibration_is_kept_whole_and_read_again() -> None:
    known = calibration()
    path = write_calibration(known, PI)
    assert path == own_folder() / "raspberry-pi-4b.calibration.json"
    assert read_calibration(PI) == known
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    told = json.loads(path.read_text())
    assert told["fit"]["points"] == 3


def test_a_calibrated_estimate_names_its_machine_and_points() -> None:
    write_calibration(calibration(), PI)
    ground = basis(PI)
    assert ground.calibrated
    assert ground.label == "calibrated on Raspberry Pi 4 Model B Rev 1.5, 3 points"
    found = ground.estimate(point(1).subject.counts, 1_000_000)
    assert found.ms == pytest.approx(40, rel=0.15)
    assert found.high / found.low < basis_without().high / basis_without().low


def basis_without() -> Any:
    calibration_file(PI).unlink(missing_ok=True)
    return basis(PI).estimate(counted().inference, 1_000_000)


def test_other_engines_and_versions_are_doubtful() -> None:
    write_calibration(calibration(), PI)
    ground = basis(PI)
    assert ground.doubt("onnxruntime", "1.32.0") == ""
    assert ground.doubt("onnxruntime", "1.20.1") == (
        "calibrated with onnxruntime 1.32.0, this is 1.20.1"
    )
    assert ground.doubt("litert", "2.3.0") == (
        "calibrated with onnxruntime 1.32.0, not with litert"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arch": "x86_64"}, "the machine is x86_64"),
        ({"cpu": "0x41/0xd0b x4"}, "the cores are 0x41/0xd0b"),
        ({"features": ["neon", "dotprod"]}, "differ in dotprod"),
        ({"features": 3}, "differ in"),
    ],
)
def test_a_calibration_of_another_kind_of_machine_is_not_used(
    change: dict[str, Any], said: str
) -> None:
    write_calibration(calibration(**change), PI)
    ground = basis(PI)
    assert not ground.calibrated
    assert ground.label.startswith("uncalibrated")
    assert said in ground.notes[0]


def test_a_calibration_of_another_profile_is_not_used() -> None:
    write_calibration(replace(calibration(), profile="raspberry-pi-5"), PI)
    assert "is of raspberry-pi-5" in basis(PI).notes[0]


def test_points_of_another_machine_are_not_added() -> None:
    known = calibration()
    require_same_machine(known, {**MACHINE, "name": "cellar"}, Path("F"))  # its equal
    with pytest.raises(RequestError, match=r"F is of another machine \(memory_mb: 3792 there"):
        require_same_machine(known, {**MACHINE, "memory_mb": 1849}, Path("F"))


def test_a_new_point_takes_the_place_of_the_old_one() -> None:
    known = calibration().with_points([point(0, ms=30.0), point(7)])
    assert [each.ms for each in known.points] == [30.0, 40.0, 60.0, 160.0]


def _hostile() -> dict[str, Any]:
    good = calibration().to_json(PI)
    one = good["points"][0]

    def with_point(**change: Any) -> dict[str, Any]:
        return {**good, "points": [{**one, **change}]}

    return {
        "nothing": "",
        "no JSON": "{",
        "deep": "[" * 100_000,
        "a list": [],
        "another format": {**good, "format": "edge-sdk calibration 99"},
        "no points": {**good, "points": []},
        "points of text": {**good, "points": "many"},
        "no machine": {**good, "machine": None},
        "no time": with_point(ms=0),
        "time before time": with_point(ms=-1.0),
        "infinite": json.dumps(with_point(ms=1.0)).replace('"ms": 1.0', '"ms": Infinity'),
        "a word for a number": with_point(ms="fast"),
        "true": with_point(size_bytes=True),
        "negative counts": with_point(instructions={"scalar": -5}),
        "counts of nothing": with_point(instructions={}),
        "huge": with_point(instructions={"scalar": 10**300}),
        "a list of counts": with_point(instructions=[1, 2]),
        "a name of two lines": with_point(network="a\nb"),
        "a number for a name": with_point(engine=3),
    }


@pytest.mark.parametrize("what", _hostile())
def test_a_damaged_calibration_is_named_and_passed_over(what: str) -> None:
    content = _hostile()[what]
    path = calibration_file(PI)
    path.parent.mkdir(parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ProfileError, match="calibrat") as error:
        read_calibration(PI)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    ground = basis(PI)
    assert not ground.calibrated
    assert "the calibration is not used" in ground.notes[0]


def test_a_calibration_that_is_too_large_is_not_read() -> None:
    path = calibration_file(PI)
    path.parent.mkdir(parents=True)
    path.write_bytes(b" " * (9 << 20))
    with pytest.raises(ProfileError, match="too large"):
        read_calibration(PI)


def test_estimate(bundle: Path, costs: object, edge: Run) -> None:
    said = edge("bench", bundle, "--on", ON, "--estimate", "--json")
    assert said.code == 0, said.err
    told = said.json["facts"]["estimate"]
    assert (told["threads"], told["calibrated"]) == (1, False)
    for each in told["artifacts"]:
        low, high = each["interval"]
        assert low < each["ms"] < high
    assert "uncalibrated: published figures of" in said.json["summary"]
    assert any("--calibrate" in note for note in said.json["notes"])
    assert edge("bench", bundle, "--on", ON, "--estimate").out.count("estimate, ms") == 1


def test_the_cost_has_the_estimate_beside_it(bundle: Path, costs: object) -> None:
    write_calibration(calibration(), PI)
    report = costing.cost(bundle, ON)
    table, rung = report.tables[0], report.facts["artifacts"][0]
    assert table.columns[-1] == "estimate, ms"
    assert "calibrated on Raspberry Pi 4" in table.note
    assert table.rows[0][-1] == words(estimate_of(basis(PI), rung))


def test_only_emulated_devices_are_estimated(bundle: Path) -> None:
    with pytest.raises(RequestError, match="no emulated device"):
        estimate(bundle, "local")


@pytest.mark.parametrize(
    "given",
    [
        ("--estimate", "--cost"),
        ("--estimate", "--threads", 4),
        ("--calibrate", "--against", "x.json"),
        ("--calibrate", "--on", ON),
    ],
)
def test_what_does_not_go_together_is_refused(
    given: tuple[Any, ...], bundle: Path, edge: Run
) -> None:
    on = () if "--on" in given else ("--on", ON)
    said = edge("bench", bundle, *given, *on)
    assert said.code == 2
    assert len(said.err.strip().splitlines()) == 1


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile of this very machine, by the name of the bundle's."""
    found = host()
    hardware = replace(
        PI.hardware, arch=found.arch, features=tuple(sorted(found.features)), clusters=()
    )
    profile = replace(PI, hardware=hardware, cost=load("generic-x86").cost)
    monkeypatch.setattr(calibrating, "load", lambda name: profile)
    return profile


def test_calibrate(
    bundle: Path, costs: object, here: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = calibrate(bundle)
    assert report.passed
    known = read_calibration(here)
    assert known is not None
    assert len(known.points) == 2
    assert {each.precision for each in known.points} == {"int8", "fp32"}
    assert all(0 < each.ms < 1e4 for each in known.points)
    assert known.machine["cpu"] == cores()
    assert basis(here).calibrated
    assert all("counted" in gate.detail for gate in report.gates)
    monkeypatch.setattr(calibrating, "count", lambda *given, **options: counted("0.9"))
    again = calibrate(bundle)
    assert again.gates[0].detail.endswith("counted with 0.9")
    assert len(again.facts["points"]) == 2


def test_a_machine_of_another_kind_does_not_calibrate(bundle: Path, costs: object) -> None:
    if host().arch == PI.hardware.arch:
        pytest.skip("this machine may be of the device's kind")
    with pytest.raises(RequestError, match="local is no raspberry-pi-5: the machine is"):
        calibrate(bundle)


def contenders() -> list[Contender]:
    work = (Work("conv", "Conv", "", (), ("conv",), 1_000_000, 1000, 0),)
    frames = np.zeros((1, 4, 4, 3), np.uint8)
    return [
        Contender(Recipe("onnx", "onnxruntime", provider, p), b"x", work, frozenset(), frames)
        for provider, p in (("cpu", "int8"), ("cpu", "fp32"), ("cuda", "fp32"))
    ]


def test_a_calibrated_device_is_weighed_by_counts(
    costs: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weigh_emulated, "emulator", lambda profile: None)
    monkeypatch.setattr(weighing, "another_kind", lambda *given: "this machine is another")
    assert not weighing.weigh(PI, contenders())[0].trusted
    write_calibration(calibration(), PI)
    int8, fp32, other = weighing.weigh(PI, contenders())
    assert int8.trusted
    assert "calibrated on Raspberry Pi 4" in int8.how
    assert int8.ms == fp32.ms
    assert other.ms is None
    assert not weighing.weigh(PI, contenders(), "model")[0].trusted


def test_what_is_too_large_to_count_is_modelled(monkeypatch: pytest.MonkeyPatch) -> None:
    write_calibration(calibration(), PI)
    monkeypatch.setattr(weigh_emulated, "emulator", lambda profile: None)
    assert weigh_emulated.can_count(PI, contenders())
    monkeypatch.setattr(weigh_emulated, "AFFORDABLE", 1e6)
    assert not weigh_emulated.can_count(PI, contenders())


def test_without_an_emulator_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(profile: Profile) -> None:
        raise MissingError("there is no QEMU; install qemu-user")

    write_calibration(calibration(), PI)
    monkeypatch.setattr(weigh_emulated, "emulator", missing)
    assert not weigh_emulated.can_count(PI, contenders())


def test_the_format_is_named() -> None:
    assert calibration().to_json(PI)["format"] == FORMAT


@pytest.mark.emulated
def test_an_estimate_for_a_real_emulated_device(bundle: Path) -> None:
    uri = "emulated:raspberry-pi-5"
    try:
        _ = open_target(uri.partition(":")[2]).device
    except MissingError as error:
        pytest.skip(str(error))
    report = estimate(bundle, uri)
    assert report.passed
    int8, fp32 = report.facts["estimate"]["artifacts"]
    # The digits CNN has 2 million multiply-adds; a Cortex-A76 computes 19 thousand in a us.
    assert 0.05 < int8["ms"] < 2
    assert 0.1 < fp32["ms"] < 2
