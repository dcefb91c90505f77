"""How smooth is a page of thousands of sentences? Load, slider, search, jump, in headless Chromium.

    python benchmarks/view_page.py page.html      # from bin/view

Times are processor time of the page's main thread, from the event to the frame that shows it, which other
programs on the machine do not lengthen; "elapsed" is by the clock.
"""

import statistics
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

STEP = """async ([id, value, kind]) => {
  const control = document.getElementById(id);
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  await frame();
  const start = performance.now();
  control.value = value;
  if (kind === "click") control.click(); else control.dispatchEvent(new Event("input", { bubbles: true }));
  await frame();
  return performance.now() - start;
}"""


def middle(times: list[tuple[float, float]]) -> str:
    busy, elapsed = zip(*times, strict=True)
    clock = f"elapsed median {statistics.median(elapsed):.0f} ms"
    return f"median {statistics.median(busy):.0f} ms, worst {max(busy):.0f} ms of {len(times)}; {clock}"


class Meter:
    """Processor time of the main thread, in ms."""

    def __init__(self, page: Page) -> None:
        self._devtools = page.context.new_cdp_session(page)
        self._devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def read(self) -> float:
        figures = self._devtools.send("Performance.getMetrics")["metrics"]
        return 1000 * next(figure["value"] for figure in figures if figure["name"] == "TaskDuration")


def step(page: Page, meter: Meter, id: str, value: object, kind: str) -> tuple[float, float]:
    before = meter.read()
    elapsed = float(page.evaluate(STEP, [id, value, kind]))
    return meter.read() - before, elapsed


def main() -> None:
    path = Path(sys.argv[1])
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(bypass_csp=True, viewport={"width": 1280, "height": 900})
        page.set_default_timeout(300_000)
        meter = Meter(page)
        page.goto(path.resolve().as_uri())
        timing = page.evaluate("performance.getEntriesByType('navigation')[0].toJSON()")
        n_rows, n_marks = page.evaluate(
            "[document.querySelectorAll('.row').length, document.querySelectorAll('#texts mark').length]"
        )
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {n_rows} sentences, {n_marks} marks")
        print(f"load, parsed and laid out: {meter.read():.0f} ms; elapsed {timing['loadEventEnd']:.0f} ms")
        values = [v for up in range(0, 100, 7) for v in (up, 100 - up)]
        print("slider, far:", middle([step(page, meter, "least", value, "input") for value in values]))
        print("slider, 1 %:", middle([step(page, meter, "least", value, "input") for value in range(60, 90)]))
        step(page, meter, "least", 0, "input")
        print("next name:", middle([step(page, meter, "next", "", "click") for _ in range(20)]))
        page.fill("#query", "warfarin")
        page.wait_for_function("document.getElementById('found').value !== ''")
        found = page.inner_text("#found")
        print(f"next name in {found}:", middle([step(page, meter, "next", "", "click") for _ in range(10)]))
        browser.close()


if __name__ == "__main__":
    main()
