"""Frames per second of the whole pipeline, from a 720p file, against the bare engine and a script.

    python tests/bench/throughput.py BUNDLE MODEL.onnx VIDEO [ROUNDS]

BUNDLE is a classifier whose first artifact is ONNX for the CPU, MODEL.onnx the same network as
`torch.onnx.export` writes it (float32, NCHW, no normalisation inside), VIDEO anything that OpenCV
reads: it is written again as 720p, in MPEG-4 part 2 and in Motion JPEG. In turns, each in a process
of its own, with 1 and 2 threads of the engine:

    engine    onnxruntime's `session.run` in a loop, as it comes, on one ready tensor
    pipeline  edge-sdk: read, prepare, run, decode, write JSON lines
    script    what tutorials do: read, cvtColor, resize, normalise in numpy, run, argmax

Per frame: wall time, CPU time of the process (getrusage), minor page faults, and calls of malloc
and its kin (counted by a library that is put before libc, with PYTHONMALLOC=malloc, in a run of its
own; needs a C compiler), of any size and of 64 KiB or more. The median over the rounds is printed.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WARM, FRAMES = 20, 200
LARGE = 64 << 10

COUNTER = """
#include <stddef.h>
#include <errno.h>
#include <stdatomic.h>
void *__libc_malloc(size_t); void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t); void *__libc_memalign(size_t, size_t);
_Atomic long edge_any, edge_large;
static void count(size_t size) { edge_any++; if (size >= LARGE) edge_large++; }
void *malloc(size_t n) { count(n); return __libc_malloc(n); }
void *calloc(size_t m, size_t n) { count(m * n); return __libc_calloc(m, n); }
void *realloc(void *p, size_t n) { count(n); return __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { count(n); return __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { count(n); return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) {
    count(n); *p = __libc_memalign(a, n); return *p ? 0 : ENOMEM;
}
"""


def engine(bundle: str, threads: int) -> Iterator[None]:
    """Run the artifact on one ready tensor again and again."""
    import numpy as np
    import onnxruntime

    from runtime.bundle import open_bundle

    with open_bundle(bundle) as opened:
        model = opened.read(opened.manifest.artifacts[0].file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in given.shape]
    tensor = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    while True:
        session.run(None, {given.name: tensor})
        yield


def pipeline(bundle: str, video: str, threads: int) -> Iterator[None]:
    """Run what `edge-sdk run BUNDLE --source VIDEO --sink results.jsonl` runs."""
    from edge_sdk import RunOptions, open_pipeline

    with tempfile.TemporaryDirectory() as folder:
        sink = f"{folder}/results.jsonl"
        with open_pipeline(bundle, video, [sink], RunOptions(threads=threads)) as running:
            for _ in running:
                yield


def script(model: str, video: str, threads: int) -> Iterator[None]:
    """Do what tutorials do."""
    import cv2
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    capture = cv2.VideoCapture(video)
    while True:
        ok, frame = capture.read()
        if not ok:
            return
        image = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), (224, 224))
        tensor = (image.astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)[None]
        scores = session.run(None, {name: tensor})[0]
        assert int(np.argmax(scores)) >= 0
        yield


CONTENDERS = {"engine": engine, "pipeline": pipeline, "script": script}


def measure(name: str, *rest: str) -> dict[str, float]:
    """Run one contender in this process: figures per frame after WARM frames."""
    frames = CONTENDERS[name](*rest[:-1], threads=int(rest[-1]))  # type: ignore[operator]
    for _ in range(WARM):
        next(frames)
    before = _now()
    for _ in range(FRAMES):
        next(frames)
    after = _now()
    frames.close()
    return {key: (after[key] - before[key]) / FRAMES for key in before}


def _now() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "wall_ms": 1e3 * time.perf_counter(),
        "cpu_ms": 1e3 * (used.ru_utime + used.ru_stime),
        "faults": float(used.ru_minflt),
    }
    if "LD_PRELOAD" in os.environ:
        library = ctypes.CDLL(None)
        for key in ("any", "large"):
            found[f"mallocs_{key}"] = float(ctypes.c_long.in_dll(library, f"edge_{key}").value)
    return found


def apart(counter: Path | None, *words: str) -> dict[str, float]:
    """Measure in a process of its own."""
    variables = dict(os.environ, PYTHONPATH=str(ROOT))
    if counter is not None:
        variables |= {"LD_PRELOAD": str(counter), "PYTHONMALLOC": "malloc"}
    command = [sys.executable, __file__, "--measure", *words]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_video(source: str, path: Path, code: str) -> None:
    """Write enough frames of `source`, from its start again and again, as 1280 x 720."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 30, (1280, 720))
    capture = cv2.VideoCapture(source)
    for _ in range(WARM + FRAMES + 20):
        ok, frame = capture.read()
        if not ok:
            capture = cv2.VideoCapture(source)
            ok, frame = capture.read()
        assert ok, source
        writer.write(cv2.resize(frame, (1280, 720), interpolation=cv2.INTER_CUBIC))
    writer.release()


def build_counter(folder: Path) -> Path | None:
    """Compile what counts allocations; None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    (folder / "counter.c").write_text(COUNTER)
    library = folder / "counter.so"
    flags = ["-O2", "-shared", "-fPIC", f"-DLARGE={LARGE}"]
    subprocess.run([compiler, *flags, "-o", library, folder / "counter.c"], check=True)
    return library


def main(bundle: str, model: str, video: str, rounds: int) -> None:
    """Measure all and print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counter = build_counter(folder)
        cases: list[tuple[str, ...]] = []
        for file, code in (("mpeg4.mp4", "mp4v"), ("mjpeg.avi", "MJPG")):
            write_video(video, folder / file, code)
        for threads in ("1", "2"):
            cases.append(("engine", bundle, threads))
            for file in ("mpeg4.mp4", "mjpeg.avi"):
                cases.append(("pipeline", bundle, str(folder / file), threads))
                cases.append(("script", model, str(folder / file), threads))
        timed: dict[tuple[str, ...], list[dict[str, float]]] = {case: [] for case in cases}
        for turn in range(rounds):
            for case in cases:
                timed[case].append(apart(None, *case))
            print(f"round {turn + 1} of {rounds}", file=sys.stderr)
        counts = {case: apart(counter, *case) if counter else {} for case in cases}
    _print(timed, counts)


def _print(timed: Any, counts: Any) -> None:
    print(f"{FRAMES} frames after {WARM}, median of {len(next(iter(timed.values())))} rounds")
    print("threads  what      video       fps  of engine  CPU ms  faults   mallocs  >= 64 KiB")
    base: dict[str, list[float]] = {}
    for case, turns in timed.items():
        name, threads = case[0], case[-1]
        file = Path(case[2]).stem if len(case) == 4 else "-"
        walls = [turn["wall_ms"] for turn in turns]
        base.setdefault(threads, walls)
        ratio = statistics.median(b / w for b, w in zip(base[threads], walls, strict=True))
        cpu, faults = (statistics.median(t[key] for t in turns) for key in ("cpu_ms", "faults"))
        any_, large = (counts[case].get(f"mallocs_{key}", float("nan")) for key in ("any", "large"))
        print(f"{threads:7}  {name:8}  {file:6} {1e3 / statistics.median(walls):7.1f}  {ratio:9.0%}"
              f"  {cpu:6.2f}  {faults:6.1f}  {any_:8.1f}  {large:9.2f}")  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(*sys.argv[2:])))
    elif len(sys.argv) in (4, 5):
        main(*sys.argv[1:4], int(sys.argv[4]) if len(sys.argv) == 5 else 5)
    else:
        sys.exit(__doc__)
