"""Take the pictures of the page that the README shows, in a real browser: `uv run python benchmarks/screenshots.py`.

With other options it shows the same page elsewhere: narrow or dark, on another model, on pictures of one's own.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FOLDER = Path(__file__).parent.parent / "assets" / "screenshots"
TABS = ("explain", "segments", "report", "evaluate", "train")
KEPT = ("explain", "segments", "report")
HEIGHT, PATIENCE = 980, 180_000  # pixels; milliseconds
EXPLAINERS = ("Smoothgrad", "Occlusion")


@contextmanager
def served(arguments: argparse.Namespace) -> Generator[tuple[str, Any]]:
    """(address, page)"""
    from dashboard.app import build, launch_options, make_page

    page = make_page(arguments.model, evaluation=None)
    blocks = build(page)
    _, url, _ = blocks.launch(prevent_thread_lock=True, server_port=None, **launch_options())
    try:
        yield url, page
    finally:
        blocks.close(verbose=False)


@contextmanager
def new_home() -> Generator[None]:
    """As on a machine that has never seen Satchel."""
    before = os.environ.get("HOME", "")
    with TemporaryDirectory() as home:
        os.environ["HOME"] = home
        yield
        os.environ["HOME"] = before


def take(tab: Any, name: str, arguments: argparse.Namespace) -> None:
    """One tab, once it stands still."""
    tab.get_by_role("tab", name=name.capitalize()).click()
    ready = {
        "explain": "[data-testid=finding]",
        "segments": "#segments canvas, #segments img",
        "report": "[data-testid=answer]",
        "evaluate": "[data-testid=evaluation-answer]",
        "train": "[data-testid=train-answer]",
    }[name]
    tab.locator(ready).first.wait_for()
    if name == "explain":
        if arguments.pictures:
            tab.locator("#upload input[type=file]").set_input_files([str(path) for path in arguments.pictures])
            tab.wait_for_timeout(4000)
            tab.locator("#explain").click()
        tab.wait_for_function("document.querySelector('#status').textContent.includes('of computing')")
        tab.wait_for_function("document.querySelector('#stop').disabled")
    tab.wait_for_timeout(2500)
    tab.screenshot(path=str(arguments.out / f"{name}.png"), full_page=arguments.whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--tabs", nargs="+", choices=TABS, default=list(KEPT))
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("--model", default="demo:biased")
    parser.add_argument("--pictures", type=Path, nargs="*", help="explain these instead of the examples")
    parser.add_argument("--whole", action="store_true", help="the whole page, not only its first screen")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    browser = os.environ.get("SATCHEL_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

    from playwright.sync_api import sync_playwright

    with new_home(), served(arguments) as (url, _), sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        for name in arguments.tabs:
            tab = chromium.new_page(viewport={"width": arguments.width, "height": HEIGHT})
            tab.set_default_timeout(PATIENCE)
            tab.goto(f"{url}?__theme={arguments.theme}")
            take(tab, name, arguments)
            tab.close()
        chromium.close()


if __name__ == "__main__":
    main()
