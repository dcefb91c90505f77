"""Make highlighted.png, the README's picture: the page that llm-NERC writes for a document of the sample.

python docs/images/make.py      # needs chromium, and the extra dev
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
DOCUMENT = "sample.parentheses"
KEEP = """id => {
  for (const section of document.querySelectorAll("section"))
    if (section.querySelector("h2").textContent !== id) section.remove();
  for (const part of document.querySelectorAll(".controls details.table, header")) part.remove();
  view.refresh();
}"""


def main() -> None:
    picture = Path(__file__).with_name("highlighted.png")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page_file = Path(folder) / "sample.html"
        sample = ROOT / "examples" / "sample.xml"
        subprocess.run([sys.executable, ROOT / "bin" / "llm-NERC", sample, page_file, "-q"], check=True)
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1060, "height": 440}, device_scale_factor=1.5)
        page.goto(page_file.as_uri())
        page.evaluate(KEEP, DOCUMENT)
        page.hover("text=NSAIDs")
        page.screenshot(path=picture)
        browser.close()
    # A few colours are all that it has.
    Image.open(picture).convert("RGB").quantize(200).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
