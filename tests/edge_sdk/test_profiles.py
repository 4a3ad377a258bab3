from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from device_profiles import sections
from device_profiles.profile import Profile, load, names
from edge_sdk.report import render
from edge_sdk.workflows.profile_effects import EFFECTS, FEATURES, effect
from edge_sdk.workflows.profile_facts import cores, emulatable, explain, memory
from tests.edge_sdk.cli_cases import Run

PAGE = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text(encoding="utf-8")
SECTIONS = [
    kind
    for kind in vars(sections).values()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
]


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "edge-sdk" / "profiles"


def fields() -> list[tuple[type[Any], dataclasses.Field[Any]]]:
    return [(kind, field) for kind in SECTIONS for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(
    ("kind", "field"), fields(), ids=lambda part: getattr(part, "__name__", None) or part.name
)
def test_every_field_is_told_of(kind: type[Any], field: dataclasses.Field[Any]) -> None:
    """On the page of documentation by its key, and by `profiles NAME` with what it changes."""
    assert field.name in EFFECTS[kind]
    key = field.metadata.get("key", field.name)
    assert re.search(rf"`(\[\[?[\w.]*)?{key}(\]\]?)?( =.*)?`", PAGE), f"{key} is not in profiles.md"


def test_every_feature_says_what_it_is() -> None:
    for arch, known in sections.FEATURES.items():
        assert {*FEATURES[arch]} == {*known}
        assert f"`{'`, `'.join(known)}`" in PAGE


def test_the_page_tells_of_nothing_that_is_not_there() -> None:
    keys = {field.metadata.get("key", field.name) for _, field in fields()}
    told = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert told
    assert set(told) - keys == {"title", "inherits"}
    assert len(PAGE.split("## Every key")) == 2


@pytest.mark.parametrize("name", names())
def test_a_profile_is_explained(name: str) -> None:
    profile = load(name)
    page = render(explain(profile))
    assert profile.title in page
    for table in explain(profile).tables:
        for fact, value, changes in table.rows:
            assert fact
            assert value
            assert str(changes).strip(), f"{name}: {fact} says nothing"
            assert "{" not in str(changes)
    assert max(map(len, page.splitlines())) <= 100


def changes(profile: Profile) -> dict[str, str]:
    return {str(row[0]): str(row[2]) for table in explain(profile).tables for row in table.rows}


def test_what_is_missing_is_told_of_where_it_matters() -> None:
    assert "gains less" in changes(load("raspberry-pi-4b"))["dotprod"]
    assert "gains less" not in changes(load("raspberry-pi-5"))["dotprod"]
    assert "saturate" in changes(load("generic-x86"))["vnni"]
    assert "nothing saturates" in changes(load("intel-nuc-vnni"))["vnni"]


def test_a_pin_says_why() -> None:
    assert "illegal instruction" in changes(load("raspberry-pi-4b"))["pin onnxruntime"]


def test_a_system_that_is_too_old_says_what_to_do() -> None:
    said = changes(load("jetson-nano"))
    assert "install Python 3.10 beside it" in said["system python"]
    assert "no rung of the ladder" in said["accelerator"]


def test_a_rung_says_what_it_tries() -> None:
    said = changes(load("jetson-orin-nano"))
    assert said["rung 1"].startswith("tries int8, fp16, fp32")
    assert "process of its own" in said["rung 1"]
    assert said["rung 3"] == "tries int8, fp32, fewest bits first"
    assert "sm_87" in said["accelerator"]


def test_sentences_follow_from_the_fields() -> None:
    profile = load("raspberry-pi-5")
    quantization = dataclasses.replace(profile.quantization, reduced_range=True)
    said = effect(sections.Quantization, "reduced_range", True, profile)
    assert said == changes(dataclasses.replace(profile, quantization=quantization))["reduced range"]
    assert "7 bits" in said
    saturating = effect(sections.Quantization, "reduced_range", False, load("generic-x86"))
    assert "bounded" in saturating
    assert effect(sections.Software, "libc", "musl 1.2", profile) == (
        "wheels for manylinux do not install"
    )
    assert "manylinux_2_36" in effect(sections.Software, "libc", "glibc 2.36", profile)
    assert effect(sections.Cost, "memory_gb_s", 10.0, profile).startswith("to read 10 MB")
    assert "takes 1 ms" in effect(sections.Cost, "memory_gb_s", 10.0, profile)
    assert "take 20 ms" in effect(sections.Cost, "fp32_gflops_core", 100.0, profile)


def test_words_of_the_list() -> None:
    assert cores(load("rock-5b")) == "4+4"
    assert memory(load("raspberry-pi-zero-2w")) == "512 MiB"
    assert memory(load("jetson-agx-orin")) == "64 GiB"
    kinds = {name: emulatable(load(name)) for name in ("raspberry-pi-4b", "rock-5b", "generic-x86")}
    assert list(kinds.values()) == ["yes", "stand-in", "no"]


def test_the_list_shows_every_name_whole(edge: Run) -> None:
    said = edge("profiles").out
    assert [name for name in names() if f"  {name} " not in said] == []
    assert max(map(len, said.splitlines())) <= 100


def test_ones_own_profiles_are_found_by_name(edge: Run, own: Path) -> None:
    own.mkdir(parents=True)
    (own / "kiosk.toml").write_text('inherits = "raspberry-pi-5"\ntitle = "Kiosk"\n')
    (own / "raspberry-pi-5.toml").write_text('title = "not this one"\n')
    (own / "lobby.toml").write_text('inherits = "kiosk"\ntitle = "Lobby"\n')
    assert load("lobby").title == "Lobby"
    assert load("raspberry-pi-5").title == "Raspberry Pi 5"
    assert [p["name"] for p in edge("profiles", "--json").json["profiles"]][-2:] == [
        "kiosk",
        "lobby",
    ]
    said = edge("profiles", "kiosc")
    assert said.code == 2
    assert "did you mean kiosk" in said.err


def test_a_broken_profile_of_ones_own_is_named(edge: Run, own: Path) -> None:
    own.mkdir(parents=True)
    (own / "broken.toml").write_text("title = ")
    said = edge("profiles", "broken")
    assert said.code == 2
    assert str(own / "broken.toml") in said.err
    listed = edge("profiles", "--json")  # the others are still there
    assert len(listed.json["profiles"]) == len(names())
    assert "broken.toml is not valid TOML" in listed.json["broken"][0]
