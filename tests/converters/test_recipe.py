"""Recipes: what each profile's ladder becomes, and what is said when it allows nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from converters.recipe import Recipe, recipes
from device_profiles.errors import RequestError
from device_profiles.profile import Profile, load
from device_profiles.sections import EngineRung

# Engine, provider and precision of each rung, best first.
CPU = [
    (engine, "cpu", precision)
    for engine in ("onnxruntime", "litert")
    for precision in ("int8", "fp16", "fp32")
]
ALLOWED = r"onnx: int8, fp16, fp32; tflite: int8, int16x8, int8-dynamic, fp16, fp32$"
FORMATS = {"onnxruntime": "onnx", "litert": "tflite"}
ORIN = [
    ("onnxruntime", "tensorrt", "int8"),
    ("onnxruntime", "tensorrt", "fp16"),
    ("onnxruntime", "tensorrt", "fp32"),
    ("onnxruntime", "cuda", "fp16"),
    ("onnxruntime", "cuda", "fp32"),
    ("onnxruntime", "cpu", "int8"),
    ("onnxruntime", "cpu", "fp32"),
]
LADDERS = {
    "raspberry-pi-4b": CPU,
    "raspberry-pi-5": CPU,
    "generic-arm64": CPU,
    "generic-x86": CPU,
    "jetson-orin-nano": ORIN,
}
PAIR_SAFE = {"generic-x86"}
SYMMETRIC = {"jetson-orin-nano"}


@pytest.mark.parametrize("name", LADDERS)
def test_ladder_of_each_profile(name: str) -> None:
    found = recipes(load(name))
    assert [(r.engine, r.provider, r.precision) for r in found] == LADDERS[name]
    for recipe in found:
        assert recipe.format == FORMATS[recipe.engine]
        assert recipe.per_channel
        assert recipe.bias_correction
        assert recipe.pair_safe == (name in PAIR_SAFE)
        assert recipe.symmetric == (name in SYMMETRIC)
        assert recipe.activation_type == ("int8" if name in SYMMETRIC else "uint8")
        assert recipe.half == ("compute" if name in SYMMETRIC else "weights")
        assert recipe.scheme.activation_type == recipe.activation_type
        assert recipe.scheme.symmetric == recipe.symmetric
        assert recipe.scheme.weights.per_channel
        assert recipe.scheme.weights.pair_safe == recipe.pair_safe


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_precision_asked_for_is_followed_by_its_fallback(precision: str) -> None:
    found = recipes(load("raspberry-pi-5"), "onnx", precision)
    assert [recipe.precision for recipe in found] == [precision, "fp32"]
    both = recipes(load("raspberry-pi-5"), precision="fp32")
    assert [(r.format, r.precision) for r in both] == [("onnx", "fp32"), ("tflite", "fp32")]


def test_a_rung_without_the_precision_asked_for_still_falls_back() -> None:
    found = recipes(load("jetson-orin-nano"), precision="int8")
    assert [(r.provider, r.precision) for r in found] == [
        ("tensorrt", "int8"),
        ("tensorrt", "fp32"),
        ("cuda", "fp32"),
        ("cpu", "int8"),
        ("cpu", "fp32"),
    ]


@pytest.mark.parametrize("precision", ["int16x8", "int8-dynamic"])
def test_what_only_one_format_holds_is_asked_for_by_name_and_comes_first(precision: str) -> None:
    pi = load("raspberry-pi-5")
    found = recipes(pi, precision=precision)
    assert [(r.format, r.precision) for r in found] == [("tflite", precision), ("tflite", "fp32")]
    wide = precision == "int16x8"
    assert (found[0].activation_type, found[0].symmetric) == (
        ("int16", True) if wide else ("uint8", False)
    )
    assert found[0].calibrates == wide
    assert not recipes(load("generic-x86"), precision=precision)[0].pair_safe
    assert precision not in {recipe.precision for recipe in recipes(pi)}
    with pytest.raises(RequestError, match="no rung for format onnx at precision"):
        recipes(pi, "onnx", precision)


@pytest.mark.parametrize("precision", ["int4", "INT8", ""])
def test_a_precision_that_no_rung_allows_is_an_error_that_names_those_it_does(
    precision: str,
) -> None:
    with pytest.raises(RequestError, match=ALLOWED) as caught:
        recipes(load("raspberry-pi-5"), precision=precision)
    assert "raspberry-pi-5" in str(caught.value)
    assert f"precision {precision}" in str(caught.value)
    assert "\n" not in str(caught.value)


def only(*rungs: EngineRung) -> Profile:
    return replace(load("raspberry-pi-5"), engines=rungs)


def test_what_is_allowed_is_what_the_profile_and_the_format_have_in_common() -> None:
    profile = only(
        EngineRung("onnxruntime", "cpu", ("fp32", "int16x8")),
        EngineRung("ncnn", "cpu", ("int8",)),
    )
    with pytest.raises(RequestError, match=r"allows onnx: fp32$"):
        recipes(profile, precision="int8")
    assert [recipe.precision for recipe in recipes(profile)] == ["fp32"]


def test_engines_without_a_format_are_skipped_and_named_when_there_is_no_other() -> None:
    with pytest.raises(RequestError, match=r"only engines without a format here \(ncnn\)"):
        recipes(only(EngineRung("ncnn", "cpu", ("fp32", "int8"))))


def test_an_unknown_format_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(RequestError, match=r"no format is called 'onx'.*onnx"):
        recipes(load("raspberry-pi-5"), format_name="onx")


def test_cores_that_saturate_and_profiles_that_ask_for_it_get_safe_pairs() -> None:
    profile = load("raspberry-pi-5")
    assert not recipes(profile)[0].pair_safe
    wanting = replace(profile, quantization=replace(profile.quantization, reduced_range=True))
    assert recipes(wanting)[0].pair_safe
    intel = load("generic-x86")
    vnni = replace(intel.hardware, features=(*intel.hardware.features, "avx512", "vnni"))
    assert not recipes(replace(intel, hardware=vnni))[0].pair_safe


def test_artifacts_are_shared_between_providers_alone() -> None:
    files = [recipe.file for recipe in recipes(load("jetson-orin-nano"))]
    assert files[0] == "models/model.int8.onnx"
    assert files[0] == files[5]
    assert set(files) == {f"models/model.{p}.onnx" for p in ("int8", "fp16", "fp32")}


INTEGER = {
    *("activation_type", "symmetric", "per_channel", "pair_safe", "bias_correction", "io_type"),
}


@pytest.mark.parametrize(
    ("precision", "concerned"),
    [
        ("int8", INTEGER),
        ("int16x8", INTEGER),
        ("int8-dynamic", {"per_channel"}),
        ("fp16", {"half"}),
        ("fp32", set()),
    ],
)
def test_json_holds_what_concerns_the_precision(precision: str, concerned: set[str]) -> None:
    common = {"format", "engine", "provider", "precision"}
    said = Recipe("onnx", "onnxruntime", "cpu", precision).to_json()
    assert set(said) == common | concerned
    assert said["precision"] == precision
