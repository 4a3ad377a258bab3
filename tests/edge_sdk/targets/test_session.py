"""Sessions: an engine that runs elsewhere answers as one here, and every death has its words."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from device_profiles.errors import CrashError, EdgeError, EngineError, MissingError, RequestError
from edge_sdk.looks._samples import onnx_sample
from edge_sdk.targets import Start, open_target
from edge_sdk.targets._session import Session
from edge_sdk.targets.local import LocalTarget
from runtime.engines import EngineOptions, open_engine
from runtime.engines._check import sample_inputs


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(open_target("local")) as opened:
        yield opened


def test_an_engine_there_answers_as_one_here(session: Session) -> None:
    here = open_engine("onnxruntime", onnx_sample(), EngineOptions(threads=1))
    there = session.open("onnxruntime", onnx_sample(), EngineOptions(threads=1))
    assert (there.inputs, there.outputs) == (here.inputs, here.outputs)
    inputs = sample_inputs(there.inputs)
    for got, wanted in zip(there.run(inputs), here.run(inputs), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert there.ms > 0
    there.close()


def test_a_fault_there_is_of_the_same_kind_here_and_the_session_goes_on(session: Session) -> None:
    with pytest.raises(EngineError, match="on local: onnxruntime cannot load"):
        session.open("onnxruntime", b"nonsense", EngineOptions())
    with pytest.raises(RequestError, match="no engine is called"):
        session.open("abacus", b"", EngineOptions())
    assert session.about()["arch"]


class Doctored(LocalTarget):
    """This machine, where something else than the server is started."""

    def __init__(self, code: str) -> None:
        self.code = code

    def start(self, arguments: Sequence[str], given: Start = Start()) -> subprocess.Popen[bytes]:  # noqa: B008
        return super().start(["-c", self.code], given)


KILLED = """
import os
os.write(2, b"qemu: uncaught\\n")
os.kill(os.getpid(), 4)
"""
NOISY = """
import runtime.serve as s
s.OPERATIONS["about"] = lambda *a: (print("noise", flush=True), ({}, []))[1]
s.main()
"""


def test_a_death_by_signal_is_a_crash_that_names_it() -> None:
    session = Session(Doctored(KILLED))
    with pytest.raises(
        CrashError, match=r"SIGILL \(illegal instruction\).*it printed: qemu: un"
    ) as e:
        session.about()
    assert e.value.signal == 4
    with pytest.raises(EngineError):
        session.about()
    session.close()


HALF = """
import os, sys, time
os.write(1, (200).to_bytes(4, "big") + b'{"arrays": [')
if len(sys.argv) > 1:
    time.sleep(60)
os.kill(os.getpid(), 11)
"""


def test_a_death_in_the_middle_of_an_answer_is_no_wrong_answer() -> None:
    with pytest.raises(CrashError, match="SIGSEGV"):
        Session(Doctored(HALF)).about()
    slow = HALF.replace("len(sys.argv) > 1", "True")
    with pytest.raises(EngineError, match=r"no answer within 0\.5 s"):
        Session(Doctored(slow), patience_s=0.5).about()


def test_a_shell_s_code_for_a_signal_is_understood() -> None:
    with pytest.raises(CrashError) as found:
        Session(Doctored("import sys; sys.exit(139)")).about()
    assert found.value.signal == 11


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('hello'); import time; time.sleep(9)", "wrote something else"),
        ("raise SystemExit('no numpy here')", "ended with code 1.*no numpy here"),
        ("import sys; sys.stdout.write(chr(0)*3)", "wrote something else"),
    ],
)
def test_what_is_no_server_is_told(code: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        Session(Doctored(code)).about()


def test_silence_ends_in_time() -> None:
    start = time.monotonic()
    with pytest.raises(EngineError, match=r"no answer within 0\.5 s"):
        Session(Doctored("import time; time.sleep(60)"), patience_s=0.5).about()
    assert time.monotonic() - start < 20


def test_a_model_larger_than_any_pipe_meets_a_process_that_does_not_read() -> None:
    with pytest.raises(EngineError, match="no answer"):
        Session(Doctored("import time; time.sleep(60)"), patience_s=0.5).open(
            "null", bytes(1 << 22), EngineOptions()
        )


def test_libraries_that_print_do_no_harm() -> None:
    with Session(Doctored(NOISY)) as session:
        assert session.about() == {}


def test_errors_that_carry_more_than_words_come_over(session: Session) -> None:
    class Broken(MissingError):
        pass

    assert issubclass(Broken, EdgeError)
    code = (
        "import runtime.serve as s\nfrom device_profiles.errors import MissingError\n"
        "def f(*a): raise MissingError('no such package')\ns.OPERATIONS['about'] = f\ns.main()"
    )
    with Session(Doctored(code)) as doctored, pytest.raises(MissingError, match="no such package"):
        doctored.about()


def test_addresses_that_mean_nothing() -> None:
    with pytest.raises(RequestError, match="no target is called"):
        open_target("moon")
    with pytest.raises(RequestError, match="local takes nothing"):
        open_target("local:2")
    for uri in (
        "emulated:raspberry-pi-4b,lock=~nobody-at-all/l",
        "ssh://h,config=~nobody-at-all/c",
    ):
        with pytest.raises(RequestError, match="no home"):
            open_target(uri)
    with pytest.raises(RequestError, match="emulated:PROFILE"):
        open_target("local").start([], Start(plugin="x"))
    assert sys.executable
