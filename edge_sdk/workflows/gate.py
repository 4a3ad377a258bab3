"""The gate that a new bundle passes before it is written: its golden set, on the device's own CPU.

A wheel that dies on that CPU (SIGILL), a kernel that computes other numbers there, are found here
and not in the field.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from device_profiles.errors import GateError, MissingError, OutputError, RequestError
from device_profiles.nearest import hint
from device_profiles.profile import Profile
from edge_sdk.targets import Target
from edge_sdk.targets._crew import Crew
from edge_sdk.targets.emulated import EmulatedTarget
from edge_sdk.targets.local import LocalTarget
from edge_sdk.workflows.proof import Proof, prove, rungs_of
from runtime.bundle import open_bundle
from runtime.host import host

WAYS = ("auto", "always", "never")
PATIENCE_S = 12.0
"""What is spent on the frames of one rung: an emulator computes some nets in float for seconds."""

_OFF = "EDGE_SDK_PROOF"


@dataclass(frozen=True)
class GateOptions:
    """`auto` proves a bundle where something here can stand for the device, and says why where
    nothing can; `always` makes that an error; `never` leaves it out. The environment variable
    EDGE_SDK_PROOF says what `auto` means where it is set. `lock` are the wheels of the device, in
    place of those that its profile asks for."""

    way: str = "auto"
    lock: Path | None = None

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise RequestError(f"--prove has no {self.way!r}; {hint(self.way, WAYS)}")
        if self.lock is not None and self.way == "never":
            raise RequestError(f"a lock ({self.lock}) is for a proof; leave it or never out")

    @property
    def chosen(self) -> str:
        """The way, with what the environment says for `auto`."""
        said = os.environ.get(_OFF, "auto") if self.way == "auto" and self.lock is None else ""
        if said and said not in WAYS:
            raise RequestError(f"{_OFF}={said!r} is none of {', '.join(WAYS)}; unset it")
        return said or self.way


@contextmanager
def gated(output: Path, profile: Profile, options: GateOptions, notes: list[str]) -> Iterator[Path]:
    """Yield where to write a bundle, which becomes `output` if it is proven.

    What there is to say of the proof is added to `notes`. GateError, with the reason of every rung
    that failed, when it is not proven; `output` is then what it was.
    """
    draft = output.with_name(f".{secrets.token_hex(8)}.{output.name}")
    try:
        yield draft
        notes += _prove(draft, f"{output} was not written", options, partial(_stand_in, profile))
        os.replace(draft, output)
    finally:
        draft.unlink(missing_ok=True)


def proven(path: Path, profile: Profile, options: GateOptions, lock: Path | None) -> list[str]:
    """Prove a bundle on the emulated device before it is sent to a real one, with the wheels of
    `lock` (those of its profile); return what there is to say of it.

    A device whose profile names no CPU to emulate proves it alone, as every one does. GateError,
    with the reason of every rung that failed.
    """
    alone = profile.emulation.cpu is None or profile.hardware.arch == host().arch
    if alone and options.chosen != "always":
        return []

    def opened(own: Path | None) -> Target:
        return EmulatedTarget(f"emulated:{profile.name}", profile, own or lock)

    return _prove(path, "nothing was sent", options, opened)


def _prove(
    path: Path, refusal: str, options: GateOptions, opened: Callable[[Path | None], Target]
) -> list[str]:
    way = options.chosen
    if way == "never":
        return []
    try:
        target = opened(options.lock)
        with closing(target), Crew(target) as crew, open_bundle(path) as bundle:
            proofs = prove(bundle, crew, rungs_of(bundle), PATIENCE_S, drivers=False)
    except (MissingError, OutputError, RequestError) as error:
        if way == "always" or options.lock is not None:
            raise
        return [f"not proven on the device's CPU: {error}"]
    failed = [proof for proof in proofs if proof.gate and not proof.gate.passed]
    if failed:
        reasons = "; ".join(f"{p.label}: {p.gate.detail}" for p in failed if p.gate)
        raise GateError(
            f"{refusal}: it does not hold on {target.uri}: {reasons}; see the "
            "versions of the engines, or leave a format out with --format"
        )
    return _said(proofs, target)


def _stand_in(profile: Profile, lock: Path | None) -> Target:
    """Return what computes as the device does: this machine, or an emulator of its CPU."""
    here = host()
    same = here.arch == profile.hardware.arch and here.features >= {*profile.hardware.features}
    if same and lock is None and here.saturates_int8_pairs == profile.saturates_int8_pairs:
        return LocalTarget()
    return EmulatedTarget(f"emulated:{profile.name}", profile, lock)


def _said(proofs: list[Proof], target: Target) -> list[str]:
    held = [f"{p.label} ({p.frames} frames)" for p in proofs if p.replay]
    lines = [f"{p.label} was not proven on {target.uri}: {p.absent}" for p in proofs if p.absent]
    if held:
        lines.insert(0, f"golden outputs reproduced on {target.uri}: {', '.join(held)}")
    return [*lines, *(target.notes if held else ())]
