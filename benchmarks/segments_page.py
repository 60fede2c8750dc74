"""How fast the Segments tab answers: a picture of 1024 pixels with 100 masks in a real browser.

    uv run python benchmarks/segments_page.py [--repeats 5] [--sam compact]

Seconds, by the browser's own clock, from the click or key until the masks are painted anew: bringing such a picture
into view, naming one of its masks, the first click of a SAM on a new picture, and later clicks on it. Writes
benchmarks/results/segments-page.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
from figures import PATIENCE, answers, free_port, machine, summary
from PIL import Image

from core.segments.mask import Mask
from core.segments.saved.store import Store
from core.segments.segments import Segment, Segments

RESULT = Path(__file__).parent / "results" / "segments-page.json"
SIZE, MASKS = (768, 1024), 100
# the desk says that it waits as soon as something was asked, and no more when all is painted
WATCH = """() => {
  const desk = document.querySelector('#segments-desk .desk-grid').closest('[id=segments-desk]');
  window.waits = [];
  let began = null;
  new MutationObserver(() => {
    const waiting = desk.querySelector('.waiting') !== null || desk.classList.contains('waiting');
    if (waiting && began === null) began = performance.now();
    if (!waiting && began !== null) { window.waits.push((performance.now() - began) / 1000); began = null; }
  }).observe(desk, { attributes: true, subtree: true, attributeFilter: ['class'] });
}"""
MAPS_DONE = "document.querySelector('#stop').disabled && document.querySelector('.map[data-state=finished]')"
AIM = "first click 1 s, later clicks 0.2 s, on 2 cores with the compact SAM"


def write_data(folder: Path, count: int) -> None:
    """Pictures of discs on noise, and a store with those discs as masks; every second picture has none."""
    random = np.random.default_rng(0)
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]]
    store = Store(folder / "segments")
    (folder / "data").mkdir()
    for number in range(count):
        pixels = random.integers(90, 130, (*SIZE, 3)).astype(np.uint8)
        items = []
        for _ in range(MASKS):
            y, x, radius = random.uniform(0, SIZE[0]), random.uniform(0, SIZE[1]), random.uniform(12, 90)
            inside = (ys - y) ** 2 + (xs - x) ** 2 < radius**2
            pixels[inside] = random.integers(0, 256, 3)
            items.append(Segment(Mask.from_dense(inside)))
        name = f"{number:02d}.png"
        Image.fromarray(pixels).save(folder / "data" / name)
        if number % 2 == 0:
            store.save(name, Segments(SIZE, tuple(items)), None, "cut")


def measure(tab: Any, repeats: int) -> dict[str, list[float]]:
    """Go through the pictures in turn; the first two warm everything up."""
    samples: dict[str, list[float]] = {"open 100 masks": [], "name": [], "first click": [], "later click": []}

    def act(kind: str, warm: bool, does: Any) -> None:
        before = tab.evaluate("window.waits.length")
        does()
        tab.wait_for_function("(before) => window.waits.length > before", arg=before, timeout=PATIENCE * 1000)
        if not warm:
            samples[kind].append(tab.evaluate("window.waits.at(-1)"))

    tab.evaluate(WATCH)
    canvas = tab.locator(".masks-over")
    for turn in range(1 + repeats):
        act("open 100 masks", turn == 0, lambda: tab.keyboard.press("]"))
        if turn == 0:
            act("open 100 masks", True, lambda: tab.keyboard.press("["))
        tab.keyboard.press("v")
        tab.locator(".panel .list button").first.click()
        tab.locator(".panel .name").fill("disc")
        act("name", turn == 0, lambda: tab.keyboard.press("Enter"))
        tab.locator(".panel .name").blur()
        act("open 100 masks", True, lambda: tab.keyboard.press("]"))
        tab.keyboard.press("c")
        frame = canvas.bounding_box()
        for place in (0.5, 0.4, 0.6):
            kind = "first click" if place == 0.5 else "later click"
            where = {"x": place * frame["width"], "y": place * frame["height"]}
            act(kind, turn == 0, lambda: canvas.click(position=where))  # noqa: B023
        act("later click", True, lambda: tab.keyboard.press("Escape"))
    return samples


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="Measure the Segments tab.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sam", default="compact", help="spec of the SAM")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("No Chromium was found; install it.")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder, port = Path(place), free_port()
        write_data(folder, 2 * (1 + given.repeats))
        command = [str(Path(sys.executable).with_name("satchel")), "serve", "--no-open", "--port", str(port)]
        command += ["--data", str(folder / "data"), "--segments", str(folder / "segments")]
        own = {"SATCHEL_CACHE": str(folder / "cache"), "SATCHEL_DATA": str(folder / "kept")}
        server = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **own}
        )
        try:
            while not answers(port):
                sleep(0.1)
            tab = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()
            tab.set_default_timeout(PATIENCE * 1000)
            tab.goto(f"http://127.0.0.1:{port}/")
            tab.get_by_role("tab", name="Explain").click()
            # the maps that a first visitor is shown come first
            tab.wait_for_function(MAPS_DONE, timeout=PATIENCE * 1000)
            tab.get_by_role("tab", name="Segments").click()
            tab.locator(".panel .list button").first.wait_for()
            if given.sam != "compact":
                tab.locator("#segments-sam input").fill(given.sam)
                tab.keyboard.press("Enter")
            samples = measure(tab, given.repeats)
        finally:
            server.terminate()
            server.wait(timeout=30)
    found = {"aim": AIM, "machine": machine(), "sam": given.sam.partition("@")[0], "masks": MASKS, "size": SIZE}
    found |= {name: summary(values) for name, values in samples.items()}
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
