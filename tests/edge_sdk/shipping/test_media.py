"""Media: what is written to a stick, a mounted system and an SD card, and what installs it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import OutputError, RequestError
from edge_sdk.shipping.carriers import Medium, Parcel, _media, open_carrier, open_live
from edge_sdk.shipping.carriers._install_sh import FIRST_UNIT, first_boot_script, install_script
from edge_sdk.shipping.carriers.base import agent_folder, digest
from tests.edge_sdk.shipping.test_carriers import files, made_wheel

ID = "0123456789abcdef" * 2

# An agent that says what it was told and what it found, and ends as a file says.
AGENT = """
import os, sys
def main():
    command, root = sys.argv[1:]
    print(command, root, *sorted(os.listdir(root + "/incoming")))
    return int(os.environ.get("CODE", "0"))
"""


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    wheel = made_wheel(tmp_path / "here", AGENT)
    bundle = tmp_path / "here" / "My model.edge"
    bundle.write_bytes(os.urandom(70_000))
    numpy = tmp_path / "here" / "numpy-2.4.6-cp311-cp311-manylinux_2_27_aarch64.whl"
    numpy.write_bytes(b"numpy")
    contents: dict[str, Path | bytes] = {"bundle.edge": bundle, "lock.txt": bundle}
    contents["release.json"] = b"{}"
    return Parcel(wheel, ID, contents, [numpy, wheel.path], {"release": ID, "pins": []})


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "my stick").mkdir()
    return tmp_path / "my stick"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A root file system with systemd."""
    root = tmp_path / "mounted"
    for name in ("etc/systemd/system", "usr/bin", "usr/lib/systemd", "opt"):
        (root / name).mkdir(parents=True)
    (root / "usr/bin/python3").symlink_to("python3.13")
    (root / "usr/lib/systemd/systemd").write_text("")
    return root


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """The boot partition of Raspberry Pi OS, as its image has it."""
    root = tmp_path / "bootfs"
    root.mkdir()
    for name in ("config.txt", "cmdline.txt", "kernel8.img", "meta-data"):
        (root / name).write_text(name)
    (root / "user-data").write_text("#cloud-config\nhostname: mine\n")
    return root


def medium(uri: str) -> Medium:
    found = open_carrier(uri)
    assert isinstance(found, Medium)
    assert found.uri == uri
    return found


def holds(root: Path, parcel: Parcel) -> bool:
    """Return whether the parcel is there, whole."""
    incoming = root / "incoming"
    expected: Mapping[str, Path | bytes] = {
        **{f"{ID}/{name}": what for name, what in parcel.files.items()},
        **{f"wheels/{path.name}": path for path in parcel.wheels},
    }
    found = {name for name in files(incoming) if (incoming / name).is_file()}
    return (
        found == {*expected, "ready.json"}
        and json.loads((incoming / "ready.json").read_text()) == dict(parcel.ready)
        and all(
            (incoming / name).read_bytes() == (x if isinstance(x, bytes) else x.read_bytes())
            for name, x in expected.items()
        )
        and files(root / agent_folder(parcel.wheel)) == ["agent.py", parcel.wheel.file]
    )


def test_a_stick_has_a_script_for_a_person(stick: Path, parcel: Parcel) -> None:
    done = medium(f"folder:{stick}").deliver(parcel)
    assert holds(stick / "edge-sdk", parcel)
    assert done.folder == stick / "edge-sdk" and done.files == 8 and done.bytes > 140_000
    assert "sudo sh my stick/edge-sdk/install.sh" in done.notes[0]
    assert "see that the medium is mounted" in done.notes[1]
    assert files(stick)[0] == "edge-sdk"
    assert {path.name for path in (stick / "edge-sdk").iterdir()} == {
        "README.txt", "agents", "incoming", "install.sh",
    }  # fmt: skip
    assert not [path for path in stick.rglob("*") if path.is_symlink()], "FAT has no links"
    assert not [n for n in files(stick) if set(n) & set('"*:<>?\\|')], "nor such names"


def test_a_medium_cannot_be_asked(stick: Path) -> None:
    with pytest.raises(RequestError, match="can be asked nothing"):
        open_live(f"folder:{stick}")


def test_a_mounted_system_installs_it_at_boot(system: Path, parcel: Parcel) -> None:
    done = medium(f"folder:{system}").deliver(parcel)
    root = system / "opt/edge-sdk"
    assert holds(root, parcel)
    assert os.readlink(root / "agent") == agent_folder(parcel.wheel)
    units = system / "etc/systemd/system"
    unit = (units / "edge-sdk-boot.service").read_text()
    assert "/usr/bin/python3 -IS /opt/edge-sdk/agent/agent.py boot /opt/edge-sdk" in unit
    link = units / "multi-user.target.wants/edge-sdk-boot.service"
    assert os.readlink(link) == "/etc/systemd/system/edge-sdk-boot.service"
    assert str(system) not in unit, "its own paths, not those of this machine"
    assert "systemd installs it at boot" in done.notes[0]
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*.*") if path.is_file()} == {0o644}


def test_what_runs_on_a_mounted_system_stays(system: Path, parcel: Parcel, tmp_path: Path) -> None:
    root = system / "opt/edge-sdk"
    (root / "agents/old").mkdir(parents=True)
    (root / "agents/old/agent.py").write_text("")
    (root / "agent").symlink_to("agents/old")
    (root / "releases/now").mkdir(parents=True)
    (root / "current").symlink_to("releases/now")
    medium(f"folder:{system}").deliver(parcel)
    assert os.readlink(root / "agent") == "agents/old"
    assert os.readlink(root / "current") == "releases/now"
    assert (root / "agents/old/agent.py").exists() and holds(root, parcel)


def test_a_system_without_python_is_refused(system: Path, parcel: Parcel) -> None:
    (system / "usr/bin/python3").unlink()
    before = files(system)
    with pytest.raises(RequestError, match="has no python3"):
        medium(f"folder:{system}").deliver(parcel)
    assert files(system) == before


@pytest.mark.parametrize("failing", ["bundle", "disk", "rename"])
def test_what_was_delivered_before_stays_until_the_new_is_complete(
    stick: Path, parcel: Parcel, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    way = medium(f"folder:{stick}")
    way.deliver(parcel)
    before = {
        name: (stick / name).read_bytes() for name in files(stick) if (stick / name).is_file()
    }
    other = replace(parcel, files={**parcel.files, "lock.txt": b"another"}, ready={"other": 1})
    error: type[Exception] = OutputError
    with monkeypatch.context() as patch:
        if failing == "bundle":
            error = RequestError
            other = replace(other, files={**other.files, "bundle.edge": stick / "absent"})
        elif failing == "disk":
            patch.setattr(os, "fsync", out_of_space)
        else:
            patch.setattr(os, "rename", failing_at_the_last)
        with pytest.raises(error) as caught:
            way.deliver(other)
    assert "\n" not in str(caught.value)
    assert contents(stick) == before
    if failing != "bundle":
        way.deliver(other)
        assert holds(stick / "edge-sdk", other)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        name: (folder / name).read_bytes() for name in files(folder) if (folder / name).is_file()
    }


def failing_at_the_last(source: Path, place: Path, rename: Any = os.rename) -> None:
    if source.name == _media.DRAFT:
        out_of_space()
    rename(source, place)


def out_of_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_an_agent_of_before_goes_from_a_stick(stick: Path, parcel: Parcel, tmp_path: Path) -> None:
    way = medium(f"folder:{stick}")
    way.deliver(parcel)
    wheel = made_wheel(tmp_path / "newer", AGENT + "\n")
    newer = replace(parcel, wheel=wheel, wheels=[wheel.path])
    way.deliver(newer)
    assert holds(stick / "edge-sdk", newer)
    assert os.listdir(stick / "edge-sdk/agents") == [digest(wheel)]


def test_space_is_looked_at_before_anything_is_written(
    stick: Path, parcel: Parcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_media, "MARGIN_BYTES", 1 << 60)
    with pytest.raises(OutputError, match=r"has \d+ MB free and the release takes \d+ MB"):
        medium(f"folder:{stick}").deliver(parcel)
    assert files(stick) == []


def test_other_things_in_the_folder_are_not_touched(stick: Path, parcel: Parcel) -> None:
    (stick / "edge-sdk").mkdir()
    (stick / "edge-sdk" / "setup.py").write_text("")
    with pytest.raises(OutputError, match="holds other things"):
        medium(f"folder:{stick}").deliver(parcel)
    assert files(stick) == ["edge-sdk", "edge-sdk/setup.py"]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("folder:", "is no folder"),
        ("folder:/nowhere/at/all", "is no folder"),
        ("folder:/", "flash it with --to local"),
        ("boot:/nowhere/at/all", "is no folder"),
        ("boot:/tmp", "no config.txt and no cmdline.txt and no kernel"),
    ],
)
def test_what_is_no_medium_is_refused(uri: str, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        open_carrier(uri)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("lacking", ["config.txt", "cmdline.txt", "kernel8.img"])
def test_what_is_no_boot_partition_is_told_what_it_lacks(card: Path, lacking: str) -> None:
    (card / lacking).unlink()
    with pytest.raises(RequestError, match="has no " + lacking.partition("8")[0]) as caught:
        open_carrier(f"boot:{card}")
    assert " and no " not in str(caught.value)


def test_a_card_is_seeded_and_the_users_files_stay(card: Path, parcel: Parcel) -> None:
    before = {path.name: path.read_bytes() for path in card.iterdir()}
    done = medium(f"boot:{card}").deliver(parcel)
    assert holds(card / "edge-sdk", parcel)
    assert {name: (card / name).read_bytes() for name in before} == before
    assert {path.name for path in card.iterdir()} - set(before) == {"edge-sdk", "vendor-data"}
    assert (card / "vendor-data").read_text().startswith("#!/bin/sh\n")
    assert "cloud-init installs it at the first boot" in done.notes[0]
    assert not any("vendor_data" in note for note in done.notes)
    medium(f"boot:{card}").deliver(parcel)
    assert {name: (card / name).read_bytes() for name in before} == before


def test_half_a_seed_is_made_whole(card: Path, parcel: Parcel) -> None:
    (card / "meta-data").unlink()
    medium(f"boot:{card}").deliver(parcel)
    assert "\ninstance-id: edge-sdk\n" in (card / "meta-data").read_text()
    assert "hostname: mine" in (card / "user-data").read_text()


def test_a_card_whose_user_decides_is_noted(card: Path, parcel: Parcel) -> None:
    (card / "user-data").write_text("#cloud-config\nvendor_data: {enabled: false}\n")
    notes = medium(f"boot:{card}").deliver(parcel).notes
    assert any("sudo sh /boot/firmware/edge-sdk/install.sh" in note for note in notes)


def test_a_card_without_cloud_init_has_the_script(card: Path, parcel: Parcel) -> None:
    (card / "meta-data").unlink()
    (card / "user-data").unlink()
    notes = medium(f"boot:{card}").deliver(parcel).notes
    assert "no cloud-init" in notes[0]
    assert "sudo sh /boot/firmware/edge-sdk/install.sh" in notes[0]
    assert not (card / "vendor-data").exists() and holds(card / "edge-sdk", parcel)


def test_a_vendor_data_of_others_is_not_lost(card: Path, parcel: Parcel) -> None:
    (card / "vendor-data").write_text("#cloud-config\n")
    before = files(card)
    with pytest.raises(RequestError, match="vendor-data is not ours"):
        medium(f"boot:{card}").deliver(parcel)
    assert files(card) == before


def test_a_card_of_ubuntu_is_known(card: Path) -> None:
    (card / "current").mkdir()
    (card / "kernel8.img").unlink()
    (card / "cmdline.txt").rename(card / "current/cmdline.txt")
    (card / "current/vmlinuz").write_text("")
    assert medium(f"boot:{card}")


def tools(folder: Path, log: Path) -> str:
    """Return a PATH with a systemctl that notes what it is told."""
    folder.mkdir(exist_ok=True)
    (folder / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    (folder / "systemctl").chmod(0o755)
    (folder / "python3").unlink(missing_ok=True)
    (folder / "python3").symlink_to(sys.executable)
    return f"{folder}:/usr/bin:/bin"


def run(script: Path, *words: str, tmp_path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a script of a medium on a device whose files lie in `sysroot`."""
    environment = {
        "PATH": tools(tmp_path / "bin", tmp_path / "log"),
        "HOME": str(tmp_path / "home"),
        "EDGE_SDK_SYSROOT": str(tmp_path / "sysroot"),
        **more,
    }
    return subprocess.run(
        ["sh", str(script), *words], capture_output=True, text=True, check=False, env=environment
    )


def test_the_script_installs_what_lies_beside_it(
    stick: Path, parcel: Parcel, tmp_path: Path
) -> None:
    medium(f"folder:{stick}").deliver(parcel)
    script, root = stick / "edge-sdk/install.sh", tmp_path / "the device"
    done = run(script, str(root), tmp_path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["boot", *str(root).split(), ID, "ready.json", "wheels"]
    assert holds(root, parcel) and os.readlink(root / "agent") == agent_folder(parcel.wheel)
    assert sorted(os.listdir(root)) == ["agent", "agents", "incoming", "lock"]
    # A stick goes to many devices: what is on it stays; and again is as good as once.
    assert holds(stick / "edge-sdk", parcel)
    assert run(script, str(root), tmp_path=tmp_path, CODE="1").returncode == 1
    assert holds(root, parcel)


def test_the_script_does_not_take_a_flash_its_files(
    stick: Path, parcel: Parcel, tmp_path: Path
) -> None:
    medium(f"folder:{stick}").deliver(parcel)
    root = tmp_path / "device"
    (root / "incoming").mkdir(parents=True)
    (root / "incoming" / "half").write_text("being sent")
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(stick / "edge-sdk/install.sh", str(root), tmp_path=tmp_path)
    assert (done.returncode, "a flash is at work" in done.stderr) == (1, True)
    assert (root / "incoming" / "half").read_text() == "being sent"
    assert sorted(os.listdir(root)) == ["agents", "incoming", "lock"]


def test_the_first_boot_is_left_to_a_unit_that_survives_a_power_cut(
    card: Path, parcel: Parcel, tmp_path: Path
) -> None:
    """cloud-init starts its script once, whatever became of it."""
    medium(f"boot:{card}").deliver(parcel)
    (tmp_path / "sysroot/run/systemd/system").mkdir(parents=True)
    first = tmp_path / "part-001"
    shutil.copy(card / "vendor-data", first)
    first.write_text(first_boot_script((str(tmp_path / "nowhere"), str(card))))
    done = run(first, tmp_path=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    unit = (tmp_path / "sysroot/etc/systemd/system" / FIRST_UNIT).read_text()
    assert f'ExecStart=/bin/sh "{card}/edge-sdk/install.sh" --once\n' in unit
    assert (tmp_path / "log").read_text().splitlines() == [
        "daemon-reload", f"enable {FIRST_UNIT}", f"start --no-block {FIRST_UNIT}",
    ]  # fmt: skip
    assert holds(card / "edge-sdk", parcel)


@pytest.mark.parametrize(("code", "over"), [(0, True), (1, True), (2, False)])
def test_a_card_is_tried_until_it_is_judged(
    card: Path, parcel: Parcel, tmp_path: Path, code: int, over: bool
) -> None:
    medium(f"boot:{card}").deliver(parcel)
    unit = tmp_path / "sysroot/etc/systemd/system" / FIRST_UNIT
    unit.parent.mkdir(parents=True)
    unit.write_text("")
    script, root = card / "edge-sdk/install.sh", tmp_path / "device"
    done = run(script, "--once", str(root), tmp_path=tmp_path, CODE=str(code))
    assert done.returncode == code
    assert (card / "edge-sdk/incoming").exists() != over
    assert unit.exists() != over
    assert holds(root, parcel)
    if over:
        again = run(script, "--once", str(root), tmp_path=tmp_path)
        assert "nothing is left to install" in again.stdout and again.returncode == 0


def test_without_systemd_the_first_boot_installs_at_once(
    card: Path, parcel: Parcel, tmp_path: Path
) -> None:
    medium(f"boot:{card}").deliver(parcel)
    root = tmp_path / "device"
    done = run(card / "edge-sdk/install.sh", "--at-boot", str(root), tmp_path=tmp_path)
    assert done.returncode == 0 and holds(root, parcel)
    assert not (card / "edge-sdk/incoming").exists()


def test_a_device_that_lacks_something_keeps_what_it_has(
    stick: Path, parcel: Parcel, tmp_path: Path
) -> None:
    medium(f"folder:{stick}").deliver(parcel)
    script, root = stick / "edge-sdk/install.sh", tmp_path / "device"
    (root / "incoming").mkdir(parents=True)
    bare = {"PATH": str(tmp_path / "none")}
    (tmp_path / "none").mkdir()
    for name in ("sh", "dirname", "id"):
        (tmp_path / "none" / name).symlink_to(shutil.which(name) or name)
    done = run(script, str(root), tmp_path=tmp_path, **bare)
    assert done.returncode == 3 and "python3 is not installed" in done.stderr
    shutil.rmtree(stick / "edge-sdk/incoming/wheels")
    (stick / "edge-sdk" / agent_folder(parcel.wheel) / "agent.py").unlink()
    shutil.rmtree(stick / "edge-sdk/agents")
    done = run(script, str(root), tmp_path=tmp_path)
    assert done.returncode != 0
    assert files(root) == ["agents", "incoming"], "nothing half there"


def test_a_script_is_the_same_for_the_same(parcel: Parcel) -> None:
    text = install_script(digest(parcel.wheel), _media.DRAFT)
    for each in (text, first_boot_script()):
        assert subprocess.run(["sh", "-n"], input=each.encode(), check=False).returncode == 0
    assert hashlib.sha256(parcel.wheel.path.read_bytes()).hexdigest()[:32] in text
    assert "{" not in text.replace("${", "").replace("{} +", "")
