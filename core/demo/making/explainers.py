"""Trains the explainers that come along with the demo classifiers: `python -m core.demo.making.explainers`.

Each learns from birds that no classifier was trained or is tested on, under the recipe of its classifier. What is there
already is left as it is; what was interrupted goes on.
"""

from __future__ import annotations

import argparse

import torch

from core.demo.dataset import demo_dataset
from core.explainers.learned.files import FOLDER
from core.learning import PLAYERS, MaskingTraining, SalvageTraining
from core.loading import load_classifier
from core.paths import assets_dir
from core.training.start import started

SEED = 3_000_000
COUNT = 1200
DATA = {"biased": "birds", "repaired": "birds-clean", "vit": "birds-clean"}
SALVAGE = {"grid": 8, "width": 64, "epochs": 8, "surrogate_epochs": 5}
MASKING = {"epochs": 12}
KINDS = (*PLAYERS, "mask")


def make(model: str, kind: str) -> None:
    """One explainer, into its file."""
    name = f"demo-masking-{model}" if kind == "mask" else f"demo-salvage-{model}-{kind}"
    out = assets_dir() / FOLDER / f"{name}.safetensors"
    if out.is_file():
        print(f"{out.name} is there already")
        return
    classifier = load_classifier(f"demo:{model}")
    data = demo_dataset(DATA[model], COUNT, SEED)
    masking = kind == "mask"
    options = MaskingTraining.parse(MASKING) if masking else SalvageTraining.parse({"players": kind, **SALVAGE})
    seen = 0
    for state in started(classifier, data, options, out):
        for point in state.points[seen:]:
            print(f"{out.stem} {point.stage} {point.step}: {point.loss:.4f}, held out {point.held_out:.4f}", flush=True)
        seen = len(state.points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="such as biased-patches, in this order")
    parser.add_argument("--threads", type=int, default=None)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    for name in asked.only or [f"{model}-{kind}" for kind in KINDS for model in DATA]:
        model, _, kind = name.partition("-")
        make(model, kind)


if __name__ == "__main__":
    main()
