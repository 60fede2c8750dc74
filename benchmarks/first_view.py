"""How light the page is: what a fresh browser loads and computes until the finding stands there, and a cell after it.

    uv run python benchmarks/first_view.py [--rounds 5] [--busy 10]

A server of its own, warm; each round a new browser context without a cache, by the browser's own clock. "painted" is
from the start of the navigation until the finding is in the page and a frame was drawn; bytes and requests until then
and until `--busy` seconds after the start; long tasks (over 50 ms) in that time; the pictures of a cell from the click
until all of them are decoded. Writes benchmarks/results/first-view.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from time import sleep
from typing import Any

from figures import PATIENCE, answers, free_port, machine

RESULT = Path(__file__).parent / "results" / "first-view.json"
AIM = "1 MB before the first click, long tasks under 1.5 s, the finding in 1.5 s, a cell's pictures in 1 s, on 2 cores"
WATCH = """
window.longTasks = 0;
new PerformanceObserver((list) => { for (const one of list.getEntries()) window.longTasks += one.duration; })
  .observe({ type: 'longtask', buffered: true });
const look = () => {
  if (!document.querySelector('[data-testid=answer] h2')) return requestAnimationFrame(look);
  requestAnimationFrame(() => { window.painted = performance.now(); });
};
requestAnimationFrame(look);
"""
PICTURES = """() => new Promise((done) => {
  const began = performance.now();
  const before = document.querySelector('[data-testid=cell]')?.textContent;
  const ready = () => {
    const cell = document.querySelector('[data-testid=cell]');
    const shown = [...document.querySelectorAll('[data-testid=exhibits] img')];
    const whole = shown.length && shown.every((one) => one.complete && one.naturalWidth);
    if (cell && cell.textContent !== before && whole) return done((performance.now() - began) / 1000);
    requestAnimationFrame(ready);
  };
  document.querySelector(CELL).click();
  requestAnimationFrame(ready);
})"""
CELL = "[data-testid=grid] tbody td button:not([aria-current=true])"


def one_view(browser: Any, url: str, busy: float) -> dict[str, float]:
    """One fresh visit."""
    context = browser.new_context(viewport={"width": 1400, "height": 980})
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE * 1000)
    session = context.new_cdp_session(tab)
    session.send("Network.enable")
    session.send("Performance.enable")
    sums: dict[str, float] = defaultdict(float)

    def loaded(event: dict[str, Any]) -> None:
        sums["bytes"] += event["encodedDataLength"]
        sums["requests"] += 1

    session.on("Network.loadingFinished", loaded)
    tab.add_init_script(WATCH)
    tab.goto(url, wait_until="commit")
    tab.wait_for_function("window.painted")
    first = dict(sums)
    tab.wait_for_function("(busy) => performance.now() > 1000 * busy", arg=busy)
    told = {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}
    found = {
        "painted_s": tab.evaluate("window.painted") / 1000,
        "bytes_until_painted": first["bytes"],
        "requests_until_painted": first["requests"],
        "bytes": sums["bytes"],
        "requests": sums["requests"],
        "long_tasks_s": tab.evaluate("window.longTasks") / 1000,
        "computing_s": told["TaskDuration"],
    }
    found["cell_pictures_s"] = tab.evaluate(PICTURES.replace("CELL", json.dumps(CELL)))
    context.close()
    return found


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="Measure the first view.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", type=float, default=10.0, help="seconds for which the browser is watched")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("No Chromium was found; install it.")
    samples: dict[str, list[float]] = defaultdict(list)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        port = free_port()
        own = {"SATCHEL_CACHE": f"{place}/cache", "SATCHEL_DATA": f"{place}/kept"}
        server = subprocess.Popen(
            [str(Path(sys.executable).with_name("satchel")), "serve", "--no-open", "--port", str(port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **own},
        )  # fmt: skip
        try:
            while not answers(port):
                sleep(0.1)
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for number in range(1 + given.rounds):
                found = one_view(browser, f"http://127.0.0.1:{port}/", given.busy)
                if number:  # the first warms the server up
                    for name, value in found.items():
                        samples[name].append(round(value, 3))
                print(json.dumps(found), flush=True)
        finally:
            server.terminate()
            server.wait(timeout=30)
    kept = {"aim": AIM, "machine": machine(), "load": load, "busy_s": given.busy}
    kept |= {name: {"median": median(values), "samples": values} for name, values in samples.items()}
    RESULT.write_text(json.dumps(kept, indent=1) + "\n")
    print(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
