"""Workflow: a bundle onto a device, where it is kept only if it holds there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from device_profiles.errors import BundleError, EngineError, OutputError, ReleaseError, RequestError
from device_profiles.profile import Profile, load
from edge_sdk.report import Report
from edge_sdk.shipping import carriers
from edge_sdk.shipping.carriers import Carrier, Item, Medium, Sent, open_carrier
from edge_sdk.shipping.device_wheel import device_wheel
from edge_sdk.shipping.keys import find_public
from edge_sdk.shipping.parcel import Asked, Parcel, pack
from edge_sdk.shipping.session import Session
from edge_sdk.workflows.flash_options import FlashOptions
from edge_sdk.workflows.flash_report import Flashed, delivery_report, flash_report
from edge_sdk.workflows.gate import proven
from edge_sdk.workflows.sign import stated
from edge_sdk.workflows.wheelhouse import device_environment
from runtime.agent.release import RELEASE, Run
from runtime.bundle import Bundle, open_bundle
from runtime.model_file import is_model_file
from runtime.progress import step
from runtime.sources import needs_system
from runtime.statements import statement_bytes


@dataclass
class Steps:
    """The steps of a flash as they are told: name and seconds, and the facts of each."""

    rows: list[tuple[str, float]] = field(default_factory=list)
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def take(self, message: Mapping[str, Any]) -> None:
        """Take what the device tells."""
        name = str(message.get("step", ""))
        if "note" in message:
            step(f"{name}: {message['note']}")
        elif message.get("state") == "begin":
            step(f"{name} ...")
        else:
            self.facts[name] = message
            self.add(name, float(message.get("seconds", 0.0)))

    def add(self, name: str, seconds: float) -> None:
        """Note a step that is over."""
        self.rows.append((name, round(seconds, 3)))


def flash(bundle: str | Path, to: str, options: FlashOptions | None = None) -> Report:
    """Put a bundle on the device at `to`, and let it run there if it holds; else nothing changes.

    The report says what was sent, what each step took and what is different from the release that
    it replaces. Raises ReleaseError, with the reason, where the device keeps, or is back at, what
    it had; RequestError for a wrong request, MissingError for what is not installed here, and
    EngineError where the device is not reached.
    """
    options = options or FlashOptions()
    pins = [find_public(name).line for name in options.pin]
    with _opened(bundle) as source:
        way = open_carrier(to)
        if isinstance(way, Medium):
            if options.shadow:
                raise RequestError(
                    f"{to} answers to nobody; leave --canary-shadow out, or flash the device itself"
                )
            if options.key is not None and not source.statements:
                raise RequestError(
                    f"{bundle} is not signed, and a device with pins would refuse it; sign it: "
                    "edge-sdk sign"
                )
            return _delivered(source, way, options, pins)
        if options.key is not None:
            raise RequestError(
                "--key signs what is laid on a medium; for a device that answers, sign the bundle: "
                "edge-sdk sign"
            )
        with closing(way) as carrier:
            return _flashed(source, carrier, options, pins)


def _opened(path: str | Path) -> Bundle:
    """Open a bundle; one that is there and cannot be trusted is refused as a device would."""
    try:
        return open_bundle(path)
    except BundleError as error:
        if is_model_file(path):
            raise RequestError(
                f"{path} is a model file and no bundle, so nothing says how it is to answer; make "
                "a bundle of the model: edge-sdk convert"
            ) from error
        if Path(path).is_file():
            raise ReleaseError(f"nothing was sent: {error}") from error
        raise


def _profile(bundle: Bundle, there: Profile | None, options: FlashOptions) -> Profile:
    if options.profile is not None:
        return load(options.profile)
    return there or load(str(bundle.manifest.profile["name"]))


def _elsewhere(bundle: Bundle, profile: Profile) -> list[str]:
    """Say so where a bundle goes to another device than it was made for."""
    made = str(bundle.manifest.profile["name"])
    return [] if made == profile.name else [f"the bundle was made for {made}, not {profile.name}"]


def _flashed(
    bundle: Bundle, carrier: Carrier, options: FlashOptions, pins: Sequence[str]
) -> Report:
    profile = _profile(bundle, carrier.profile, options)
    steps = Steps()
    wheel = device_wheel()
    start = time.monotonic()
    step(f"connecting to {carrier.uri}")
    seat = carrier.look(wheel)
    steps.add("connect", time.monotonic() - start)
    with _theirs():
        seat.require_writable(carrier.uri)
    python = options.python or "{}.{}".format(*seat.version[:2])
    notes = _elsewhere(bundle, profile)
    if carrier.profile is None:  # a virtual board is an emulator itself
        notes += proven(bundle.path, profile, options.gate, options.own_lock)
    parcel = _parcel(bundle, profile, python, options)
    with _theirs():
        sent = [] if seat.agent else [carrier.send_agent(wheel)]
    with closing(Session(carrier.run(["session", seat.root]), carrier.uri, steps.take)) as session:
        hello = session.request("hello")
        for line in pins:
            session.request("pin", line=line)
        wanted = session.request("offer", **parcel.offer())
        start = time.monotonic()
        with _theirs():
            sent += [_send(carrier, parcel, wanted)]
        steps.add("send", time.monotonic() - start)
        state = session.request("install", shadow=_shadow(options, parcel))
    return flash_report(
        Flashed(
            uri=carrier.uri,
            parcel=parcel,
            steps=steps.rows,
            told=steps.facts,
            sent=sent,
            before=hello["state"],
            state=state,
            notes=notes,
            emulated=carrier.profile is not None,
        )
    )


@contextmanager
def _theirs() -> Iterator[None]:
    """A device whose disk does not take a release, or that is cut off, keeps what it has."""
    try:
        yield
    except (OutputError, EngineError) as error:
        raise ReleaseError(str(error)) from error


def _parcel(bundle: Bundle, profile: Profile, python: str, options: FlashOptions) -> Parcel:
    furniture = device_environment(profile, python, options.wheelhouse, options.lock)
    words = options.run.words(profile.camera.source)
    sources = [word for name, word in pairwise(words) if name == "--source"]
    asked = Asked(
        run=Run(words, options.watchdog_s),
        health=options.health,
        system_site=bool(furniture.lock.system) or any(map(needs_system, sources)),
        golden_s=options.golden_s,
    )
    parcel = pack(bundle, profile, furniture, asked)
    return replace(parcel, allow_downgrade=options.allow_downgrade)


def _send(carrier: Carrier, parcel: Parcel, wanted: Mapping[str, Any]) -> Sent:
    incoming = f"incoming/{parcel.release.id}"
    items = [Item(parcel.files[name], f"{incoming}/{name}") for name in wanted["files"]]
    wheels = parcel.furniture.wheels
    items += [Item(wheels[name], f"incoming/wheels/{name}") for name in wanted["wheels"]]
    size = sum(item.local.stat().st_size for item in items)
    step(f"sending {len(items)} files ({size / 1e6:.1f} MB) to {carrier.uri}")
    return carrier.put(items, wanted["basis"])


def _shadow(options: FlashOptions, parcel: Parcel) -> list[str]:
    if not options.shadow:
        return []
    words = parcel.release.run.words
    source = options.shadow_source or words[words.index("--source") + 1]
    agreement = str(options.shadow_agreement)
    return ["--source", source, "--frames", str(options.shadow), "--agreement", agreement]


def _delivered(
    bundle: Bundle, medium: Medium, options: FlashOptions, pins: Sequence[str]
) -> Report:
    """Lay a release on a medium, which the device installs from when it starts."""
    profile = _profile(bundle, None, options)
    notes = _elsewhere(bundle, profile)
    notes += proven(bundle.path, profile, options.gate, options.own_lock)
    python = options.python or profile.software.python[0]
    parcel = _parcel(bundle, profile, python, options)
    said = b""
    if options.key is not None:
        said = statement_bytes([stated(parcel.digest, options.key)])
    furniture, release = parcel.furniture, parcel.release
    ready = {
        "release": release.id,
        "wheels": [vars(entry) for entry in parcel.wheels],
        "signature": parcel.signature,
        "release_signature": said.decode(),
        "allow_downgrade": options.allow_downgrade,
        "pins": list(pins),
    }
    taken = carriers.Parcel(
        wheel=furniture.device,
        release=release.id,
        files={**parcel.files, RELEASE: release.to_bytes()},
        wheels=[furniture.wheels[wheel.path] for wheel in parcel.wheels],
        ready=ready,
    )
    return delivery_report(medium, parcel, medium.deliver(taken), notes)
