"""The ladder: the best rung that is proven here runs, and nothing falls back in silence."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_profiles.errors import BundleError, EngineError, RequestError
from runtime.bundle import Bundle, file_entry, open_bundle, write_bundle
from runtime.demand import parse_demand
from runtime.engines import EngineOptions, open_engine
from runtime.engines.null import NullEngine, null_model
from runtime.ladder import Ladder, LadderOptions, open_ladder
from tests.runtime.ladder_cases import Change, hostile_bundle, ladder_bundle, rung

Opened = Callable[..., Ladder]
# Plain code that is slower than the way to a worker and back, as that of real models is.
CPU = rung(delay_ms=10)
GENEROUS_S = 60.0
PATIENCE_S = 4.0  # more than a process takes to start here
PROOF = 17  # runs: one to warm up, and the golden frames


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Return a function: a ladder with the given rungs, opened as the options say."""
    found: list[Ladder] = []

    def build(*rungs: Change, demand: str = "auto", **options: float) -> Ladder:
        path = tmp_path / "ladder.edge"
        if rungs:
            ladder_bundle(path, *rungs).close()
        asked = LadderOptions(demand=parse_demand(demand), **options)  # type: ignore[arg-type]
        found.append(open_ladder(path, asked))
        return found[-1]

    yield build
    for ladder in found:
        ladder.close()


def frames(ladder: Ladder) -> list[np.ndarray]:
    return [frame[None] for frame in ladder.bundle.golden().frames]


def golden(ladder: Ladder, index: int) -> np.ndarray:
    """Return what rung `index` has to answer to the first frame."""
    answer: np.ndarray = ladder.bundle.golden().artifacts[index]["scores"][:1]
    return answer


class Here:
    """A worker without a process of its own, which takes half a second to start: for what does
    not crash or hang."""

    def __init__(self, engine: str, model: bytes, options: EngineOptions, load_s: float) -> None:
        self._engine = open_engine(engine, model, options)
        self.name, self.version = self._engine.name, self._engine.version
        self.provider = self._engine.provider
        self.inputs, self.outputs = self._engine.inputs, self._engine.outputs
        self.run_s = self.load_s = load_s
        self.times_ms: list[tuple[float, float]] = []
        self.closed = False

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        start = time.perf_counter()
        outputs = self._engine.run(inputs)
        self.times_ms.append((1e3 * (time.perf_counter() - start),) * 2)
        return outputs

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Here]:
    """Start no processes from now on; return the workers that would be started."""
    found: list[Here] = []

    def start(engine: str, model: bytes, options: EngineOptions, load_s: float) -> Here:
        found.append(Here(engine, model, options, load_s))
        return found[-1]

    monkeypatch.setattr("runtime.worker.Worker", start)
    return found


NOISY = rung("npu", noise=0.5)
REASONS = [
    (NOISY, r"output 'scores' is off by 0\.5 in frame \d+ \(allowed "),
    (rung(noise=0.5), r"output 'scores' is off by 0\.5 in frame \d+ \(allowed "),
    (rung("npu", fail_after=3), "the null engine fails now"),
    (rung("npu", nan_after=3), "frame 2: output 'scores' is not finite"),
    (rung("npu", crash_after=-1), r"null on npu crashed \(SIGABRT\) when it loaded the model"),
    (rung("npu", crash_after=3), r"null on npu crashed \(SIGABRT\) when it ran"),
    (rung(crash_after=0), r"null on cpu crashed \(SIGABRT\) when it ran"),
    (rung("npu", hang_after=-1), "null on npu did not end within 4 s when it loaded the model"),
    (rung("npu", hang_after=3), r"null on npu did not end within 2(\.\d+)? s when it ran"),
    (rung("cuda", providers=["cpu"]), "runs on cpu, not on cuda"),
    (rung(engine="abacus"), "no engine is called 'abacus'"),
]


@pytest.mark.parametrize(("change", "reason"), REASONS)
def test_a_rung_that_fails_is_named_and_the_next_is_taken(
    opened: Opened, caplog: pytest.LogCaptureFixture, change: Change, reason: str
) -> None:
    ladder = opened(change, CPU, CPU, patience_s=PATIENCE_S)
    assert (ladder.rung, ladder.provider) == (1, "cpu")
    np.testing.assert_allclose(ladder.run(frames(ladder)[:1])[0], golden(ladder, 1), rtol=1e-6)
    (refusal,) = ladder.refusals
    assert (refusal.rung, refusal.label) == (0, ladder.bundle.manifest.artifacts[0].label)
    assert re.search(reason, refusal.reason)
    assert "\n" not in refusal.reason
    (record,) = (r for r in caplog.records if r.levelno == logging.WARNING)
    assert (record.event, record.rung) == ("refused", 0)  # type: ignore[attr-defined]
    assert refusal.reason in record.getMessage()
    assert ladder.status()["refused"][0]["reason"] == refusal.reason


@pytest.mark.parametrize(("change", "reason"), [REASONS[n] for n in (0, 4, 8, 9, 10)])
def test_what_is_required_is_had_or_an_error(opened: Opened, change: Change, reason: str) -> None:
    provider = str(change["provider"])
    # A rung below that would do is on another provider.
    below = rung("npu" if provider == "cpu" else "cpu")
    with pytest.raises(EngineError, match=reason) as caught:
        opened(change, below, demand=f"require:{provider}", patience_s=PATIENCE_S)
    assert caught.value.exit_code == 3
    assert f"require:{provider} was asked for" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_first_rung_is_taken_when_it_is_healthy(opened: Opened, children: list[Here]) -> None:
    ladder = opened(CPU, NOISY)
    assert (ladder.rung, ladder.refusals, ladder.drops) == (0, (), ())
    assert (ladder.name, ladder.version, ladder.provider) == ("null", "1", "cpu")
    assert ladder.inputs == ladder.bundle.manifest.artifacts[0].inputs
    status = ladder.status()
    assert not status["isolated"]
    assert status["proven_ms"] > 0


def test_a_missing_interpreter_is_a_refusal_that_needs_no_process(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, children: list[Here]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    ladder = opened(rung(engine="onnxruntime"), CPU)
    assert ladder.rung == 1
    assert re.search(r"onnxruntime is not installed.*edge-sdk\[onnx\]", ladder.refusals[0].reason)
    assert len(children) == 1  # the null rung's


def test_an_interpreter_that_does_not_import_is_no_rival(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain code that cannot run does not make another rung too slow, nor end the start."""
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text("raise ImportError('no library')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    broken = rung(engine="onnxruntime")
    assert opened(rung("npu"), broken).rung == 0
    ladder = opened(broken, CPU)
    assert ladder.rung == 1
    assert "onnxruntime is not installed" in ladder.refusals[0].reason


def test_no_healthy_rung_is_an_error_with_every_reason(opened: Opened, tmp_path: Path) -> None:
    quick = [(change, reason) for change, reason in REASONS if "did not end" not in reason]
    with pytest.raises(EngineError, match="no rung of the ladder is healthy here") as caught:
        opened(*(change for change, _ in quick))
    with open_bundle(tmp_path / "ladder.edge") as bundle:
        for (_, reason), artifact in zip(quick, bundle.manifest.artifacts, strict=True):
            assert re.search(reason, str(caught.value))
            assert artifact.label in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plain_rung_moves_into_our_process_and_others_stay_in_theirs(
    opened: Opened, children: list[Here]
) -> None:
    plain = opened(CPU)
    assert children[0].closed
    assert not plain.status()["isolated"]
    driven = opened(rung("npu"))
    assert driven.status()["isolated"]
    assert not children[1].closed
    np.testing.assert_allclose(driven.run(frames(driven)[:1])[0], golden(driven, 0), rtol=1e-6)
    assert opened(rung(), isolate=True).status()["isolated"]


def test_a_rung_on_a_driver_that_is_slower_than_plain_code_is_refused(
    opened: Opened, children: list[Here]
) -> None:
    slow = rung("npu", delay_ms=40)
    ladder = opened(slow, rung("tpu", noise=1), CPU)
    assert ladder.rung == 2
    assert re.search(r"slower here: \d+(\.\d+)? ms a run, \d+.* ms for", ladder.refusals[0].reason)
    assert ladder.bundle.manifest.artifacts[2].label in ladder.refusals[0].reason
    assert opened(demand="prefer:npu").rung == 0  # whoever asks for it by name has it


@pytest.mark.parametrize(
    ("demand", "expected"),
    [("auto", 0), ("prefer:cpu", 1), ("require:cpu", 1), ("cpu", 1), ("prefer:npu", 0)],
)
def test_a_demand_goes_before_the_bundles_order(
    opened: Opened, children: list[Here], demand: str, expected: int
) -> None:
    assert opened(rung("npu"), CPU, demand=demand).rung == expected


def test_a_provider_that_no_rung_has(opened: Opened, children: list[Here]) -> None:
    for demand in ("prefer:nqu", "require:nqu"):
        with pytest.raises(RequestError, match=r"no rung on 'nqu'.*did you mean npu"):
            opened(rung("npu"), CPU, demand=demand)


def test_a_model_that_is_not_the_one_of_the_manifest_is_no_refusal(
    tmp_path: Path, null_parts: Callable[..., tuple[object, dict[str, bytes]]]
) -> None:
    manifest, files = null_parts()
    first = manifest.artifacts[0]  # type: ignore[attr-defined]
    odd = null_model(first.inputs[:1], first.outputs[:1])
    files[first.file.path] = odd
    artifacts = (replace(first, file=file_entry(first.file.path, odd)), manifest.artifacts[1])  # type: ignore[attr-defined]
    write_bundle(tmp_path / "odd.edge", replace(manifest, artifacts=artifacts), files)  # type: ignore[type-var]
    with pytest.raises(BundleError, match="tensors"):
        open_ladder(tmp_path / "odd.edge")


class TestInMidRun:
    """A rung that fails is dropped with its reason, and the frame in flight is not lost."""

    @pytest.mark.parametrize(
        ("behaviour", "reason"),
        [
            ({"fail_after": PROOF + 100}, "the null engine fails now"),
            ({"crash_after": PROOF + 100}, r"null on npu crashed \(SIGABRT\) when it ran"),
            (
                {"nan_after": PROOF + 100},
                "answers with NaN or infinity, and while it ran, golden frame 0",
            ),
        ],
    )
    def test_one_that_dies_after_100_frames(
        self,
        opened: Opened,
        caplog: pytest.LogCaptureFixture,
        behaviour: dict[str, float],
        reason: str,
    ) -> None:
        ladder = opened(rung("npu", **behaviour), CPU)
        every = frames(ladder)
        for count in range(110):
            answer = ladder.run([every[0]])[0]
            broken = count >= 100
            np.testing.assert_allclose(answer, golden(ladder, int(broken)), rtol=1e-6)
            assert ladder.provider == ("cpu" if broken else "npu")
        (drop,) = ladder.drops
        assert re.search(reason, drop.reason)
        assert drop.rung == 0
        assert time.time() - drop.at < 600
        events = [r.event for r in caplog.records if r.levelno == logging.WARNING]  # type: ignore[attr-defined]
        assert events == ["dropped"]
        assert ladder.status()["drops"][0]["reason"] == drop.reason

    def test_one_that_hangs(self, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("runtime.rungs.GRACE_S", 0.5)
        ladder = opened(rung("npu", hang_after=PROOF + 3), CPU)
        every = frames(ladder)
        for count in range(8):
            ladder.run([every[count]])
        assert ladder.provider == "cpu"
        assert re.search("did not end within [0-9.]+ s when it ran", ladder.drops[0].reason)

    @pytest.mark.parametrize("what", ["crash_after", "nan_after"])
    def test_without_another_rung_it_is_an_error_with_its_reason(
        self, opened: Opened, what: str
    ) -> None:
        ladder = opened(rung("npu", **{what: PROOF + 2}), CPU, demand="require:npu")
        every = frames(ladder)
        ladder.run([every[0]])
        ladder.run([every[0]])
        with pytest.raises(EngineError, match=r"no rung .*\(require:npu was asked for\)") as caught:
            ladder.run([every[0]])
        assert caught.value.exit_code == 3
        with pytest.raises(EngineError, match="closed"):
            ladder.run([every[0]])

    def test_one_that_comes_to_answer_wrong_is_found_by_a_golden_frame(
        self, opened: Opened, children: list[Here]
    ) -> None:
        ladder = opened(rung("npu", wrong_after=PROOF), CPU, recheck_s=600)
        every = frames(ladder)
        assert not np.allclose(ladder.run([every[0]])[0], golden(ladder, 0))  # too early to tell
        assert ladder.drops == ()
        ladder.close()
        ladder = opened(recheck_s=0, cached=False)
        np.testing.assert_allclose(ladder.run([every[0]])[0], golden(ladder, 1), rtol=1e-6)
        assert re.search("while it ran, golden output 'scores' is off by", ladder.drops[0].reason)

    def test_what_the_caller_does_wrong_drops_nothing(
        self, opened: Opened, children: list[Here]
    ) -> None:
        ladder = opened(rung("npu"), CPU)
        with pytest.raises(EngineError, match="takes uint8"):
            ladder.run([np.zeros((1, 6, 8, 3), np.float32)])
        assert (ladder.rung, ladder.drops) == (0, ())

    def test_a_model_that_answers_with_nan_by_itself_is_told_and_kept(
        self,
        opened: Opened,
        children: list[Here],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The golden frames are answered well: it is the frame."""
        ladder = opened(CPU, CPU)
        every, real = frames(ladder), NullEngine.run

        def run(self: NullEngine, inputs: list[np.ndarray]) -> list[np.ndarray]:
            answers = real(self, inputs)
            return [a * np.nan for a in answers] if not inputs[0].any() else answers

        monkeypatch.setattr(NullEngine, "run", run)
        for _ in range(3):
            assert np.isnan(ladder.run([np.zeros_like(every[0])])[0]).all()
        assert (ladder.rung, ladder.drops, ladder.status()["not_finite"]) == (0, (), 3)
        events = [r.event for r in caplog.records if r.levelno == logging.WARNING]  # type: ignore[attr-defined]
        assert events == ["not_finite"]

    def test_it_comes_back_after_a_pause_that_doubles_and_in_the_end_no_more(
        self, opened: Opened, children: list[Here], caplog: pytest.LogCaptureFixture
    ) -> None:
        """A worker is proven and does 2 runs more, each time anew."""
        ladder = opened(rung("npu", fail_after=PROOF + 2), CPU, cooldown_s=0.01)
        every = frames(ladder)
        until = time.monotonic() + GENEROUS_S
        seen = []
        while len(ladder.drops) < 4 and time.monotonic() < until:
            np.testing.assert_allclose(
                ladder.run([every[0]])[0], golden(ladder, ladder.rung), rtol=1e-6
            )
            if seen[-1:] != [ladder.provider]:
                seen.append(ladder.provider)
        assert seen == ["npu", "cpu"] * 4
        while not any(getattr(r, "event", "") == "left" for r in caplog.records):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert not [t for t in threading.enumerate() if t.name == "ladder-retry"]
        for _ in range(20):
            ladder.run([every[0]])
        assert ladder.provider == "cpu"

    def test_closing_ends_the_pause(self, opened: Opened, children: list[Here]) -> None:
        ladder = opened(rung("npu", fail_after=PROOF), CPU, cooldown_s=600)
        ladder.run(frames(ladder)[:1])
        (thread,) = (t for t in threading.enumerate() if t.name == "ladder-retry")
        ladder.close()
        thread.join(GENEROUS_S)
        assert not thread.is_alive()


class TestVerdictsOfEarlierStarts:
    def test_a_healthy_plain_rung_needs_no_process(
        self, opened: Opened, children: list[Here]
    ) -> None:
        opened(CPU)
        assert len(children) == 1
        again = opened()
        assert len(children) == 1
        assert again.status()["proven_ms"] > 0
        np.testing.assert_allclose(again.run(frames(again)[:1])[0], golden(again, 0), rtol=1e-6)

    def test_a_refusal_needs_no_process_and_keeps_its_reason(
        self, opened: Opened, children: list[Here]
    ) -> None:
        first = opened(rung("npu", nan_after=3), CPU)
        assert len(children) == 2
        second = opened()
        assert len(children) == 2
        assert second.refusals == first.refusals

    def test_they_can_be_ignored(self, opened: Opened, children: list[Here]) -> None:
        opened(CPU)
        opened(cached=False)
        assert len(children) == 2

    def test_a_refusal_ends_no_start(self, opened: Opened, children: list[Here]) -> None:
        """In need it is looked at again: what its reason asks for may have been done."""
        opened(rung("npu", nan_after=3), CPU)
        assert len(children) == 2
        with pytest.raises(EngineError, match="not finite"):
            opened(demand="require:npu")
        assert len(children) == 3

    @pytest.mark.parametrize("what", ["threads", "driver", "package", "age"])
    def test_they_hold_for_what_they_depend_on(
        self, opened: Opened, children: list[Here], monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        opened(rung("npu", noise=1), CPU)
        options = {}
        if what == "threads":
            options = {"threads": 3}
        elif what == "driver":
            monkeypatch.setattr("runtime.rungs.fingerprint", lambda: {"drivers": "new"})
        elif what == "package":
            monkeypatch.setattr("runtime.rungs.installed", lambda packages: "another build")
        else:
            now = time.time()
            monkeypatch.setattr(time, "time", lambda: now + 7200)
        opened(**options)
        # A healthy verdict does not age.
        assert len(children) == (3 if what == "age" else 4)

    def test_a_healthy_verdict_that_is_no_longer_so(
        self, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In our process it answers otherwise than in the child, where it is proven again."""
        opened(CPU)
        real = NullEngine.run

        def run(self: NullEngine, inputs: list[np.ndarray]) -> list[np.ndarray]:
            return [answer + 1 for answer in real(self, inputs)]

        monkeypatch.setattr(NullEngine, "run", run)
        with pytest.raises(EngineError, match="healthy in another process, and here output"):
            opened()

    @pytest.mark.parametrize(
        "content", [b"", b"junk", b"[]", b'{"0": 1}', b'{"0": {"reason": 1}}', b"[" * 100_000]
    )
    def test_a_file_that_makes_no_sense_is_none(
        self, opened: Opened, children: list[Here], tmp_path: Path, content: bytes
    ) -> None:
        opened(CPU)
        (file,) = (tmp_path / "cache" / "edge-sdk" / "verdicts").iterdir()
        file.write_bytes(content)
        opened()
        assert len(children) == 2

    def test_a_cache_that_cannot_be_written_is_none(
        self,
        opened: Opened,
        children: list[Here],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "file").write_bytes(b"")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert opened(CPU).rung == 0
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.setenv("HOME", "neither")
        assert opened(CPU).rung == 0


def test_a_bundle_that_was_given_open_stays_so(tmp_path: Path, children: list[Here]) -> None:
    with ladder_bundle(tmp_path / "ladder.edge", CPU) as bundle:
        ladder = open_ladder(bundle)
        ladder.close()
        assert bundle.golden() is not None
    owned = open_ladder(tmp_path / "ladder.edge")
    owned.close()
    with pytest.raises(BundleError, match="closed"):
        owned.bundle.golden()


def test_a_bundle_that_was_closed_too_early_is_told(tmp_path: Path, children: list[Here]) -> None:
    with ladder_bundle(tmp_path / "ladder.edge", rung("npu", fail_after=PROOF), CPU) as bundle:
        ladder = open_ladder(bundle)
        every = frames(ladder)
    with pytest.raises(EngineError, match=r"fails now.*the bundle is closed"):
        ladder.run([every[0]])


def test_the_file_of_a_bundle_may_be_replaced_meanwhile(
    tmp_path: Path, opened: Opened, children: list[Here]
) -> None:
    ladder = opened(rung("npu", fail_after=PROOF), CPU)
    every = frames(ladder)
    (tmp_path / "ladder.edge").unlink()
    ladder.run([every[0]])
    assert ladder.provider == "cpu"
    assert isinstance(ladder.bundle, Bundle)


def test_a_file_that_aborts_its_interpreter_is_a_refusal(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    hostile_bundle(tmp_path / "hostile.edge")
    ladder = open_ladder(tmp_path / "hostile.edge")
    assert ladder.rung == 1
    assert re.search(r"litert on cpu crashed \(SIGABRT\)", ladder.refusals[0].reason)
    ladder.close()
