"""Which tests run here: those that need more than this machine has are skipped, with the reason."""

from __future__ import annotations

import functools
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Each of these runs only when it is asked for by name: `pytest -m slow`.
ON_REQUEST = ("gpu", "device", "emulated", "network", "slow")

# What is started in the background (`&`, nohup) ignores these, and so would what it starts: tests
# send them, and expect an end.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores; torch's and numpy's own threads would only fight over them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs the model pack without one, and what is marked as run on request only."""
    asked = config.getoption("markexpr")
    pack = Path(os.environ.get("EDGE_SDK_MODELS") or "/nonexistent").is_dir()
    for item in items:
        if not pack and item.get_closest_marker("models"):
            item.add_marker(pytest.mark.skip(reason="EDGE_SDK_MODELS names no model pack"))
        for marker in ON_REQUEST:
            if marker not in asked and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"run on request: pytest -m {marker}"))


def pytest_collection_finish() -> None:
    """Keep what is imported and collected out of every garbage collection: a million objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what runs leave in the user's cache out of it, and what is there out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        # What is built once for emulated devices, all workers use; name a folder to keep it.
        if "EDGE_SDK_CACHE" not in os.environ:
            patch.setenv("EDGE_SDK_CACHE", str(_shared(tmp_path_factory) / "edge-sdk"))
        # Proofs on emulated devices have tests of their own.
        patch.setenv("EDGE_SDK_PROOF", "never")
        yield


@pytest.fixture(autouse=True, scope="session")
def one_registry() -> Iterator[None]:
    """Let torch's exporter list the operators that it knows once, not anew (1 s) at each export."""
    if "torch" not in sys.modules:  # nothing here exports
        yield
        return
    from torch.onnx._internal.exporter import _registration

    listed = staticmethod(functools.cache(_registration.ONNXRegistry.from_torchlib))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_registration.ONNXRegistry, "from_torchlib", listed)
        yield


def _shared(factory: pytest.TempPathFactory) -> Path:
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def model_pack() -> Path:
    """Return the folder of the model pack; tests that use it are marked `models`."""
    return Path(os.environ["EDGE_SDK_MODELS"]).resolve()
