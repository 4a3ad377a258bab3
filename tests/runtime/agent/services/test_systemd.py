"""A service of systemd, with stand-ins for its programs that keep a state and note their calls."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from device_profiles.errors import EngineError, RequestError
from runtime.agent.services import enable_boot, service_of
from runtime.agent.services import systemd as module
from runtime.agent.services.base import Place, ServiceOptions
from runtime.agent.services.plain import Plain
from runtime.agent.services.systemd import Systemd, how_it_ended

#: Keeps what `show` says in `state`; `refused` holds a command that fails.
SYSTEMCTL = """#!/bin/sh
cd "$FAKE" || exit 1
words=""
for word in "$@"; do case $word in --no-ask-password) ;; *) words="$words $word" ;; esac; done
echo "${words# }" >>calls
case "$words" in *--version*) echo "systemd 257 (257.1)"; exit 0 ;; esac
if [ -e refused ] && case "$words" in *$(cat refused)*) true ;; *) false ;; esac; then
  echo "Failed: Access denied" >&2; exit 4
fi
case "$words" in
  *" enable "*) printf 'UnitFileState=enabled\\nUnitFileState=enabled\\n' >units ;;
  *UnitFileState*) cat units ;;
  *" show "*) cat state ;;
  *" start "*) printf 'ActiveState=activating\\nMainPID=7\\nNRestarts=0\\n' >state ;;
  *" stop "*) [ -e stubborn ] && { rm stubborn; sleep 5; }
    printf 'ActiveState=inactive\\nMainPID=0\\nNRestarts=0\\n' >state ;;
esac
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "fake"
    programs = folder / "bin"
    programs.mkdir(parents=True)
    scripts = {
        "systemctl": SYSTEMCTL,
        "journalctl": '#!/bin/sh\necho "$@" >>"$FAKE/journal"\nprintf "one\\ntwo\\n"\n',
        "loginctl": "#!/bin/sh\necho no\n",
    }
    for name, text in scripts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (folder / "state").write_text("ActiveState=inactive\nMainPID=0\nNRestarts=0\n")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "sys/etc").mkdir(parents=True)
    (tmp_path / "sys/etc/group").write_text("root:x:0:\nvideo:x:44:me\n")
    (tmp_path / "sys/run/systemd/system").mkdir(parents=True)
    return tmp_path / "sys"


def calls(fake: Path) -> list[str]:
    path = fake / "calls"
    found = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


PLACE = Place(Path("/opt/edge-sdk"), "/usr/bin/python3")


ASKED = "show --property=NeedDaemonReload,UnitFileState edge-sdk.service edge-sdk-boot.service"


def test_units_that_were_written_and_no_more_are_enabled(fake: Path, files: Path) -> None:
    """An agent was killed before: what it wrote is what it should be."""
    service = Systemd(PLACE, True, files)
    (fake / "refused").write_text("enable")
    with pytest.raises(EngineError):
        service.install(ServiceOptions())
    (fake / "refused").unlink()
    calls(fake)
    service.install(ServiceOptions())
    assert calls(fake)[-1] == "enable edge-sdk.service edge-sdk-boot.service"
    with (fake / "units").open("a") as units:
        units.write("NeedDaemonReload=yes\n")
    service.install(ServiceOptions())
    assert "daemon-reload" in calls(fake)


def test_it_is_installed_once_and_again_when_it_changes(fake: Path, files: Path) -> None:
    service = Systemd(PLACE, True, files)
    assert service.install(ServiceOptions(watchdog_s=30)) == []
    assert calls(fake)[1:] == ["daemon-reload", "enable edge-sdk.service edge-sdk-boot.service"]
    text = (files / "etc/systemd/system/edge-sdk.service").read_text()
    assert "SupplementaryGroups=video\n" in text  # the one that the device has
    assert "RestartSteps=6" in text  # systemd is new enough
    service.install(ServiceOptions(watchdog_s=30))
    assert calls(fake) == ["--version", ASKED]
    service.install(ServiceOptions(watchdog_s=40))
    assert "daemon-reload" in calls(fake)


def test_it_is_started_without_waiting_and_its_ends_are_counted_anew(
    fake: Path, files: Path
) -> None:
    service = Systemd(PLACE, True, files)
    service.install(ServiceOptions())
    calls(fake)
    service.start()
    assert calls(fake) == [
        "stop edge-sdk.service", "reset-failed edge-sdk.service",
        "start --no-block edge-sdk.service",
    ]  # fmt: skip
    alive = service.liveness()
    assert alive.running and not alive.ready and alive.pid == 7


def test_what_systemd_says_becomes_what_is_told(fake: Path, files: Path) -> None:
    service = Systemd(PLACE, True, files)
    service.install(ServiceOptions())
    (fake / "state").write_text(
        "ActiveState=active\nMainPID=12\nNRestarts=2\nExecMainStartTimestampMonotonic=1000000\n"
    )
    service.work.mkdir(parents=True)
    (service.work / "ended").write_text("core-dump dumped SEGV\n")
    alive = service.liveness()
    assert (alive.running, alive.ready, alive.pid, alive.restarts) == (True, True, 12, 2)
    assert alive.reason == "it died of SIGSEGV (it printed: two)"
    service.liveness()
    assert len((fake / "journal").read_text().splitlines()) == 1  # an end is looked up once
    (fake / "state").write_text("ActiveState=activating\nMainPID=0\nNRestarts=3\n")
    assert not service.liveness().running


def test_its_user_cannot_have_another_file_read(fake: Path, files: Path) -> None:
    service = Systemd(PLACE, True, files)
    service.work.mkdir(parents=True)
    (files / "secret").write_text("a b c")
    (service.work / "ended").symlink_to(files / "secret")
    assert service.liveness().reason == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("success exited 0", "it ended with code 0"),
        ("exit-code exited 203", "it ended with code 203"),
        ("signal killed KILL", "it died of SIGKILL"),
        ("watchdog killed KILL", "it gave no result for too long and was ended"),
        ("oom-kill killed KILL", "memory ran out and it was ended"),
        ("\x1b]0;evil\x07 a b", "it ended"),
        ("", "it ended"),
    ],
)
def test_an_end_is_put_in_words(words: str, said: str) -> None:
    assert how_it_ended(words.split()) == said


def test_what_does_not_end_is_killed(fake: Path, files: Path) -> None:
    service = Systemd(PLACE, True, files)
    service.install(ServiceOptions())
    (fake / "stubborn").touch()
    calls(fake)
    service.stop(0.2)
    assert calls(fake)[1:] == ["kill --signal=KILL edge-sdk.service", "stop edge-sdk.service"]


def test_nothing_is_asked_of_what_was_never_installed(fake: Path, files: Path) -> None:
    service = Systemd(PLACE, True, files)
    service.stop()
    service.remove()
    assert calls(fake) == []


def test_a_refusal_of_systemd_is_told(fake: Path, files: Path) -> None:
    (fake / "refused").write_text("daemon-reload")
    with pytest.raises(EngineError, match="systemctl daemon-reload: Failed: Access denied"):
        Systemd(PLACE, True, files).install(ServiceOptions())


def test_nothing_of_it_is_left(fake: Path, files: Path) -> None:
    service = Systemd(PLACE, True, files)
    service.install(ServiceOptions())
    service.work.mkdir(parents=True)
    (service.work / "results.jsonl").touch()
    service.remove()
    assert not list(files.rglob("*edge-sdk*"))
    assert "disable edge-sdk.service edge-sdk-boot.service" in calls(fake)


def test_a_device_has_one_service(fake: Path, files: Path, tmp_path: Path) -> None:
    other = Systemd(Place(tmp_path / "other", "/usr/bin/python3"), False, files)
    other.install(ServiceOptions())
    mine = Systemd(Place(tmp_path / "mine", "/usr/bin/python3"), False, files)
    (tmp_path / "other/agent").mkdir()
    with pytest.raises(RequestError, match=f"runs {tmp_path}/other; uninstall that first"):
        mine.install(ServiceOptions())
    mine.remove()  # of another's units nothing is removed
    assert (other.units / "edge-sdk.service").exists()
    (tmp_path / "other/agent").rmdir()
    mine.install(ServiceOptions())  # whose folder is gone is no other


def test_a_user_is_told_of_lingering(fake: Path, files: Path, tmp_path: Path) -> None:
    service = Systemd(Place(tmp_path / "edge", "/usr/bin/python3"), False, files)
    (note,) = service.install(ServiceOptions())
    assert f"loginctl enable-linger {os.geteuid()}" in note
    assert service.work == tmp_path / "edge/work" and service.work.is_dir()
    assert all("--user" in call for call in calls(fake))


def test_a_folder_that_others_cannot_enter_is_refused(
    fake: Path, files: Path, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    (closed / "edge/agent").mkdir(parents=True)
    closed.chmod(0o700)
    with pytest.raises(RequestError, match=f"{closed} is closed to the user"):
        Systemd(Place(closed / "edge", "/usr/bin/python3"), True, files).install(ServiceOptions())


def test_what_root_left_in_its_folder_is_handed_over(fake: Path, files: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    service = Systemd(PLACE, True, files)
    service.install(ServiceOptions())
    (service.work / "cache").mkdir(parents=True)
    (service.work / "cache/verdicts").touch()
    outside = files / "outside"
    outside.touch()
    (service.work / "link").symlink_to(outside)
    os.chown(service.work, 12345, 12345)
    service.start()
    assert (service.work / "cache/verdicts").stat().st_uid == 12345
    assert outside.stat().st_uid == 0


def test_who_keeps_it_running(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGE_SDK_SERVICE", raising=False)
    monkeypatch.setenv("EDGE_SDK_SYSROOT", str(files))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert service_of(PLACE).name == "systemd"
    assert service_of(PLACE).work == files / "var/lib/edge-sdk"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(files))  # where no manager listens
    assert isinstance(service_of(PLACE), Plain)
    monkeypatch.setenv("EDGE_SDK_SERVICE", "systemd")
    assert service_of(PLACE).work == Path("/opt/edge-sdk/work")
    # As the unit says it to a process that is not root's any more.
    monkeypatch.setenv("EDGE_SDK_SERVICE", "systemd-system")
    assert service_of(PLACE).work == files / "var/lib/edge-sdk"
    monkeypatch.setenv("EDGE_SDK_SERVICE", "upstart")
    with pytest.raises(RequestError, match="say plain or systemd"):
        service_of(PLACE)
    monkeypatch.delenv("EDGE_SDK_SERVICE")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (files / "run/systemd/system").rmdir()
    assert isinstance(service_of(PLACE), Plain)


def test_a_system_that_does_not_run_installs_at_its_next_boot(tmp_path: Path) -> None:
    (note,) = enable_boot(PLACE, tmp_path)
    assert "/opt/edge-sdk/agent/agent.py boot /opt/edge-sdk" in note  # nothing is known of it
    (tmp_path / "etc/init.d").mkdir(parents=True)
    enable_boot(PLACE, tmp_path)
    assert (tmp_path / "etc/init.d/S99edge-sdk").stat().st_mode & 0o111
    (tmp_path / "usr/lib/systemd").mkdir(parents=True)
    (tmp_path / "usr/lib/systemd/systemd").touch()
    enable_boot(PLACE, tmp_path)
    link = tmp_path / "etc/systemd/system/multi-user.target.wants/edge-sdk-boot.service"
    assert os.readlink(link) == "/etc/systemd/system/edge-sdk-boot.service"
    assert (tmp_path / "etc/systemd/system/edge-sdk-boot.service").is_file()


def test_programs_that_do_not_answer(
    fake: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a one is an error like any other, so that what is on trial is taken back; a journal
    that takes long hides no reason."""
    monkeypatch.setattr(module, "_ANSWER_S", 0.2)
    service = Systemd(PLACE, True, files)
    (fake / "bin/journalctl").write_text("#!/bin/sh\nexec sleep 5\n")
    late = "did not answer within 0.2 s; see systemctl status edge-sdk.service"
    assert service.log(3) == [f"journalctl {late}"]
    (fake / "bin/systemctl").write_text("#!/bin/sh\nexec sleep 5\n")
    with pytest.raises(EngineError, match=f"systemctl {late}"):
        service.liveness()
