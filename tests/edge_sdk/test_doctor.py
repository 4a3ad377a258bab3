"""The doctor as a whole: here, on targets, and where the target itself is what is broken."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import EngineError, MissingError
from device_profiles.profile import Profile, load
from edge_sdk import doctor
from edge_sdk.looks import __main__ as there
from edge_sdk.looks import _examine
from edge_sdk.looks.base import Finding, Scene
from edge_sdk.targets import Start
from edge_sdk.targets.local import LocalTarget
from edge_sdk.workflows import doctor as workflow
from tests.edge_sdk.cli_cases import Run
from tests.edge_sdk.looks.scenes import scene
from tests.edge_sdk.targets.ssh_server import SSHD, serving
from tests.runtime.boards import PI_4_HOT, plant

ANSWER = 'import json; print("welcome\\n" + json.dumps({"findings": []}))'


class Scripted(LocalTarget):
    """A target where another program than the doctor runs; it keeps what that was asked."""

    uri = "emulated:something"
    profile: Profile | None = load("raspberry-pi-4b")
    emulated = True
    notes = ("another core stands in",)

    def __init__(self, script: str) -> None:
        self.script, self.closed = script, 0
        self.request: dict[str, Any] = {}

    def start(self, arguments: Sequence[str], given: Start = Start()) -> subprocess.Popen[bytes]:  # noqa: B008
        assert arguments[:2] == ["-m", "edge_sdk.looks"]
        self.request = json.loads(arguments[2])
        return super().start(["-c", self.script])

    def close(self) -> None:
        self.closed += 1


def on(target: Scripted, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    monkeypatch.setattr(workflow, "open_target", lambda uri: target)
    return target


def test_this_machine_can_run_the_tests(edge: Run) -> None:
    said = edge("doctor", "--json")
    findings = {f["name"]: f for f in said.json["facts"]["findings"]}
    wanted = {"python", "cpu", "numpy", "onnxruntime", "opencv", "camera", "disk", "cache"}
    assert wanted <= set(findings)
    for name in ("numpy", "onnxruntime", "ai-edge-litert", "provider cpu", "torch", "onnx"):
        assert findings[name]["level"] == "ok", findings[name]
    assert "CPU" in findings["providers"]["detail"]
    assert str(Path.cwd()) in findings["disk"]["detail"]
    faults = [f for f in said.json["facts"]["findings"] if f["level"] == "fault"]
    assert said.code == bool(faults)
    assert len(said.json["gates"]) == len(faults)
    assert all(f["remedy"] for f in findings.values() if f["level"] != "ok")


def test_a_crash_is_a_finding_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edge: Run
) -> None:
    """Against the profile, below a root of its own, and with a wheel that kills its process."""
    crash = tmp_path / "onnxruntime"
    crash.mkdir()
    (crash / "__init__.py").write_text("import os; os.kill(os.getpid(), 4)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    report = doctor(plant(tmp_path / "root", PI_4_HOT), profile=load("generic-x86"))
    findings = {finding["name"]: finding for finding in report.facts["findings"]}
    assert "dies of SIGILL (illegal instruction)" in findings["onnxruntime"]["detail"]
    assert findings["onnxruntime"]["remedy"].startswith("pip install 'onnxruntime!=")
    assert "Raspberry Pi 4" in findings["board"]["detail"]
    assert {"onnxruntime", "board"} <= {gate.name for gate in report.gates}
    assert report.facts["findings"][0]["level"] == "fault"
    assert not report.passed


def test_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    target = on(Scripted(ANSWER), monkeypatch)
    report = doctor(on="emulated:something")
    assert report.title == "Doctor: emulated:something"
    assert report.notes[0] == "another core stands in"
    assert "an emulator shows its host's" in report.notes[1]
    assert report.facts["profile"] == "raspberry-pi-4b"
    assert (target.request["emulated"], target.request["local"], target.closed) == (True, False, 1)
    assert Profile.from_json(target.request["profile"]) == target.profile
    doctor(on="emulated:something", profile=load("raspberry-pi-5"))
    assert target.request["profile"]["name"] == "raspberry-pi-5"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import sys; sys.exit('No module named edge_sdk')", "(code 1): No module named edge_sdk;"),
        ("import os; os.kill(os.getpid(), 9)", "(code -9)"),
        ("print('hello')", "does not get as far as the doctor (code 0)"),
        ("print('[1, 2]')", "does not get as far as the doctor (code 0)"),
    ],
)
def test_a_target_whose_python_is_broken(
    script: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = on(Scripted(script), monkeypatch)
    with pytest.raises(EngineError) as caught:
        doctor(on="emulated:something")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert target.closed == 1


def test_a_target_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    on(Scripted("import time; time.sleep(60)"), monkeypatch)
    monkeypatch.setattr(workflow, "EMULATED_PATIENCE_S", 0.5)
    with pytest.raises(EngineError, match=r"did not finish within 0\.5 s"):
        doctor(on="emulated:something")


def test_a_target_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch, edge: Run) -> None:
    def missing(uri: str) -> None:
        raise MissingError("qemu-aarch64 is not there; install it with: sudo apt-get install qemu")

    monkeypatch.setattr(workflow, "open_target", missing)
    said = edge("doctor", "--on", "emulated:raspberry-pi-4b")
    assert (said.code, "sudo apt-get install qemu" in said.err) == (3, True)
    assert edge("doctor", "--profile", "no-such-device").code == 2


def test_an_old_python_is_said_by_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(there.sys, "version_info", (3, 9, 2))
    there.main({})
    (found,) = json.loads(capsys.readouterr().out.splitlines()[-1])["findings"]
    assert (found["name"], found["level"]) == ("python", "fault")
    assert "python=PATH" in found["remedy"]


def test_without_numpy_it_runs_and_says_so(tmp_path: Path) -> None:
    request = {
        "root": str(tmp_path), "folder": None, "profile": None, "emulated": False, "local": False,
    }  # fmt: skip
    script = (
        "import runpy, sys; sys.modules['numpy'] = None; sys.argv = ['', sys.argv[1]]; "
        "runpy.run_module('edge_sdk.looks', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(request)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    findings = json.loads(done.stdout.splitlines()[-1])["findings"]
    levels = {finding["name"]: finding["level"] for finding in findings}
    assert levels["numpy"] == "fault"
    assert levels["python"] == "ok"
    assert "cache" not in levels  # of where models are converted


def test_where_looks_make_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {f.name for f in _examine.examine(replace(scene(), emulated=True))}
    assert "python" in names
    assert names.isdisjoint({"disk", "camera", "board", "cache", "environment"})
    names = {f.name for f in _examine.examine(replace(scene(), host=True))}
    assert {"disk", "camera", "board", "cache", "programs"} <= names


def test_a_look_that_fails_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_at_odd_things(where: Scene) -> list[Finding]:
        raise KeyError("what\nis this")

    (found,) = _examine._looked(look_at_odd_things, scene())
    assert (found.name, found.level) == ("odd things", "note")
    assert found.detail == "cannot be looked at: KeyError: 'what\\nis this'"


def test_text_and_page(monkeypatch: pytest.MonkeyPatch, edge: Run, tmp_path: Path) -> None:
    found = [
        {"name": "disk", "level": "fault", "detail": "full", "remedy": "sudo apt clean"},
        {"name": "python", "level": "ok", "detail": "3.11", "remedy": ""},
    ]
    on(Scripted(f"import json; print(json.dumps({{'findings': {found}}}))"), monkeypatch)
    said = edge("doctor", "--on", "emulated:something", "--report", tmp_path / "page.html")
    assert said.code == 1
    assert "1 faults and 0 notes in 2 findings." in said.out
    assert "FAIL  disk" in said.out
    assert "sudo apt clean" in (tmp_path / "page.html").read_text()


def test_a_device_afar_without_numpy(tmp_path: Path) -> None:
    """Nothing but Python is needed there to be told what is missing."""
    if SSHD is None:
        pytest.skip("sshd is not installed (openssh-server)")
    venv.create(tmp_path / "bare", with_pip=False)
    (tmp_path / "sshd").mkdir()
    with serving(tmp_path / "sshd") as server:
        report = doctor(on=server.uri(str(tmp_path / "bare/bin/python")))
    findings = {finding["name"]: finding for finding in report.facts["findings"]}
    assert (findings["numpy"]["level"], findings["numpy"]["remedy"]) == (
        "fault", "pip install 'numpy'",
    )  # fmt: skip
    assert findings["environment"]["detail"] == f"virtual, {tmp_path}/bare"
    assert "torch" not in findings


@pytest.mark.emulated
def test_an_emulated_device() -> None:
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("needs qemu-user")
    report = doctor(on="emulated:raspberry-pi-4b")
    findings = {finding["name"]: finding for finding in report.facts["findings"]}
    for name in ("numpy", "onnxruntime", "ai-edge-litert", "provider cpu", "architecture"):
        assert findings[name]["level"] == "ok", findings[name]
    assert findings["cpu"]["detail"] == "aarch64, neon"
    assert "3.11" in findings["python"]["detail"]
    assert {"disk", "memory", "camera", "board"}.isdisjoint(findings)
    assert report.passed
