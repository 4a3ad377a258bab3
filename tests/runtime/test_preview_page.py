"""The preview's page in a real Chromium: what a person sees while a run lives, stalls and ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.status import SourceState, SourceStatus
from tests.runtime.chromium import Chromium, find_chromium
from tests.runtime.preview_cases import CAMERA, Run, run_status

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed"),
]

# The mean brightness of the picture's lower half, where nothing is drawn.
BRIGHTNESS = """(() => {
  const canvas = document.querySelector('canvas'), half = canvas.height >> 1;
  const data = canvas.getContext('2d').getImageData(0, half, canvas.width, half).data;
  return data.reduce((sum, value) => sum + value, 0) / data.length;
})()"""
STATE = "document.getElementById('state')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    one = Chromium(str(find_chromium()), tmp_path_factory.mktemp("chromium"))
    yield one
    one.close()


@contextmanager
def running(run: Run) -> Iterator[threading.Event]:
    """Write a frame every 30 ms, brighter and brighter, until the event is set."""
    still = threading.Event()

    def write() -> None:
        while not still.wait(0.03):
            run.write()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield still
    finally:
        still.set()
        writer.join()


def text(browser: Chromium, name: str) -> str:
    words: str = browser.value(f"document.getElementById('{name}').innerText")
    return words


def color(browser: Chromium) -> str:
    shade: str = browser.value(f"getComputedStyle({STATE}).color")
    return shade


def test_a_person_sees_the_run_live_stall_and_come_back(browser: Chromium) -> None:
    colors = {}
    browser.errors.clear()
    with Run() as run, running(run):
        browser.window(1280, 800)
        browser.go(run.url)
        browser.until(f"{STATE}.innerText === 'LIVE'")
        colors["LIVE"] = color(browser)

        brightness = browser.until(BRIGHTNESS)
        browser.until(f"Math.abs({BRIGHTNESS} - {brightness}) > 5")
        browser.until("document.getElementById('provider').innerText === 'null fp32 on null/cpu'")
        assert text(browser, "fallen") == "1 rung refused"
        assert "not on null fp16 on null/gpu: no such device" in text(browser, "engine")
        assert text(browser, "drops-more") == "of 100: newer 2"
        browser.until("document.getElementById('fps').innerText.startsWith('9.5')")
        run.status = run_status(fps=21.5, results=5000)
        browser.until("document.getElementById('fps').innerText.startsWith('21.5')")
        assert text(browser, "fps-more").startswith("5,000 results")

        for state in (SourceState.STALE, SourceState.LOST):
            run.status = run_status(state)
            browser.until(f"{STATE}.innerText === '{state.value}'")
            colors[state.value] = color(browser)
            veil = browser.value("document.querySelector('.veil').innerText")
            assert veil.startswith(state.value)
            assert "no frame for 2 s" in veil
            assert browser.value("document.title") == f"{state.value} · Edge SDK"
        run.status = run_status()
        browser.until(f"{STATE}.innerText === 'LIVE'")
        assert browser.value("document.querySelector('.veil').hidden")
        assert color(browser) == colors["LIVE"]
        assert browser.value("document.querySelectorAll('#plots .band').length") > 0
    browser.until(f"{STATE}.innerText === 'ENDED'")
    assert len(set(colors.values())) == 3
    assert browser.errors == []


def test_results_that_stop_are_told_though_the_source_lives(browser: Chromium) -> None:
    with Run() as run, running(run) as still:
        browser.go(run.url)
        browser.until(f"{STATE}.innerText === 'LIVE'")
        still.set()
        browser.until(f"{STATE}.innerText === 'LATE'")
        assert "old" in browser.value("document.querySelector('.veil').innerText")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
@pytest.mark.parametrize("dark", [False, True])
def test_two_sources_fit_any_screen(
    width: int, height: int, dark: bool, browser: Chromium, tmp_path: Path
) -> None:
    other = "rtsp://a.very.long.name.of.a.camera.example:8554/with/a/very/long/path?latency=0"
    lost = SourceStatus(other, SourceState.LOST, time.monotonic_ns(), 9.0, 5, 2, "no route to host")
    with Run(status=run_status(sources=(*run_status().sources, lost))) as run:
        run.write(3)
        run.write(2, source=other, size=(90, 160, 3))
        browser.window(width, height, dark)
        browser.go(run.url)
        browser.until("document.querySelectorAll('figure').length === 2")
        browser.until(f"{STATE}.innerText === 'LOST'")
        assert browser.value("document.documentElement.scrollWidth <= innerWidth")
        assert "2 reconnects" in browser.value("document.querySelectorAll('figure')[1].innerText")
        ground = browser.value("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(18, 19, 21)") == dark
        browser.screenshot(tmp_path / "page.png", whole=True)
        assert (tmp_path / "page.png").stat().st_size > 10_000
    assert CAMERA in browser.value("document.querySelectorAll('figure')[0].innerText")


def test_the_token_is_asked_for_once_and_leaves_the_address(browser: Chromium) -> None:
    with Run("http://127.0.0.1:0?token=s3cret") as run:
        run.write()
        browser.go(f"{run.url}/?token=s3cret")
        browser.until(f"{STATE}.innerText === 'LIVE'")
        assert "s3cret" not in browser.value("location.href + document.cookie")


def test_a_page_left_open_finds_the_next_run_and_forgets_the_last(browser: Chromium) -> None:
    with Run() as first:
        first.write()
        browser.go(first.url)
        browser.until(f"{STATE}.innerText === 'LIVE'")
        url = first.url
    browser.until(f"{STATE}.innerText === 'ENDED'")
    assert "has ended" in text(browser, "notice")
    source = SourceStatus("camera:7", SourceState.LIVE, 0)
    with Run(url, run_status(sources=(source,))) as second:
        second.write(source="camera:7")
        browser.until("document.querySelector('figcaption')?.innerText.includes('camera:7')")
        assert browser.value("document.querySelectorAll('figure').length") == 1
        assert browser.value("document.getElementById('notice').hidden")
