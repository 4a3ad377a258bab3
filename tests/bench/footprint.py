"""What the device side costs: MB on disk, time from process start to first result, peak memory.

    python tests/bench/footprint.py BUNDLE IMAGE [RUNS]

Makes environments in a temporary folder: `pip install .[onnx]` (`.[tflite]` for a bundle of TFLite
files), with `camera`, and the plain onnxruntime (LiteRT), numpy and opencv that a user would script
with. All run on one image, in turns: the plain script and the opened bundle its last artifact, the
proven one the first that reproduces its golden set. The plain script checks nothing: no hashes, no
golden set, no provider.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MEASURE = """
import json, os, sys, time
from pathlib import Path
def report():
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    start = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps({"ms": 1e3 * start, "mb": peak}))
"""

FRAME = """
import cv2, numpy
model, image, height, width, color = sys.argv[1:6]
frame = cv2.resize(cv2.imread(image), (int(width), int(height)))
frame = frame if color != "GRAY" else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)[..., None]
"""

ONNXRUNTIME = (
    FRAME
    + """
import onnxruntime
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
scores = session.run(None, {session.get_inputs()[0].name: frame[None]})[0]
assert scores.argmax() >= 0
report()
"""
)

LITERT = (
    FRAME
    + """
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model)
interpreter.allocate_tensors()
takes = interpreter.get_input_details()[0]
interpreter.set_tensor(takes["index"], (frame ^ 128 if takes["dtype"] == numpy.int8 else frame)[
    None].view(takes["dtype"]))
interpreter.invoke()
scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
assert scores.argmax() >= 0
report()
"""
)

# Engine -> our extra, its package, the plain script.
ENGINES = {
    "onnxruntime": ("onnx", "onnxruntime", ONNXRUNTIME),
    "litert": ("tflite", "ai-edge-litert", LITERT),
}

OURS = """
from runtime.bundle import open_bundle
from runtime.images import read_image
from runtime.preprocess import prepare
from runtime.tasks import TaskContext, decoder
bundle = open_bundle(sys.argv[1])
engine = bundle.open_engine(len(bundle.manifest.artifacts) - 1)
image = read_image(sys.argv[2])
outputs = engine.run([prepare(image, bundle.manifest.input)[None]])
context = TaskContext(bundle.labels, bundle.manifest.input, *image.shape[:2])
assert decoder(bundle.manifest.task)(outputs, context).to_json()
report()
"""

PROVEN = OURS.replace(
    "engine = bundle.open_engine(len(bundle.manifest.artifacts) - 1)",
    "from runtime.ladder import open_ladder\nengine = open_ladder(bundle)",
)


def environment(folder: Path, *packages: str) -> Path:
    """Make a virtual environment with `packages`; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", *packages]
    subprocess.run(command, cwd=ROOT, check=True)
    return python


def megabytes(python: Path) -> float:
    """Return the size of the installed packages without pip and bytecode, in MB."""
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    files = (path for path in site.rglob("*") if path.is_file() and not path.is_symlink())
    kept = (p for p in files if p.suffix != ".pyc" and p.relative_to(site).parts[0][:3] != "pip")
    return sum(path.stat().st_size for path in kept) / 1e6


def run(python: Path, script: str, *arguments: str) -> dict[str, float]:
    """Run one process and return its milliseconds and MiB."""
    done = subprocess.run(
        [str(python), "-c", MEASURE + script, *arguments],
        cwd="/", capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(bundle: Path, image: Path, runs: int) -> None:
    """Install, measure in turns, print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(bundle) as archive:
            manifest = json.loads(archive.read("manifest.json"))
            last = manifest["artifacts"][-1]
            model = archive.extract(last["file"]["path"], folder)
        size = [str(manifest["input"][axis]) for axis in ("height", "width", "color")]
        extra, package, script = ENGINES[last["engine"]]
        light = environment(folder / "light", f".[{extra}]")
        ours = environment(folder / "ours", f".[{extra},camera]")
        plain = environment(folder / "plain", package, "numpy", "opencv-python-headless")
        cases = {
            "plain script": (plain, script, model, str(image), *size),
            "bundle, opened": (ours, OURS, str(bundle), str(image)),
            "bundle, proven": (ours, PROVEN, str(bundle), str(image)),
        }
        found: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
        for _ in range(runs):
            for case, arguments in cases.items():
                found[case].append(run(*arguments))
        sizes = {f"[{extra}]": light, f"[{extra},camera]": ours, "plain": plain}
        for what, python in sizes.items():
            print(f"installed {what:16} {megabytes(python):7.1f} MB")
        for case, results in found.items():
            print(f"{case:16} {summary(results)}")


def summary(results: list[dict[str, float]]) -> str:
    """Return median and range of the times, and the median of the peaks."""
    times = sorted(result["ms"] for result in results)
    peak = statistics.median(result["mb"] for result in results)
    return (
        f"{statistics.median(times):7.0f} ms to the first result ({times[0]:.0f} to "
        f"{times[-1]:.0f}), peak {peak:.0f} MiB, n = {len(results)}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), int((sys.argv[3:] or ["15"])[0]))
