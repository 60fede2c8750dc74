"""The project's own figures: start of the page, time to maps, and the gradient family against its limits and captum.

    uv run python benchmarks/figures.py [page] [maps] [gradients] [memory] [gpu] [--repeats 5]

Writes benchmarks/results/figures.json: machine, versions, raw samples in seconds, medians and ratios. Both sides of a
ratio come from one run, turn about, so that a busy machine slows both. Needs the real weights and photos that the tests
use (`../shared/data` or $SATCHEL_TEST_DATA), for `page` a Chromium, and for `gpu` a GPU, without which it is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

from core.runtime.device import synchronise

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "figures.json"
DATA = Path(os.environ.get("SATCHEL_TEST_DATA", ROOT.parent / "shared" / "data"))
WEIGHTS = DATA / "weights" / "mobilenet_v2.pth"
SPEC = f"torchvision:mobilenet_v2@{WEIGHTS}"
CHUNKS = {"cpu": (1, 2, 4, 8, 16), "cuda": (16, 32, 64, 128, 256)}
PASSES = {"cpu": 50, "cuda": 256}
FAMILY = ("integrated-gradients", "expected-gradients", "smoothgrad", "suppression")
PATIENCE = 180.0


def photo() -> Path:
    """A real photo; the same one every time."""
    return sorted((DATA / "imagenet100").rglob("*.[jJ][pP]*[gG]"))[0]


def timed(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def summary(samples: list[float]) -> dict[str, Any]:
    return {"samples_s": [round(s, 4) for s in samples], "median_s": round(median(samples), 4)}


# --- page ---------------------------------------------------------------------------------------------------------


def measure_page(repeats: int) -> dict[str, Any]:
    """Seconds from the command to the painted page, its tabs visible; the browser itself is already running."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("No Chromium was found; install it, or leave out `page`.")
    samples = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(1 + repeats):
            page = browser.new_page()
            samples.append(_start_of_page(page))
            page.close()
        browser.close()
    # the first start after an installation writes the bytecode caches
    return {"first_start_s": round(samples[0], 4), "command_to_painted_page": summary(samples[1:])}


def _start_of_page(page: Any) -> float:
    port = free_port()
    command = [str(Path(sys.executable).with_name("satchel")), "serve", "--no-open", "--port", str(port)]
    # without bytecode caches, which this variable forbids, every start would compile torch and gradio anew
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    began = perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        while not answers(port):
            if server.poll() is not None or perf_counter() - began > PATIENCE:
                raise SystemExit(f"`satchel serve` ended or did not answer (exit code {server.poll()}).")
            sleep(0.02)
        page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
        page.get_by_role("tab").first.wait_for(state="visible", timeout=PATIENCE * 1000)
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        return perf_counter() - began
    finally:
        server.terminate()
        server.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- maps ---------------------------------------------------------------------------------------------------------


def measure_maps(repeats: int) -> dict[str, Any]:
    """Seconds to the first partial map and to all default explainers, each time in a new process, nothing learned."""
    runs = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, __file__, "--child-maps"], check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {
        "explainers": [name for name, _ in runs[0]["each"]],
        "first_partial_map": summary([run["first"] for run in runs]),
        "all_default_explainers": summary([run["all"] for run in runs]),
        "each": {name: summary([dict(map(tuple, run["each"]))[name] for run in runs]) for name, _ in runs[0]["each"]},
    }


def child_maps() -> None:
    """One run, printed as JSON: the model is loaded, then the clock starts with reading the photo."""
    from core.choice import default_choices
    from core.images import read_picture
    from core.loading import load_classifier

    classifier = load_classifier(SPEC, device="cpu")
    path = photo()
    first: float | None = None
    each = []
    began = perf_counter()
    images = classifier.prepare(read_picture(path)).tensor.unsqueeze(0)
    target = classifier.predict(images)[0][0].index
    for choice in default_choices(classifier):
        started = perf_counter()
        for _ in choice.bind(classifier).steps(images, [target]):
            first = first or perf_counter() - began
        each.append((choice.explainer, perf_counter() - started))
    print(json.dumps({"first": first, "all": perf_counter() - began, "each": each}))


# --- gradients ----------------------------------------------------------------------------------------------------


def measure_gradients(repeats: int, device: str = "cpu") -> dict[str, Any]:
    """The family over the bare loop of the same passes at the best fixed chunk, and captum's defaults over ours."""
    import torch

    from core.explainer import get_explainer
    from core.images import read_picture
    from core.loading import load_classifier

    classifier = load_classifier(SPEC, device=device, precision="float32")
    images = classifier.prepare(read_picture(photo())).tensor.unsqueeze(0).to(device)
    target = classifier.predict(images)[0][0].index
    passes, chunks = PASSES[device], CHUNKS[device]
    batch = torch.randn(passes, *images.shape[1:], generator=torch.Generator().manual_seed(0)).to(device)
    batch.mul_(0.01).add_(images)

    def bare(chunk: int) -> None:
        """Forward and backward passes, a running sum, and nothing else."""
        total = torch.zeros_like(images[0])
        for start in range(0, passes, chunk):
            leaf = batch[start : start + chunk].clone().requires_grad_(True)
            score = classifier.logits(leaf)[:, target].sum()
            total += torch.autograd.grad(score, leaf)[0].sum(0)
        synchronise(classifier.device)

    for chunk in chunks if device == "cuda" else (4,):  # warm caches; a GPU picks its kernels for each shape
        bare(chunk)
    search: dict[int, list[float]] = {chunk: [] for chunk in chunks}
    for _ in range(2):
        for chunk in chunks:
            search[chunk].append(timed(lambda chunk=chunk: bare(chunk)))
    best = min(search, key=lambda chunk: min(search[chunk]))

    ours: dict[str, Callable[[], object]] = {}
    for name in FAMILY:
        method = get_explainer(name)
        parameters = method.parameters.parse({"samples": passes})
        bound = method.bind(classifier)
        ours[name] = lambda bound=bound, parameters=parameters: bound.explain(images, [target], parameters)
    theirs = dict(captum_defaults(images, target, passes))

    sides = {"bare loop": lambda: bare(best), **ours, **theirs}
    first = {name: timed(work) for name, work in sides.items()}  # ours learns its chunk here; everyone warms up
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, work in sides.items():
            samples[name].append(timed(work))
    middle = {name: median(values) for name, values in samples.items()}
    return {
        "passes": passes,
        "chunk_search_s": {str(chunk): [round(s, 4) for s in values] for chunk, values in search.items()},
        "best_chunk": best,
        "sides": {name: {"first_s": round(first[name], 4), **summary(samples[name])} for name in sides},
        "over_bare_loop": {name: round(middle[name] / middle["bare loop"], 3) for name in ours},
        "over_bare_loop_first_run": {name: round(first[name] / middle["bare loop"], 3) for name in ours},
        "captum_over_ours": {
            name: round(middle[f"captum {name}"] / middle[name], 2) for name in ours if f"captum {name}" in middle
        },
    }


def captum_defaults(images: Any, target: int, passes: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """captum as its documentation shows it: the plain model, every batch-size option left alone."""
    import torch
    import torchvision
    from captum.attr import IntegratedGradients, NoiseTunnel, Saliency

    model = torchvision.models.mobilenet_v2()
    model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    mean = torch.tensor([0.485, 0.456, 0.406], device=images.device).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], device=images.device).view(1, 3, 1, 1)
    normalised = (images - mean) / std
    model.eval().to(images.device)

    def finished(maps: Any) -> None:
        synchronise(maps.device)

    path = IntegratedGradients(model)
    smooth = NoiseTunnel(Saliency(model))
    yield "captum integrated-gradients", lambda: finished(path.attribute(normalised, target=target, n_steps=passes))
    yield (
        "captum smoothgrad",
        lambda: finished(
            smooth.attribute(normalised, target=target, nt_type="smoothgrad", nt_samples=passes, stdevs=0.15)
        ),
    )


# --- memory -------------------------------------------------------------------------------------------------------


def measure_memory(repeats: int) -> dict[str, Any]:
    """Peak resident memory of a process that makes one map, few samples against many."""
    peaks: dict[str, dict[str, list[float]]] = {}
    for name in ("smoothgrad", "suppression", "integrated-gradients"):
        for samples in ("16", "1024"):
            for _ in range(repeats):
                command = [sys.executable, __file__, "--child-memory", name, samples]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                peaks.setdefault(name, {}).setdefault(samples, []).append(float(done.stdout.splitlines()[-1]))
    middle = {name: {n: median(values) for n, values in by.items()} for name, by in peaks.items()}
    return {"peak_mib": peaks, "many_over_few": {name: round(m["1024"] / m["16"], 3) for name, m in middle.items()}}


def child_memory(name: str, samples: str) -> None:
    """Print the peak in MiB; the chunk is found by the samples' own tuner, as in use."""
    from core.explainer import get_explainer
    from core.images import read_picture
    from core.loading import load_classifier

    classifier = load_classifier(f"torchvision:squeezenet1_1@{DATA / 'weights' / 'squeezenet1_1.pth'}", device="cpu")
    images = classifier.prepare(read_picture(photo())).tensor.unsqueeze(0)
    method = get_explainer(name)
    method.bind(classifier).explain(images, [1], method.parameters.parse({"samples": samples}))
    # not getrusage, which still counts the parent that this process was forked from
    status = Path("/proc/self/status").read_text()
    print(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024)


# --- GPU ----------------------------------------------------------------------------------------------------------


def measure_gpu(repeats: int) -> dict[str, Any] | None:
    """Gradients as on the CPU, in float32; peak memory of few samples against many; maps a second, by precision."""
    import torch

    from core.explainer import get_explainer
    from core.images import read_picture
    from core.loading import load_classifier

    if not torch.cuda.is_available():
        print("There is no GPU; `gpu` is left out.")
        return None
    found: dict[str, Any] = {"gradients": measure_gradients(repeats, "cuda"), "peak_mib": {}, "maps_a_second": {}}
    for precision in ("float32", "bfloat16"):
        classifier = load_classifier(SPEC, device="cuda", precision=precision)
        images = classifier.prepare(read_picture(photo())).tensor.unsqueeze(0).to("cuda")
        for name in FAMILY:
            method = get_explainer(name)
            bound = method.bind(classifier)
            for samples in (16, 1024):
                parameters = method.parameters.parse({"samples": samples})
                bound.explain(images, [1], parameters)
                torch.cuda.reset_peak_memory_stats()
                bound.explain(images, [1], parameters)
                peak = torch.cuda.max_memory_allocated() / 2**20
                found["peak_mib"].setdefault(precision, {}).setdefault(name, {})[str(samples)] = round(peak, 1)
            parameters, batch = method.parameters.parse({"samples": 32}), images.repeat(8, 1, 1, 1)
            explain = partial(bound.explain, batch, [1] * 8, parameters, seeds=list(range(8)))
            explain()
            times = [timed(explain) for _ in range(repeats)]
            found["maps_a_second"].setdefault(precision, {})[name] = round(8 / median(times), 1)
    return found


# --- all together -------------------------------------------------------------------------------------------------


def installed(package: str) -> str | None:
    """Its version; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def machine() -> dict[str, Any]:
    import torch

    names = [
        line.partition(":")[2].strip()
        for line in (Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else "").splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "load_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in ("torch", "torchvision", "captum", "gradio", "numpy")},
    }


PARTS: dict[str, Callable[[int], dict[str, Any] | None]] = {
    "page": measure_page,
    "maps": measure_maps,
    "gradients": measure_gradients,
    "memory": measure_memory,
    "gpu": measure_gpu,
}
AIMS = {
    "page": "none set",
    "maps": "first partial map 2 s, all default explainers 20 s, on 2 cores",
    "gradients": "at most 1.10 times the bare loop; captum's defaults at least 3 times ours",
    "memory": "flat: 1024 samples as 16",
    "gpu": "as gradients",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure, and write benchmarks/results/figures.json.")
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; all of them if none is named")
    parser.add_argument("--repeats", type=int, default=5, help="at least 3")
    parser.add_argument("--child-maps", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--child-memory", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child_memory:
        child_memory(*given.child_memory)
        return
    if given.child_maps:
        child_maps()
        return
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    figures = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for part in given.parts or PARTS:
        # the machine stands with each part, since parts may be measured on different days
        found = PARTS[part](max(3, given.repeats))
        if found is None:
            continue
        figures[part] = {"aim": AIMS[part], "machine": machine(), **found}
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(json.dumps(figures, indent=2) + "\n")
        print(json.dumps({part: figures[part]}, indent=2))


if __name__ == "__main__":
    main()
