from __future__ import annotations

import itertools
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from device_profiles.errors import OutputError, RequestError
from edge_sdk.report import (
    Bar,
    Bars,
    Chart,
    Gate,
    Lines,
    Point,
    Report,
    Scatter,
    Series,
    Table,
    draw,
    page,
    render,
    table,
    write_page,
)
from edge_sdk.report.drawing import LETTER, width_of, wrap
from edge_sdk.report.figures import cells, decimals, is_numeric
from edge_sdk.report.scale import cost_scale, scale
from edge_sdk.report.scatter import unbeaten

NAN = math.nan
SVG = "{http://www.w3.org/2000/svg}"

ACCURACY = Bars(
    "Top-1 accuracy",
    "%",
    (
        Bar("reference, float32", 98.61, 96.78, 99.41),
        Bar("Raspberry Pi 5, int8", 98.33, 96.41, 99.24, highlight=True),
        Bar("Generic x86, fp32", 98.61, 96.78, 99.41),
    ),
    "whiskers: 95 % confidence (Wilson)",
)
SIZES = Scatter(
    "Accuracy against size",
    "size, MB",
    "top-1, %",
    (Point("int8", 0.048, 98.33), Point("fp16", 0.079, 98.61), Point("fp32", 0.153, 98.61)),
)
LATENCY = Lines(
    "Latency by percentile",
    "percentile",
    "latency, ms",
    (
        Series("int8", (50, 90, 99), (0.081, 0.09, 0.15)),
        Series("fp32", (50, 90, 99), (0.082, 0.1, 0.151)),
    ),
)
LONG = "mobilenet_v2_1.0_224_imagenet.safetensors on raspberry-pi-5 with int8 weights " * 2
CHARTS: dict[str, Chart] = {
    "accuracy": ACCURACY,
    "sizes": SIZES,
    "latency": LATENCY,
    "no bars": Bars("None", "%", ()),
    "one bar": Bars("One", "%", (Bar("only", 98.6),)),
    "equal bars": Bars(
        "Equal", "%", (Bar("a", 100.0, 100.0, 100.0), Bar("b", 100.0, 100.0, 100.0))
    ),
    "zero": Bars("Zero", "ms", (Bar("a", 0.0, 0.0, 0.0),)),
    "odd bars": Bars("Odd", "ms", (Bar(LONG, 12.3, 11, 15), Bar("b", NAN), Bar("c", math.inf))),
    "negative": Bars(
        "Change", "points", (Bar("loss", -1.2, -2.0, -0.4), Bar("gain", 0.4, -0.1, 1))
    ),
    "no points": Scatter("None", "ms", "%", ()),
    "twins": Scatter("Twins", "ms", "%", tuple(Point(f"twin {n}", 1.0, 98.0) for n in range(7))),
    "crowd": Scatter(
        LONG, "ms", LONG, tuple(Point(f"p {n}", 1 + n % 37, n % 53) for n in range(99))
    ),
    "orders": Scatter("Zoo", "ms", "%", tuple(Point(LONG, 4.0**n, 40 + n) for n in range(7))),
    "nan point": Scatter("NaN", "ms", "%", (Point("a", NAN, 1.0), Point("b", 1.0, 2.0))),
    "no lines": Lines("None", "x", "y", ()),
    "nan line": Lines("NaN", "x", "y", (Series("a", (1, 2), (NAN, NAN)),)),
    "gap": Lines("Gap", "x", "y", (Series("a", (1, 2, 3, 4), (1, NAN, 2, 2)),)),
    "equal lines": Lines(
        "Equal", "x", "y", tuple(Series(f"{LONG} {n}", (0, 1), (98, 98)) for n in range(25))
    ),
    "big": Lines(
        "Big", "x", "ns", (Series("a", (0, 1e7), (1e9, 3.2e9)), Series("b", (0,), (1e-9,)))
    ),
}
every_chart = pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
TABLE = Table(
    "Accuracy",
    ("artifact", "top-1, %", "lost, points", "MB"),
    (("float32", 98.6111, "-", None), ("int8", 98.3333, "0.28 (-0.6 to 1.1)", 0.048)),
    "n = 360",
)
REPORT = Report(
    "Digits",
    "int8 loses 0.28 points.",
    (TABLE,),
    (ACCURACY, SIZES, LATENCY),
    (Gate("golden set", True, "16 of 16"), Gate("budget", False, "0.28 lost, 0.1 allowed")),
    {"n": 360, "drop": NAN},
    ("measured here",),
)
HOSTILE = "<script>alert('x')</script> & \x1b[31m\"\nb"


# --- values


def test_json_is_strict_and_whole() -> None:
    found = json.loads(json.dumps(REPORT.to_json(), allow_nan=False))
    assert found["passed"] is False
    assert found["facts"] == {"n": 360, "drop": None}
    assert found["gates"][0] == {"name": "golden set", "passed": True, "detail": "16 of 16"}
    assert found["tables"][0]["rows"][1] == {
        "artifact": "int8",
        "top-1, %": 98.3333,
        "lost, points": "0.28 (-0.6 to 1.1)",
        "MB": 0.048,
    }


def test_a_report_without_gates_passed() -> None:
    assert Report("Inspect", "").passed


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Table("T", ("a", "b"), ((1,),)), "row 1 has 1 cells for 2 columns"),
        (lambda: Table("T", ("a", "a"), ()), "two columns have one name"),
        (lambda: Series("s", (1.0,), ()), "1 xs and 0 ys"),
    ],
)
def test_what_does_not_fit_together_is_refused(make, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RequestError, match=words):
        make()


# --- figures


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ((98.6111, 98.3333), ["98.61", "98.33"]),
        ((98.5, 97.0), ["98.5", "97.0"]),
        ((100.0, 99.0), ["100", "99"]),
        ((0.1534, 0.048), ["0.153", "0.048"]),
        ((1797, 12), ["1,797", "12"]),
        ((1234.56, 2.0), ["1,234.6", "2.0"]),
        ((None, NAN, math.inf, 1.5), ["-", "n/a", "inf", "1.5"]),
        ((1.2e-7, 0.003), ["1.2e-07", "0.003"]),
        ((-0.001, 12.0), ["-0.001", "12.000"]),
        ((0.0, 0.0), ["0", "0"]),
        ((True, "a\n\x1b[1mb", 3), ["yes", "a [1mb", "3"]),
    ],
)
def test_cells_show_the_digits_that_say_something(column, shown) -> None:  # type: ignore[no-untyped-def]
    assert cells(column) == shown


def test_rounding_never_shows_a_negative_zero() -> None:
    assert cells((-0.0, 1.5)) == ["0.0", "1.5"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ((1, 2.5, None), True),
        (("97.4 % (95.6 to 98.5)", "-"), True),
        (("1.4x", ""), True),
        (("int8", 3), False),
        (("3f2a91", "77ab00"), False),
        ((None, "-"), False),
        ((True, False), False),
    ],
)
def test_columns_of_figures_are_told_from_words(column, expected) -> None:  # type: ignore[no-untyped-def]
    assert is_numeric(column) is expected


def test_figures_too_far_apart_have_no_common_decimals() -> None:
    assert decimals([1e-9, 1.0]) is None


# --- scales

RANGES = [(a, a + b) for a in (-3e3, -1, 0, 1e-6, 0.97, 98.3, 1e7) for b in (0, 1e-3, 0.7, 44, 2e5)]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_axes_hold_their_values_and_tell_their_ticks_apart(low: float, high: float) -> None:
    axis = scale([low, high])
    slack = 1e-8  # of the axis: a value that rounding puts beyond a tick adds no tick
    assert -slack <= axis.at(low) <= axis.at(high) <= 1 + slack
    assert 2 <= len(axis.ticks) <= 8
    assert len(set(axis.labels())) == len(axis.ticks)


def test_close_accuracies_get_an_axis_of_their_own_that_says_so() -> None:
    axis = scale([96.41, 99.41], percent=True)
    assert (axis.low, axis.high) == (96, 100)
    assert axis.range_note() == "axis from 96 to 100, not from 0"


@pytest.mark.parametrize("accuracy", [100.0, 99.99, 99.5, 98.61, 71.2])
def test_no_axis_of_per_cent_goes_beyond_a_hundred(accuracy: float) -> None:
    assert scale([accuracy], percent=True).high <= 100


def test_latencies_start_at_zero_without_a_warning() -> None:
    axis = scale([2.1, 30.0])
    assert (axis.low, axis.range_note()) == (0, "")


def test_costs_over_orders_of_magnitude_get_a_logarithmic_axis() -> None:
    axis = cost_scale([2.1, 230])
    assert axis.ticks == (2, 5, 10, 20, 50, 100, 200, 500)
    assert axis.at(10) - axis.at(5) == pytest.approx(axis.at(100) - axis.at(50))


# --- text


def test_text_is_aligned_and_whole() -> None:
    assert render(REPORT) == (
        "Digits\n======\n\nint8 loses 0.28 points.\n\nAccuracy\n"
        "  artifact  top-1, %        lost, points     MB\n"
        "  --------  --------  ------------------  -----\n"
        "  float32      98.61                   -      -\n"
        "  int8         98.33  0.28 (-0.6 to 1.1)  0.048\n"
        "  n = 360\n\n"
        "Gates\n  PASS  golden set  16 of 16\n  FAIL  budget      0.28 lost, 0.1 allowed\n\n"
        "Notes\n- measured here\n\nFAILED: 1 of 2 gates (budget)"
    )


def test_words_are_wrapped_and_figures_are_not() -> None:
    detail = "the clock is slow because the board throttles; mount a heat sink " * 2
    text = table(Table("Doctor", ("what", "found", "code, points"), (("a", detail, 12345),)), 60)
    assert max(map(len, text.splitlines())) <= 60
    assert " ".join(text.split()).count("12,345") == 1
    assert set(detail.split()) <= set(text.split())


def test_long_tables_are_cut_in_text_only() -> None:
    long = Table("Layers", ("layer", "dB"), tuple((f"conv{n}", float(n)) for n in range(1250)))
    text = table(long)
    assert "  ... and 1,210 more" in text.splitlines()
    assert "conv39" in text
    assert "conv40" not in text
    assert page(Report("R", "", (long,))).count("<tr>") == 1 + 1250


def test_wide_letters_count_twice() -> None:
    text = table(Table("", ("label", "n"), (("猫", 1), ("dog", 2))))
    assert text.splitlines()[2:] == ["  猫     1", "  dog    2"]


def test_text_has_no_control_characters_from_labels() -> None:
    report = Report(
        HOSTILE, HOSTILE, (Table(HOSTILE, (HOSTILE,), ((HOSTILE,),)),), notes=(HOSTILE,)
    )
    assert re.search(r"[\x00-\x09\x0b-\x1f]", render(report)) is None


def test_a_table_without_rows_says_so() -> None:
    assert "(nothing)" in table(Table("T", ("a", "b"), ()))
    assert "nothing" in page(Report("R", "", (Table("T", ("a",), ()),)))


# --- pictures


@every_chart
def test_pictures_are_well_formed_accessible_and_finite(chart: Chart) -> None:
    picture = ElementTree.fromstring(draw(chart))
    title = picture.find(f"{SVG}title")
    assert title is not None
    assert (picture.get("role"), title.text) == ("img", " ".join(chart.title.split()))
    values = [v for e in picture.iter() for k, v in e.items() if k != "aria-label"]
    assert not [v for v in values if re.search(r"\b(nan|inf)\b", v)]


@every_chart
def test_words_neither_collide_nor_leave_the_sheet(chart: Chart) -> None:
    picture = ElementTree.fromstring(draw(chart))
    left, top, width, height = map(float, str(picture.get("viewBox")).split())
    boxes = [_box(element) for element in picture.iter(f"{SVG}text")]
    for words, a in boxes:
        assert left <= a[0] and a[2] <= left + width, words
        assert top <= a[1] and a[3] <= top + height, words
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        overlap = a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
        assert not overlap, (one, other)


def _box(element: ElementTree.Element) -> tuple[str, tuple[float, float, float, float]]:
    """Return the words and their estimated box; letters reach from the baseline up by 0.75."""
    words, x, y = element.text or "", float(element.get("x", "")), float(element.get("y", ""))
    wide = width_of(words) * (15 / 13 if element.get("class") == "head" else 1)
    shift = {"start": 0.0, "middle": wide / 2, "end": wide}[element.get("text-anchor", "start")]
    return words, (x - shift, y - 0.75 * LETTER, x - shift + wide, y)


def test_close_values_are_dots_on_an_axis_that_says_its_range() -> None:
    picture = draw(ACCURACY)
    assert picture.count("<circle") == 3
    assert "axis from 96 to 100, not from 0" in picture
    assert "98.33 (96.41 to 99.24)" in picture


def test_bars_grow_from_zero() -> None:
    latencies = Bars("Latency", "ms", (Bar("a", 10.0), Bar("b", 40.0)))
    picture = ElementTree.fromstring(draw(latencies))
    bars = [e for e in picture.iter(f"{SVG}rect") if e.get("fill")]
    assert bars[0].get("x") == bars[1].get("x")
    wide = [float(bar.get("width", "")) for bar in bars]
    assert wide[1] == pytest.approx(4 * wide[0], rel=1e-3)  # coordinates have two decimals
    assert "not from 0" not in draw(latencies)


def test_a_value_that_is_no_number_keeps_its_row() -> None:
    picture = draw(Bars("T", "ms", (Bar("broken", NAN), Bar("good", 2.0))))
    assert "broken" in picture
    assert "n/a" in picture


def test_a_gap_breaks_the_line() -> None:
    lines = ElementTree.fromstring(draw(CHARTS["gap"]))
    runs = [e for e in lines.iter(f"{SVG}path") if e.get("stroke-width") == "2"]
    assert len(runs) == 2


def test_points_that_none_beats() -> None:
    a, b, c, d = Point("a", 1, 1), Point("b", 2, 3), Point("c", 3, 3), Point("d", 4, 4)
    assert unbeaten([d, c, b, a]) == [a, b, d]
    assert unbeaten([a, Point("twin", 1, 1)]) == [a, Point("twin", 1, 1)]


def test_points_without_a_name_are_counted() -> None:
    picture = draw(CHARTS["crowd"])
    hidden = re.search(r"(\d+) points without room for a name", picture)
    assert hidden is not None
    names = re.findall(r">p \d+</text>", picture)
    assert int(hidden[1]) + len(names) == 99


def test_a_long_name_loses_its_middle() -> None:
    (name,) = wrap("raspberry-pi-5 with a very long name, int8", 150, 1)
    assert name.startswith("rasp")
    assert name.endswith("int8")
    assert width_of(name) <= 150


# --- pages


class _Balance(HTMLParser):
    """Fails on a tag that is closed out of turn, and collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [str(v) for k, v in attrs if k in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)


def _parsed(html: str) -> _Balance:
    parser = _Balance()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def test_a_page_holds_everything_and_needs_nothing() -> None:
    html = page(REPORT, {"A frame": b"\x89PNG\r\n\x1a\nrest"})
    parsed = _parsed(html)
    assert parsed.sources == ["data:image/png;base64,iVBORw0KGgpyZXN0"]
    assert {"svg", "table", "details", "img"} <= parsed.tags
    assert not {"script", "link", "iframe"} & parsed.tags
    assert "1 of 2 gates passed" in html
    assert "prefers-color-scheme:dark" in html
    assert html.count("<svg") == 3


def test_everything_in_a_page_is_escaped() -> None:
    chart = Bars(HOSTILE, HOSTILE, (Bar(HOSTILE, 1.0),), HOSTILE)
    html = page(
        Report(
            HOSTILE,
            HOSTILE,
            (Table(HOSTILE, (HOSTILE,), ((HOSTILE,),), HOSTILE),),
            (
                chart,
                Scatter(HOSTILE, HOSTILE, HOSTILE, (Point(HOSTILE, 1, 1),), HOSTILE),
                Lines(HOSTILE, HOSTILE, HOSTILE, (Series(HOSTILE, (1,), (1,)),), HOSTILE),
            ),
            (Gate(HOSTILE, True, HOSTILE),),
            {HOSTILE: HOSTILE},
            (HOSTILE,),
        ),
        {HOSTILE: b"GIF89a"},
    )
    assert "script" not in _parsed(html).tags
    assert "\x1b" not in html


def test_an_empty_report_is_a_page() -> None:
    assert "svg" not in _parsed(page(Report("Nothing", ""))).tags


def test_an_image_of_another_kind_is_refused() -> None:
    with pytest.raises(RequestError, match="give a PNG, JPEG, GIF or WebP"):
        page(REPORT, {"a drawing": b"<svg/>"})


def test_pages_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    write_page(target, REPORT)
    assert target.read_text(encoding="utf-8") == page(REPORT)
    with pytest.raises(RequestError):
        write_page(target, REPORT, {"bad": b""})
    assert target.read_text(encoding="utf-8") == page(REPORT)
    assert list(tmp_path.iterdir()) == [target]


def test_file_names_that_are_no_text_do_not_stop_a_page(tmp_path: Path) -> None:
    write_page(tmp_path / "r.html", Report("R", "", facts={"file": "a\udcff.png"}))
    assert "a\\udcff.png" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("place", ["missing/r.html", "file/r.html", "folder"])
def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written") as caught:
        write_page(tmp_path / place, REPORT)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]
