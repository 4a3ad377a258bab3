"""Whatever is wrong is said on one line, with the right exit code, and nothing is left behind."""

from __future__ import annotations

import io
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from converters.zoo.digits import digits_cnn
from tests.edge_sdk.cli_cases import DEVICE, PREPROCESS, Digits, Run, Said, listing

# The factory of a model file.
FACTORY = "from converters.zoo.digits import digits_cnn as net\n"


@pytest.fixture
def room(
    onnx_file: Path, digits: Digits, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working folder with a model, images and a bundle, and `out` for what is made."""
    for name, target in (
        ("net.onnx", onnx_file),
        ("images", digits.train),
        ("heldout", digits.heldout),
        ("digits.edge", bundle),
    ):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "out").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "few").mkdir()
    for path in sorted(digits.train.glob("3/*.png")):
        shutil.copy(path, tmp_path / "few")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nothing_happened(said: Said, code: int, *words: str) -> None:
    """Check the one line, its words, and that there is nothing else."""
    assert said.code == code, said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    assert [word for word in words if word not in said.last] == [], said.last
    assert re.match(r"edge-sdk [a-z]+: .", said.last)
    # Before it, only what was being done: "capturing the model".
    assert all(not line.startswith("edge-sdk") for line in said.err.splitlines()[:-1])


@dataclass(frozen=True)
class Case:
    """A conversion with something wrong: other words on the command line, and what is said."""

    says: tuple[str, ...]
    model: str = "net.onnx"
    profile: str = DEVICE
    output: str = "out/x.edge"
    calibration: str = "images"
    more: tuple[str, ...] = ()
    files: dict[str, bytes | str] = field(default_factory=dict)
    code: int = 2


CONVERSIONS = {
    "no model file": Case(("nope.onnx: no such file",), "nope.onnx"),
    "no model at all": Case(("is no model that can be read; give net.onnx",), "nope"),
    "a drive letter": Case(("C:net.onnx: no such file",), "C:net.onnx"),
    "a colon in the folder": Case(("a:b/net.py: no such file",), "a:b/net.py:net"),
    "a model that is none": Case(
        ("bad.onnx is not a valid ONNX model",), "bad.onnx", files={"bad.onnx": b"\x08\xffgarbage"}
    ),
    "an empty model": Case(
        ("bad.onnx is not a valid ONNX model",), "bad.onnx", files={"bad.onnx": b""}
    ),
    "a syntax error": Case(
        ("net.py failed on import: SyntaxError", "line 1"),
        "net.py:net",
        files={"net.py": "def net(:"},
    ),
    "a factory of another name": Case(
        ("net.py has no function 'nett'; did you mean net",),
        "net.py:nett",
        files={"net.py": FACTORY},
    ),
    "a factory that fails": Case(
        ("failed when called without arguments: ZeroDivisionError",),
        "net.py:net",
        files={"net.py": "def net(): return 1 / 0"},
    ),
    "an unknown name of the zoo": Case(("the zoo has no model 'digit_cnn'",), "zoo:digit_cnn"),
    "weights that are not there": Case(
        ("weights none.safetensors cannot be read",),
        "net.py:net",
        more=("--weights", "none.safetensors"),
        files={"net.py": FACTORY},
    ),
    "weights that are damaged": Case(
        ("w.safetensors are not a whole .safetensors file",),
        "net.py:net",
        more=("--weights", "w.safetensors"),
        files={"net.py": FACTORY, "w.safetensors": b"\x00" * 40},
    ),
    "weights for a model with weights": Case(
        ("net.onnx carries its weights",), more=("--weights", "w.pth")
    ),
    "labels of another length": Case(
        ("two.txt has 2 labels, the model has 10 classes", "one line per class"),
        more=("--labels", "two.txt"),
        files={"two.txt": "yes\nno\n"},
    ),
    "labels that are not there": Case(("cannot read labels no.txt",), more=("--labels", "no.txt")),
    "labels that are a folder": Case(("cannot read labels out",), more=("--labels", "out")),
    "labels that are no text": Case(
        ("labels l.txt are not UTF-8",), more=("--labels", "l.txt"), files={"l.txt": b"\xff\n"}
    ),
    "an empty folder": Case(("no images in empty",), calibration="empty"),
    "a folder that is not there": Case(("nowhere does not exist",), calibration="nowhere"),
    "a file in place of a folder": Case(
        ("no images in some.txt",), calibration="some.txt", files={"some.txt": "text"}
    ),
    "a table without its images": Case(
        ("names 1 files of 1 that are not in", "gone.png"),
        calibration="t.csv",
        files={"t.csv": "gone.png,1\n"},
    ),
    "too few images": Case(("10 images of few are too few", "at least 16"), calibration="few"),
    "no samples": Case(("cannot take 0 samples",), more=("--samples", "0")),
    "fewer than none": Case(("cannot take -3 samples",), more=("--samples", "-3")),
    "too few samples": Case(("8 images of images", "raise --samples"), more=("--samples", "8")),
    "a validation set that is empty": Case(("no images in empty",), more=("--validation", "empty")),
    "an unknown profile": Case(
        ("no profile is called 'raspberry-pi'; did you mean raspberry-pi-",), profile="raspberry-pi"
    ),
    "a profile file that is not there": Case(("none.toml does not exist",), profile="none.toml"),
    "a profile file that is none": Case(
        ("p.toml is not valid TOML",), profile="p.toml", files={"p.toml": "= ="}
    ),
    "an unknown key in a profile": Case(
        ("p.toml", "memory_gb", "memory_mb"),
        profile="p.toml",
        files={"p.toml": f'inherits = "{DEVICE}"\n[hardware]\nmemory_gb = 8\n'},
    ),
    "an output folder that is not there": Case(("there is no folder none; make",), output="none/x"),
    "an output that is a folder": Case(("out is a folder; name a file",), output="out"),
    "an output that is the model": Case(("file of this very work",), output="./net.onnx"),
    "an output that is the model's code": Case(
        ("file of this very work",), "net.py:net", output="net.py", files={"net.py": FACTORY}
    ),
    "an output that is the labels": Case(
        ("file of this very work",), output="l", more=("--labels", "l"), files={"l": "a"}
    ),
    "an output that is the report": Case(
        ("file of this very work",), more=("--report", "out/../out/x.edge")
    ),
    "an output that is a device": Case(("/dev/null is no ordinary file",), output="/dev/null"),
    "an output where nothing can be written": Case(("/proc/x cannot be",), output="/proc/x"),
    "an output beyond all limits": Case(("cannot be written",), output="y" * 5000 + "/x.edge"),
    "an unknown format": Case(("'onxx'; did you mean onnx?",), more=("--format", "onxx")),
    "a precision that the device does not take": Case(
        ("has no rung for format auto at precision fp16; it allows onnx: fp32",),
        profile="p.toml",
        more=("--precision", "fp16"),
        files={
            "p.toml": f'inherits = "{DEVICE}"\n[[engine]]\nengine = "onnxruntime"\n'
            'provider = "cpu"\nprecisions = ["fp32"]\n'
        },
    ),
    "an unknown preprocessing": Case(
        ("no preprocessing is called 'imagnet'", "did you mean imagenet"),
        more=("--preprocess", "imagnet"),
    ),
    "an unknown key of a preprocessing": Case(
        ("colour", "did you mean color"), more=("--preprocess", "unit,colour=RGB")
    ),
    "a preprocessing of other channels": Case(
        ("give the size and colour",), more=("--preprocess", "unit")
    ),
    "an unknown task": Case(("'clasify'; did you mean classify?",), more=("--task", "clasify")),
    "a pass that is not there": Case(("no pass file at none.py",), more=("--pass", "none.py")),
    "a pass that does not import": Case(
        ("pass file p.py does not import",), more=("--pass", "p.py"), files={"p.py": "1 +"}
    ),
    "a pass file without a pass": Case(
        ("defines 0 passes",), more=("--pass", "p.py"), files={"p.py": "x = 1"}
    ),
    "a label offset beyond the classes": Case(
        ("outside the model's 10 outputs",), more=("--label-offset", "3")
    ),
    "a budget for raw outputs": Case(
        ("--max-drop needs something to measure",), more=("--task", "raw", "--max-drop", "1")
    ),
    "a budget below nothing": Case(("0 or more",), more=("--max-drop", "-1")),
    "a budget that is no number": Case(("0 or more",), more=("--max-drop", "nan")),
    "a report in a folder that is not there": Case(
        ("no folder none",), more=("--report", "none/r.html")
    ),
    "a report that is a folder": Case(("out is a folder",), more=("--report", "out")),
}


@pytest.mark.parametrize("case", CONVERSIONS.values(), ids=CONVERSIONS)
def test_convert(case: Case, room: Path, edge: Run) -> None:
    for name, content in case.files.items():
        data = content.encode() if isinstance(content, str) else content
        (room / name).write_bytes(data)
    preprocess = (
        [] if "--preprocess" in case.more or ":" in case.model else ["--preprocess", PREPROCESS]
    )
    words = ["convert", case.model, "--profile", case.profile, "-o", case.output]
    words += ["--calibration", case.calibration, "--samples", "40", *preprocess, *case.more]
    before = sorted(room.iterdir())
    nothing_happened(edge(*words), case.code, *case.says)
    assert not listing(room / "out")
    assert {p for p in room.iterdir() if p.name != "__pycache__"} == set(before)
    said = edge(*words, "--json")
    assert said.json.keys() == {"error", "kind", "exit_code"}
    assert said.json["error"] == said.last.partition(": ")[2]
    assert said.json["exit_code"] == case.code


def test_weights_of_another_model(room: Path, edge: Run) -> None:
    """The first missing and the first unexpected key are named; nothing is loaded by half."""
    (room / "net.py").write_text(FACTORY)
    state = digits_cnn().state_dict()
    state["fc.weight"] = state.pop("head.weight")
    save_file(state, room / "w.safetensors")
    torch.save({**digits_cnn().state_dict(), "head.bias": torch.zeros(7)}, room / "w.pth")
    words = ["convert", "net.py:net", "--profile", DEVICE, "-o", "out/x.edge"]
    words += ["--calibration", "images", "--weights"]
    said = edge(*words, "w.safetensors")
    nothing_happened(said, 2, "1 missing (first: head.weight)", "1 unexpected (first: fc.weight)")
    nothing_happened(edge(*words, "w.pth"), 2, "head.bias is (7,), the model has (10,)")
    assert not listing(room / "out")


def test_images_that_cannot_be_read(room: Path, edge: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without permission: root, who may run this, has every permission."""

    def denied(self: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(self))

    words = ["convert", "net.onnx", "--profile", DEVICE, "-o", "out/x.edge"]
    words += ["--preprocess", PREPROCESS, "--calibration", "images"]
    monkeypatch.setattr(Path, "iterdir", denied)
    said = edge(*words)
    monkeypatch.undo()
    nothing_happened(said, 2, "cannot read images: Permission denied")


@pytest.fixture
def two_hundred(room: Path, digits: Digits) -> Callable[[int], Path]:
    """Make a set of 200 images in classes, of which some, not the first, are none."""

    def make(damaged: int) -> Path:
        root = room / "many"
        paths = [*sorted(digits.train.rglob("*.png")), *sorted(digits.heldout.rglob("*.png"))]
        paths = (paths * 2)[:200]
        for number, path in enumerate(paths):
            folder = root / path.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            content = b"no image" if number >= 200 - damaged else path.read_bytes()
            (folder / f"{number:04d}.png").write_bytes(content)
        return root

    return make


CONVERT_MANY = ["convert", "net.onnx", "--profile", DEVICE, "-o", "out/x.edge", "--calibration"]
CONVERT_MANY += ["many", "--preprocess", PREPROCESS, "--samples", "150"]


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_a_few_images_that_do_not_decode(
    precision: str, two_hundred: Callable[[int], Path], room: Path, edge: Run
) -> None:
    """They are left out, and named, wherever in the set they lie."""
    many = two_hundred(2)
    said = edge(*CONVERT_MANY, "--json", "--precision", precision)
    assert said.code == 0, said.err
    notes = [note for note in said.json["notes"] if "does not decode" in note]
    damaged = [p for p in many.rglob("*.png") if p.read_bytes() == b"no image"]
    named = {f"{p.relative_to(room)} does not decode and was left out" for p in damaged}
    # Float32 needs no calibration: what was not looked at is not known to be damaged.
    assert set(notes) == named if precision == "auto" else set(notes) <= named
    shown = edge("check", "out/x.edge", "--data", many, "--json")
    assert shown.code == 0
    assert len(shown.json["facts"]["unreadable"]) == 2
    assert any("2 images do not decode" in note for note in shown.json["notes"])
    assert shown.json["facts"]["artifacts"][0]["n"] == 198


def test_many_images_that_do_not_decode(
    two_hundred: Callable[[int], Path], room: Path, edge: Run
) -> None:
    many = two_hundred(50)
    said = edge(*CONVERT_MANY)
    nothing_happened(said, 2, "images of many cannot be read, more than the 2% allowed", ".png")
    assert not listing(room / "out")
    said = edge("check", "digits.edge", "--data", many)
    nothing_happened(said, 2, "5 of 200 images of", "first: 0160.png, 0161.png, 0162.png")


def a_bit_flipped(at: float) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        position = int(at * (len(data) - 1))
        return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]

    return flip


def _other_zip(_data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return file.getvalue()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    **{
        f"a bit flipped at {at}": a_bit_flipped(at) for at in (0, 0.02, 0.1, 0.3, 0.5, 0.9, 0.99, 1)
    },
    "cut in half": lambda data: data[: len(data) // 2],
    "cut at the end": lambda data: data[:-1],
    "empty": lambda data: b"",
    "text": lambda data: b"this is no bundle\n" * 100,
    "another zip": _other_zip,
    "more at its end": lambda data: data + b"\0",
}
USES: dict[str, list[str]] = {
    "inspect": [],
    "check": ["--data", "heldout"],
    "bench": ["--runs", "10"],
    "run": ["--source", "synthetic:noise", "--sink", "out/x.jsonl"],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_bundle(damage: Callable[[bytes], bytes], room: Path, edge: Run) -> None:
    (room / "bad.edge").write_bytes(damage((room / "digits.edge").read_bytes()))
    for verb, more in USES.items():
        nothing_happened(edge(verb, "bad.edge", *more), 2, "bad.edge")
    assert not listing(room / "out")


@pytest.mark.parametrize("path", ["nope.edge", "out", "nope/x.edge", "x" * 5000])
def test_bundle_that_is_not_there(path: str, room: Path, edge: Run) -> None:
    for verb, more in USES.items():
        nothing_happened(edge(verb, path, *more), 2, f"{path}: no such file")


CHECKS: dict[str, tuple[list[str], str]] = {
    "no data": (["--data", "nowhere"], "nowhere does not exist"),
    "empty data": (["--data", "empty"], "no images in empty"),
    "no samples": (["--samples", "0"], "cannot take 0 samples"),
    "a reference that is not there": (["--reference", "none.onnx"], "none.onnx: no such file"),
    "a reference of another kind": (["--reference", "zoo:nope"], "the zoo has no model 'nope'"),
    "a label offset beyond": (["--label-offset", "-1"], "outside the model's 10 outputs"),
    "a report nowhere": (["--report", "none/r.html"], "there is no folder none"),
    "a budget that is none": (["--max-drop", "inf"], "0 or more"),
}


@pytest.mark.parametrize(("words", "says"), CHECKS.values(), ids=CHECKS)
def test_check(words: list[str], says: str, room: Path, edge: Run) -> None:
    data = [] if "--data" in words else ["--data", "heldout"]
    nothing_happened(edge("check", "digits.edge", *data, *words), 2, says)


RUNS: dict[str, tuple[list[str], str]] = {
    "a video that is none": (["--source", "text.mp4"], "text.mp4: no video frame can be read"),
    "a source that is not there": (["--source", "none.mp4"], "none.mp4: no such file"),
    "an empty folder": (["--source", "empty"], "empty: holds no image files"),
    "an unknown scene": (["--source", "synthetic:nois"], "did you mean noise"),
    "no such camera": (["--source", "camera:97"], "camera:97"),
    "a sink nowhere": (["--sink", "none/x.jsonl"], "make the folder none first"),
    "a video nowhere": (["--sink", "none/x.mp4"], "make the folder none first"),
    "a sink in a place that is not writable": (["--sink", "/proc/x.mp4"], "/proc/x.mp4: cannot be"),
    "a sink of no kind": (["--sink", "x.txt"], "x.txt: not a sink of any kind"),
    "no frames": (["--max-frames", "0"], "must be at least 1, not 0"),
    "results and report on one stream": (["--sink", "-", "--json"], "leave one out"),
}


@pytest.mark.parametrize(("words", "says"), RUNS.values(), ids=RUNS)
def test_run(words: list[str], says: str, room: Path, edge: Run) -> None:
    (room / "text.mp4").write_text("this is no video\n" * 50)
    before = sorted(room.iterdir())
    source = [] if "--source" in words else ["--source", "synthetic:noise?frames=3"]
    said = edge("run", "digits.edge", *source, *words)
    assert said.code == 2
    assert says in said.last
    assert sorted(room.iterdir()) == before


@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("onnxruntime", ["check", "digits.edge", "--data", "heldout"]),
        ("onnxruntime", ["run", "digits.edge", "--source", "synthetic:noise"]),
        ("cv2", ["check", "digits.edge", "--data", "heldout"]),
        ("cv2", ["run", "digits.edge", "--source", "heldout/1"]),
    ],
)
def test_missing_packages(
    package: str, words: list[str], room: Path, edge: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    said = edge(*words)
    assert said.code == 3
    assert "pip install 'edge-sdk[" in said.last


def test_demo_that_cannot_be_written(room: Path, edge: Run) -> None:
    (room / "file").write_text("")
    for place in ("file", "file/demo", "/proc/demo"):
        nothing_happened(edge("demo", "-o", place), 2, f"{place} cannot be made")


def test_debug_shows_where(room: Path, edge: Run) -> None:
    said = edge("inspect", "nope.edge", "--debug")
    assert said.code == 2
    assert "Traceback (most recent call last)" in said.err
    assert "open_bundle" in said.err
    assert said.last.startswith("edge-sdk inspect: nope.edge: no such file")
