"""The page in a real browser: what its controls do, and that nothing of a text is interpreted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from constrained_ner.data import Mention, Span
from constrained_ner.rendering.marks import Mark
from constrained_ner.rendering.view import Row, Section, View

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra dev: playwright")
PROGRAM = shutil.which("chromium")
PATIENCE = 180_000  # ms: the machine may be busy
HOSTILE = (
    "<script>window.ran = 1</script> &amp; </mark>"
    "<img src=http://example.invalid/x onerror='window.ran = 2'> "
    "\u202eright to left\u202c \x00\x07 \u200b {{ 7 * 7 }} </style></p>"
)


def mention(text: str, name: str, type: str, confidence: float | None, nth: int = 0) -> Mention:
    at = -1
    for _ in range(nth + 1):
        at = text.index(name, at + 1)
    return Mention((Span(at, at + len(name)),), type, name, confidence, "constrained")


def row(id: str, text: str, *names: tuple[str, str, float | None]) -> Row:
    return Row(id, text, (tuple(Mark(mention(text, *name)) for name in names),))


def page_of(folder: Path, view: View) -> Path:
    path = folder / "page.html"
    path.write_text("".join(view.html()), encoding="utf-8")
    return path


SECTIONS = [
    Section(
        "one",
        (
            row(
                "one.s0", "Take aspirin with warfarin.", ("aspirin", "drug", 0.99), ("warfarin", "drug", 0.6)
            ),
            row("one.s1", "No name is here."),
        ),
    ),
    Section(
        "two",
        (
            row("two.s0", "Aspirin is not NSAIDs.", ("Aspirin", "brand", 0.4), ("NSAIDs", "group", 0.95)),
            *(row(f"two.s{n}", f"Filler number {n}.") for n in range(1, 120)),
            row("two.last", "In the end, aspirin.", ("aspirin", "drug", None)),
        ),
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    if PROGRAM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as driver:
        options = {"executable_path": PROGRAM, "args": ["--no-sandbox", "--disable-gpu"], "timeout": PATIENCE}
        browser = driver.chromium.launch(**options)
        yield browser
        browser.close()


class Opened:
    """A page, with the errors of its scripts and every address that it asks for."""

    def __init__(
        self, browser: sync_api.Browser, path: Path, width: int = 1280, scheme: str = "light"
    ) -> None:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def shown(self) -> list[str]:
        return self.page.eval_on_selector_all(
            "#texts mark[data-m]:not(.off)", "marks => marks.map(m => m.firstChild.data)"
        )

    def text(self, id: str) -> str:
        return self.page.inner_text(f"#{id}")

    def slide(self, percent: int) -> None:
        self.page.evaluate(
            "value => new Promise(done => { const slider = document.getElementById('least');"
            " slider.value = value; slider.dispatchEvent(new Event('input', { bubbles: true }));"
            " requestAnimationFrame(() => done()); })",
            percent,
        )


@pytest.fixture(scope="module")
def opened(browser: sync_api.Browser, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened(browser, page_of(tmp_path_factory.mktemp("view"), View.of("A text", SECTIONS)))


def test_the_slider_leaves_sure_names_and_counts_them(opened: Opened) -> None:
    assert opened.shown() == ["aspirin", "warfarin", "Aspirin", "NSAIDs", "aspirin"]
    opened.slide(90)
    assert opened.shown() == ["aspirin", "NSAIDs", "aspirin"], "a name without a confidence stays"
    assert opened.text("least-shown") == "90 %"
    assert opened.page.inner_text("[data-count='type:1']") == "0"  # brand
    opened.page.focus("#least")
    opened.page.keyboard.press("Home")  # a slider answers to keys
    opened.page.wait_for_function("() => document.getElementById('least-shown').value === '0 %'")
    assert len(opened.shown()) == 5


def test_types_are_filtered_and_sentences_without_names_hidden(opened: Opened) -> None:
    page = opened.page
    page.uncheck("[data-type='0']")  # drug
    assert opened.shown() == ["Aspirin", "NSAIDs"]
    page.check("#named")
    assert page.locator(".row:visible").count() == 1
    page.check("[data-type='0']")
    assert page.locator(".row:visible").count() == 3
    page.uncheck("#named")


def test_next_and_previous_go_from_name_to_name_by_button_and_by_key(opened: Opened) -> None:
    page = opened.page
    page.click("#next")
    assert page.evaluate("document.activeElement.firstChild.data") == "aspirin"
    assert opened.text("place") == "1 of 5"
    tip = page.locator("#details")
    assert "confidence 99.0 %" in tip.inner_text()
    assert "exact by construction" in tip.inner_text()
    assert page.get_attribute("mark.current", "aria-describedby") == "details"
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.firstChild.data") == "warfarin"
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    page.keyboard.press("p")
    page.click("#previous")  # round the corner, to a sentence that was never on the screen
    assert opened.text("place") == "5 of 5"
    page.wait_for_function(
        "() => { const box = document.querySelector('mark.current').getBoundingClientRect();"
        " return box.top >= 0 && box.bottom <= innerHeight; }"
    )


def test_the_table_leads_to_each_place_of_a_name(opened: Opened) -> None:
    page = opened.page
    link = page.locator("#controls a[data-name]", has_text="aspirin")
    places = []
    for _ in range(3):
        link.click()
        places.append(
            page.evaluate("document.querySelector('mark.current').closest('.row').innerText.split('\\n')[0]")
        )
    assert places == ["one.s0", "two.s0", "two.last"]
    assert opened.text("place") == "3 of 3"
    page.click("#one-name")
    assert opened.text("place") == "5 of 5"


def test_the_search_looks_at_the_text_and_not_at_labels(opened: Opened) -> None:
    page = opened.page
    for asked, n in (
        ("aspirin with WARF", "1 sentence"),
        ("drug", "0 sentences"),
        ("filler", "119 sentences"),
    ):
        page.fill("#query", asked)
        page.wait_for_function("n => document.getElementById('found').value === n", arg=n)
    assert page.evaluate("CSS.highlights.get('found').size") == 119
    page.fill("#query", "")
    page.wait_for_function("() => document.getElementById('found').value === ''")


def test_nothing_of_a_text_is_interpreted(browser: sync_api.Browser, tmp_path: Path) -> None:
    text = f"aspirin {HOSTILE} aspirin"
    marks = tuple(Mark(mention(text, "aspirin", HOSTILE, 0.5, n), "type", None, HOSTILE) for n in range(2))
    row = Row(HOSTILE, text, (marks,), failure=HOSTILE)
    view = View.of(HOSTILE, [Section(HOSTILE, (row,))], (HOSTILE,), notes=[HOSTILE], n_gold={HOSTILE: 1})
    opened = Opened(browser, page_of(tmp_path, view))
    assert opened.errors == []
    assert opened.requests == [(tmp_path / "page.html").as_uri()]
    assert opened.page.evaluate("window.ran") is None
    assert opened.page.locator("img, script, iframe").count() == 1, "its own script alone"
    words = opened.page.evaluate(
        "(() => { const copy = document.querySelector('p.names').cloneNode(true);"
        " copy.querySelectorAll('small').forEach(label => label.remove()); return copy.textContent; })()"
    )
    escapes = {
        "\u202e": "\\u202e",
        "\u202c": "\\u202c",
        "\x00": "\\x00",
        "\x07": "\\x07",
        "\u200b": "\\u200b",
    }
    for character, escape in escapes.items():
        text = text.replace(character, escape)
    assert words == text
    opened.page.click("#next")
    assert "<script>" in opened.page.inner_text("#details")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(
    browser: sync_api.Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    long = row("x" * 300, "word " * 100 + "y" * 400, ("word", "drug", 0.9))
    view = View.of("A" * 300, [*SECTIONS, Section("z" * 300, (long,))], notes=["n" * 300])
    opened = Opened(browser, page_of(tmp_path, view), width, scheme)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    ink, ground = opened.page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert (brightness(ink) < brightness(ground)) == (scheme == "light")


def brightness(colour: str) -> int:
    return sum(int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])


def test_a_screen_reader_hears_name_and_type(opened: Opened) -> None:
    heard = opened.page.locator(".row").first.aria_snapshot()
    assert "mark: aspirin drug" in heard
    assert "mark: warfarin drug" in heard
    assert opened.page.get_attribute("#least", "aria-describedby") == "shades"


def test_against_gold_errors_are_listed_and_scores_follow_the_slider(
    browser: sync_api.Browser, tmp_path: Path
) -> None:
    text = "Aspirin, iron, warfarin, NSAIDs."
    marks = (
        Mark(mention(text, "Aspirin", "drug", 0.9), "right", mention(text, "Aspirin", "drug", None)),
        Mark(mention(text, "iron", "brand", 0.8), "type", mention(text, "iron", "drug_n", None), "gold"),
        Mark(mention(text, "warfarin", "drug", None), "missed"),
        Mark(mention(text, "NSAIDs", "group", 0.3), "spurious"),
    )
    gold = {"drug": 2, "drug_n": 1}
    view = View.of("t", [Section("d", (Row("s", text, (marks,)),))], n_gold=gold)
    opened = Opened(browser, page_of(tmp_path, view))
    page = opened.page
    assert page.inner_text("#scores") == "P 33.3  R 33.3  F1 33.3"
    opened.slide(50)
    assert page.inner_text("#scores") == "P 50.0  R 33.3  F1 40.0"
    page.click(".errors summary")
    assert page.locator(".errors li:visible").count() == 2
    assert "≠ brand (gold drug_n)" in page.inner_text(".errors ol")
    page.click(".errors li >> text=warfarin")
    assert page.evaluate("document.activeElement.firstChild.data") == "warfarin"
    page.uncheck("[data-verdict='missed']")
    assert page.locator(".errors li:visible").count() == 1


def test_it_prints_all_sentences_and_no_controls(opened: Opened) -> None:
    opened.page.emulate_media(media="print")
    assert opened.page.locator("#next").is_hidden()
    assert opened.page.locator(".row:visible").count() == 123
    assert len(opened.page.pdf()) > 10_000
    opened.page.emulate_media(media="screen")
