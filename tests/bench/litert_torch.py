"""litert-torch on MobileNetV2: MB on disk, seconds to convert, operators, and how well it answers.

    EDGE_SDK_MODELS=PACK python tests/bench/litert_torch.py [RUNS] [FOLDER]

Run it with the Python of an environment of its own:

    python -m venv PLACE
    PLACE/bin/python -m pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
    PLACE/bin/python -m pip install litert-torch==0.10.0

Each file is made in RUNS fresh processes: float (channels last, as its documentation says); static
int8 by ai-edge-quantizer's default recipe; static int8 per channel by torch's PT2E. Every fifth of
the pack's 500 photos calibrates, all are asked. FOLDER keeps the files.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)  # in place of this folder, where a file is called litert_torch

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

PACK = Path(os.environ["EDGE_SDK_MODELS"]) / "classification"
WEIGHTS = PACK / "weights" / "mobilenet_v2_1.0_224_imagenet_offgrid.safetensors"
PHOTOS = sorted((PACK / "imagenet_even500").glob("*.jpg"))
CALIBRATE_EVERY = 5
THREADS = 2
SIZE, SHORTER_SIDE = 224, 256

Array = NDArray[np.float32]
Step = Callable[[], None]


def network() -> Any:
    """Return the trained float net, (N, 3, 224, 224) to logits (N, 1001)."""
    # The package itself wants onnx-ir, which this environment lacks; its nets do not.
    package = ModuleType("converters")
    package.__path__ = [str(ROOT / "converters")]
    sys.modules["converters"] = package
    from safetensors.torch import load_file

    from converters.zoo.mobilenet import mobilenet_v2_tf

    net = mobilenet_v2_tf()
    net.load_state_dict(load_file(WEIGHTS))
    return net


def convert(folder: Path) -> Step:
    """Return what writes the float file."""
    import litert_torch
    import torch

    net = litert_torch.to_channel_last_io(network(), args=[0]).eval()
    example = (torch.zeros(1, SIZE, SIZE, 3),)
    return lambda: litert_torch.convert(net, example).export(str(folder / FILES["fp32"]))


def quantize(folder: Path) -> Step:
    """Return what quantizes the float file by ai-edge-quantizer's default static recipe."""
    from ai_edge_quantizer import quantizer, recipe

    data = {"serving_default": [{"args_0": photo} for photo in photos()[::CALIBRATE_EVERY]]}

    def work() -> None:
        tool = quantizer.Quantizer(str(folder / FILES["fp32"]), recipe.static_wi8_ai8())
        ranges = tool.calibrate(data, num_threads=THREADS)
        tool.quantize(ranges).export_model(str(folder / FILES["int8"]), True)

    return work


def quantize_pt2e(folder: Path) -> Step:
    """Return what quantizes the torch net (static, per channel) and writes that."""
    import litert_torch
    import torch
    from litert_torch.quantize import pt2e_quantizer, quant_config
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    net = litert_torch.to_channel_last_io(network(), args=[0]).eval()
    frames = [torch.from_numpy(photo) for photo in photos()[::CALIBRATE_EVERY]]
    scheme = pt2e_quantizer.get_symmetric_quantization_config(is_per_channel=True)
    quantizer = pt2e_quantizer.PT2EQuantizer().set_global(scheme)
    config = quant_config.QuantConfig(pt2e_quantizer=quantizer)

    def work() -> None:
        observed = prepare_pt2e(torch.export.export(net, (frames[0],)).module(), quantizer)
        with torch.no_grad():
            for frame in frames:
                observed(frame)
        whole = convert_pt2e(observed, fold_quantize=False)
        done = litert_torch.convert(whole, (frames[0],), quant_config=config)
        done.export(str(folder / FILES["int8, PT2E"]))

    return work


STEPS = {"fp32": convert, "int8": quantize, "int8, PT2E": quantize_pt2e}
FILES = {
    "fp32": "litert_torch_mbv2.tflite",
    "int8": "litert_torch_mbv2_int8.tflite",
    "int8, PT2E": "litert_torch_mbv2_pt2e.tflite",
}


def inside(name: str, folder: Path) -> None:
    """Do a step in this process; print the seconds that it took, without the imports."""
    work = STEPS[name](folder)
    used, started = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter()
    work()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    found = {"s": wall, "user s": after.ru_utime - used, "peak MiB": after.ru_maxrss / 1024}
    print("\n" + json.dumps(found))


def outside(name: str, folder: Path) -> dict[str, float]:
    """Do a step in a fresh process; return what it measured, and what the whole process took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    started = time.perf_counter()
    command = [sys.executable, __file__, "--step", name, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    found["process s"] = time.perf_counter() - started
    found["process user s"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - used
    return found


def photos() -> list[Array]:
    """Return the 500 photos in the order of their names."""
    return [image(path) for path in PHOTOS]


def image(path: Path) -> Array:
    """Return a photo as the net wants it, (1, 224, 224, 3), -1 to 1."""
    from PIL import Image

    photo = Image.open(path).convert("RGB")
    ratio = SHORTER_SIDE / min(photo.size)
    width, height = (round(side * ratio) for side in photo.size)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    photo = photo.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(photo.crop((left, top, left + SIZE, top + SIZE)), np.float32)
    prepared: Array = pixels / np.float32(127.5) - np.float32(1)
    return prepared[None]


def answers(model: Path, images: list[Array]) -> Array:
    """Return the logits of a .tflite, (N, 1001), computed by LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model), num_threads=THREADS)
    interpreter.allocate_tensors()
    (entry,), (leave,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for photo in images:
        scale, zero = entry["quantization"]
        whole = np.clip(np.round(photo / scale) + zero, -128, 127) if scale else photo
        interpreter.set_tensor(entry["index"], whole.astype(entry["dtype"]))
        interpreter.invoke()
        logits = interpreter.get_tensor(leave["index"]).astype(np.float32)
        scale, zero = leave["quantization"]
        rows.append((logits - zero) * scale if scale else logits)
    return np.concatenate(rows)


def reference(images: list[Array]) -> Array:
    """Return the logits of the torch net, (N, 1001)."""
    import torch

    net = network()
    with torch.no_grad():
        rows = [net(torch.from_numpy(photo).permute(0, 3, 1, 2)).numpy() for photo in images]
    return np.concatenate(rows)


def operators(model: Path) -> Counter[str]:
    """Return how often each operator occurs in a .tflite."""
    from ai_edge_litert import schema_py_generated as schema

    net = schema.ModelT.InitFromPackedBuf(model.read_bytes(), 0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in net.operatorCodes]
    return Counter(
        names[codes[op.opcodeIndex]] for graph in net.subgraphs for op in graph.operators
    )


def megabytes(*roots: str) -> float:
    """Return the size of packages and of all that they require, without bytecode, in MB."""
    left, seen, total = list(roots), set(), 0
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        found = distribution(name)
        paths = (Path(str(file.locate())) for file in found.files or ())
        total += sum(p.stat().st_size for p in paths if p.suffix != ".pyc" and p.is_file())
        left += [r for r in map(_required, found.requires or ()) if r]
    return total / 1e6


def _required(line: str) -> str:
    """Return the name in a requirement that holds here, else an empty string."""
    from packaging.requirements import Requirement

    requirement = Requirement(line)
    holds = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    return requirement.name if holds else ""


def judge(name: str, logits: Array, expected: Array) -> None:
    """Print accuracy (class 0 is background), agreement and the largest difference."""
    labels = np.array([int(path.name[:4]) for path in PHOTOS])
    top, same = (values[:, 1:].argmax(axis=1) for values in (logits, expected))
    worst = float(np.abs(logits - expected).max())
    print(
        f"{name}: top-1 {(top == labels).mean():.1%} of {len(labels)}, as torch "
        f"{(top == same).mean():.1%}, max difference {worst:.3g} of {np.ptp(expected):.3g}"
    )


def main(runs: int, folder: Path) -> None:
    """Measure and print."""
    torch_alone, whole = megabytes("torch"), megabytes("torch", "litert-torch")
    print(f"installed: {whole:.0f} MB, {whole - torch_alone:.0f} of them on top of torch's")
    folder.mkdir(parents=True, exist_ok=True)
    for name in STEPS:
        found = [outside(name, folder) for _ in range(runs)]
        for what in found[0]:
            values = sorted(run[what] for run in found)
            middle = statistics.median(values)
            print(f"{name}: {what} {middle:.1f} ({values[0]:.1f} to {values[-1]:.1f}), n = {runs}")
    images = photos()
    expected = reference(images)
    judge("torch", expected, expected)
    for name, file in FILES.items():
        judge(name, answers(folder / file, images), expected)
        size = (folder / file).stat().st_size / 1e6
        print(f"{name}: {size:.2f} MB, {dict(operators(folder / file))}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        inside(sys.argv[2], Path(sys.argv[3]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(int((sys.argv[1:] or ["3"])[0]), Path((sys.argv[2:] or [scratch])[0]))
