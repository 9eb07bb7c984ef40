"""Takes the pictures of pages that the documentation shows: at 1280 and 390 px, light and dark.

    The commands of docs/report.md make runs/glyphs; while its search runs:
    scalesearch report runs/glyphs --out runs/race
    and afterwards the same search with --seed 1 and --run runs/glyphs-1, and:
    scalesearch report runs/glyphs runs/glyphs-1 --out runs/compared
    pip install playwright
    python docs/screenshots.py race=runs/race/report.html answer=runs/glyphs/report/report.html \
        mistakes=runs/glyphs/report/report.html#classes comparison=runs/compared/comparison.html

Each picture is docs/screens/NAME-WIDTH-light.png or -dark.png, of 160 colours. ``CHROMIUM`` names the browser.
"""

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).resolve().parent / "screens"
SIZES = {1280: 900, 390: 844}  # width and height in CSS pixels
COLOURS = 160


def main(named: list[str]) -> None:
    """Takes all pictures of the pages NAME=FILE or NAME=FILE#SECTION."""
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    browser_file = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_file, args=["--no-sandbox"])
        for one in named:
            name, _, place = one.partition("=")
            file, _, section = place.partition("#")
            address = Path(file).resolve().as_uri() + (f"#{section}" if section else "")
            for width, height in SIZES.items():
                for scheme in ("light", "dark"):
                    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme,
                                            reduced_motion="reduce")  # fmt: skip
                    page.goto(address)
                    page.wait_for_timeout(500)
                    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                    page.close()
                    target = FOLDER / f"{name}-{width}-{scheme}.png"
                    taken.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
                    print(f"{target} {target.stat().st_size // 1024} kB")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
