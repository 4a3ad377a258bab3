"""Our TFLite files on the MobileNets: seconds to convert, accuracy, and the authors' files beside.

    EDGE_SDK_MODELS=PACK python tests/bench/tflite.py [RUNS]

Each file is made in RUNS fresh processes. Every fifth of the pack's 500 photos calibrates, all are
asked. The latencies of our int8 file and of its authors' integer file of the same architecture are
measured in turns, in random order, on one thread; their ratio is that of neighbours in time.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

PACK = Path(os.environ["EDGE_SDK_MODELS"]) / "classification"
CALIBRATE_EVERY = 5
ROUNDS = 400
WARM = 20
AUTHORS = "authors' integers"

# Our net and its weights; the authors' own integer file.
NETS = {
    "mobilenet_v2_tf": (
        "mobilenet_v2_1.0_224_imagenet_offgrid.safetensors",
        "mobilenet_v2_1.0_224_quant.tflite",
    ),
    "mobilenet_v1_025_tf": (
        "mobilenet_v1_0.25_224_imagenet.safetensors",
        "mobilenet_v1_0.25_224_quant.tflite",
    ),
}

Frames = list[NDArray[np.uint8]]


def convert(net: str, precision: str, file: Path) -> None:
    """Convert in this process; print the seconds that it took, without the imports."""
    from converters.loaders import LoadOptions, load_model
    from converters.produce import prepare, produce
    from converters.recipe import Recipe
    from runtime.probe import peak_memory

    frames = photos(net)[::CALIBRATE_EVERY] if precision == "int8" else []
    used, started = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter()
    captured = load_model(f"zoo:{net}", LoadOptions(PACK / "weights" / NETS[net][0]))
    assert captured.contract is not None
    ready = prepare(captured, captured.contract)
    made = produce(ready, Recipe("tflite", "litert", "cpu", precision), frames, {})
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    file.write_bytes(made.data)
    found = {"s": wall, "user s": after.ru_utime - used, "peak MiB": peak_memory()}
    print("\n" + json.dumps(found))


def timed(net: str, precision: str, file: Path) -> dict[str, float]:
    """Convert in a fresh process; return what it measured, and what the whole process took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    started = time.perf_counter()
    command = [sys.executable, __file__, "--convert", net, precision, str(file)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    found["process s"] = time.perf_counter() - started
    found["process user s"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - used
    return found


def photos(net: str) -> Frames:
    """Return the 500 photos as `net` takes them."""
    from converters.zoo import create
    from runtime.images import image_files, read_image
    from runtime.preprocess import prepare

    contract = create(net).input_contract
    paths = image_files(PACK / "imagenet_even500")
    return [prepare(read_image(path), contract)[None] for path in paths]


def opened(model: bytes, threads: int) -> Any:
    from runtime.engines import EngineOptions, open_engine

    return open_engine("litert", model, EngineOptions(threads=threads))


def logits(model: bytes, frames: Frames) -> NDArray[np.float32]:
    engine = opened(model, 2)
    return np.concatenate([np.asarray(engine.run([frame])[0], np.float32) for frame in frames])


def latencies(models: list[bytes], frames: Frames) -> NDArray[np.float64]:
    """Return milliseconds, (model, round), taken in turns."""
    engines = [opened(model, 1) for model in models]
    order = np.random.default_rng(0)
    taken = np.zeros((len(models), ROUNDS + WARM))
    for turn in range(ROUNDS + WARM):
        frame = frames[turn % len(frames)]
        for index in order.permutation(len(models)):
            started = time.perf_counter()
            engines[index].run([frame])
            taken[index, turn] = 1e3 * (time.perf_counter() - started)
    return taken[:, WARM:]


def main(runs: int) -> None:
    """Measure and print."""
    labels = np.array([int(p.name[:4]) for p in sorted((PACK / "imagenet_even500").glob("*.jpg"))])
    with tempfile.TemporaryDirectory() as folder:
        for net, (_, theirs) in NETS.items():
            frames = photos(net)
            files = {p: Path(folder) / f"{net}.{p}.tflite" for p in ("fp32", "int8")}
            for precision, file in files.items():
                found = [timed(net, precision, file) for _ in range(runs)]
                for what in found[0]:
                    values = sorted(run[what] for run in found)
                    spread = f"({values[0]:.1f} to {values[-1]:.1f})"
                    print(f"{net} {precision}: {what} {statistics.median(values):.1f} {spread}")
            models = {p: file.read_bytes() for p, file in files.items()}
            models[AUTHORS] = (PACK / "weights" / theirs).read_bytes()
            exact = logits(models["fp32"], frames)[:, 1:].argmax(axis=1)
            for name, model in models.items():
                # Ours take the camera's blue, green, red.
                shown = [f[..., ::-1].copy() for f in frames] if name == AUTHORS else frames
                top = logits(model, shown)[:, 1:].argmax(axis=1)
                print(
                    f"{net} {name}: {len(model) / 1e6:.2f} MB, top-1 {(top == labels).mean():.1%}, "
                    f"as float {(top == exact).mean():.1%}"
                )
            ours, other = latencies([models["int8"], models[AUTHORS]], frames)
            print(
                f"{net}: ours {np.median(ours):.2f} ms, authors' {np.median(other):.2f} ms, "
                f"ratio {np.median(ours / other):.3f}"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--convert"]:
        convert(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
