"""Starting at boot without systemd: whose script or table it becomes, and that it goes again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from device_profiles.errors import EngineError, RequestError
from runtime.agent.services import at_boot
from runtime.agent.services.base import Place

PLACE = Place(Path("/opt/100% edge"), "/usr/bin/python3")
OTHERS = "MAILTO=me\n0 5 * * * backup\n"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH beside what the system needs; programs note their calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return folder


def program(folder: Path, name: str, text: str = "") -> None:
    (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >>"$FAKE/calls"\n{text}\n')
    (folder / name).chmod(0o755)


def cron(folder: Path) -> None:
    program(
        folder,
        "crontab",
        'if [ "$1" = -l ]; then [ -e "$FAKE/tab" ] || { echo none >&2; exit 1; }; cat "$FAKE/tab"\n'
        'else [ ! -e "$FAKE/full" ] || { echo full >&2; exit 1; }; cat >"$FAKE/tab"; fi',
    )


def test_busybox_gets_a_script(programs: Path, tmp_path: Path) -> None:
    files = tmp_path / "sys"
    (files / "etc").mkdir(parents=True)
    (files / "etc/inittab").touch()
    (note,) = at_boot.install(PLACE, files)
    script = files / "etc/init.d/S99edge-sdk"
    assert str(script) in note and script.stat().st_mode & 0o111
    at_boot.install(PLACE, files)
    at_boot.remove(Place(Path("/opt/other"), ""), files)
    assert script.exists()  # it is not that one's
    at_boot.remove(PLACE, files)
    assert not script.exists()


def test_a_system_v_init_is_told(programs: Path, tmp_path: Path) -> None:
    files = tmp_path / "sys"
    for level in ("rc2.d", "rc5.d", "init.d"):
        (files / "etc" / level).mkdir(parents=True)
    program(programs, "update-rc.d")
    at_boot.install(PLACE, files)
    assert (files / "etc/init.d/edge-sdk").is_file()
    assert os.readlink(files / "etc/rc5.d/S99edge-sdk") == "../init.d/edge-sdk"
    at_boot.remove(PLACE, files)
    assert not [path for path in files.rglob("*edge-sdk") if os.path.lexists(path)]
    said = (tmp_path / "calls").read_text().splitlines()
    assert said == ["update-rc.d edge-sdk defaults", "update-rc.d edge-sdk remove"]


def test_openrc_is_told(programs: Path, tmp_path: Path) -> None:
    files = tmp_path / "sys"
    (files / "etc/runlevels").mkdir(parents=True)
    (files / "etc/init.d").mkdir()
    program(programs, "rc-update")
    at_boot.install(PLACE, files)
    text = (files / "etc/init.d/edge-sdk").read_text()
    assert text.startswith("#!/sbin/openrc-run\n")
    at_boot.remove(PLACE, files)
    said = (tmp_path / "calls").read_text().splitlines()
    assert said == ["rc-update add edge-sdk default", "rc-update delete edge-sdk"]
    program(programs, "rc-update", "exit 1")
    (note,) = at_boot.install(PLACE, files)
    assert note.startswith("nothing here starts it at boot")


def test_a_script_of_another_is_not_replaced(programs: Path, tmp_path: Path) -> None:
    files = tmp_path / "sys"
    (files / "etc/init.d").mkdir(parents=True)
    other = Place(Path("/opt/other"), "/usr/bin/python3")
    at_boot.install(other, files)
    (files / "opt/other/agent").mkdir(parents=True)
    with pytest.raises(RequestError, match="starts /opt/other; uninstall that first"):
        at_boot.install(PLACE, files)
    (files / "opt/other/agent").rmdir()  # it is gone, and its script is one that nobody needs
    at_boot.install(PLACE, files)
    (files / "etc/init.d/S99edge-sdk").write_text("#!/bin/sh\n")
    with pytest.raises(RequestError, match="starts something else"):
        at_boot.install(PLACE, files)


def test_a_user_has_a_line_of_their_crontab(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    files = tmp_path / "sys"
    (files / "var/spool/cron").mkdir(parents=True)
    (files / "etc/init.d").mkdir(parents=True)  # which a user cannot write
    cron(programs)
    odd = "# caf\u00e9\x0c\x85\n".encode(
        "latin-1"
    )  # of any encoding, with characters that end lines
    (tmp_path / "tab").write_bytes(odd)
    at_boot.install(PLACE, files)
    assert (tmp_path / "tab").read_bytes().startswith(odd + b"@reboot ")
    at_boot.remove(PLACE, files)
    assert (tmp_path / "tab").read_bytes() == odd
    (tmp_path / "tab").write_text(OTHERS)
    at_boot.install(PLACE, files)
    at_boot.install(PLACE, files)
    lines = (tmp_path / "tab").read_text().splitlines()
    assert lines[:2] == OTHERS.splitlines() and len(lines) == 3
    # To cron a bare percent sign would end the command.
    assert lines[2].startswith("@reboot ") and "'/opt/100\\% edge'" in lines[2]
    at_boot.remove(PLACE, files)
    assert (tmp_path / "tab").read_text() == OTHERS
    (tmp_path / "full").touch()
    with pytest.raises(EngineError, match="full"):
        at_boot.install(PLACE, files)


def test_where_nothing_starts_it_a_person_is_told_the_line(programs: Path, tmp_path: Path) -> None:
    (note,) = at_boot.install(PLACE, tmp_path / "sys")
    assert "boot '/opt/100% edge' </dev/null" in note
    at_boot.remove(PLACE, tmp_path / "sys")
