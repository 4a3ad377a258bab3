"""A real boot, a power cut and a reboot: minutes, and at the first time 120 MB to fetch.

make board-test, or: EDGE_SDK_BOARD=1 pytest -m "emulated and slow and network" tests/edge_sdk/board
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_sdk.board import Board, find_board, start
from edge_sdk.targets import open_target
from edge_sdk.targets._session import Session

DEVICE = os.environ.get("EDGE_SDK_BOARD_PROFILE", "raspberry-pi-4b")

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.slow,
    pytest.mark.network,
    pytest.mark.skipif(
        "EDGE_SDK_BOARD" not in os.environ, reason="run on request: make board-test"
    ),
    pytest.mark.skipif(
        shutil.which("qemu-system-aarch64") is None, reason="QEMU is absent (qemu-system-arm)"
    ),
]

# Two files that are written again and again: one in place, the other beside, synced and renamed.
WRITER = """
import hashlib, os
os.makedirs("/var/lib/test", exist_ok=True)
os.chdir("/var/lib/test")
number = 0
while True:
    number += 1
    data = os.urandom(2_000_000)
    data += hashlib.sha256(data).digest()
    with open("plain", "wb") as file:
        file.write(data)
    with open("new", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename("new", "whole")
    folder = os.open(".", os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    print(number, flush=True)
"""


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    with pytest.MonkeyPatch.context() as patch:
        cache = os.environ["EDGE_SDK_BOARD"]
        if not os.path.isabs(cache):
            cache = str(tmp_path_factory.mktemp("board-cache"))
        patch.setenv("EDGE_SDK_CACHE", cache)
        board, profile = find_board(DEVICE)
        board.reset()
        start(board, profile)
        yield board
        board.reset()


def ssh(board: Board, *words: str) -> str:
    done = subprocess.run(
        board.ssh(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def boots(board: Board) -> int:
    return int(ssh(board, "cat", "/var/lib/edge/boots"))


def test_a_session_runs_on_the_board(pi: Board) -> None:
    target = open_target(f"board:{DEVICE}")
    assert target.profile is not None
    with Session(target) as session:
        about = session.about()
    target.close()
    assert about["arch"] == target.profile.hardware.arch
    assert about["cores"] == target.profile.hardware.cores
    assert "onnxruntime" in about["packages"] or "ai-edge-litert" in about["packages"]
    assert pi.pid() is not None, "it was started to stay"


def test_the_board_has_the_time_and_no_network(pi: Board) -> None:
    assert abs(int(ssh(pi, "date", "+%s")) - time.time()) < 60
    with socket.socket() as plug:  # what listens on this machine is 10.0.2.2's without `restrict`
        plug.bind(("127.0.0.1", 0))
        plug.listen()
        port = plug.getsockname()[1]
        assert ssh(pi, f"nc -w 3 10.0.2.2 {port} </dev/null || echo cut") == "cut"
    assert ssh(pi, "stat", "-c", "%u:%g", "/usr/bin/rsync") == "0:0"


def test_a_power_cut_tears_what_was_not_renamed_at_most(pi: Board) -> None:
    _, profile = find_board(DEVICE)
    before = boots(pi)
    with subprocess.Popen(
        pi.ssh("python3 -u -"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as p:
        assert p.stdin is not None
        assert p.stdout is not None
        p.stdin.write(WRITER.encode())
        p.stdin.close()
        for _ in range(3):
            assert p.stdout.readline()
        assert pi.kill()
    assert start(pi, profile)
    assert boots(pi) == before + 1
    copied = subprocess.run(
        pi.ssh("cat /var/lib/test/whole"), stdin=subprocess.DEVNULL, capture_output=True, check=True
    ).stdout
    assert hashlib.sha256(copied[:-32]).digest() == copied[-32:]
    sys.stderr.write("plain: " + ssh(pi, "ls -l /var/lib/test") + "\n")


def test_a_reboot_runs_what_is_to_run_at_boot(pi: Board) -> None:
    before = boots(pi)
    ssh(
        pi,
        "printf '#!/bin/sh\\ncp /var/lib/edge/boots /root/seen\\n' > /etc/edge/boot.d/10-see; "
        "printf '#!/bin/sh\\necho x >> /root/lives\\n' > /etc/edge/service; "
        "chmod +x /etc/edge/boot.d/10-see /etc/edge/service; sync; reboot",
    )
    end = time.monotonic() + 240
    while time.monotonic() < end:
        if pi.answers(15) and boots(pi) == before + 1:
            break
        time.sleep(1)
    assert boots(pi) == before + 1
    lives = 0
    while lives < 2 and time.monotonic() < end:
        time.sleep(1)
        lives = int(ssh(pi, "cat /root/lives 2>/dev/null | wc -l"))
    assert lives >= 2, "the service is started again when it ends"
    assert int(ssh(pi, "cat /root/seen")) == before + 1


def test_an_orderly_end_loses_nothing(pi: Board) -> None:
    _, profile = find_board(DEVICE)
    ssh(pi, "echo kept > /root/kept")
    assert pi.stop()
    assert start(pi, profile)
    assert ssh(pi, "cat", "/root/kept") == "kept"
    # The journal had nothing to put right.
    assert "recovery" not in ssh(pi, "dmesg | grep EXT4 || true")
    assert Path(f"/proc/{pi.pid()}").exists()
