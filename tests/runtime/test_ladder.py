"""The ladder: the first rung that is proven here is taken, and every refusal has its reason."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import BundleError, EngineError
from runtime.bundle import Bundle, file_entry, open_bundle, write_bundle
from runtime.engines import EngineOptions
from runtime.engines.null import NullEngine, null_model
from runtime.ladder import choose_rung
from runtime.manifest import Manifest

Parts = tuple[Manifest, dict[str, bytes]]
Change = Mapping[str, Any]


@pytest.fixture
def ladder(tmp_path: Path, null_parts: Callable[..., Parts]) -> Callable[..., Bundle]:
    """Return a function: a bundle with one rung for each of `changes`.

    A change holds fields of the artifact (`engine`, `provider`) or the `behaviour` of a null
    model that replaces the one whose answers are the golden ones.
    """

    def build(*changes: Change) -> Bundle:
        manifest, files = null_parts(tuple({"seed": rung} for rung in range(len(changes))))
        artifacts = []
        for rung, (artifact, change) in enumerate(zip(manifest.artifacts, changes, strict=True)):
            fields = dict(change)
            behaviour = fields.pop("behaviour", {})
            model = null_model(artifact.inputs, artifact.outputs, **{"seed": rung, **behaviour})
            files[artifact.file.path] = model
            entry = file_entry(artifact.file.path, model)
            artifacts.append(replace(artifact, file=entry, **fields))
        path = tmp_path / "ladder.edge"
        write_bundle(path, replace(manifest, artifacts=tuple(artifacts)), files)
        return open_bundle(path)

    return build


HEALTHY: Change = {}
NOISY: Change = {"behaviour": {"noise": 0.5}}
BROKEN: Change = {"behaviour": {"fail_after": 3}}
NOT_A_NUMBER: Change = {"behaviour": {"noise": float("nan")}}
ELSEWHERE: Change = {"provider": "cuda"}
UNKNOWN: Change = {"engine": "abacus"}
REASONS = [
    (NOISY, r"output 'scores' is off by 0\.5 in frame \d+ \(allowed "),
    (BROKEN, "the null engine fails now"),
    (NOT_A_NUMBER, "frame 0: output 'scores' is not finite"),
    (ELSEWHERE, "runs on cpu, not on cuda"),
    (UNKNOWN, "no engine is called 'abacus'"),
]


def test_the_first_rung_is_taken_when_it_is_healthy(ladder: Callable[..., Bundle]) -> None:
    with ladder(HEALTHY, HEALTHY) as bundle:
        choice = choose_rung(bundle)
        assert (choice.rung, choice.refusals) == (0, ())
        assert len(choice.engine.run([bundle.golden().frames[:1]])) == 2  # it is open


@pytest.mark.parametrize(("change", "reason"), REASONS)
def test_the_next_rung_is_taken_when_one_is_not(
    ladder: Callable[..., Bundle], change: Change, reason: str
) -> None:
    with ladder(change, HEALTHY, HEALTHY) as bundle:
        choice = choose_rung(bundle)
        assert choice.rung == 1
        (refusal,) = choice.refusals
        assert (refusal.rung, refusal.label) == (0, bundle.manifest.artifacts[0].label)
        assert re.search(reason, refusal.reason)
        assert "\n" not in refusal.reason


def test_a_missing_interpreter_is_a_refusal(
    ladder: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with ladder({"engine": "onnxruntime"}, HEALTHY) as bundle:
        choice = choose_rung(bundle)
    assert choice.rung == 1
    assert re.search(r"onnxruntime is not installed.*edge-sdk\[onnx\]", choice.refusals[0].reason)


def test_no_healthy_rung_is_an_error_with_every_reason(ladder: Callable[..., Bundle]) -> None:
    with ladder(*(change for change, _ in REASONS)) as bundle:
        with pytest.raises(EngineError, match="no rung of the ladder is healthy here") as caught:
            choose_rung(bundle)
        for (_, reason), artifact in zip(REASONS, bundle.manifest.artifacts, strict=True):
            assert re.search(reason, str(caught.value))
            assert artifact.label in str(caught.value)
        assert "\n" not in str(caught.value)


def test_engines_that_are_refused_are_closed(
    ladder: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[NullEngine] = []

    def close(self: NullEngine) -> None:
        closed.append(self)

    monkeypatch.setattr(NullEngine, "close", close)
    with ladder(NOISY, BROKEN, HEALTHY) as bundle:
        choice = choose_rung(bundle)
    assert len(closed) == 2
    assert choice.engine not in closed


def test_each_rung_runs_on_its_own_provider_with_the_threads_asked_for(
    ladder: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[EngineOptions | None] = []
    real = Bundle.open_engine

    def spy(self: Bundle, rung: int = 0, options: EngineOptions | None = None) -> Any:
        asked.append(options)
        return real(self, rung, options)

    monkeypatch.setattr(Bundle, "open_engine", spy)
    with ladder(ELSEWHERE, HEALTHY) as bundle:
        choose_rung(bundle, EngineOptions(provider="tpu", threads=3))
    assert asked == [EngineOptions("cuda", 3), EngineOptions("cpu", 3)]


def test_a_model_that_is_not_the_one_of_the_manifest_is_no_refusal(
    ladder: Callable[..., Bundle],
) -> None:
    with ladder({"inputs": ()}, HEALTHY) as bundle, pytest.raises(BundleError, match="tensors"):
        choose_rung(bundle)
