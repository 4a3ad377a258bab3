from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from device_profiles.errors import ProfileError
from device_profiles.profile import Profile, load

RUNG = """
[[engine]]
engine = "onnxruntime"
provider = "cpu"
precisions = ["fp32", "int8"]
"""
LEAST = f"""
title = "A board"
[hardware]
arch = "aarch64"
big_cores = 2
[software]
python = ["3.11"]
[quantization]
activation_type = "uint8"
{RUNG}
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str, name: str = "board.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(source: str | Path) -> str:
    with pytest.raises(ProfileError) as caught:
        load(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("features", "saturates"), [([], True), (["avx2", "avx512"], True), (["avx2", "vnni"], False)]
)
def test_x86_saturates_without_vnni(write, features: list[str], saturates: bool) -> None:
    text = LEAST.replace('"aarch64"', f'"x86_64"\nfeatures = {features}')
    assert load(write(text)).saturates_int8_pairs is saturates


def test_the_least_profile_takes_its_name_from_the_file_and_knows_nothing_more(write) -> None:
    profile = load(write(LEAST))
    assert profile.name == "board"
    assert profile.hardware.memory_mb is None
    assert profile.budget.latency_ms is None
    assert profile.emulation.cpu is None
    assert "memory_mb" not in profile.to_json()["hardware"]


def test_values_are_frozen(write) -> None:
    profile = load(write(LEAST))
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.hardware.big_cores = 8  # type: ignore[misc]


def test_the_digest_is_that_of_the_canonical_json(write) -> None:
    # Computed apart: sha256sum of the JSON text in which keys are sorted and no spaces stand.
    assert load(write(LEAST)).digest == (
        "5926567d456e177b44ac963591265d753d5a0b8ad785baf00e4d864bbee1f96a"
    )


@pytest.mark.parametrize(
    "text",
    [LEAST.replace("\n", "\n\n# a comment\n"), LEAST + "[budget]\n", 'name = "board"\n' + LEAST],
    ids=["comments", "an empty section", "its own name"],
)
def test_the_digest_ignores_what_changes_nothing(write, text: str) -> None:
    assert load(write(text)).digest == load(write(LEAST, "other/board.toml")).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A board", "Another board"),
        ("big_cores = 2", "big_cores = 3"),
        ('"fp32", "int8"', '"int8", "fp32"'),
        ('"uint8"', '"uint8"\nper_channel = false'),
    ],
)
def test_the_digest_follows_the_content(write, old: str, new: str) -> None:
    base = load(write(LEAST)).digest
    assert load(write(LEAST.replace(old, new))).digest != base


def test_a_whole_number_where_a_number_is_wanted_is_the_same_number(write) -> None:
    whole = load(write(LEAST + "[budget]\nlatency_ms = 20\n"))
    assert whole.budget.latency_ms == 20.0
    assert load(write(LEAST + "[budget]\nlatency_ms = 20.0\n")).digest == whole.digest


# Inheriting


def test_a_profile_inherits_a_shipped_one_but_for_what_it_says(write) -> None:
    path = write('inherits = "raspberry-pi-5"\n[hardware]\nmemory_mb = 8192\n[budget]\nsize_mb = 4')
    profile, parent = load(path), load("raspberry-pi-5")
    assert profile.name == "board"
    assert profile.hardware == dataclasses.replace(parent.hardware, memory_mb=8192)
    assert profile.budget.size_mb == 4.0
    assert profile.engines == parent.engines
    assert profile.digest != parent.digest


def test_profiles_inherit_in_a_chain_by_paths_beside_them(write) -> None:
    write(LEAST, "base.toml")
    write('inherits = "base.toml"\n[budget]\nlatency_ms = 5\nsize_mb = 1', "middle.toml")
    path = write('inherits = "../middle.toml"\n[budget]\nsize_mb = 2', "deeper/leaf.toml")
    profile = load(path)
    assert (profile.title, profile.budget.latency_ms, profile.budget.size_mb) == ("A board", 5, 2)


def test_a_list_replaces_the_inherited_one(write) -> None:
    rung = '[[engine]]\nengine = "null"\nprovider = "cpu"\nprecisions = ["fp32"]\n'
    profile = load(write('inherits = "raspberry-pi-5"\n' + rung))
    assert [e.engine for e in profile.engines] == ["null"]


def test_a_circle_is_refused_and_drawn(write) -> None:
    write('inherits = "b.toml"', "a.toml")
    path = write('inherits = "a.toml"', "b.toml")
    message = refusal(path)
    assert "circle" in message
    assert message.count("b.toml") == 2
    assert "circle" in refusal(write('inherits = "board.toml"'))


def test_a_fault_in_a_parent_names_the_parent(write) -> None:
    parent = write(LEAST + "[budget]\nlatency_ms = -1", "base.toml")
    message = refusal(write('inherits = "base.toml"\n[budget]\nlatency_ms = 3'))
    assert message == f"{parent}: budget: latency_ms = -1 must be positive"


def test_an_unknown_parent_names_the_child_and_the_nearest(write) -> None:
    path = write('inherits = "raspbery-pi-5"')
    message = refusal(path)
    assert str(path) in message
    assert "did you mean raspberry-pi-5" in message


# Refusals


def test_an_unknown_name_gives_the_nearest_ones() -> None:
    message = refusal("raspberry-pi5")
    assert "'raspberry-pi5'" in message
    assert "did you mean raspberry-pi-5" in message


def test_a_name_that_resembles_nothing_gives_all() -> None:
    message = refusal("zzz")
    assert "known: " in message
    assert all(name in message for name in ("generic-arm64", "raspberry-pi-5"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "[quantization]",
            "[hardwear]\n[quantization]",
            "no key 'hardwear'; did you mean hardware",
        ),
        ("title", 'inherit = "x"\ntitle', "no key 'inherit'; did you mean inherits"),
        ("title", "inherits = 3\ntitle", "inherits must be a string, not 3"),
        ("title", 'name = "other"\ntitle', "is called as its file is"),
        ("title", "budget = 4\ntitle", "budget must be a table, not 4"),
        ('"A board"', "3", "title must be a string, not 3"),
        ('"A board"', '" "', "title = ' ' must be a non-empty line of text"),
        ('title = "A board"', "", "the key 'title' is missing"),
        (RUNG, "[engine]", "engine must be a list, not {}"),
        (RUNG, "", "the key 'engine' is missing"),
        (
            RUNG,
            "[budget]\nlatency = 4",
            "budget: there is no key 'latency'; did you mean latency_ms",
        ),
        (RUNG, "[budget]\nlatency_ms = true", "latency_ms must be a number, not True"),
        (RUNG, "[budget]\nlatency_ms = inf", "latency_ms = inf must be positive"),
        (RUNG, "[budget]\nlatency_ms = nan", "latency_ms = nan must be positive"),
        (RUNG, RUNG + "[cost]\nmemory_gb_s = 17", "cost: memory_gb_s needs a source"),
        ('"aarch64"', '"arm64"', "arch = 'arm64' has the unknown value 'arm64'; did you mean"),
        ("big_cores = 2", "big_cores = 0", "big_cores = 0 must be positive"),
        ("big_cores = 2", "big_cores = 2.5", "big_cores must be a whole number, not 2.5"),
        ("big_cores = 2", "big_cores = true", "big_cores must be a whole number, not True"),
        ("big_cores = 2", "", "the key 'big_cores' is missing"),
        ("big_cores = 2", "big_cores = 2\nlittle_cores = -1", "must not be negative"),
        ("big_cores = 2", "big_cores = 2\nmemory_mb = -5", "memory_mb = -5 must be positive"),
        ("big_cores = 2", 'big_cores = 2\nfeatures = "neon"', "must be a list, not 'neon'"),
        ("big_cores = 2", "big_cores = 2\nfeatures = [4]", "features[1] must be a string, not 4"),
        ("big_cores = 2", 'big_cores = 2\nfeatures = ["avx2"]', "aarch64 has no feature 'avx2'"),
        ("big_cores = 2", 'big_cores = 2\nfeatures = ["dot-prod"]', "did you mean dotprod"),
        ("big_cores = 2", "big_cores = 2\n[[hardware.accelerator]]", "'name' is missing"),
        ('["3.11"]', "[]", "must be a list such as"),
        ('["3.11"]', '["3"]', "must be a list such as"),
        ('"uint8"', '"uint4"', "unknown value 'uint4'; did you mean uint8"),
        ('"uint8"', '"uint8"\nper_channel = 1', "per_channel must be true or false, not 1"),
        ('"uint8"', '"uint8"\nfp16 = "half"', "unknown value 'half'"),
        ('"int8"]', '"int4"]', "unknown value 'int4'; did you mean int8"),
        ('["fp32", "int8"]', "[]", "engine[1]: precisions = [] must name a precision"),
        ('"cpu"', '""', "engine[1]: provider = '' must be a non-empty line of text"),
        ('provider = "cpu"\n', "", "engine[1]: the key 'provider' is missing"),
        ("[[engine]]", "[[engines]]", "no key 'engines'; did you mean engine"),
    ],
)
def test_a_wrong_value_is_refused(write, old: str, new: str, says: str) -> None:
    assert old in LEAST
    path = write(LEAST.replace(old, new))
    message = refusal(path)
    assert message.startswith(str(path))
    assert says in message


@pytest.mark.parametrize("specifier", ["1.21.0", "=1.2", "!=", ">=2 <3", ">=2,"])
def test_a_pin_needs_a_version_specifier(write, specifier: str) -> None:
    pin = f'[[software.pin]]\npackage = "x"\nspecifier = "{specifier}"\nreason = "r"\n'
    assert "must be such as" in refusal(
        write(LEAST.replace("[quantization]", pin + "[quantization]"))
    )


def test_the_ladder_has_rungs_and_none_twice(write) -> None:
    empty = "engine = []\n" + LEAST.replace(RUNG, "")
    assert "engine is empty" in refusal(write(empty))
    assert "onnxruntime/cpu twice" in refusal(write(LEAST + RUNG))


def test_files_that_cannot_be_read_are_refused(write, tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.toml")
    assert "does not exist" in refusal("none.toml")
    assert "cannot be read" in refusal(tmp_path)
    assert "not valid TOML" in refusal(write("title = "))
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe9"')
    assert "not valid TOML" in refusal(tmp_path / "latin.toml")


def test_json_that_is_no_profile_is_refused(write) -> None:
    fields = load(write(LEAST)).to_json()
    fields["hardware"]["corse"] = 4
    with pytest.raises(ProfileError, match="no key 'corse'"):
        Profile.from_json(fields)


def test_the_example_in_the_documentation_loads(write) -> None:
    page = Path(__file__).parents[2] / "docs" / "profiles.md"
    blocks = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert [load(write(block)).budget.latency_ms for block in blocks] == [30.0]
