"""Power cuts of a whole board in the middle of a flash: QEMU is killed, and the board boots again.

Two releases take turns on a virtual board. At a random instant of each flash QEMU gets SIGKILL:
what its disk had not been told to keep is gone. After the boot a release must be current that is
whole and is one of the two, and at the end a flash must succeed.

    python -m tests.bench.board_kills --kills 12 --profile raspberry-pi-4b
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge_sdk.board import Board, find_board, start
from tests.bench.digits import small_bundles

SOURCE = "synthetic:shapes?live=1&fps=2&width=64&height=64"
SETTLED_S = 240.0

# By the agent that is on the board; prints what is current, and fails where that is not whole.
_CHECK = """
import json, sys
from pathlib import Path
root = Path("/opt/edge-sdk")
sys.path.insert(0, str(root / "agent" / "code"))
from runtime.agent.held import verify
from runtime.agent.layout import Layout
from runtime.agent.release import Release
from runtime.agent.state import load
layout = Layout(root)
linked = layout.current_id()
folder = layout.releases / linked
release = Release.from_bytes((folder / "release.json").read_bytes())
assert release.id == linked, "it is called otherwise than it is"
verify(folder, release)
state = load(layout)
print(json.dumps({
    "current": linked, "bundle": release.bundle, "trial": state.trial is not None,
    "journal": state.current, "events": [event.what for event in state.events][-4:],
}))
"""


@dataclass(frozen=True)
class Cut:
    """One power cut: how long after the flash began, what the flash had last said, how long until
    ssh answered again, and what was current then and once the board had settled."""

    after_s: float
    step: str
    boot_s: float
    found: str
    settled: str


def flash(board: Board, bundle: Path, log: Path) -> subprocess.Popen[bytes]:
    """Begin to flash."""
    words = ["--to", f"board:{board.name}", "--source", SOURCE, "--results", "2", "--within", "200"]
    command = [sys.executable, "-m", "edge_sdk.cli", "flash", str(bundle), *words]
    with log.open("wb") as file:
        return subprocess.Popen([*command, "--prove", "never"], stdout=file, stderr=file)


def current(board: Board) -> dict[str, Any]:
    """Return what is current on a board; an error where it is not whole."""
    done = subprocess.run(
        board.ssh("python3", "-I", "-"), input=_CHECK.encode(), capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"NOT WHOLE: {done.stderr.decode()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def settled(board: Board) -> dict[str, Any]:
    """Wait until nothing is on trial any more, and return what is current."""
    end = time.monotonic() + SETTLED_S
    while (found := current(board))["trial"]:
        if time.monotonic() > end:
            raise SystemExit("NOT SETTLED: a release is still on trial")
        time.sleep(5)
    return found


def cut(board: Board, bundle: Path, after_s: float, log: Path) -> Cut:
    """Cut the power of a board that is being flashed, and see what became of it."""
    process = flash(board, bundle, log)
    time.sleep(after_s)
    board.kill()
    process.wait()
    said = [line for line in log.read_text(errors="replace").splitlines() if line.endswith("...")]
    began = time.monotonic()
    start(board, find_board(board.name)[1])
    boot_s = time.monotonic() - began
    found = current(board)
    last = settled(board)
    return Cut(
        round(after_s, 1), said[-1] if said else "connecting", round(boot_s, 1),
        found["current"][:12], last["current"][:12],
    )  # fmt: skip


def main() -> None:
    """Cut the power so often, print a line each, and fail where something is not whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--profile", default="raspberry-pi-4b")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", type=Path)
    asked = parser.parse_args()
    board, profile = find_board(asked.profile)
    start(board, profile)
    chance = random.Random(asked.seed)
    cuts: list[Cut] = []
    with TemporaryDirectory() as folder:
        log = Path(folder, "flash.log")
        bundles = small_bundles(asked.profile, Path(folder))
        known = []
        for bundle in bundles:  # both are there before, so that the cuts fall on updates
            began = time.monotonic()
            assert flash(board, bundle, log).wait() == 0, log.read_text()
            seconds = time.monotonic() - began
            known.append(current(board)["current"][:12])
            print(f"{bundle.name}: release {known[-1]}, flashed in {seconds:.0f} s", flush=True)
        for number in range(asked.kills):
            away = settled(board)["current"][:12]
            bundle = bundles[1 - known.index(away)]
            cuts.append(cut(board, bundle, chance.uniform(0, seconds), log))
            print(f"{number + 1:3}  {cuts[-1]}", flush=True)
            assert {cuts[-1].found, cuts[-1].settled} <= {*known}, "another release is current"
        away = settled(board)["current"][:12]
        assert flash(board, bundles[1 - known.index(away)], log).wait() == 0, log.read_text()
    print(f"{len(cuts)} power cuts, always whole; the flash after them succeeded", flush=True)
    if asked.o is not None:
        asked.o.write_text(json.dumps([asdict(one) for one in cuts], indent=1) + "\n")


if __name__ == "__main__":
    main()
