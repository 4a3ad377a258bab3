"""The host's side of a conversation: what prints in between, and an end before the answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from device_profiles.errors import ReleaseError
from edge_sdk.shipping import session as module
from edge_sdk.shipping.session import Session


def session(program: str) -> tuple[Session, subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", f"import signal, sys, time\n{program}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return Session(process, "local", lambda message: None), process


@pytest.mark.parametrize("line", ["Welcome!", "42", '"error"', "null", '["error"]'])
def test_what_a_login_script_prints_is_no_answer(line: str) -> None:
    talk, _ = session(f"print({line!r}); print('{{\"answer\": 5}}')")
    assert talk.request("hello") == 5
    talk.close()


def test_the_last_words_of_one_that_ended() -> None:
    talk, _ = session("sys.exit('no space left')")
    with pytest.raises(ReleaseError, match=r"no space left.*; it goes on by itself; see what it"):
        talk.request("install")
    talk.close()


@pytest.mark.parametrize("ends", [True, False], ids=["ssh", "an agent"])
def test_one_that_has_something_to_bring_to_its_end(
    monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """ssh is ended; an agent of this machine ignores the end of a connection, and is not killed."""
    monkeypatch.setattr(module, "_END_S", 0.3)
    ignored = "" if ends else "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    answer = "print('{\"answer\": 1}', flush=True)\ntime.sleep(60)"
    talk, process = session(ignored + answer)
    assert talk.request("install") == 1
    talk.close()
    if ends:
        assert process.returncode == -signal.SIGHUP
        return
    state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    assert state in "RS"
    os.kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)
