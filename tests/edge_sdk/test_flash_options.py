"""Requests to flash that are wrong: said before a device is asked for anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import RequestError
from device_profiles.profile import load
from edge_sdk.workflows import flash as workflow
from edge_sdk.workflows.flash import flash
from edge_sdk.workflows.flash_options import FlashOptions
from runtime.bundle import open_bundle
from tests.edge_sdk.cli_cases import Run
from tests.edge_sdk.flash_cases import PROFILE, write_variant


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"watchdog_s": 5.0}, "a watchdog of 5 s is less than 10 s"),
        ({"watchdog_s": float("nan")}, "a watchdog of nan s"),
        ({"golden_s": 0.0}, "a golden replay takes some seconds"),
        ({"golden_s": float("inf")}, "a golden replay takes some seconds"),
    ],
)
def test_times_that_no_device_takes(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        FlashOptions(**fields)


def test_a_key_that_nobody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    bundle = write_variant(tmp_path / "a.edge")
    with pytest.raises(RequestError, match="no key is called 'nobody'"):
        flash(bundle, f"local:{tmp_path}/device", FlashOptions(pin=["nobody"]))
    assert not (tmp_path / "device").exists()


def test_a_key_for_a_device_that_answers(tmp_path: Path) -> None:
    key: Any = object()
    with pytest.raises(RequestError, match="sign the bundle: edge-sdk sign"):
        flash(write_variant(tmp_path / "a.edge"), f"local:{tmp_path}/d", FlashOptions(key=key))


def test_a_medium_for_a_device_that_would_refuse_it(tmp_path: Path) -> None:
    key: Any = object()
    (tmp_path / "stick").mkdir()
    with pytest.raises(RequestError, match=r"a\.edge is not signed, and a device with pins would"):
        flash(write_variant(tmp_path / "a.edge"), f"folder:{tmp_path}/stick", FlashOptions(key=key))
    assert list((tmp_path / "stick").iterdir()) == []


def test_a_model_file_is_no_bundle(edge: Run, tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    said = edge("flash", tmp_path / "net.tflite", "--to", f"local:{tmp_path}/device")
    assert (said.code, "make a bundle of the model: edge-sdk convert" in said.last) == (2, True)
    (tmp_path / "net.edge").write_bytes(b"\x1c\0\0\0PK" + bytes(64))
    said = edge("flash", tmp_path / "net.edge", "--to", f"local:{tmp_path}/device")
    assert (said.code, "nothing was sent" in said.last) == (1, True)


def test_host_keys_are_of_ssh(edge: Run, tmp_path: Path) -> None:
    said = edge("status", "--to", f"local:{tmp_path}", "--accept-new")
    assert (said.code, "--accept-new is for an address of ssh" in said.last) == (2, True)


def test_another_device_than_it_was_made_for_is_told(tmp_path: Path) -> None:
    made = load(PROFILE)
    with open_bundle(write_variant(tmp_path / "a.edge")) as bundle:
        assert workflow._elsewhere(bundle, made) == []
        other = replace(made, name="another")
        said = workflow._elsewhere(bundle, other)
    assert said == [f"the bundle was made for {PROFILE}, not another"]
