"""Weights: which machine may measure, what a model makes of published peaks, what is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.recipe import Recipe
from converters.work import Work
from device_profiles.errors import EngineError, RequestError
from device_profiles.profile import Profile, load
from device_profiles.sections import Budget, Cluster, Cost, EngineRung
from edge_sdk import ConvertOptions
from edge_sdk.workflows import weigh_measure
from edge_sdk.workflows.weigh import weigh
from edge_sdk.workflows.weigh_measure import LEAST, another_kind, measure
from edge_sdk.workflows.weigh_model import REACHED, model
from edge_sdk.workflows.weight import Contender, Weight, faster, slower
from runtime.engines.null import null_model
from runtime.host import Host, host
from runtime.manifest import TensorSpec

X86 = load("generic-x86")
COST = Cost(fp32_gflops_core=10, int8_gops_core=40, memory_gb_s=1, source="nobody")
FRAMES = np.zeros((2, 4, 4, 3), np.uint8)


def profile(**changes: Any) -> Profile:
    """A device that is this very machine, as far as a profile tells."""
    here = host()
    hardware = replace(
        X86.hardware, arch=here.arch, features=tuple(here.features), big_cores=2, clusters=()
    )
    rungs = (EngineRung("null", "cpu", ("int8", "fp32")),)
    return replace(X86, **{"hardware": hardware, "engines": rungs, **changes})


ONE = replace(profile().hardware, big_cores=1)


def node(name: str, macs: int = 0, numbers: int = 0, bits: int = 32, **more: Any) -> Work:
    return Work(name, "Conv", "", (), (name,), macs, numbers, 0, bits, bits, **more)


def contender(
    precision: str, work: Sequence[Work] = (), data: bytes = b"", islands: Sequence[str] = ()
) -> Contender:
    recipe = Recipe("onnx", "onnxruntime", "cpu", precision)
    return Contender(recipe, data, work, frozenset(islands), FRAMES)


def timed(*rounds: float) -> Weight:
    middle = float(np.median(rounds))
    return Weight(middle, min(rounds), max(rounds), "measured", True, rounds)


# ---- Ratios ----------------------------------------------------------------------------------


def test_rounds_are_compared_one_by_one() -> None:
    """The machine slows down by half in between; the ratio is the same all along."""
    one = timed(*([1.0] * 10 + [2.0] * 10))
    two = timed(*([1.2] * 10 + [2.4] * 10))
    ratio = two.against(one)
    assert ratio is not None
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((1.2, 1.2, 1.2))
    assert slower(ratio)
    assert faster(one.against(two))


def test_figures_of_a_model_are_compared_by_their_limits() -> None:
    ratio = Weight(4, 3, 6, "a model").against(Weight(2, 1, 2, "a model"))
    assert ratio is not None
    assert (ratio.low, ratio.value, ratio.high) == (1.5, 2, 6)


@pytest.mark.parametrize("factor", [0.96, 1.0, 1.04])
def test_a_little_is_no_difference(factor: float) -> None:
    ratio = timed(*[factor] * 20).against(timed(*[1.0] * 20))
    assert not slower(ratio)
    assert not faster(ratio)


def test_what_nobody_knows_is_no_slower() -> None:
    unknown = Weight.unknown("it is not here")
    assert unknown.against(timed(1, 1)) is None
    assert timed(1, 1).against(unknown) is None
    assert not slower(None)
    assert not faster(None)
    assert unknown.to_json() == {"how": "not weighed: it is not here"}


# ---- Which machine may measure ---------------------------------------------------------------


def test_a_machine_of_the_devices_kind() -> None:
    assert another_kind(profile(), host()) == ""


def test_another_architecture() -> None:
    said = another_kind(profile(), Host("riscv64", frozenset()))
    assert "this machine is riscv64, the device" in said


def test_more_instruction_sets_pick_other_kernels() -> None:
    mine = Host("x86_64", frozenset({*X86.hardware.features, "vnni"}))
    assert another_kind(X86, mine) == "this machine has vnni"
    assert "differs" in another_kind(X86, Host("x86_64", frozenset({"sse4.1"})))


def test_other_cores() -> None:
    cluster = Cluster("Cortex-A1", 2, 1000, implementer="0x41", part="0xfff")
    known = replace(profile().hardware, clusters=(cluster,))
    assert "not 0x41/0xfff" in another_kind(profile(hardware=known), host())


def test_measuring_is_refused_where_it_would_say_nothing() -> None:
    device = load("raspberry-pi-4b")
    with pytest.raises(RequestError, match=r"raspberry-pi-4b cannot be measured here.*--weigh"):
        weigh(device, [contender("int8"), contender("fp32")], "measure")


def test_ways() -> None:
    with pytest.raises(RequestError, match="no way to weigh called 'mesure'; did you mean measure"):
        ConvertOptions(weigh="mesure")
    (one, two) = weigh(X86, [contender("int8"), contender("fp32")], "none")
    assert one.how == two.how == "not weighed: it was not asked for"
    (alone,) = weigh(X86, [contender("fp32")])
    assert "nothing to weigh it against" in alone.how


# ---- The roofline ----------------------------------------------------------------------------


def test_arithmetic_or_traffic_whichever_is_longer() -> None:
    device = profile(cost=COST, hardware=ONE)
    # 1e6 multiply-adds are 2e6 operations: 0.2 ms at 10e9/s; 1e5 floats 0.4 ms at 1e9 bytes/s.
    (weight,) = model(device, [contender("fp32", [node("a", 10**6), node("b", 1, 10**5)])])
    assert weight.ms == pytest.approx(0.2 + 0.4)
    assert (weight.low, weight.high) == pytest.approx((0.6, 0.6 / REACHED))
    assert not weight.trusted
    assert "uncalibrated" in weight.how


def test_islands_count_as_float_and_are_converted() -> None:
    device = profile(cost=COST, hardware=ONE)
    work = [node("a", 10**6, bits=8), node("b", 10**6, bits=8)]
    plain, island = model(device, [contender("int8", work), contender("int8", work, b"", ["b"])])
    assert plain.ms == pytest.approx(0.1)
    assert island.ms == pytest.approx(0.05 + 0.2)
    moved = [node("a", 1, bits=8), node("c", 0, 10**5, reason="no kernel")]
    (weight,) = model(device, [contender("int8", moved)])
    assert weight.ms == pytest.approx(0.4 + 0.5, rel=1e-3)


def test_all_big_cores_compute_and_share_the_memory() -> None:
    work = [node("a", 10**6), node("b", 1, 10**5)]
    (weight,) = model(profile(cost=COST), [contender("fp32", work)])
    assert weight.ms == pytest.approx(0.1 + 0.4)


def test_without_figures_it_is_not_weighed() -> None:
    (weight,) = model(profile(cost=Cost()), [contender("fp32", [node("a", 1)])])
    assert weight.ms is None
    assert "knows no peaks" in weight.how


def test_accelerators_have_no_model_of_a_cpu() -> None:
    elsewhere = replace(contender("fp32").recipe, provider="cuda")
    (weight,) = model(profile(cost=COST), [replace(contender("fp32"), recipe=elsewhere)])
    assert weight.how == "not weighed: there is no model of cuda"


# ---- Measuring -------------------------------------------------------------------------------


def null(precision: str, **faults: Any) -> Contender:
    spec = TensorSpec("frames", "uint8", (1, 4, 4, 3))
    data = null_model([spec], [TensorSpec("y", "float32", (1, 2))], **faults)
    recipe = Recipe("onnx", "null", "cpu", precision)
    return Contender(recipe, data, (), frozenset(), FRAMES)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path))
    monkeypatch.setattr(weigh_measure, "SPENT_S", 0.05)
    # Two threads are timed by the clock on the wall: these nets sleep, they do not compute.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    return tmp_path / "weights"


def test_all_take_turns_and_the_times_are_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [null("int8", delay_ms=60), null("fp32", delay_ms=1)]
    slow, fast = measure(profile(), both)
    assert slower(slow.against(fast))
    assert slow.trusted
    assert slow.ms is not None
    assert slow.low <= slow.ms <= slow.high
    assert len(slow.rounds) == len(fast.rounds) >= LEAST
    (kept,) = cache.glob("*.json")

    def never(*_: Any) -> Any:
        raise AssertionError("it is known already")

    monkeypatch.setattr(weigh_measure, "_measured", never)
    assert measure(profile(), both) == [slow, fast]
    assert measure(profile(), both[::-1]) == [fast, slow]
    with pytest.raises(AssertionError, match="known already"):
        measure(profile(), both, anew=True)
    with pytest.raises(AssertionError, match="known already"):
        measure(profile(), [*both, null("fp16", delay_ms=2)])
    # What is broken there is measured again.
    for text in ("", "{}", json.dumps({name: ["x"] for name in json.loads(kept.read_text())})):
        kept.write_text(text)
        with pytest.raises(AssertionError, match="known already"):
            measure(profile(), both)


def test_one_that_does_not_run_is_not_weighed_and_the_others_are(cache: Path) -> None:
    broken = replace(null("int8"), data=b"nonsense")
    lost, sound = measure(profile(), [broken, null("fp32", delay_ms=1)])
    assert lost.ms is None
    assert lost.how.startswith("not weighed: on local: ")
    assert sound.ms is not None
    assert not list(cache.glob("*.json"))  # it may run the next time


def test_what_fails_while_it_runs_leaves_all_without_a_weight(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise EngineError("it fell off the table")

    monkeypatch.setattr(weigh_measure, "_rounds", fail)
    found = measure(profile(), [null("int8"), null("fp32")])
    assert [w.how for w in found] == ["not weighed: it fell off the table"] * 2


def test_an_accelerator_is_not_measured_on_the_cpu(cache: Path) -> None:
    one = null("int8")
    elsewhere = replace(one, recipe=replace(one.recipe, provider="npu"))
    found = measure(profile(), [elsewhere, null("fp32")])
    assert found[0].ms is None
    assert found[1].ms is not None


def test_a_cache_that_cannot_be_written_costs_time_only(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.joinpath("file").touch()
    monkeypatch.setenv("EDGE_SDK_CACHE", str(cache.parent / "file" / "below"))
    assert all(w.ms for w in measure(profile(), [null("int8"), null("fp32")]))


def test_no_more_threads_than_the_device_has_big_cores(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def see(contenders: Any, threads: int) -> Any:
        asked.append(threads)
        return {}, {}

    monkeypatch.setattr(weigh_measure, "_measured", see)
    for big in (1, 1000):
        hardware = replace(profile().hardware, big_cores=big)
        measure(profile(hardware=hardware), [null("int8")])
    assert asked == [1, 2]


def test_one_thread_is_weighed_by_the_time_of_the_processor(cache: Path) -> None:
    """What sleeps does not compute."""
    both = [null("int8", delay_ms=20), null("fp32", delay_ms=20)]
    assert all(w.high < 10 for w in measure(profile(hardware=ONE), both))


def test_one_artifact_is_weighed_where_its_latency_has_a_budget(cache: Path) -> None:
    device = profile(budget=Budget(latency_ms=5))
    (weight,) = weigh(device, [null("fp32", delay_ms=1)])
    assert weight.ms is not None
