"""What one pass of a trained explainer costs beside one pass of its classifier.

    uv run python benchmarks/one_pass.py [--rounds 60] [--threads N]

The demo's trained explainers, in their own frame of 128 px; both sides in turn, picture by picture, medians. Salvage's
pass answers for all classes and parts at once; masking's gives one mask. Writes benchmarks/results/one_pass.json.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from figures import machine

from core.demo.dataset import demo_dataset
from core.explainers.learned.masking import load_masking_model
from core.explainers.learned.model import load_model
from core.loading import load_classifier
from core.paths import assets_dir
from core.runtime.whole_files import write_json
from core.segments import regions_of

RESULT = Path(__file__).parent / "results" / "one_pass.json"
AIM = "Salvage: at most 1.5 classifier passes; masking: at most 1.3"


def timed(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each, in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 5):
        for name, run in sides.items():
            began = perf_counter()
            with torch.no_grad():
                run()
            if number >= 5:
                seconds[name].append(perf_counter() - began)
    return {name: median(values) for name, values in seconds.items()}


def measured(model: str, file: Path, batch: int, rounds: int) -> dict[str, Any]:
    """One explainer, `batch` pictures at once."""
    classifier = load_classifier(f"demo:{model}", device="cpu")
    items = demo_dataset("birds", batch).items
    prepared = [classifier.prepare(item.picture()) for item in items]
    images = torch.stack([one.tensor for one in prepared])
    targets = classifier.logits(images).argmax(1)
    if "masking" in file.name:
        masker = load_masking_model(file, classifier)
        run: Callable[[], Any] = lambda: masker.masks(images, targets)  # noqa: E731
    elif "segments" in file.name:
        salvage = load_model(file, classifier)
        cut = [(item.segments(), one) for item, one in zip(items, prepared)]
        masks = regions_of([(s, s.to_model(one.geometry)) for s, one in cut if s is not None]).masks
        run = lambda: salvage.values(images, masks)  # noqa: E731
    else:
        salvage = load_model(file, classifier)
        run = lambda: salvage.values(images, None)  # noqa: E731
    found = timed({"classifier": lambda: classifier.logits(images), "explainer": run}, rounds)
    return {**found, "ratio": round(found["explainer"] / found["classifier"], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    kept: dict[str, Any] = {"machine": machine(), "load": os.getloadavg()[0], "aim": AIM, "ratios": {}}
    for file in sorted((assets_dir() / "explainers").glob("*.safetensors")):
        model = next(name for name in ("biased", "repaired", "vit") if name in file.name)
        for batch in (1, 16):
            found = measured(model, file, batch, asked.rounds)
            kept["ratios"][f"{file.stem}, {batch} at once"] = found
            print(f"{file.stem}, {batch} at once: {found['ratio']}", flush=True)
    write_json(RESULT, kept)


if __name__ == "__main__":
    main()
