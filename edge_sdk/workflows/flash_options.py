"""What can be said of a flash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from device_profiles.errors import RequestError
from edge_sdk.shipping.keys import SigningKey
from edge_sdk.workflows.gate import GateOptions
from edge_sdk.workflows.limits import check_threads
from runtime.agent.release import Health
from runtime.agent.services import ServiceOptions


@dataclass(frozen=True)
class RunWords:
    """How a device runs a bundle from now on, as `edge-sdk run` takes it.

    Paths and addresses are the device's. Without a `source` it takes the camera of its profile;
    with `service` False nothing is run. `more` are further words of `edge-sdk run`.
    """

    sources: Sequence[str] = ()
    sinks: Sequence[str] = ()
    threads: int = 0
    provider: str | None = None
    more: Sequence[str] = ()
    service: bool = True

    def __post_init__(self) -> None:
        check_threads(self.threads)
        if not self.service and (self.sources or self.sinks):
            raise RequestError("a bundle that is not to run has no --source and no --sink")

    def words(self, camera: str) -> tuple[str, ...]:
        """Return the words behind `edge-sdk run BUNDLE`; none where nothing is to run."""
        if not self.service:
            return ()
        words: list[str] = []
        for source in self.sources or [camera]:
            words += ["--source", source]
        for sink in self.sinks:
            words += ["--sink", sink]
        if self.threads:
            words += ["--threads", str(self.threads)]
        if self.provider is not None:
            words += ["--provider", self.provider]
        return (*words, *self.more)


@dataclass(frozen=True)
class FlashOptions:
    """How to flash.

    `profile` is the device, in place of the one that the bundle names. `wheelhouse` is a folder of
    wheels in place of the package index, `lock` names the wheels, `python` the device's minor
    version where it cannot be asked. `health` is what the release must show to be kept. `pin` are
    public keys that the device trusts from now on, `key` signs what is delivered to a medium.
    `shadow` compares the new release with the old on so many frames before the switch, of
    `shadow_source` where the camera is not to be shared, and refuses it when they agree on less
    than `shadow_agreement`, a share of 1; `watchdog_s` starts a run again that gives
    no result for so long. `gate` is the proof on an emulated device before anything is sent.
    """

    run: RunWords = field(default_factory=RunWords)
    profile: str | None = None
    wheelhouse: Path | None = None
    lock: Path | None = None
    python: str | None = None
    health: Health = field(default_factory=Health)
    pin: Sequence[str] = ()
    key: SigningKey | None = None
    allow_downgrade: bool = False
    shadow: int = 0
    shadow_source: str | None = None
    shadow_agreement: float = 0.9
    watchdog_s: float | None = None
    golden_s: float = 600.0
    gate: GateOptions = field(default_factory=GateOptions)

    def __post_init__(self) -> None:
        if self.health.results < 1 or not 0 < self.health.within_s < 86400:
            raise RequestError(
                "health is at least one result within some seconds, less than a day; see "
                "--results and --within"
            )
        if not 0 < self.golden_s < 86400:
            raise RequestError("a golden replay takes some seconds, less than a day")
        ServiceOptions(self.watchdog_s)  # which says what is wrong with it
        if self.wheelhouse is not None and self.lock is not None:
            raise RequestError("a wheelhouse has a lock of its own; leave --lock out")
        if self.shadow < 0 or (self.shadow_source and not self.shadow):
            raise RequestError("--shadow-source goes with --canary-shadow FRAMES")
        if not 0 <= self.shadow_agreement <= 1:
            raise RequestError("--canary-agreement is a share, from 0 to 1; 0.9 is 90%")
        if self.shadow and not (self.run.service or self.shadow_source):
            raise RequestError(
                "a canary of what is not to run has no frames; name some by --shadow-source, or "
                "leave --no-service out"
            )

    @property
    def own_lock(self) -> Path | None:
        """The lock of the wheels that are installed, where it is not that of the profile."""
        return self.lock if self.wheelhouse is None else self.wheelhouse / "lock.txt"
