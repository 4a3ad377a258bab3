"""The rules of the house, held by machine: who imports whom, what ships, how long things get."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("converters", "device_profiles", "edge_sdk", "runtime")
FOLDERS = {*PACKAGES, "docs", "examples", "tests"}
HOST_ONLY = ("torch", "onnx", "onnx_ir", "onnxscript", "converters")
HEAVY = ("cv2", "onnxruntime", "ai_edge_litert", "sklearn", "scipy", "safetensors")

MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 6
MAX_FILE_LINES = 400
MAX_TEST_FILE_LINES = 600
MAX_PUBLIC_NAMES = 25

Function = ast.FunctionDef | ast.AsyncFunctionDef
Rule = Callable[[Path, ast.Module], Iterator[tuple[int, str]]]


def _files() -> list[Path]:
    """Every file of the project, relative to its root: git's view, or the folders without git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        found = [Path(name) for name in listed.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        inside = [path for name in FOLDERS for path in (ROOT / name).rglob("*")]
        every = [path.relative_to(ROOT) for path in (*ROOT.iterdir(), *inside)]
        found = [path for path in every if "__pycache__" not in path.parts]
    return sorted({path for path in found if (ROOT / path).is_file()})


def _in_packages(path: Path) -> bool:
    return path.parts[0] in PACKAGES


FILES = _files()


@cache
def _trees() -> dict[Path, ast.Module]:
    """Return every Python file, parsed; not at import, which is in every worker."""
    return {
        path: ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))
        for path in FILES
        if path.suffix == ".py"
    }


def _functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _long_functions(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in _functions(tree):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > MAX_FUNCTION_LINES:
            yield node.lineno, f"{node.name} has {lines} lines; split it"


def _many_parameters(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if path.parts[0] == "tests":
        return
    for node in _functions(tree):
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len(names) - (names[:1] in (["self"], ["cls"]))
        if count > MAX_PARAMETERS:
            yield node.lineno, f"{node.name} has {count} parameters; pass a frozen dataclass"


def _prints(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if not _in_packages(path) or path.parts[:2] == ("edge_sdk", "cli"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "print":
            yield node.lineno, "print belongs to edge_sdk/cli"


def _is_blanket(node: ast.expr | None) -> bool:
    options = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(isinstance(n, ast.Name) and n.id in ("Exception", "BaseException") for n in options)


def _swallows(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Find handlers that catch everything and drop it, or catch something and do nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            inside = [inner for statement in node.body for inner in ast.walk(statement)]
            raises = any(isinstance(inner, ast.Raise) for inner in inside)
            uses = any(isinstance(inner, ast.Name) and inner.id == node.name for inner in inside)
            if node.type is None:
                yield node.lineno, "bare except"
            elif _is_blanket(node.type) and not (raises or uses):
                yield node.lineno, "catches everything and keeps nothing of it"
            elif all(isinstance(statement, ast.Pass) for statement in node.body):
                yield node.lineno, "swallows an exception; contextlib.suppress says so openly"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            yield from (
                (node.lineno, "suppresses everything") for _ in filter(_is_blanket, node.args)
            )


def _registered() -> set[str]:
    """Names of devices, engines and reference models: data, which no code may branch on."""
    folders = {
        Path("device_profiles"): ".toml",
        Path("runtime/engines"): ".py",
        Path("converters/zoo"): ".py",
    }
    stems = {p.stem for p in FILES if folders.get(p.parent) == p.suffix}
    names = {stem for stem in stems if not stem.startswith("_")} - {"base"}
    return names | {name.replace("_", "-") for name in names}


def _literals(nodes: list[ast.expr]) -> set[str]:
    """Return the strings among `nodes`, and those directly in a tuple, list or set of them."""
    literal = [*nodes]
    for node in nodes:
        literal += node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else []
    return {n.value for n in literal if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "name"


def _compared_names(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Find `x == "raspberry-pi-5"`, `x.name == "some-thing"`, `case "onnxruntime"` and so on."""
    if not _in_packages(path):
        return
    registered = _registered()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            guilty = _literals(sides) & registered
            if any(map(_is_name, sides)):
                guilty |= {literal for literal in _literals(sides) if "-" in literal}
        elif isinstance(node, ast.MatchValue):
            guilty = _literals([node.value]) & registered
        else:
            continue
        if guilty:
            yield node.lineno, f"compares a name with {sorted(guilty)}; branch on a field"


def _public(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body)


def _undocumented(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if not _in_packages(path):
        return
    for node in _public(tree.body):
        if not ast.get_docstring(node):
            yield node.lineno, f"{node.name} has no docstring"


RULES: tuple[Rule, ...] = (
    _long_functions,
    _many_parameters,
    _prints,
    _swallows,
    _compared_names,
    _undocumented,
)


def _broken(rule: Rule, trees: dict[Path, ast.Module]) -> list[str]:
    found = ((path, *item) for path, tree in trees.items() for item in rule(path, tree))
    return [f"{path}:{line}: {message}" for path, line, message in found]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.strip("_"))
def test_rule_holds_everywhere(rule: Rule) -> None:
    assert _trees()
    assert _broken(rule, _trees()) == []


@pytest.mark.parametrize(
    ("rule", "offence"),
    [
        (_long_functions, "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES),
        (_many_parameters, "class A:\n    def f(self, a, b, c, d, e, *, f, g): ..."),
        (_prints, "print(1)"),
        (_swallows, "try:\n    f()\nexcept:\n    raise"),
        (_swallows, "try:\n    f()\nexcept Exception:\n    x = 1"),
        (_swallows, "try:\n    f()\nexcept (OSError, Exception) as error:\n    x = 1"),
        (_swallows, "try:\n    f()\nexcept OSError:\n    pass"),
        (_swallows, "with contextlib.suppress(Exception):\n    f()"),
        (_compared_names, "profile == 'generic-arm64'"),
        (_compared_names, "chosen in ('onnxruntime', x)"),
        (_compared_names, "device.name != 'some-board'"),
        (_compared_names, "match x:\n    case 'onnxruntime': ..."),
        (_undocumented, "class A:\n    'Doc.'\n    def f(self): ..."),
    ],
)
def test_rule_finds_an_offence(rule: Rule, offence: str) -> None:
    assert _broken(rule, {Path("runtime/offence.py"): ast.parse(offence)})


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (_many_parameters, "class A:\n    def f(self, a, b, c, d, e, *, f): ..."),
        (_swallows, "try:\n    f()\nexcept Exception as error:\n    log(error)"),
        (_swallows, "try:\n    f()\nexcept BaseException:\n    g()\n    raise"),
        (_swallows, "with contextlib.suppress(FileNotFoundError):\n    f()"),
        (_compared_names, "if profile.hardware.arch == 'aarch64': load('onnxruntime')"),
        (_compared_names, "find_spec('onnxruntime') is None"),
        (_undocumented, "def _f(): ..."),
    ],
)
def test_rule_lets_good_code_pass(rule: Rule, code: str) -> None:
    assert _broken(rule, {Path("runtime/good.py"): ast.parse(code)}) == []


def test_files_stay_short() -> None:
    for path in _trees():
        limit = MAX_TEST_FILE_LINES if path.parts[0] == "tests" else MAX_FILE_LINES
        lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
        assert lines <= limit, f"{path} has {lines} lines; split it"


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    for path in FILES:
        if path.suffix in (".py", ".toml", ".md") or path.name == "Makefile":
            found = marks.search((ROOT / path).read_text(encoding="utf-8"))
            assert found is None, f"{path}: {found}"


def test_top_level_folders_are_the_known_ones() -> None:
    folders = {path.parts[0] for path in FILES if len(path.parts) > 1}
    assert {name for name in folders if not name.startswith(".")} <= FOLDERS
    assert set(PACKAGES) <= folders


def test_front_door_is_small() -> None:
    import edge_sdk

    assert 0 < len(edge_sdk.__all__) <= MAX_PUBLIC_NAMES
    assert len(set(edge_sdk.__all__)) == len(edge_sdk.__all__)
    for name in edge_sdk.__all__:
        assert getattr(edge_sdk, name) is not None


# Imports every module under the packages named last, with the first list out of reach: None in
# sys.modules makes an import fail. The second list may be installed, but must not be loaded.
PROBE = """
import importlib, pkgutil, sys

blocked, heavy = (names.split(",") for names in sys.argv[1:3])
sys.modules.update(dict.fromkeys(blocked))
for root in sys.argv[3:]:
    package = importlib.import_module(root)
    for module in pkgutil.walk_packages(package.__path__, root + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
loaded = sorted(set(heavy) & set(sys.modules))
assert not loaded, f"import loads {loaded}; import them in the function that needs them"
"""


@pytest.mark.parametrize(
    ("roots", "blocked", "unloaded"),
    [
        (("device_profiles",), (*HOST_ONLY, "edge_sdk", "runtime"), (*HEAVY, "numpy")),
        (("runtime",), (*HOST_ONLY, "edge_sdk"), HEAVY),
        (("edge_sdk.cli",), HOST_ONLY, HEAVY),
    ],
    ids=["device_profiles", "runtime", "edge_sdk.cli"],
)
def test_device_side_imports_light(
    roots: tuple[str, ...], blocked: tuple[str, ...], unloaded: tuple[str, ...]
) -> None:
    command = [sys.executable, "-c", PROBE, ",".join(blocked), ",".join(unloaded), *roots]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


BUILD = "from setuptools import build_meta; build_meta.build_wheel('dist')"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy of the tree, so that nothing is left behind in the tree."""
    copy = tmp_path_factory.mktemp("tree")
    for path in FILES:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, copy / path)
    done = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (built,) = (copy / "dist").glob("*.whl")
    return zipfile.ZipFile(built)


def test_wheel_holds_the_four_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert shipped == {path.as_posix() for path in FILES if _in_packages(path)}
    assert {name.split("/")[0] for name in shipped} == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= shipped


def test_wheel_carries_its_licence_and_command(wheel: zipfile.ZipFile) -> None:
    info = {name.split("/", 1)[1]: name for name in wheel.namelist() if ".dist-info/" in name}
    assert wheel.read(info["licenses/LICENSE"]) == (ROOT / "LICENSE").read_bytes()
    assert "edge-sdk = edge_sdk.cli:main" in wheel.read(info["entry_points.txt"]).decode()
    metadata = wheel.read(info["METADATA"]).decode()
    required = re.findall(r"^Requires-Dist: (?!.*extra ==)([\w-]+)", metadata, re.MULTILINE)
    assert sorted(required) == ["numpy", "tomli"]
