"""Every kind of MODEL but ONNX files: read, captured, or refused in one line."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from converters.capture import Captured
from converters.graphs import shape_of
from converters.loaders import LoadOptions, factory, load_model, pt2
from converters.zoo.digits import WEIGHTS, digits_cnn
from device_profiles.errors import ContractError, EdgeError, MissingError, ModelError, WeightsError
from runtime.contract import InputContract
from tests.converters.graph_cases import compute

TINY = LoadOptions(preprocess="unit,height=8,width=8")

NET = """
import torch
from torch import nn
from runtime.contract import InputContract

class Net(nn.Module):
    input_contract = InputContract(8, 8, color="BGR")
    task = "classify"
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
    def forward(self, x):
        return self.conv(x).amax((2, 3))

def net():
    from neighbour import seed  # found while the factory runs, too
    torch.manual_seed(seed)
    return Net()

def trained(): return Net().train()
def wide(channels): return Net()
def leaves(): raise SystemExit(3)
def fails(): return {}["key"]
def nothing(): return None
def a_class(): return Net
other = 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "net.py").write_text(NET)
    (folder / "neighbour.py").write_text("seed = 5\n")
    (folder / "package").mkdir()
    (folder / "package" / "module.py").write_text(NET)
    (folder / "package" / "broken.py").write_text("import no_such_thing\n")
    (folder / "syntax.py").write_text("def net(:\n    pass\n")
    (folder / "script.py").write_text("import sys\nsys.exit('usage: script')\n")
    (folder / "empty.py").write_text("")
    return folder


@pytest.fixture(autouse=True)
def _imports_leave_no_trace() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    assert sys.path == path
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in ("package", "neighbour"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def conv(folder: Path) -> nn.Conv2d:
    torch.manual_seed(5)
    return nn.Conv2d(3, 5, 3)


def assert_graph_is_reference(captured: Captured, expected: Any = None) -> None:
    """Hold graph, reference and, if given, a torch function against each other.

    All add some 30 float32 products; 1e-5 of the largest magnitude is 160 roundings.
    """
    (value,) = captured.graph.graph.inputs
    proto = ir.to_proto(captured.graph)
    images = np.random.default_rng(3).standard_normal((4, *shape_of(value)[1:]), np.float32)
    for image in images[:, None]:
        (ours,) = compute(proto, {str(value.name): image})
        (theirs,) = captured.reference(image)
        assert np.ptp(ours) > 0
        assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()
        if expected is not None:
            with torch.no_grad():
                answer = expected(torch.from_numpy(image)).numpy()
            assert np.abs(answer - theirs).max() < 1e-5 * np.abs(theirs).max()


def refused(spec: str, words: str, options: LoadOptions = TINY, kind: Any = ModelError) -> None:
    with pytest.raises(kind, match=words) as caught:
        load_model(spec, options)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == (3 if kind is MissingError else 2)


def test_factory_in_a_file(folder: Path, conv: nn.Conv2d) -> None:
    captured = load_model(f"{folder}/net.py:net")
    assert_graph_is_reference(captured, lambda x: conv(x).amax((2, 3)))
    assert (captured.name, captured.task) == ("net", "classify")
    assert captured.contract == InputContract(8, 8, color="BGR")


def test_factory_with_weights_in_training_mode(folder: Path, tmp_path: Path) -> None:
    weights = nn.Conv2d(3, 5, 3)
    torch.save(
        {f"conv.{key}": value for key, value in weights.state_dict().items()}, tmp_path / "w.pth"
    )
    captured = load_model(
        f"{folder}/net.py:trained", LoadOptions(tmp_path / "w.pth", "unit,height=10,width=9")
    )
    assert_graph_is_reference(captured, lambda x: weights(x).amax((2, 3)))
    digest = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()
    assert captured.origin["weights_sha256"] == digest
    assert captured.contract == InputContract(10, 9)  # the user's word, before the model's
    assert shape_of(captured.graph.graph.inputs[0]) == (1, 3, 10, 9)


@pytest.fixture
def created(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Skip the slow export, and collect what would have been exported."""
    found: list[nn.Module] = []

    def capture(net: nn.Module, example: Any, name: str, origin: Any) -> Captured:
        found.append(net)
        model = ir.Model(ir.Graph([], [], nodes=[], name="g"), ir_version=10)
        return Captured(name, model, lambda batch: [batch], origin=origin)

    monkeypatch.setattr(factory, "capture_module", capture)
    return found


def test_factory_in_a_module_of_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, created: list[nn.Module]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", ".", str(folder))])
    assert load_model("package.module:net").name == "net"
    assert type(created[0]).__module__ == "package.module"


def test_zoo(created: list[nn.Module]) -> None:
    weights = LoadOptions(weights=WEIGHTS)
    assert load_model("zoo:digits-cnn", weights).contract == digits_cnn().input_contract
    for key, tensor in digits_cnn().state_dict().items():
        assert torch.equal(created[0].state_dict()[key], tensor)


def test_a_class_is_a_factory(folder: Path, created: list[nn.Module]) -> None:
    load_model(f"{folder}/net.py:Net")
    assert not created[0].training


def fake(**members: Any) -> ModuleType:
    module = ModuleType("fake")
    vars(module).update(members)
    return module


@pytest.mark.parametrize("weights", [None, "given"])
def test_torchvision(
    monkeypatch: pytest.MonkeyPatch, created: list[nn.Module], tmp_path: Path, weights: str | None
) -> None:
    asked: list[tuple[str, Any]] = []

    def get_model(name: str, weights: str | None) -> nn.Module:
        asked.append((name, weights))
        return nn.Conv2d(3, 5, 3)

    monkeypatch.setitem(sys.modules, "torchvision", fake())
    monkeypatch.setitem(sys.modules, "torchvision.models", fake(get_model=get_model))
    torch.save(nn.Conv2d(3, 5, 3).state_dict(), tmp_path / "w.pth")
    file = tmp_path / "w.pth" if weights else None
    assert load_model("torchvision:net", LoadOptions(file, TINY.preprocess)).name == "net"
    assert asked == [("net", None if weights else "DEFAULT")]


@pytest.mark.parametrize("weights", [None, "given"])
def test_timm(
    monkeypatch: pytest.MonkeyPatch, created: list[nn.Module], tmp_path: Path, weights: str | None
) -> None:
    asked: list[tuple[str, bool]] = []

    def create_model(name: str, pretrained: bool) -> nn.Module:
        asked.append((name, pretrained))
        return nn.Conv2d(3, 5, 3)

    monkeypatch.setitem(sys.modules, "timm", fake(create_model=create_model))
    torch.save(nn.Conv2d(3, 5, 3).state_dict(), tmp_path / "w.pth")
    file = tmp_path / "w.pth" if weights else None
    assert load_model("timm:net.in1k", LoadOptions(file, TINY.preprocess)).name == "net.in1k"
    assert asked == [("net.in1k", weights is None)]


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_a_missing_collection_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in (package, f"{package}.models"):
        monkeypatch.setitem(sys.modules, name, None)
    refused(f"{package}:net", f"needs {package}.*pip install {package}", kind=MissingError)


def test_a_collection_that_does_not_know_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, pretrained: bool) -> nn.Module:
        raise RuntimeError(f"Unknown model ({name})")

    monkeypatch.setitem(sys.modules, "timm", fake(create_model=create_model))
    refused("timm:nett", r"timm:nett failed .*Unknown model \(nett\)")


BAD = [
    ("net.tflow", "net.tflow is no model .*net.onnx.*file.py:factory.*zoo:NAME"),
    ("net.py", "no model"),
    ("net.py:", "no model"),
    ("module:net", "no model"),
    ("", "no model"),
    ("{}/gone.py:net", "gone.py: no such file"),
    ("{}/package.py:net", "no such file"),
    ("{}/syntax.py:net", "syntax.py failed on import: SyntaxError: .*line 1"),
    ("{}/script.py:net", "script.py failed on import: .*SystemExit"),
    ("{}/empty.py:net", "no function 'net'; it defines none"),
    ("{}/net.py:nett", r"no function 'nett'; did you mean net\b"),
    ("{}/net.py:other", "no function 'other'"),
    ("{}/net.py:wide", "failed when called without arguments: TypeError: .*'channels'"),
    ("{}/net.py:leaves", r"SystemExit\(3\)"),
    ("{}/net.py:fails", "failed when called .*KeyError: 'key'"),
    ("{}/net.py:nothing", "net.py:nothing returned NoneType; it must be a torch.nn.Module"),
    ("{}/net.py:a_class", "returned type; it must be"),
    ("package.gone:net", "module package.gone cannot be imported: .*package.gone"),
    ("package.broken:net", "package.broken cannot be imported: .*no_such_thing"),
    ("package..module:net", "no model"),
    ("zoo:resnet19", "no model 'resnet19'; did you mean .*resnet18"),
    ("zoo:", "no model ''"),
    ("zoo:resnet18", "zoo:resnet18 is an architecture with random weights; .*--weights F"),
]


@pytest.mark.parametrize(("spec", "words"), BAD)
def test_bad_specs_are_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, spec: str, words: str
) -> None:
    monkeypatch.chdir(folder)
    refused(spec.format(folder), words)


def test_weights_of_another_net_name_the_keys(folder: Path) -> None:
    options = LoadOptions(WEIGHTS, TINY.preprocess)
    words = r"missing \(first: conv.weight\); .*unexpected \(first: "
    refused(f"{folder}/net.py:net", words, options, WeightsError)


def test_without_any_preprocessing_the_example_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", fake(create_model=lambda *a, **k: nn.ReLU()))
    refused("timm:net", "timm:net .*--preprocess imagenet,", LoadOptions(), ContractError)


def test_errors_of_our_own_pass_through_a_factory() -> None:
    def factory_of_ours() -> nn.Module:
        raise WeightsError("as it was")

    with pytest.raises(WeightsError, match=r"^as it was$"):
        factory.capture_factory(factory_of_ours, "spec", "name", TINY)


def export(net: nn.Module, path: Path, *shapes: tuple[int, ...], free: bool = False) -> str:
    dynamic = ({0: torch.export.Dim("batch")},) if free else None
    inputs = tuple(torch.zeros(shape) for shape in shapes)
    torch.export.save(torch.export.export(net, inputs, dynamic_shapes=dynamic), path)
    return str(path)


def test_pt2(tmp_path: Path) -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Dropout(), nn.Flatten()).eval()
    spec = export(net, tmp_path / "net.pt2", (1, 3, 8, 6))
    captured = load_model(spec, LoadOptions(preprocess="unit"))
    assert_graph_is_reference(captured, net)
    assert captured.contract == InputContract(8, 6)
    digest = hashlib.sha256(Path(spec).read_bytes()).hexdigest()
    assert (captured.origin["model"], captured.origin["sha256"]) == ("net.pt2", digest)


def test_pt2_with_a_free_batch_is_captured_at_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []

    def capture(net: nn.Module, example: torch.Tensor, name: str, origin: Any) -> Captured:
        seen.append(example.shape)
        return Captured(name, ir.Model(ir.Graph([], [], nodes=[]), ir_version=10), lambda b: [b])

    monkeypatch.setattr(pt2, "capture_module", capture)
    spec = export(nn.Conv2d(3, 5, 3), tmp_path / "net.pt2", (2, 3, 8, 6), free=True)
    assert load_model(spec, LoadOptions(preprocess="unit")).contract == InputContract(8, 6)
    assert seen == [(1, 3, 8, 6)]


class Two(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


IMAGE = (1, 3, 8, 8)
UNFIT: list[tuple[nn.Module, list[tuple[int, ...]], str]] = [
    (Two(), [IMAGE, (1, 1, 1, 1)], r"\(1, 3, 8, 8\), \(1, 1, 1, 1\)"),
    (nn.ReLU(), [(3, 8, 8)], r"must take one tensor .*\(3, 8, 8\)"),
    (nn.ReLU(), [(4, 3, 8, 8)], "batches of 4; export it with a batch of 1"),
    (nn.Sequential(nn.BatchNorm2d(3)).train(), [IMAGE], r"training mode .*model\.eval\(\)"),
    (nn.Dropout().train(), [IMAGE], "training mode"),
]


@pytest.mark.parametrize(("net", "shapes", "words"), UNFIT, ids=range(len(UNFIT)))
def test_pt2_that_does_not_fit(
    tmp_path: Path, net: nn.Module, shapes: list[tuple[int, ...]], words: str
) -> None:
    refused(export(net, tmp_path / "net.pt2", *shapes), words)


def test_pt2_that_is_damaged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = Path(export(nn.ReLU(), tmp_path / "net.pt2", IMAGE)).read_bytes()
    bad = tmp_path / "bad.pt2"
    capfd.readouterr()
    for data in (b"", whole[:100], whole[: len(whole) // 2], whole[:-1], b"PK\3\4" + bytes(500)):
        bad.write_bytes(data)
        refused(str(bad), "bad.pt2 is not a whole .pt2 program: .*torch.export.save")
    assert capfd.readouterr() == ("", "")


def test_pt2_and_weights_or_no_file(tmp_path: Path) -> None:
    refused(f"{tmp_path}/net.pt2", "no such file")
    refused("net.pt2", "leave --weights out", LoadOptions(WEIGHTS))


def test_pt2_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.pt2").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    refused(f"{tmp_path}/net.pt2", r"edge-sdk\[convert\]", kind=MissingError)


def test_every_refusal_is_one_of_ours() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        spec = "".join(generator.choice(list("az.:/py\n~"), 8))
        with contextlib.suppress(EdgeError):
            load_model(spec)
