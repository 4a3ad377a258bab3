"""What a flash costs: seconds and bytes, a rollback's gap, and kills at random instants.

    python -m tests.bench.flash [--kills 200] [--devices 2] [--rollbacks 10] [--seed 0]
        [-o FILE.json] [PART...]

The device is this machine behind a real sshd of its own on the loopback, with the wheels of
generic-x86; nothing of this machine is touched. MobileNetV2 runs there on a scene of 30 frames a
second. Bytes are counted by a TCP proxy before sshd: the login, every question, every acknowledged
block and ssh's own padding are in them. PART is one or more of flash, rollback, status, kills.

`kills` flashes releases of the null engine, in an environment that is there already, and kills
what runs of it (see tests/edge_sdk/flash_kills.py) at instants drawn uniformly over a flash.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_sdk.emulation.cache import cache_root
from edge_sdk.report import Report, Table, render
from edge_sdk.workflows import flash as workflow
from tests.bench.counting_proxy import CountingProxy
from tests.bench.flash_nets import ROOT, change, nets
from tests.edge_sdk.flash_cases import Device, free_port
from tests.edge_sdk.flash_kills import Kill, Rig, kills
from tests.edge_sdk.targets.ssh_server import Server, serving

PARTS = ("flash", "rollback", "status", "kills")
BYTES_BAR, ROLLBACK_BAR_S = 1.1, 2.0
_LOOK_S = 0.005
_PATIENCE_S = 60.0


@dataclass
class Reached(Device):
    """A device behind an sshd."""

    address: str = ""
    proxy: CountingProxy | None = None
    server: Server | None = None

    @property
    def uri(self) -> str:
        """Its address."""
        return self.address


@contextlib.contextmanager
def reached() -> Iterator[Reached]:
    """Run a device behind an sshd; whatever runs of it is ended after."""
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        system, way, home = folder / "system", folder / "sshd", folder / "home"
        (system / "etc" / "init.d").mkdir(parents=True)
        way.mkdir()
        home.mkdir()
        variables = {"EDGE_SDK_SYSROOT": str(system), "EDGE_SDK_SERVICE": "plain"}
        os.environ.update(variables)
        # A home of its own: what the shell of this machine's user does at a login is no device's.
        server = stack.enter_context(serving(way, {**variables, "HOME": str(home)}))
        proxy = stack.enter_context(CountingProxy(server.port))
        for path in (server.config, server.known_hosts):
            path.write_text(path.read_text().replace(str(server.port), str(proxy.port)))
        device = Reached(server.kept, free_port(), address=server.uri(), proxy=proxy, server=server)
        try:
            yield device
        finally:
            from runtime.agent.services import Place, service_of

            service_of(Place(device.root, sys.executable)).stop()


class Watch:
    """Asks a device all the time whether it is well, and keeps when it was not."""

    def __init__(self, device: Device) -> None:
        self.seen: list[tuple[float, bool]] = []
        self._device = device
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def back(self) -> tuple[float, float]:
        """Wait until it answers after it did not; return when the last answer before the gap came,
        and the first after."""
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            seen = list(self.seen)
            gone = next((i for i, (_, well) in enumerate(seen) if not well), None)
            if gone is not None:
                again = next((at for at, well in seen[gone:] if well), None)
                if again is not None:
                    return seen[gone - 1][0], again
            time.sleep(_LOOK_S)
        raise AssertionError("it does not answer again")

    def _ask(self) -> None:
        while not self._over.is_set():
            well = self._device.shown() is not None
            self.seen.append((time.monotonic(), well))
            time.sleep(_LOOK_S)


def call(*words: str) -> dict[str, Any]:
    """Run a verb in a process of its own; return what it says as JSON."""
    done = subprocess.run([sys.executable, "-m", "edge_sdk.cli", *words, "--json"], check=False,
                          cwd=ROOT, capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        raise AssertionError(f"{words[0]}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def flashed(device: Reached, bundle: Path) -> dict[str, Any]:
    """Flash a bundle by the command line; return its facts with what the network carried."""
    assert device.proxy is not None
    source = "synthetic:shapes?live=1&fps=30&frames=0&width=640&height=480"
    words = ["--source", source, "--sink", f"http://127.0.0.1:{device.port}", "--prove", "never"]
    up, down = device.proxy.counts
    start = time.monotonic()
    facts: dict[str, Any] = call("flash", str(bundle), "--to", device.uri, *words)["facts"]
    up_now, down_now = device.proxy.counts
    return {
        "wall_s": round(time.monotonic() - start, 3),
        "tcp_up": up_now - up,
        "tcp_down": down_now - down,
        **{name: facts[name] for name in ("release", "steps", "bytes_sent", "bytes_received")},
    }


def first_and_updates(device: Reached, bundles: dict[str, Path]) -> tuple[list[Table], Any]:
    """Flash a device for the first time, then each update after the first release again."""
    first = bundles["first"]
    done = {"first": flashed(device, first)}
    again = flashed(device, first)
    changes, rows = {}, []
    for what in list(bundles)[1:]:
        found = changes[what] = asdict(change(first, bundles[what]))
        done[what] = flashed(device, bundles[what])
        up = done[what]["tcp_up"]
        rows.append(
            (what, found["files"], found["compressed"], found["literal"],
             found["literal_compressed"], done[what]["bytes_sent"], up,
             round(up / found["compressed"], 3), round(up / found["literal_compressed"], 3))
        )  # fmt: skip
        flashed(device, first)
        print(f"{what}: {up} bytes", file=sys.stderr, flush=True)
    columns = ("update", "files that differ", "by zlib 6", "literal", "by zlib 6 ", "rsync sent",
               "TCP sent", "of files", "of literal")  # fmt: skip
    tables = [_steps(done), Table("Bytes of an update", columns, tuple(rows))]
    return tables, {"flashes": {**done, "the same again": again}, "changes": changes}


def _steps(done: dict[str, Any]) -> Table:
    names = list(dict.fromkeys(step["step"] for one in done.values() for step in one["steps"]))
    rows = []
    for name in names:
        found = [sum(s["seconds"] for s in one["steps"] if s["step"] == name)
                 for one in done.values()]  # fmt: skip
        rows.append((name, *(round(seconds, 2) for seconds in found)))
    rows.append(("the whole command", *(round(one["wall_s"], 2) for one in done.values())))
    rows.append(("MB sent", *(round(one["tcp_up"] / 1e6, 2) for one in done.values())))
    return Table("Flashes, seconds", ("step", *done), tuple(rows))


def rollbacks(device: Reached, count: int) -> tuple[list[Table], Any]:
    """Go back and forth: seconds from the call until it answers again, and how long it did not."""
    found = []
    for _ in range(count):
        with Watch(device) as watch:
            time.sleep(0.3)
            start = time.monotonic()
            said = call("rollback", "--to", device.uri)["facts"]
            over = time.monotonic()
            last, again = watch.back()
        found.append({"answers_s": again - start, "gap_s": again - last, "ends_s": over - start,
                      "said_s": said["seconds"]})  # fmt: skip
        print(f"rollback: {found[-1]}", file=sys.stderr, flush=True)
    names = {"answers_s": "from the call until it answers", "gap_s": "it did not answer for",
             "ends_s": "until the command ends"}  # fmt: skip
    rows = [
        (text, *(round(f([one[key] for one in found]), 2) for f in (statistics.median, max)))
        for key, text in names.items()
    ]
    title = f"Rollback, seconds, of {count}"
    return [Table(title, ("what", "median", "worst"), tuple(rows))], found


def statuses(device: Reached, count: int) -> tuple[list[Table], Any]:
    """Ask after it."""
    found = []
    for _ in range(count):
        start = time.monotonic()
        call("status", "--to", device.uri)
        found.append(time.monotonic() - start)
    row = (round(statistics.median(found), 2), round(max(found), 2))
    return [Table(f"Status, seconds, of {count}", ("median", "worst"), (row,))], found


def killed(count: int, seed: int) -> tuple[list[Table], Any]:
    """Kill flashes; the tables say in which steps, and what was current then and after."""
    with reached() as device, pytest.MonkeyPatch.context() as patch:
        assert device.server is not None
        device.furnish()
        (device.root / "lock").touch()  # so that it is seen to be one of ours
        patch.setattr(workflow, "device_environment", lambda *_, **__: device.made)
        with tempfile.TemporaryDirectory() as folder:
            rig = Rig(device, Path(folder), device.server.cut)
            rig.measure()
            start, done = time.monotonic(), []
            for kill in kills(rig, count, seed):
                done.append(kill)
                print(f"{time.monotonic() - start:.0f} s: {kill}", file=sys.stderr, flush=True)
            seconds = time.monotonic() - start
    tables = kill_tables(done)
    return tables, {"seconds": round(seconds, 1), "of_a_flash": rig.seconds,
                    "kills": [asdict(kill) for kill in done]}  # fmt: skip


def killed_beside(count: int, seed: int, devices: int) -> tuple[list[Table], Any]:
    """Kill flashes of several devices at a time, each in a process of its own."""
    start, done, facts = time.monotonic(), [], []
    with tempfile.TemporaryDirectory() as folder:
        working = []
        for i in range(devices):
            share = count // devices + (i < count % devices)
            words = ["kills", "--kills", str(share), "--seed", str(seed + i), "--devices", "1"]
            words += ["-o", f"{folder}/{i}.json"]
            program = [sys.executable, "-m", "tests.bench.flash", *words]
            working.append(subprocess.Popen(program, cwd=ROOT, stdout=subprocess.DEVNULL))
        for i, work in enumerate(working):
            assert work.wait() == 0, "a device failed, see above"
            found = json.loads(Path(folder, f"{i}.json").read_bytes())["kills"]
            facts.append(found)
            done += [Kill(**kill) for kill in found["kills"]]
    seconds = round(time.monotonic() - start, 1)
    return kill_tables(done), {"seconds": seconds, "devices": facts}


def kill_tables(done: Sequence[Kill]) -> list[Table]:
    """Return where kills fell and what was current."""
    hit = [kill for kill in done if kill.hit]
    kinds = list(dict.fromkeys(kill.kind for kill in hit))
    steps = list(dict.fromkeys(kill.step for kill in hit))
    where = Counter((kill.step, kill.kind) for kill in hit)
    rows = [(step, *(where[step, kind] for kind in kinds)) for step in steps]
    rows.append(("all", *(sum(where[step, kind] for step in steps) for kind in kinds)))
    current = Counter((kill.release, kill.current, kill.after or "-") for kill in hit)
    faults = [(kill.kind, kill.release, kill.step, kill.fault) for kill in done if kill.fault]
    tables = [
        Table("Kills by step and by what was killed", ("step", *kinds), tuple(rows)),
        Table("What was current", ("flashed", "at the kill", "at rest", "times"),
              tuple((*key, times) for key, times in sorted(current.items()))),
    ]  # fmt: skip
    if faults:
        tables.append(Table("Faults", ("killed", "flashed", "step", "fault"), tuple(faults)))
    return tables


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", default=PARTS)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--devices", type=int, default=2, help="whose flashes are killed at a time")
    parser.add_argument("--rollbacks", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nets", type=Path, default=cache_root() / "bench" / "flash")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)  # what stands here, not what is installed
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages are compiled
    tables: list[Table] = []
    facts: dict[str, Any] = {"load": [os.getloadavg()]}

    def take(name: str, found: tuple[list[Table], Any]) -> None:
        tables.extend(found[0])
        facts[name] = found[1]
        facts["load"].append(os.getloadavg())

    if {"flash", "rollback", "status"} & {*given.parts}:
        bundles = dict(nets(given.nets))
        with reached() as device:
            if "flash" in given.parts:
                take("flash", first_and_updates(device, bundles))
            else:
                for what in ("all weights new", "first"):
                    flashed(device, bundles[what])
            if "rollback" in given.parts:
                take("rollback", rollbacks(device, given.rollbacks))
            if "status" in given.parts:
                take("status", statuses(device, 5))
    if "kills" in given.parts:
        beside = given.devices > 1
        words = (given.kills, given.seed)
        take("kills", killed_beside(*words, given.devices) if beside else killed(*words))
    loads = ", ".join(f"{load[0]:.1f}" for load in facts["load"])
    report = Report("Flashing over ssh", f"load of this machine: {loads}", tuple(tables))
    print(render(report))
    if given.output is not None:
        given.output.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
