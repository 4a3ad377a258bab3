"""The texts that start a service at boot: what they say, and how they name odd folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device_profiles.errors import RequestError
from runtime.agent.services.base import Place, ServiceOptions
from runtime.agent.unit import (
    BOOT_UNIT,
    RUN_UNIT,
    boot_line,
    boot_unit,
    init_script,
    openrc_script,
    root_of,
    run_unit,
)

PLACE = Place(Path("/opt/edge-sdk"), "/usr/bin/python3")
ODD = "/srv/50% off $HOME \"x\" 'y' a\\b;c"


def settings(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_unit_of_the_system_is_shut_but_for_cameras_and_a_network() -> None:
    found = settings(run_unit(PLACE, ServiceOptions(watchdog_s=30, groups=("video", "render"))))
    expected = {
        "Type": "notify",
        "NotifyAccess": "main",
        "WatchdogSec": "30",
        "TimeoutStartSec": "300",
        "Restart": "always",
        "StartLimitIntervalSec": "0",
        "DynamicUser": "yes",
        "SupplementaryGroups": "video render",
        "StateDirectory": "edge-sdk",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "ReadOnlyPaths": "/opt/edge-sdk",
        "CapabilityBoundingSet": "",
        "DeviceAllow": "char-* rw",
        "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "WantedBy": "multi-user.target",
        "ExecStart": "/usr/bin/python3 -IS /opt/edge-sdk/agent/agent.py serve /opt/edge-sdk",
        # With full rights: it may change the link.
        "ExecStartPre": "+-/usr/bin/python3 -IS /opt/edge-sdk/agent/agent.py guard /opt/edge-sdk",
    }
    assert {key: found.get(key) for key in expected} == expected
    assert "PrivateDevices" not in found and "MemoryDenyWriteExecute" not in found


def test_a_users_unit_asks_for_nothing_that_only_the_system_has() -> None:
    found = settings(run_unit(PLACE, ServiceOptions(), system=False))
    assert not {"DynamicUser", "SupplementaryGroups", "ProtectSystem", "WatchdogSec"} & set(found)
    assert found["ExecStartPre"].startswith("-/usr/bin/python3")
    assert found["WorkingDirectory"] == "/opt/edge-sdk/work"
    assert found["WantedBy"] == "default.target"


def test_restarts_slow_down_where_systemd_can() -> None:
    old, new = (settings(run_unit(PLACE, ServiceOptions(), version=v)) for v in (252, 254))
    assert old["RestartSec"] == "5" and "RestartSteps" not in old
    assert new["RestartSec"] == "1" and new["RestartMaxDelaySec"] == "60"


def test_what_starts_at_boot_waits_for_nothing_that_waits_for_it() -> None:
    found = settings(boot_unit(PLACE))
    assert found["Type"] == "oneshot" and found["TimeoutStartSec"] == "infinity"
    assert "After=edge-sdk-boot" not in run_unit(PLACE, ServiceOptions())
    assert "edge-sdk.service" not in boot_unit(PLACE)


def test_odd_names_are_quoted_as_systemd_reads_them() -> None:
    text = run_unit(Place(Path(ODD), "/usr/bin/python3"), ServiceOptions())
    inside = "/srv/50%% off {} \\\"x\\\" 'y' a\\\\b;c"
    assert f'serve "{inside.format("$$HOME")}"' in text
    assert f'ReadOnlyPaths="{inside.format("$HOME")}"' in text
    assert root_of(text) == ODD


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("name", ["plain", "50% of $HOME \"x\" 'y' a\\b;c"])
def test_systemd_reads_them(tmp_path: Path, name: str) -> None:
    """Verified by systemd's own reader, which says nothing when it finds no fault."""
    root = tmp_path / name
    (root / "agent").mkdir(parents=True)
    where = Place(Path("/srv") / name, os.path.realpath(sys.executable))
    (tmp_path / RUN_UNIT).write_text(run_unit(where, ServiceOptions(watchdog_s=30)))
    (tmp_path / BOOT_UNIT).write_text(boot_unit(where))
    words = ["systemd-analyze", "verify", tmp_path / RUN_UNIT, tmp_path / BOOT_UNIT]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "edge-sdk" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("root", ["/srv/a\nExecStart=/bin/evil", "/srv/a ", "/srv/\x07"])
def test_a_folder_that_would_break_the_text_is_refused(root: str) -> None:
    where = Place(Path(root), "/usr/bin/python3")
    for write in (boot_unit, init_script, boot_line, lambda p: run_unit(p, ServiceOptions())):
        with pytest.raises(RequestError, match="cannot be named"):
            write(where)


def test_a_folder_that_is_emptied_at_boot_is_refused() -> None:
    with pytest.raises(RequestError, match="emptied at boot"):
        run_unit(Place(Path("/tmp/edge"), "/usr/bin/python3"), ServiceOptions())


def test_a_python_that_systemd_cannot_start_is_refused() -> None:
    with pytest.raises(RequestError, match="starts no program"):
        run_unit(Place(Path("/opt/x"), '/opt/"/python3'), ServiceOptions())


def test_homes_stay_readable_where_it_lies_in_one() -> None:
    for where in (Place(Path("/home/a/edge"), "/usr/bin/python3"), Place(Path("/o"), "/root/p")):
        assert settings(run_unit(where, ServiceOptions()))["ProtectHome"] == "read-only"


def test_a_watchdog_that_would_end_what_works_is_refused() -> None:
    with pytest.raises(RequestError, match="less than 10 s"):
        ServiceOptions(watchdog_s=3)


@pytest.mark.parametrize("script", [init_script, openrc_script])
def test_a_script_for_init_calls_the_agent(tmp_path: Path, script: object) -> None:
    root = tmp_path / "a 'folder'"
    (root / "agent").mkdir(parents=True)
    (root / "agent/agent.py").write_text("import sys\nopen(sys.argv[2] + '/called', 'a')"
                                         ".write(sys.argv[1] + '\\n')\n")  # fmt: skip
    path = tmp_path / "S99edge-sdk"
    assert callable(script)
    text = script(Place(root, sys.executable))
    ending = "\nstart; wait; stop\n" if "openrc" in text.splitlines()[0] else ""
    path.write_text(text + ending)
    assert root_of(text) == str(root)
    for word in ("start", "stop"):
        subprocess.run(["sh", path, word], check=True, timeout=20)
        if ending:
            break
    called = root / "called"
    end = 100
    while end and (not called.exists() or len(called.read_text().split()) < 2):
        end -= 1
        subprocess.run(["sleep", "0.05"], check=True)
    assert sorted(called.read_text().split()) == ["boot", "stop"]


@pytest.mark.parametrize("system", [True, False])
def test_who_judges_outlives_a_boot_that_is_killed(system: bool) -> None:
    """systemd would end it with the unit, and the trial would wait for the next boot."""
    assert settings(boot_unit(PLACE, system))["KillMode"] == "process"
