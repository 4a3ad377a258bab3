"""From profile to lock: against a folder of tiny wheels, by the real pip."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.errors import MissingError, RequestError
from device_profiles.profile import Profile
from device_profiles.sections import Pin
from edge_sdk.wheels import _pip
from edge_sdk.wheels._packaging import Requirement
from edge_sdk.wheels._pip import Found, NoWheelError
from edge_sdk.wheels.lock import Lock, Wheel
from edge_sdk.wheels.resolve import device_lock, load_lock, resolve
from edge_sdk.wheels.tags import Platform


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.wheels}


def test_a_device_gets_its_engines_numpy_and_opencv(filled: Path, board: Profile) -> None:
    """1.21.0 is the newest here; the profile's pin keeps it away."""
    lock = resolve(board)
    assert versions(lock) == {
        "ai-edge-litert": "2.3.0",
        "numpy": "2.4.6",
        "onnxruntime": "1.20.1",
        "opencv-python-headless": "5.0.0",
    }
    assert all(wheel.size == (filled / wheel.file).stat().st_size for wheel in lock.wheels)
    assert Lock.from_text(lock.to_text()) == lock


def test_a_request_against_a_pin_is_refused_with_its_reason(board: Profile) -> None:
    with pytest.raises(RequestError, match=r"onnxruntime==1.21.0 is refused for raspb.*illegal"):
        resolve(board, ["onnxruntime==1.21.0"])


def test_an_engine_without_a_wheel_is_an_error(filled: Path, board: Profile) -> None:
    (filled / "onnxruntime-1.20.1-cp311-cp311-manylinux_2_28_aarch64.whl").unlink()
    with pytest.raises(RequestError) as caught:
        resolve(board)
    message = str(caught.value)
    assert "the engine onnxruntime: there is no wheel of onnxruntime!=1.21.0" in message
    assert "versions that fit: 1.21.0 (pinned: 1.21.0 stops at import" in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


def test_no_index_in_reach(board: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens on port 9 of this machine (discard, RFC 863)."""
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(MissingError, match="the package index cannot be reached") as caught:
        resolve(board)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


# What follows needs no pip: one that answers from a list.


def digest_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


class FakePip:
    """Answers with the newest of `have` (name, version, numpy bound) that each specifier takes."""

    def __init__(self, *have: tuple[str, str, str]) -> None:
        self.have = have
        self.asked: list[list[str]] = []

    def __call__(self, requirements: Sequence[str], platform: Platform) -> list[Found]:
        self.asked.append(list(requirements))
        return [self._newest(text, platform) for text in requirements]

    def _newest(self, text: str, platform: Platform) -> Found:
        wanted = Requirement(text)
        known = [item for item in self.have if item[0] == wanted.name]
        good = [item for item in known if wanted.specifier.contains(item[1])]
        if not good:
            raise NoWheelError(text, [version for _, version, _ in known], platform)
        name, version, bound = good[-1]
        file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        return Found(
            name, version, f"file:///nowhere/{file}", digest_of(name), (bound,) if bound else ()
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePip:
    pip = FakePip(
        ("onnxruntime", "1.21.0", "numpy>=1.21.6"),
        ("onnxruntime", "1.22.0", "numpy>=1.21.6"),
        ("ai-edge-litert", "2.3.0", "numpy>=1.23.2"),
        ("tflite-runtime", "2.14.0", "numpy >=1.23.2"),
        ("numpy", "1.26.4", ""),
        ("numpy", "2.4.6", ""),
        ("opencv-python-headless", "4.10.0", "numpy>=1.23"),
        ("opencv-python-headless", "5.0.0", 'numpy>=2; python_version >= "3.9"'),
        ("tomli", "2.5.0", ""),
    )
    monkeypatch.setattr(_pip, "find", pip)
    return pip


def test_one_question_is_enough_where_all_agree(fake: FakePip, board: Profile) -> None:
    assert resolve(board).version_of("numpy") == "2.4.6"
    assert len(fake.asked) == 1


def test_markers_are_those_of_the_device(fake: FakePip, board: Profile) -> None:
    """Whatever Python runs this: pip itself would take its own."""
    fake.have += (("opencv-python-headless", "5.1.0", 'numpy<2; python_version < "3.11"'),)
    assert resolve(board).version_of("opencv-python-headless") == "5.1.0"
    fake.have += (("opencv-python-headless", "5.2.0", 'numpy<2; python_version == "3.11"'),)
    assert resolve(board).version_of("opencv-python-headless") == "5.1.0"


def test_an_engine_narrows_numpy(fake: FakePip, board: Profile) -> None:
    fake.have += (("onnxruntime", "1.22.1", "numpy<2"),)
    lock = resolve(board)
    assert versions(lock)["numpy"] == "1.26.4"
    assert versions(lock)["onnxruntime"] == "1.22.1"


def test_engines_that_cannot_share_a_numpy_are_an_error(fake: FakePip, board: Profile) -> None:
    fake.have += (("onnxruntime", "1.22.1", "numpy<2"), ("ai-edge-litert", "2.4.0", "numpy>=2"))
    with pytest.raises(RequestError, match=r"numpy<2,>=2"):
        resolve(board)


def test_older_pythons_need_tomli(fake: FakePip, board: Profile) -> None:
    old = replace(board, software=replace(board.software, python=("3.10",)))
    assert resolve(old).version_of("tomli") == "2.5.0"
    assert resolve(board).version_of("tomli") is None


def test_a_pin_bends_the_choice(fake: FakePip, board: Profile) -> None:
    pins = (Pin("NumPy", "<2", "because"),)
    pinned = replace(board, software=replace(board.software, pins=pins))
    assert resolve(pinned).version_of("numpy") == "1.26.4"
    assert resolve(pinned, pins=False).version_of("numpy") == "1.26.4"
    assert resolve(pinned, ["numpy>1"], pins=False).version_of("numpy") == "2.4.6"
    assert resolve(pinned, ["numpy>=1"]).version_of("numpy") == "1.26.4"
    with pytest.raises(RequestError, match=r"numpy==2.4.6 is refused for .*: because"):
        resolve(pinned, ["numpy==2.4.6"])


def test_a_request_is_never_dropped(fake: FakePip, board: Profile) -> None:
    for text in ("opencv-python-headless==9", "numpy==9", "scipy"):
        with pytest.raises(RequestError, match=f"no wheel of {text}"):
            resolve(board, [text])


@pytest.mark.parametrize("text", ["numpy=2", "numpy[x]", "numpy @ http://x.example/", "-e ."])
def test_a_request_that_is_none_is_refused(text: str, board: Profile) -> None:
    with pytest.raises(RequestError):
        resolve(board, [text])


def test_a_provider_that_wheels_lack_is_said(fake: FakePip, board: Profile) -> None:
    rung = replace(board.engines[0], provider="cuda")
    notes = resolve(replace(board, engines=(rung, *board.engines))).notes
    assert len(notes) == 1
    assert "onnxruntime on cuda is not in these wheels" in notes[0]


def test_a_request_for_another_interpreter_brings_the_numpy_it_was_built_for(
    fake: FakePip, board: Profile
) -> None:
    lock = resolve(board, ["tflite-runtime"])
    assert versions(lock) == {
        "numpy": "1.26.4",
        "onnxruntime": "1.22.0",
        "opencv-python-headless": "4.10.0",
        "tflite-runtime": "2.14.0",
    }


def test_a_lock_written_by_hand_disregards_pins(
    fake: FakePip, board: Profile, tmp_path: Path
) -> None:
    file = tmp_path / "mine.lock"
    file.write_text("onnxruntime==1.21.0\n")
    lock = load_lock(file, board)
    assert lock.version_of("onnxruntime") == "1.21.0"
    assert lock.version_of("numpy") == "2.4.6"
    fake.have = ()
    assert load_lock(file, board) == lock, "it is remembered"
    assert len(fake.asked) == 1
    file.write_text(lock.to_text())
    assert load_lock(file, board) == lock


def test_hashes_of_another_tool_are_held(fake: FakePip, board: Profile, tmp_path: Path) -> None:
    file = tmp_path / "mine.lock"
    file.write_text(f"numpy==1.26.4 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(RequestError, match=r"mine.lock: .*numpy==1.26.4 .* with the hash given"):
        load_lock(file, board)
    file.write_text(f"numpy==1.26.4 --hash=sha256:{'0' * 64} --hash=sha256:{digest_of('numpy')}\n")
    assert load_lock(file, board).version_of("numpy") == "1.26.4"


def test_a_lock_for_another_device_is_refused(board: Profile, tmp_path: Path) -> None:
    platform = Platform("aarch64", "3.11", "glibc 2.36")
    wheel = Wheel("numpy", "2.4.6", "numpy-2.4.6-cp311-cp311-manylinux_2_28_aarch64.whl", "a" * 64)
    file = tmp_path / "some.lock"
    file.write_text(Lock("some-board", platform, (wheel,)).to_text())
    assert load_lock(file, board).wheels == (wheel,)
    other = replace(board, hardware=replace(board.hardware, arch="x86_64", features=()))
    with pytest.raises(RequestError, match=r"does not fit raspberry-pi-4b: .*x86_64"):
        load_lock(file, other)
    newer = replace(board, software=replace(board.software, python=("3.13",)))
    with pytest.raises(RequestError, match=r"has Python 3.13, not 3.11"):
        load_lock(file, newer)
    with pytest.raises(RequestError, match="does not exist"):
        load_lock(tmp_path / "none.lock", board)


def test_what_has_no_wheel_comes_from_the_system(fake: FakePip, board: Profile) -> None:
    """As on 32-bit Arm: neither LiteRT, nor numpy, nor OpenCV."""
    fake.have = tuple(item for item in fake.have if item[0] == "tflite-runtime")
    engines = tuple(rung for rung in board.engines if rung.engine == "litert")
    lock = resolve(replace(board, engines=engines))
    assert versions(lock) == {"tflite-runtime": "2.14.0"}
    assert lock.system == ("python3-numpy",)
    assert any("python3-opencv" in note for note in lock.notes)
    assert Lock.from_text(lock.to_text()) == lock


def test_a_device_keeps_its_lock(fake: FakePip, board: Profile, cache: Path) -> None:
    lock = device_lock(board)
    fake.have += (("onnxruntime", "1.23.0", ""),)
    assert device_lock(board) == lock
    assert len(fake.asked) == 1
    assert len([path for path in (cache / "locks").iterdir() if path.suffix == ".txt"]) == 1
    assert device_lock(board, refresh=True).version_of("onnxruntime") == "1.23.0"
    assert device_lock(board).version_of("onnxruntime") == "1.23.0"
    assert len(fake.asked) == 2
