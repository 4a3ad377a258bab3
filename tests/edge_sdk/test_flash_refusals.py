"""Bad bundles: none becomes current, each says why, and what runs goes on in its own process."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import ReleaseError
from device_profiles.sections import FEATURES
from edge_sdk.shipping.keys import new_key
from edge_sdk.workflows import flash as workflow
from runtime.agent.layout import remove
from runtime.bundle import open_bundle, write_statements
from runtime.host import host
from tests.edge_sdk.cli_cases import Run
from tests.edge_sdk.refusal_cases import Standing, lines_of, standing_in

pytestmark = pytest.mark.skipif(
    host().arch != "x86_64", reason="the bundles of these tests are for generic-x86"
)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing_in(tmp_path_factory.mktemp("standing")) as standing:
        yield standing


def refused(said: Any, reason: str) -> None:
    """See that a flash was refused with one line that names the cause."""
    assert (said.code, reason in said.last) == (1, True), said.err
    assert said.last.startswith("edge-sdk flash: ")


# At the host.


def test_flipped_bytes_are_found_before_anything_is_sent(
    edge: Run, standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(to: str) -> None:
        raise AssertionError(f"{to} was asked")

    monkeypatch.setattr(workflow, "open_carrier", never)
    good = standing.good("whole", 50).read_bytes()
    path = standing.folder / "flipped.edge"
    chance = random.Random(6)
    with standing.unmoved("100 flipped bytes at the host"):
        for number in range(100):
            data = bytearray(good)
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            path.write_bytes(data)
            if number == 0:
                refused(edge("flash", path, *standing.words()), "nothing was sent: ")
            with pytest.raises(ReleaseError, match="nothing was sent: "):
                workflow.flash(path, standing.device.uri)


@pytest.mark.parametrize(
    "name", ["../../../tmp/x.json", "/etc/cron.d/x.json5", "models/../../x.json"]
)
def test_names_that_lead_elsewhere(edge: Run, standing: Standing, name: str) -> None:
    data = standing.good("names", 51).read_bytes()
    old = b"models/model.0.json"
    assert len(name) == len(old), "the archive would be wrong in other ways"
    path = standing.folder / "names.edge"
    path.write_bytes(data.replace(old, name.encode()))
    with standing.unmoved(f"an archive with {name}"):
        refused(edge("flash", path, *standing.words()), "nothing was sent: ")
    assert not Path("/tmp/x.json").exists()


# What the device is.


def profile_like(folder: Path, text: str) -> Path:
    """Write a profile that is generic-x86 but for some of it."""
    path = folder / "like.toml"
    path.write_text(f'inherits = "generic-x86"\nname = "like"\n{text}')
    return path


def test_a_cpu_that_lacks_instructions(edge: Run, standing: Standing) -> None:
    lacking = sorted(set(FEATURES["x86_64"]) - host().features)
    if not lacking:
        pytest.skip("this CPU has every instruction that a profile can name")
    profile = profile_like(standing.folder, f"[hardware]\nfeatures = {json.dumps(lacking)}\n")
    with standing.unmoved("features"):
        said = edge("flash", standing.good("cpu", 52), *standing.words(), "--profile", profile)
        refused(said, f"it needs a CPU with {' '.join(lacking)}, this one has ")


def test_a_device_with_less_memory(edge: Run, standing: Standing) -> None:
    profile = profile_like(standing.folder, "[hardware]\nmemory_mb = 90000000\n")
    with standing.unmoved("memory"):
        said = edge("flash", standing.good("memory", 52), *standing.words(), "--profile", profile)
        refused(said, "it needs 67500000 MiB of memory, this device has ")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("arch", "aarch64", "it is for aarch64 and this device is x86_64"),
        ("python", "3.7", "its wheels are for Python 3.7 and this device has 3."),
        ("libc", "glibc 9.99", "its wheels need glibc 9.99 or newer, this device has glibc 2."),
    ],
)
def test_wheels_for_another_device(
    edge: Run, standing: Standing, field: str, value: str, reason: str
) -> None:
    device, made = standing.device, standing.device.made
    lock = replace(made.lock, platform=replace(made.lock.platform, **{field: value}))
    with pytest.MonkeyPatch.context() as patch, standing.unmoved(field):
        patch.setattr(device, "made", replace(made, lock=lock))
        refused(edge("flash", standing.good("other", 53), *standing.words()), reason)


# The golden gate.


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"seed": 9}, "its golden replay failed on this device: "),
        ({"noise": 0.5}, "its golden replay failed on this device: "),
        ({"nan_after": 3}, "NaN"),
        ({"crash_after": -1}, "SIGABRT"),
        ({"crash_after": 9}, "SIGABRT"),
        ({"fail_after": 2}, "fail_after"),
        ({"hang_after": 4}, " s when it ran; see that the device answers"),
        ({"hang_after": -1}, "did not end within 3 s on this device: a rung hangs"),
    ],
    ids=["other", "noise", "nan", "crash-on-load", "crash", "error", "hang", "hang-on-load"],
)
def test_a_model_that_does_not_answer_as_it_should(
    edge: Run, standing: Standing, behaviour: dict[str, Any], reason: str
) -> None:
    bundle = standing.bundle("gate", 54, **behaviour)
    limit = ["--golden-within", "3"] if behaviour == {"hang_after": -1} else []
    with standing.unmoved(f"golden {behaviour}"):
        said = edge("flash", bundle, *standing.words(), *limit)
        refused(said, reason)
    last = standing.device.state()["events"][-1]
    assert (last["what"], reason in last["reason"]) == ("refused", True)
    assert last["release"] not in standing.device.state()["releases"]
    assert not (standing.device.layout.releases / last["release"]).exists()


def test_a_source_that_the_device_does_not_have(edge: Run, standing: Standing) -> None:
    bundle = standing.good("source", 55)
    with standing.unmoved("a folder of images that is not there"):
        said = edge("flash", bundle, *standing.words("/nowhere/images"))
        refused(said, "/nowhere/images: no such file")


# The requests of a session.


def offered(standing: Standing) -> str:
    """Return the text of the release that runs."""
    link = standing.device.layout.current
    return (link / "release.json").read_text()


def ask(standing: Standing, *lines: bytes) -> list[dict[str, Any]]:
    """Tell the agent on the device these lines, and return its answers, but for its steps."""
    program = standing.device.layout.agent / "agent.py"
    done = subprocess.run(
        [sys.executable, "-I", program, "session", standing.device.root],
        input=b"\n".join(lines) + b"\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert not done.stderr, done.stderr.decode()
    return [line for line in lines_of(done.stdout) if "step" not in line]


def offer(text: Any, *wheels: Any) -> bytes:
    """Return a request."""
    return json.dumps({"do": "offer", "release": text, "wheels": list(wheels)}).encode()


def changed(text: str, **fields: Any) -> str:
    """Return the text of a release with other fields."""
    found = {**json.loads(text), **fields}
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def wheel(path: Any, size: Any = 1) -> dict[str, Any]:
    """Return a wheel of a request."""
    return {"path": path, "sha256": "0" * 64, "size": size}


Request = tuple[Callable[[str], bytes], str]
HOSTILE: list[Request] = [
    (lambda t: b"garbage", "a request was not understood"),
    (lambda t: b"\xff\xfe\x00", "a request was not understood"),
    (lambda t: b"[" * 200_000, "a request was not understood"),
    (lambda t: b"[1, 2]", "a request was not understood"),
    (lambda t: b"{}", "a request was not understood: KeyError('do')"),
    (lambda t: b'{"do": ["offer"]}', "a request was not understood"),
    (lambda t: b'{"do": "reboot"}', "this agent cannot 'reboot'"),
    (lambda t: b'{"do": "install"}', "nothing was offered to be installed"),
    (lambda t: b'{"do": "pin", "line": "../x"}', "this is no public key"),
    (lambda t: offer(None), "release.json"),
    (lambda t: offer(t + "\n"), "it is not canonical"),
    (lambda t: offer(" " + t), "it is not canonical"),
    (lambda t: offer(changed(t, schema="2.0")), "has schema '2.0', this agent reads 1.0"),
    (lambda t: offer(changed(t, colour="red")), "colour"),
    (lambda t: offer(changed(t, name="x" * (2 << 20))), "bytes, the limit is 1048576"),
    (lambda t: offer(changed(t, environment="../../etc")), "its environment is called"),
    (lambda t: offer(t.replace('"lock.txt"', '"../k.txt"')), "its files are not bundle.edge and"),
    (lambda t: offer(t.replace('"lock.txt"', '"/etc/pwd"')), "its files are not bundle.edge and"),
    (lambda t: offer(changed(t, run={"words": ["a\nb"]})), "a line break"),
    (lambda t: offer(t, wheel("../evil.whl")), "'../evil.whl' is no name of a wheel"),
    (lambda t: offer(t, wheel("/evil.whl")), "'/evil.whl' is no name of a wheel"),
    (lambda t: offer(t, wheel("evil.py")), "'evil.py' is no name of a wheel"),
    (lambda t: offer(t, wheel("..")), "'..' is no name of a wheel"),
    (lambda t: offer(t, wheel(5)), "a request was not understood"),
    (lambda t: offer(t, {"path": "a.whl"}), "a request was not understood"),
    (lambda t: b"x" * (9 << 20), "a request was not understood"),
]


def test_hostile_requests(standing: Standing) -> None:
    text = offered(standing)
    with standing.unmoved(f"{len(HOSTILE)} hostile requests"):
        lines = [make(text) for make, _ in HOSTILE]
        answers = ask(standing, *lines, b'{"do": "install"}', b'{"do": "hello"}')
        for (_, reason), answer in zip(HOSTILE, answers, strict=False):
            assert reason in answer["error"]
            assert "\n" not in answer["error"]
        # The last is longer than a request may be, and so is what is behind it cut off.
        assert "nothing was offered" in answers[-2]["error"]
        assert answers[-1]["answer"]["state"]["current"] == standing.seen().current
    assert not list(standing.device.root.parent.rglob("evil*"))


def test_what_was_offered_and_never_sent_is_not_installed(standing: Standing) -> None:
    found = json.loads(offered(standing))
    found["files"][0]["sha256"] = "1" * 64
    text = changed(json.dumps(found), name="another")
    with standing.unmoved("installed without being sent"):
        wanted, said = ask(standing, offer(text), b'{"do": "install"}')
        assert wanted["answer"]["files"] == ["bundle.edge"]
        assert "what came is not the release: it differs in bundle.edge" in said["error"]


def test_a_link_in_the_place_of_a_file(standing: Standing, tmp_path: Path) -> None:
    """Who may write into `incoming` cannot have the agent take, or overwrite, a file elsewhere."""
    text = changed(offered(standing), name="linked")
    here = standing.device.layout
    other = tmp_path / "other"
    other.write_text("mine")
    with standing.unmoved("links in incoming"):
        (wanted,) = ask(standing, offer(text))
        assert wanted["answer"]["files"] == []
        (draft,) = [path for path in here.incoming.iterdir() if path.name != "wheels"]
        for name in ("release.json", "lock.txt"):
            (draft / name).unlink()
            (draft / name).symlink_to(other)
        answers = ask(standing, offer(text), offer(changed(text, schema="3")))
        assert answers[0]["answer"]["files"] == []
        assert other.read_text() == "mine"
        assert not any(path.is_symlink() for path in draft.iterdir())
        remove(draft)


# Signatures; and after all of it, good ones are taken.


def test_who_may_ship(
    edge: Run, standing: Standing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("cryptography", reason="keys are made with it: the extra `sign`")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("me", "you"):
        new_key(name)
    bundles = {name: standing.good(name, 60 + n) for n, name in enumerate("abcd")}

    def signed(name: str, key: str, version: int) -> Path:
        output = tmp_path / f"{name}-{key}-{version}.edge"
        words = ["--release-version", version, "-o", output]
        assert edge("sign", bundles[name], "--key", key, *words).code == 0
        return output

    device = standing.device
    try:
        said = edge("flash", signed("a", "me", 5), *standing.words(), "--pin", "me", "--json")
        assert said.code == 0, said.err
        five = said.json["facts"]["release"]
        assert device.state()["releases"][five]["version"] == 5
        for path, reason in [
            (bundles["b"], "the bundle is not signed, and this device takes only what me ("),
            (signed("b", "you", 6), "the bundle is signed by "),
            (borrowed(signed("a", "me", 7), bundles["b"], tmp_path), "the signature of the bundle"),
            (signed("b", "me", 4), "is version 4 of channel stable, and this device has seen"),
            (signed("b", "me", 5), "this device has another bundle of that version"),
        ]:
            with standing.unmoved(f"signature: {reason}"):
                refused(edge("flash", path, *standing.words()), reason)
        older = signed("b", "me", 4)
        assert edge("flash", older, *standing.words(), "--allow-downgrade").code == 0
        before = standing.seen()
        said = edge("flash", signed("c", "me", 6), *standing.words(), "--json")
        assert said.code == 0, said.err
        assert standing.seen().current == said.json["facts"]["release"]
        assert standing.seen().previous == before.current
        with standing.unmoved("signature: the version before"):
            refused(edge("flash", signed("d", "me", 5), *standing.words()), "has seen version 6")
    finally:
        remove(device.layout.keys)


def borrowed(source: Path, target: Path, folder: Path) -> Path:
    """Write a bundle with what was signed of another one."""
    with open_bundle(source) as good, open_bundle(target) as other:
        said = [replace(s, bundle=other.id) for s in good.statements]
        write_statements(other, said, folder / "borrowed.edge")
    return folder / "borrowed.edge"
