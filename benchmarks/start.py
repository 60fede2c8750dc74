"""How long the command line takes to answer: what needs no model, and the lists beside a bare `import torch`.

    uv run python benchmarks/start.py [--rounds 7]

All commands run in turn, round after round, so that a busy machine slows them alike; the first round only warms up the
disk. PYTHONDONTWRITEBYTECODE is taken out of the environment, without which every start compiles everything anew.
Writes benchmarks/results/start.json: raw seconds, medians, and the lists' ratios to `import torch` of the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from figures import machine

RESULT = Path(__file__).parent / "results" / "start.json"
AIM = "what needs no model answers within 0.5 s on 2 cores; a list takes at most 1.3 times a bare `import torch`"
TORCH = "import torch"
LISTS = ("explainers", "metrics", "segmenters", "models")
SATCHEL = Path(sys.executable).with_name("satchel")
# what is asked, and the exit code that it ends with
QUICK = {
    "--help": 0,
    "explain --help": 0,
    "--version": 0,
    "explain --what": 2,
    "report demo:birds --limit 0": 2,
    "explain missing.png": 2,
    "explain present.png --model torchvison:resnet50": 2,
    "explain present.png --model torchvision:resnet5": 2,
    "explain present.png --model timm:resnet50@missing.pth": 2,
    "explain present.png --explainer suppression:samples": 2,
    "report missing": 2,
    "report demo:birdz": 2,
    "evaluate demo:birds --segments missing.json": 2,
    "segment missing --superpixels": 2,
    "serve --report missing": 2,
}


def seconds(words: list[str], folder: Path, code: int) -> float:
    """How long a command takes that ends with this exit code."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    began = perf_counter()
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    took = perf_counter() - began
    if done.returncode != code:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return took


def measure(rounds: int) -> dict[str, Any]:
    commands = {TORCH: ([sys.executable, "-c", TORCH], 0)}
    commands |= {f"list {what}": ([str(SATCHEL), "list", what], 0) for what in LISTS}
    commands |= {line: ([str(SATCHEL), *line.split()], code) for line, code in QUICK.items()}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "present.png").touch()
        for number in range(rounds + 1):
            for name, (words, code) in commands.items():
                took = seconds(words, Path(folder), code)
                if number:
                    taken[name].append(took)
    lists = [f"list {what}" for what in LISTS]
    ratios = {name: [one / torch for one, torch in zip(taken[name], taken[TORCH])] for name in lists}
    return {
        "seconds": {name: [round(one, 3) for one in samples] for name, samples in taken.items()},
        "median_s": {name: round(median(samples), 3) for name, samples in taken.items()},
        "slowest_without_a_model_s": round(max(median(taken[line]) for line in QUICK), 3),
        "times_import_torch": {name: round(median(values), 2) for name, values in ratios.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    found = {"aim": AIM, **machine(), "rounds": given.rounds, **measure(given.rounds)}
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: found[key] for key in ("median_s", "times_import_torch")}, indent=1))


if __name__ == "__main__":
    main()
