"""Manifests: what is written is read again, and nothing else is taken for a manifest."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from device_profiles.errors import BundleError
from runtime.manifest import Manifest

WRONG: dict[str, list[Any]] = {
    "text": [1, True, None, [], {}, ["x"]],
    "count": ["1", 1.5, True, None, [], -1],
    "bound": ["1", True, None, [], -1.0, math.inf, math.nan, 10**400],
    "flag": [0, 1, "true", None],
    "list": ["x", 1, True, None, {}, {"x": 1}, [1], ["x"], [None]],
    "shape": ["12", 1, True, None, {}, [1.5], [True], ["1"], [-2]],
    "object": ["x", 1, True, None, [], [["name", "x"]]],
}
ARTIFACT: tuple[Any, ...] = ("artifacts", 0)
TOLERANCE: tuple[Any, ...] = ("golden", "tolerances", 0, 0)
PLACES: list[tuple[tuple[Any, ...], str]] = [
    (("schema",), "text"),
    (("name",), "text"),
    (("task",), "text"),
    (("artifacts",), "list"),
    (("golden",), "object"),
    (("golden", "count"), "count"),
    (("golden", "tolerances"), "list"),
    (("golden", "tolerances", 0), "list"),
    (("input",), "object"),
    (("input", "height"), "count"),
    (("input", "color"), "text"),
    (("input", "mean"), "text"),
    (("labels", "path"), "text"),
    (("labels", "sha256"), "text"),
    (("labels", "size"), "count"),
    (("profile",), "object"),
    (("profile", "name"), "text"),
    (("profile", "digest"), "text"),
    (("requires",), "object"),
    (("recipe",), "object"),
    (("evidence",), "object"),
    (("extra_files",), "list"),
    *(((*ARTIFACT, key), "text") for key in ("format", "engine", "provider", "precision")),
    ((*ARTIFACT, "file"), "object"),
    ((*ARTIFACT, "opset"), "count"),
    ((*ARTIFACT, "saturation_safe"), "flag"),
    *(((*ARTIFACT, key), "list") for key in ("inputs", "outputs")),
    *(((*ARTIFACT, "outputs", 0, key), "text") for key in ("name", "dtype")),
    ((*ARTIFACT, "outputs", 0, "shape"), "shape"),
    *(((*TOLERANCE, key), "text") for key in ("output", "reason")),
    *(((*TOLERANCE, key), "bound") for key in ("absolute", "rms")),
]
Parts = tuple[Manifest, dict[str, bytes]]


def test_a_manifest_is_read_as_it_was_written(null_parts: Callable[..., Parts]) -> None:
    manifest, _ = null_parts()
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


def test_a_bound_may_be_a_whole_number(null_parts: Callable[..., Parts]) -> None:
    fields = json.loads(null_parts()[0].to_bytes())
    fields["golden"]["tolerances"][0][0]["rms"] = 2
    manifest = Manifest.from_bytes(json.dumps(fields).encode())
    assert manifest.golden.tolerances[0][0].rms == 2.0


@pytest.mark.parametrize(("place", "kind"), PLACES, ids=str)
def test_a_value_of_another_type_is_refused(
    null_parts: Callable[..., Parts], place: tuple[Any, ...], kind: str
) -> None:
    good = null_parts()[0].to_bytes()
    for value in WRONG[kind]:
        fields = json.loads(good)
        inner = fields
        for key in place[:-1]:
            inner = inner[key]
        assert place[-1] in inner or isinstance(inner, list)
        inner[place[-1]] = value
        with pytest.raises(BundleError, match=r"is not a manifest|lacks or misstates") as caught:
            Manifest.from_bytes(json.dumps(fields).encode())
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"null", b"\xff", b"[" * 100_000])
def test_what_is_not_a_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="is not a manifest"):
        Manifest.from_bytes(data)
