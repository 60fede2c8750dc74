"""What the page's server needs under load, and whether it gives it back: memory and waiting times.

    uv run python benchmarks/page_load.py [--clients 8] [--seconds 90] [--flood 200] [--rest 30]

Starts `satchel serve` on a free port of the loopback address and visits it: every client opens the page, drops
in two pictures of its own, explains them with the usual explainers, and begins again as a new visitor; then a flood of
quick requests comes, each from a visitor of its own; then it is left alone. Quick requests are also timed from beside
while the clients run. Writes benchmarks/results/page-load.json.
"""

from __future__ import annotations

import argparse
import io
import json
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from figures import PATIENCE, answers, free_port, machine
from PIL import Image

RESULT = Path(__file__).parent / "results" / "page-load.json"
AIM = "memory 30 s after the flood back at its level before, within 100 MB; a quick request waits 0.2 s (median)"
FAILURES = (httpx.HTTPError, RuntimeError, ValueError, KeyError)


def resident(pid: int) -> float:
    """MB that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise SystemExit("the server has ended")


class Visitor:
    """One page without a browser: it sends what the page would send and reads what comes."""

    def __init__(self, url: str, http: httpx.Client) -> None:
        self.url, self.http = url, http
        self.hash, self.key = secrets.token_hex(8), secrets.token_hex(16)
        config = http.get(f"{url}/config").json()
        self.values = {c["id"]: c["props"].get("value") for c in config["components"]}
        self.named = {c["props"].get("elem_id"): c["id"] for c in config["components"]}
        self.state = {c["id"] for c in config["components"] if c["type"] == "state"}
        self.steps = config["dependencies"]

    def on(self, event: str, component: int) -> list[int]:
        """The handlers of an event of a component."""
        return [step["id"] for step in self.steps if [component, event] in step["targets"]]

    def call(self, handler: int, **given: Any) -> float:
        """Run a handler to its end; seconds until then."""
        step = next(step for step in self.steps if step["id"] == handler)
        data = [given.get(str(i), None if i in self.state else self.values.get(i)) for i in step["inputs"]]
        body = {"fn_index": handler, "data": data, "session_hash": self.hash, "event_data": given.get("event")}
        began = time.perf_counter()
        if not step["queue"]:
            self.http.post(f"{self.url}/gradio_api/run/predict", json=body).raise_for_status()
            return time.perf_counter() - began
        event = self.http.post(f"{self.url}/gradio_api/queue/join", json=body).raise_for_status().json()["event_id"]
        with self.http.stream("GET", f"{self.url}/gradio_api/queue/data", params={"session_hash": self.hash}) as stream:
            for line in stream.iter_lines():
                if not line.startswith("data:"):
                    continue
                message = json.loads(line[5:])
                if message["msg"] == "process_completed" and message.get("event_id") == event:
                    if not message["success"]:
                        raise RuntimeError(message["output"])
                    return time.perf_counter() - began
        raise RuntimeError("the stream ended before its answer came")

    def enter(self) -> None:
        """What a page does when it is opened."""
        load = next(step for step in self.steps if step["targets"][0][1] == "load")
        key, mode = load["inputs"]
        self.opened = load["outputs"][2]
        self.call(load["id"], **{str(key): self.key, str(mode): "light"})

    def open_tabs(self) -> None:
        """What follows once the visitor's key is known: every tab shows something."""
        for handler in self.on("change", self.opened):
            self.call(handler)

    def upload(self, picture: bytes) -> None:
        sent = self.http.post(f"{self.url}/gradio_api/upload", files={"files": ("photo.png", picture, "image/png")})
        (path,) = sent.raise_for_status().json()
        file = {"path": path, "orig_name": "photo.png", "meta": {"_type": "gradio.FileData"}}
        (handler,) = self.on("upload", self.named["upload"])
        self.call(handler, **{str(self.named["upload"]): [file]})

    def explain(self) -> float:
        (handler,) = self.on("click", self.named["explain"])
        return self.call(handler)


def photo(seed: int) -> bytes:
    """A picture of smooth colours that nobody has shown before, 640 x 480."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def busy(url: str, number: int, until: float, times: list[float], failures: list[str]) -> None:
    """One client: a new visitor for every two pictures."""
    seed = number * 100_000
    while time.monotonic() < until:
        try:
            with httpx.Client(timeout=PATIENCE, trust_env=False) as http:
                visitor = Visitor(url, http)
                visitor.enter()
                visitor.open_tabs()
                for _ in range(2):
                    if time.monotonic() > until:
                        return
                    seed += 1
                    visitor.upload(photo(seed))
                    times.append(visitor.explain())
        except FAILURES as error:  # counted, and the first ones are kept
            failures.append(f"{type(error).__name__}: {error}"[:300])


def quick(url: str, http: httpx.Client) -> float:
    """A page that is opened, from its first request to its key."""
    visitor = Visitor(url, http)
    began = time.perf_counter()
    visitor.enter()
    return time.perf_counter() - began


def beside(url: str, until: float, times: list[float], failures: list[str]) -> None:
    while time.monotonic() < until:
        try:
            with httpx.Client(timeout=PATIENCE, trust_env=False) as http:
                times.append(quick(url, http))
        except FAILURES as error:
            failures.append(f"{type(error).__name__}: {error}"[:300])
        time.sleep(0.5)


def flood(url: str, count: int, times: list[float], failures: list[str], side_by_side: int = 16) -> None:
    """Quick requests, many at once, each by a visitor of its own."""
    left = list(range(count))

    def worker() -> None:
        while left:
            left.pop()
            try:
                with httpx.Client(timeout=PATIENCE, trust_env=False) as http:
                    times.append(quick(url, http))
            except FAILURES as error:
                failures.append(f"{type(error).__name__}: {error}"[:300])

    together([threading.Thread(target=worker) for _ in range(side_by_side)])


def together(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def told(times: list[float]) -> dict[str, Any]:
    """Median and the 95th part of a hundred, in seconds."""
    if not times:
        return {"count": 0}
    median, late = np.quantile(times, (0.5, 0.95))
    return {"count": len(times), "median_s": round(float(median), 3), "p95_s": round(float(late), 3)}


def measure(clients: int, seconds: float, quick_ones: int, rest: float) -> dict[str, Any]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    start = "from dashboard.cli.main import main; main()"
    command = [sys.executable, "-c", start, "serve", "--no-open", "--port", str(port)]
    explained: list[float] = []
    waits: list[float] = []
    flooded: list[float] = []
    failures: list[str] = []
    with (Path(tempfile.gettempdir()) / "satchel-page-load.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            began = time.monotonic()
            while not answers(port):
                if server.poll() is not None or time.monotonic() - began > PATIENCE:
                    raise SystemExit("the page did not start")
                time.sleep(0.2)
            # one visitor first: what stays loaded is no growth
            busy(url, 0, time.monotonic() + 15, [], failures)
            levels = {"before_mb": resident(server.pid)}
            highest = [levels["before_mb"]]
            ended = threading.Event()

            def watch() -> None:
                while not ended.wait(0.2):
                    highest.append(resident(server.pid))

            watching = threading.Thread(target=watch)
            watching.start()
            until = time.monotonic() + seconds
            threads = [
                threading.Thread(target=busy, args=(url, n + 1, until, explained, failures)) for n in range(clients)
            ]
            together([*threads, threading.Thread(target=beside, args=(url, until, waits, failures))])
            levels["after_clients_mb"] = resident(server.pid)
            flood(url, quick_ones, flooded, failures)
            levels["after_flood_mb"] = resident(server.pid)
            time.sleep(rest)
            levels["after_rest_mb"] = resident(server.pid)
            ended.set()
            watching.join()
            levels["peak_mb"] = max(highest)
        finally:
            server.terminate()
            server.wait(timeout=PATIENCE)
    return {
        **{name: round(value) for name, value in levels.items()},
        "explain": told(explained),
        "quick_beside_long_runs": told(waits),
        "flood": told(flooded),
        "failures": len(failures),
        "first_failures": failures[:3],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--flood", type=int, default=200)
    parser.add_argument("--rest", type=float, default=30)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    found = measure(given.clients, given.seconds, given.flood, given.rest)
    record = {
        "aim": AIM, "machine": machine(), "clients": given.clients, "seconds": given.seconds, "flood": given.flood,
        **found,
    }  # fmt: skip
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
