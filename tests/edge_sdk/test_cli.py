from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

import edge_sdk.cli
from device_profiles.errors import (
    EdgeError,
    EngineError,
    GateError,
    MissingError,
    OutputError,
    RequestError,
    SourceError,
)
from device_profiles.profile import load, names
from edge_sdk.cli.base import Outcome
from runtime.progress import step
from tests.edge_sdk.cli_cases import Digits, Run

ROOT = Path(__file__).resolve().parents[2]
VERBS = [
    "bench", "board", "check", "convert", "demo", "doctor", "flash", "inspect", "keys", "logs",
    "profiles", "rollback", "run", "sign", "status", "uninstall", "verify", "wheelhouse",
]  # fmt: skip
START = "from edge_sdk.cli import main; sys.exit(main())"


def in_process_of_its_own(
    *words: object, code: str = START, stdout: Any = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import sys; {code}", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "", **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the verb `doctor` do what a test wants."""
    from edge_sdk.cli import doctor

    def becomes(run: Any) -> None:
        monkeypatch.setattr(doctor, "run", run)

    return becomes


def test_help(edge: Run) -> None:
    said = edge("--help")
    assert said.code == 0
    assert [verb for verb in VERBS if not re.search(rf"^    {verb}\b", said.out, re.M)] == []
    assert "exit codes: 0 done, and it holds; 1 done, and a gate failed" in said.out


@pytest.mark.parametrize("verb_name", VERBS)
def test_help_of_a_verb(verb_name: str, edge: Run) -> None:
    said = edge(verb_name, "--help")
    assert said.code == 0
    assert said.out.startswith(f"usage: edge-sdk {verb_name} ")
    assert "--json" in said.out
    assert "--debug" in said.out


def test_version(edge: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert edge("--version").out == f"edge-sdk {version('edge-sdk')}\n"

    def gone(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(edge_sdk.cli, "version", gone)
    assert edge("--version").out == "edge-sdk, not installed\n"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nope"],
        ["inspect"],
        ["inspect", "a", "b"],
        ["convert", "m", "-o", "x", "--profile", "p"],
        ["convert", "m", "-o", "x", "--profile", "p", "--calibration", "d", "--precision", "int4"],
        ["bench", "b", "--runs", "many"],
        ["check", "b", "--data", "d", "--max-drop", "little"],
        ["run", "b"],
    ],
    ids=" ".join,
)
def test_arguments_that_do_not_parse(words: list[str], edge: Run) -> None:
    said = edge(*words)
    assert (said.code, said.out) == (2, "")
    assert "error: " in said.last


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (GateError, 1),
        (RequestError, 2),
        (SourceError, 2),
        (OutputError, 2),
        (EngineError, 3),
        (MissingError, 3),
    ],
)
def test_exit_codes(kind: type[EdgeError], code: int, edge: Run, verb: Any) -> None:
    def fails(_arguments: Any) -> Outcome:
        step("working")
        raise kind("what\nand  where; what to do")

    verb(fails)
    said = edge("doctor")
    assert (said.code, said.out) == (code, "")
    assert said.err == "working\nedge-sdk doctor: what and where; what to do\n"
    found = edge("doctor", "--json")
    message = "what and where; what to do"
    assert found.json == {"error": message, "kind": kind.__name__, "exit_code": code}
    assert found.code == code
    assert "Traceback" not in found.err
    assert "Traceback (most recent call last)" in edge("doctor", "--debug").err


def test_a_failed_gate_is_1(edge: Run, verb: Any) -> None:
    verb(lambda arguments: Outcome({"a": 1}, "said", passed=False))
    assert (edge("doctor").code, edge("doctor").out) == (1, "said\n")
    assert edge("doctor", "--json").json == {"a": 1}


def test_interrupted_is_130(edge: Run, verb: Any) -> None:
    def interrupted(_arguments: Any) -> Outcome:
        raise KeyboardInterrupt

    verb(interrupted)
    said = edge("doctor", "--json")
    assert (said.code, said.out, said.err) == (130, "", "edge-sdk: interrupted\n")


def test_what_a_device_does_not_have(edge: Run, verb: Any) -> None:
    def imports(_arguments: Any) -> Outcome:
        raise ModuleNotFoundError("No module named 'onnx_ir'", name="onnx_ir")

    verb(imports)
    said = edge("doctor")
    assert said.code == 3
    remedy = "install it with: pip install 'edge-sdk[convert]'"
    assert said.last == f"edge-sdk doctor: onnx_ir is not installed; {remedy}"


def test_converting_on_a_device(tmp_path: Path) -> None:
    """Where there is neither torch nor onnx: in a process of its own, that has imported neither."""
    blocked = "sys.modules.update(dict.fromkeys(['torch', 'onnx', 'onnx_ir', 'onnxscript'])); "
    words = ["convert", "zoo:digits_cnn", "--profile", "generic-x86", "-o", tmp_path / "x.edge"]
    done = in_process_of_its_own(*words, "--calibration", tmp_path, "--json", code=blocked + START)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["kind"] == "MissingError"
    assert "pip install 'edge-sdk[convert]'" in done.stderr


def test_profiles(edge: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    said = edge("profiles")
    assert said.code == 0
    assert [name for name in names() if name not in said.out] == []
    listed = edge("profiles", "--json").json["profiles"]
    assert {p["name"]: p["digest"] for p in listed} == {n: load(n).digest for n in names()}


def test_one_profile_in_full(edge: Run, tmp_path: Path) -> None:
    found = edge("profiles", "raspberry-pi-5", "--json").json
    assert found["hardware"]["features"] == ["neon", "dotprod", "fp16"]
    assert "dotprod" in edge("profiles", "raspberry-pi-5").out
    own = tmp_path / "mine.toml"
    own.write_text('inherits = "raspberry-pi-5"\n[hardware]\nmemory_mb = 16384\n')
    assert edge("profiles", own, "--json").json["hardware"]["memory_mb"] == 16384


def test_progress_is_on_standard_error(bundle: Path, digits: Digits, edge: Run) -> None:
    said = edge("bench", bundle, "--runs", 10, "--json")
    assert "cold start of onnx int8" in said.err
    assert "cold start of" not in said.out


def test_what_is_no_text_is_escaped(verb: Any, edge: Run) -> None:
    """A path need not be text, and a terminal need not know every character."""
    odd = os.fsdecode(b"caf\xe9-\xff") + " 100 \N{DEGREE SIGN}"
    verb(lambda arguments: Outcome({"path": odd}, odd))
    assert edge("doctor", "--json").json == {"path": odd}
    assert edge("doctor").out == "caf\\udce9-\\udcff 100 \N{DEGREE SIGN}\n"

    def fails(_arguments: Any) -> Outcome:
        raise RequestError(odd)

    verb(fails)
    assert edge("doctor", "--json").json["error"] == odd


def test_ascii_terminal(bundle: Path) -> None:
    done = in_process_of_its_own("inspect", "caf\u00e9.edge", "--json", PYTHONIOENCODING="ascii")
    assert done.returncode == 2, done.stderr
    assert json.loads(done.stdout)["error"].startswith("caf\u00e9.edge: no such file")


@pytest.mark.parametrize("words", [["inspect"], ["inspect", "--json"], ["run"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_fault(
    words: list[str], bundle: Path, tmp_path: Path
) -> None:
    """As `| head -1` is: the pipe is closed at the other end."""
    read, write = os.pipe()
    os.close(read)
    rest = ["--source", "synthetic:noise?frames=20", "--sink", "-"] if words == ["run"] else []
    with os.fdopen(write, "w") as stdout:
        done = in_process_of_its_own(words[0], bundle, *words[1:], *rest, stdout=stdout)
    said = [line for line in done.stderr.splitlines() if not line.startswith("warning: refused: ")]
    assert (done.returncode, said) == (0, [])


def test_report_that_cannot_be_written_is_found_before_the_work(
    bundle: Path, edge: Run, tmp_path: Path
) -> None:
    said = edge("bench", bundle, "--report", tmp_path / "none" / "page.html")
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "there is no folder" in said.last


def test_every_verb_has_what_the_command_line_needs() -> None:
    from runtime.plugins import load as load_verb
    from runtime.plugins import names as verbs

    assert verbs("edge_sdk.cli") == VERBS
    for name in VERBS:
        module = load_verb("edge_sdk.cli", name)
        assert isinstance(module.HELP, str)
        assert callable(module.add_arguments)
        assert callable(module.run)


def test_a_fault_of_our_own_is_one_line_and_no_gate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_arguments: object) -> None:
        raise KeyError("arch")

    monkeypatch.setattr("edge_sdk.cli.doctor.run", broken)
    assert edge_sdk.cli.main(["doctor", "--json"]) == 70
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "KeyError: 'arch'; please report it" in captured.err
    assert json.loads(captured.out)["exit_code"] == 70
    assert edge_sdk.cli.main(["doctor", "--debug"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_a_program_let_a_verb_clear_up(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cleared = []

    def long(_arguments: object) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(60)
        finally:
            cleared.append(number)

    monkeypatch.setattr("edge_sdk.cli.doctor.run", long)
    before = signal.getsignal(number)
    assert edge_sdk.cli.main(["doctor"]) == 128 + number
    assert cleared == [number]
    assert signal.getsignal(number) is before
    assert capsys.readouterr().err == "edge-sdk: interrupted\n"
