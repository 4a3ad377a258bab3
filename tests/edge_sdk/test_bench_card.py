"""Cards: compared with on the machine that they are of, and refused elsewhere."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import OutputError, RequestError
from edge_sdk import BenchOptions, bench
from edge_sdk.workflows.bench_card import FORMAT, against, read_card, require_same, write_card
from tests.edge_sdk.cli_cases import Run
from tests.runtime.ladder_cases import ladder_bundle, rung

MACHINE = {"name": "pi-1", "cpu": "0x41/0xd08 x4", "cores": 4, "packages": {"numpy": "2"}}

SETTING = {"threads": 0, "governor": "ondemand"}


def artifact(p50: float, name: str = "onnx fp32", model: str = "net") -> dict[str, Any]:
    latency = {"p50": p50, "p50_interval": [0.99 * p50, 1.01 * p50], "p90": p50, "p99": p50,
               "spread": 0.01}  # fmt: skip
    return {"artifact": name, "model": model, "engine": "e", "engine_version": "1",
            "latency_ms": latency}  # fmt: skip


def card(*artifacts: dict[str, Any]) -> dict[str, Any]:
    models = [{"name": name} for name in dict.fromkeys(each["model"] for each in artifacts)]
    return {"format": FORMAT, "machine": MACHINE, "condition": {"before": SETTING}, "threads": 0,
            "models": models,
            "artifacts": list(artifacts)}  # fmt: skip


def test_a_card_is_read_back_and_compared_with(
    edge: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sdk.workflows.bench.STARTS", 1)
    path, first = tmp_path / "x.edge", tmp_path / "card.json"
    ladder_bundle(path, rung(delay_ms=60)).close()
    assert edge("bench", path, "--runs", 10, "-o", first).code == 0
    assert sorted(tmp_path.iterdir()) == [first, path], "no draft is left"
    ladder_bundle(path, rung(delay_ms=10)).close()
    said = edge("bench", path, "--runs", 10, "--against", first, "--json")
    assert said.code == 0, said.err
    (found,) = said.json["facts"]["artifacts"]
    assert found["against_the_card"]["verdict"] == "faster"
    assert any("what was not done in turns" in note for note in said.json["notes"])
    said = edge("bench", path, "--against", first, "--threads", 1)
    assert said.code == 2
    assert "threads: 0 there, 1 here" in said.last


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cpu": "0x41/0xd0b x4"}, "cpu: 0x41/0xd08 x4 there, 0x41/0xd0b x4 here"),
        ({"cores": 2, "cpu": "x"}, "cores: 4 there, 2 here"),
        ({"libc": "glibc 2.36"}, "libc: None there, glibc 2.36 here"),
    ],
)
def test_another_machine_is_refused_by_what_differs(change: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        require_same(card(), {**MACHINE, **change}, SETTING, Path("card.json"))
    # Another one of the same kind, with another package beside the engine, is no other machine.
    require_same(card(), {**MACHINE, "name": "pi-2", "packages": {}}, SETTING, Path("card.json"))


def test_another_governor_is_refused() -> None:
    setting = {**SETTING, "governor": "powersave"}
    with pytest.raises(RequestError, match="governor: ondemand there, powersave here"):
        require_same(card(), MACHINE, setting, Path("card.json"))


def test_artifacts_are_compared_with_themselves() -> None:
    then = card(artifact(10.0), artifact(20.0, "onnx int8"))
    (one, none) = against(then, card(artifact(5.0), artifact(5.0, "tflite")), Path("c"))
    assert one is not None
    assert (one.value, none) == (0.5, None)
    # Of one model each, whatever it is called; of several, only by its name.
    renamed = card(artifact(5.0, model="net-2"))
    assert against(then, renamed, Path("c"))[0] is not None
    two = card(artifact(5.0, model="net-2"), artifact(5.0, model="net-3"))
    with pytest.raises(RequestError, match="holds none of these"):
        against(then, two, Path("c"))


def test_another_engine_is_refused() -> None:
    newer = {**artifact(5.0), "engine_version": "2"}
    with pytest.raises(RequestError, match="engine_version of onnx fp32: 1 there, 2 here"):
        against(card(artifact(10.0)), card(newer), Path("c"))


@pytest.mark.parametrize(
    "damage",
    [{"artifacts": 5}, {"artifacts": [{}]}, {"models": None},
     {"artifacts": [{**artifact(1.0), "latency_ms": {"p50_interval": ["a", "b"]}}]},
     {"artifacts": [artifact(0.0)]}],
)  # fmt: skip
def test_a_damaged_card_is_refused(damage: dict[str, Any]) -> None:
    then = {**copy.deepcopy(card(artifact(1.0))), **damage}
    with pytest.raises(RequestError, match="a field of a card"):
        against(then, card(artifact(1.0)), Path("c"))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"facts": 1}', '{"format": "other"}', "[" * 9999])
def test_what_is_no_card_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(text)
    with pytest.raises(RequestError, match="card"):
        read_card(path)
    with pytest.raises(RequestError, match="cannot be read"):
        read_card(tmp_path)


def test_what_json_printed_is_a_card_too(tmp_path: Path) -> None:
    path = tmp_path / "said.json"
    path.write_text(json.dumps({"facts": card()}))
    assert read_card(path) == card()


def test_a_card_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_card(tmp_path / "none" / "card.json", card())
    assert not list(tmp_path.iterdir())


def test_a_card_is_read_before_anything_is_timed(tmp_path: Path) -> None:
    ladder_bundle(tmp_path / "x.edge", rung(hang_after=-1)).close()
    with pytest.raises(RequestError, match="cannot be read"):
        bench(tmp_path / "x.edge", BenchOptions(against=tmp_path / "none.json"))
