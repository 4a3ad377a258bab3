"""The gate before a bundle is written: what fails it is not, and silence is no proof."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.capture import Captured
from device_profiles.errors import CrashError, GateError, MissingError, OutputError, RequestError
from device_profiles.profile import load
from edge_sdk import ConvertOptions, convert
from edge_sdk.targets.local import LocalTarget
from edge_sdk.workflows import gate
from edge_sdk.workflows.gate import GateOptions, gated
from runtime.host import Host
from tests.edge_sdk.cli_cases import SAMPLES, Digits


@pytest.fixture(autouse=True)
def ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGE_SDK_PROOF", raising=False)


@pytest.fixture(scope="module")
def floats(captured: Captured, digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle without integers, which holds on any CPU."""
    path = tmp_path_factory.mktemp("floats") / "digits.edge"
    options = ConvertOptions(samples=SAMPLES, precision="fp32", weigh="none")
    convert(captured, "generic-x86", path, digits.train, options)
    return path


@pytest.fixture
def stood_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine stand for any device."""
    monkeypatch.setattr(gate, "_stand_in", lambda profile, lock: LocalTarget())


def write(bundle: Path, output: Path, options: GateOptions) -> list[str]:
    notes: list[str] = []
    with gated(output, load("generic-x86"), options, notes) as draft:
        draft.write_bytes(bundle.read_bytes())
    return notes


def test_what_holds_is_written_and_said(floats: Path, tmp_path: Path, stood_in: None) -> None:
    output = tmp_path / "new.edge"
    said = write(floats, output, GateOptions("always"))
    assert output.read_bytes() == floats.read_bytes()
    assert said[0].startswith("golden outputs reproduced on local: ")
    assert "(16 frames)" in said[0]
    assert list(tmp_path.iterdir()) == [output]


def test_what_fails_leaves_what_was_there(
    bundle: Path, tmp_path: Path, stood_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "new.edge"
    output.write_bytes(b"the old one")

    def dying(*_: object) -> None:
        raise CrashError("it crashed with SIGILL (illegal instruction)", 4)

    monkeypatch.setattr("edge_sdk.targets._crew.Member.open", dying)
    with pytest.raises(GateError, match=r"new\.edge was not written.*SIGILL"):
        write(bundle, output, GateOptions("always"))
    assert output.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [output]


def test_where_nothing_can_stand_in_that_is_said_or_an_error(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise MissingError("there is no QEMU; install it with: sudo apt-get install qemu-user")

    monkeypatch.setattr(gate, "_stand_in", none)
    said = write(bundle, tmp_path / "a.edge", GateOptions("auto"))
    assert said == [
        "not proven on the device's CPU: there is no QEMU; install it with: sudo apt-get install "
        "qemu-user"
    ]
    with pytest.raises(MissingError, match="no QEMU"):
        write(bundle, tmp_path / "b.edge", GateOptions("always"))
    assert not (tmp_path / "b.edge").exists()
    with pytest.raises(MissingError):  # who names wheels wants them tried
        write(bundle, tmp_path / "c.edge", GateOptions(lock=tmp_path / "lock.txt"))


def test_a_full_cache_costs_no_conversion(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("the cache is full; free some space")

    monkeypatch.setattr(gate, "_stand_in", full)
    said = write(bundle, tmp_path / "a.edge", GateOptions("auto"))
    assert said == ["not proven on the device's CPU: the cache is full; free some space"]
    assert (tmp_path / "a.edge").read_bytes() == bundle.read_bytes()


def test_what_the_environment_says_goes_for_auto_alone(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_SDK_PROOF", "never")
    assert GateOptions().chosen == "never"
    assert GateOptions("always").chosen == "always"
    assert write(bundle, tmp_path / "a.edge", GateOptions()) == []
    monkeypatch.setenv("EDGE_SDK_PROOF", "sometimes")
    with pytest.raises(RequestError, match="EDGE_SDK_PROOF='sometimes' is none of"):
        _ = GateOptions().chosen


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="always"):
        GateOptions("allways")
    with pytest.raises(RequestError, match="lock"):
        GateOptions("never", tmp_path)


@pytest.mark.parametrize(
    ("features", "uri"),
    [
        ({"sse4.1", "avx", "avx2", "fma", "f16c"}, "local"),
        ({"sse4.1", "avx", "avx2", "fma", "f16c", "vnni"}, "emulated:generic-x86"),
        ({"sse4.1"}, "emulated:generic-x86"),
    ],
)
def test_this_machine_stands_in_where_its_kernels_are_the_devices(
    features: set[str], uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "host", lambda: Host("x86_64", frozenset(features)))
    assert gate._stand_in(load("generic-x86"), None).uri == uri
    assert gate._stand_in(load("raspberry-pi-5"), None).uri == "emulated:raspberry-pi-5"
