"""Trains the explainers that come along with the demo classifiers: `python -m core.demo.making.explainers`.

Each learns from birds that no classifier was trained or is tested on, under the recipe of its classifier. What is there
already is left as it is; what was interrupted goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from core.demo.dataset import demo_dataset
from core.explainers.learned.files import FOLDER
from core.learning import PLAYERS, SalvageTraining
from core.loading import load_classifier
from core.paths import assets_dir
from core.training.card import results_card
from core.training.salvage import train_salvage

SEED = 3_000_000
COUNT = 1200
DATA = {"biased": "birds", "repaired": "birds-clean", "vit": "birds-clean"}
OPTIONS = {"grid": 8, "width": 64, "epochs": 8, "surrogate_epochs": 5}


def make(model: str, players: str, out: Path) -> None:
    """One explainer, into its file."""
    if out.is_file():
        print(f"{out.name} is there already")
        return
    classifier = load_classifier(f"demo:{model}")
    data = demo_dataset(DATA[model], COUNT, SEED)
    options = SalvageTraining.parse({"players": players, **OPTIONS})
    seen = 0
    for state in train_salvage(
        classifier, data, options, out, card=lambda *made: results_card(made[0], classifier, *made[1:])
    ):
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
    for name in asked.only or [f"{model}-{players}" for players in PLAYERS for model in DATA]:
        model, _, players = name.partition("-")
        make(model, players, assets_dir() / FOLDER / f"demo-salvage-{name}.safetensors")


if __name__ == "__main__":
    main()
