"""The page to play in, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from serving import HeldEngine, Served, served, wait_for

from constrained_ner import Annotator
from constrained_ner.service.engine import ThisProcess
from constrained_ner.service.limits import Limits

PATIENCE_MS = 600_000


@pytest.fixture(scope="module")
def engine() -> Iterator[ThisProcess]:
    with Annotator.load() as annotator:
        yield ThisProcess(annotator)


@pytest.fixture(scope="module")
def running(engine: ThisProcess) -> Iterator[Served]:
    with served(engine, Limits(time_s=PATIENCE_MS / 1000)) as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, running: Served) -> Iterator[Any]:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(running.url)
    page.wait_for_selector("#texts mark")
    yield page
    page.close()
    assert errors == []


def until(page: Any, condition: str) -> None:
    """Wait until a condition holds in the page, whose policy forbids to evaluate it from within."""
    wait_for(lambda: page.evaluate(condition), PATIENCE_MS / 1000)


def test_names_appear_as_one_types(page: Any) -> None:
    page.fill("#text", "")
    page.type("#text", "Warfarin interacts with ibuprofen.")
    until(page, "document.querySelectorAll('#texts mark[id]').length == 2")
    texts = page.locator("#texts mark").evaluate_all("all => all.map(m => m.firstChild.data)")
    assert texts == ["Warfarin", "ibuprofen"]
    assert "2 names" in page.inner_text("#status")


def test_the_slider_and_the_legend_hide_names(page: Any) -> None:
    shown = "document.querySelectorAll('#texts mark[id]:not(.off)').length"
    before = page.evaluate(shown)
    page.locator("#least").fill("100")
    until(page, f"{shown} == 0")
    page.locator("#least").fill("0")
    until(page, f"{shown} >= {before}")
    page.uncheck("[data-type='0']")
    until(page, f"{shown} < {before}")


def test_the_xray_opens_from_the_keyboard(page: Any) -> None:
    page.locator("#texts .look").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#xray:not([hidden]) tbody tr")
    assert page.evaluate("document.activeElement.id") == "xray"  # where a screen reader reads on
    assert "<drug>Ketoconazole</drug>" in page.inner_text("#xray")
    assert "overruled" in page.inner_text("#xray")
    heads = page.locator("#xray th[scope=col]").all_inner_texts()
    assert heads[:3] == ["pass", "written", "how sure"]


def test_the_xray_closes_from_the_keyboard_and_the_focus_goes_back(page: Any) -> None:
    button = page.locator("#texts .look").nth(1)
    assert button.get_attribute("aria-expanded") == "false"
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#xray:not([hidden]) tbody tr")
    assert button.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Escape")
    assert page.locator("#xray").is_hidden()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "X-ray of sentence 2"
    assert button.get_attribute("aria-expanded") == "false"


def test_the_tab_key_goes_from_the_text_to_the_filters_to_the_sentences(page: Any) -> None:
    page.locator("#text").focus()
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        here = page.evaluate("(e => e.id || e.dataset.type && 'type' || e.className)(document.activeElement)")
        seen.append(here)
        if here == "look":
            break
    wanted = ["export", "query", "least", "type", "named", "look"]
    assert sorted(wanted, key=seen.index) == wanted


def test_a_screen_reader_finds_its_way(page: Any) -> None:
    assert page.get_by_role("heading", level=1).inner_text() == "Names in a text"
    assert page.get_by_role("textbox", name="Text", exact=True).count() == 1
    assert page.get_by_role("slider", name="Least confidence").count() == 1
    assert page.get_by_role("group", name="Types").get_by_role("checkbox").count() == 4
    assert page.get_by_role("main").get_attribute("aria-label") == "The text with its names"
    assert page.get_by_role("status").count() >= 1
    page.get_by_role("button", name="X-ray of sentence 1").click()
    xray = page.get_by_role("region", name="X-ray")
    xray.get_by_role("table").wait_for()
    assert xray.get_by_role("columnheader").count() == 6
    assert xray.get_by_role("button", name="Close").count() == 1


def test_on_a_phone_the_text_comes_first_and_nothing_is_wider_than_the_screen(
    browser: Any, running: Served
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(PATIENCE_MS)
    page.goto(running.url)
    page.wait_for_selector("#texts mark")
    tops = [page.locator(name).bounding_box()["y"] for name in ("#text", "#query", "#texts")]
    assert tops == sorted(tops)
    assert tops[-1] < 844  # the marked text is on the first screen
    page.locator("#texts .look").first.click()
    page.wait_for_selector("#xray:not([hidden]) tbody tr")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_what_is_typed_is_never_markup(page: Any) -> None:
    hostile = '<img src=x onerror="document.title=\'hit\'"></drug><|endoftext|>\u202e\x1b[31m & "aspirin"'
    page.fill("#text", hostile)
    until(page, "document.querySelector('#texts .row')?.dataset.text.includes('onerror')")
    assert page.locator("#texts img").count() == 0
    page.locator("#texts .look").first.click()
    page.wait_for_selector("#xray:not([hidden]) tbody tr")
    assert page.locator("#xray img").count() == 0
    assert page.title() == "Names in a text"


def test_the_text_can_be_saved_as_a_page(page: Any) -> None:
    with page.expect_download() as saved:
        page.click("#export")
    html = saved.value.path().read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert "Ketoconazole" in html


def test_every_control_has_a_name(page: Any) -> None:
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, input, textarea')].filter((e) => !e.labels?.length
        && !e.getAttribute('aria-label') && !e.textContent.trim() && !e.hidden).map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_a_busy_service_says_so(browser: Any, engine: ThisProcess) -> None:
    held = HeldEngine(engine.about)
    with served(held, Limits(queue=1)) as service:
        first, second = browser.new_page(), browser.new_page()
        first.goto(service.url)
        until(first, "document.readyState == 'complete'")
        while held.n_begun == 0:
            first.wait_for_timeout(20)
        second.goto(service.url)
        second.wait_for_selector("#status.problem")
        assert "The service is busy" in second.inner_text("#status")
        held.release.set()
        second.wait_for_selector("#texts .row, #nothing:not([hidden])", timeout=PATIENCE_MS)
        first.close()
        second.close()
