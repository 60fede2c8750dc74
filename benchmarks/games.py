"""Coalition games against the bare loop of the same passes, captum's KernelSHAP, and RISE as its authors wrote it.

    uv run python benchmarks/games.py [tokens] [loop] [captum] [rise] [--samples 512] [--rounds 3] [--busy]

Writes benchmarks/results/games.json: machine, load, raw samples in seconds, medians and ratios. Both sides of a ratio
come from one run, turn about, so that a busy machine slows both; where it is very busy, `--busy` counts the processor's
seconds instead, on one thread. How good a result is: its rank correlation with a long run of ours with another seed (of
the plain fit), and its squared error; RISE's sides differ in scale, so there only ranks count.
Needs the real weights and photos that the tests use (`../shared/data` or $SATCHEL_TEST_DATA).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from captum.attr import KernelShap
from figures import RESULT, SPEC, WEIGHTS, machine, photo, summary
from scipy.stats import spearmanr
from torch import Tensor, nn

from core.attribution import Attribution
from core.classifier import Classifier
from core.explainer import get_explainer
from core.explainers.games.coalitions import drawn
from core.explainers.games.dropped_tokens import token_gate
from core.explainers.games.players import patches
from core.fills import fill_plate
from core.images import read_picture
from core.loading import load_classifier

AIMS = {
    "loop": "kernel-shap at most 1.10 times the bare loop over the same copies",
    "captum": "captum's KernelSHAP at least 3 times ours for a result as good",
    "rise": "the authors' RISE at least 3 times ours for a result as good",
    "tokens": "a pass with half of the tokens about half of a whole one",
}
GRIDS = (7, 14)
CHUNKS = (4, 8)  # the bare loop's; the faster one counts
BATCHES = (1, 32)  # the authors' RISE's; the faster one counts
LONG = {"kernel-shap": 8192, "rise": 2048}  # passes of what counts as the truth
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Scene:
    """A real picture, a real model, and its likeliest class."""

    def __init__(self) -> None:
        self.classifier = load_classifier(SPEC, device="cpu", precision="float32")
        self.image = self.classifier.prepare(read_picture(photo())).tensor.unsqueeze(0)
        self.target = self.classifier.predict(self.image)[0][0].index
        self.plate = fill_plate(self.image, "mean")
        self.explain("kernel-shap", 0, samples=64)  # everything warms up, and chunks are learned

    def explain(self, name: str, seed: int, **options: object) -> Attribution:
        explainer = get_explainer(name)
        parameters = explainer.parameters.parse(options)
        return explainer.bind(self.classifier).explain(self.image, [self.target], parameters, seeds=[seed])[0]

    def plain_model(self) -> nn.Module:
        """As torchvision gives it, for others to work on, with its normalisation in front."""
        import torchvision

        model = torchvision.models.mobilenet_v2()
        model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
        return nn.Sequential(torchvision.transforms.Normalize(MEAN, STD), model).eval()


def turn_about(
    sides: Mapping[str, Callable[[int], object]], rounds: int
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Each side in turn, given the round's number."""
    clock = process_time if torch.get_num_threads() == 1 else perf_counter
    samples: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, list[Any]] = {name: [] for name in sides}
    for turn in range(rounds):
        for name, work in sides.items():
            began = clock()
            results[name].append(work(turn))
            samples[name].append(clock() - began)
    return {name: summary(one) for name, one in samples.items()}, results


def agreement(results: list[Any], truth: Any) -> dict[str, float]:
    """How near the truth, on average: rank correlation, and squared error as a part of the truth's variance."""
    ranks = [spearmanr(one.flatten(), truth.flatten()).statistic for one in results]
    errors = [np.square(one - truth).mean() / np.var(truth) for one in results]
    return {"rank_correlation": round(float(np.mean(ranks)), 4), "squared_error": round(float(np.mean(errors)), 4)}


def measure_loop(scene: Scene, samples: int, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for grid in GRIDS:
        present = drawn(grid * grid, samples, 0).present.float()
        kept = torch.cat([torch.ones(1, grid * grid), torch.zeros(1, grid * grid), present])
        copies = torch.lerp(scene.plate, scene.image, kept[:, patches(scene.classifier.input_size, grid)][:, None])

        def bare(turn: int, chunk: int, copies: Tensor = copies) -> None:
            with torch.no_grad():
                for start in range(0, len(copies), chunk):
                    scene.classifier.logits(copies[start : start + chunk])[:, scene.target].tolist()

        sides: dict[str, Callable[[int], object]] = {f"bare loop {n}": partial(bare, chunk=n) for n in CHUNKS}
        sides["kernel-shap"] = lambda turn, grid=grid: scene.explain("kernel-shap", 0, grid=grid, samples=samples)
        timings, _ = turn_about(sides, rounds)
        loop = min(timings[f"bare loop {n}"]["median_s"] for n in CHUNKS)
        ratio = round(timings["kernel-shap"]["median_s"] / loop, 3)
        found[f"{grid * grid} patches"] = {"sides": timings, "over_bare_loop": ratio}
    return found


def measure_captum(scene: Scene, samples: int, rounds: int) -> dict[str, Any]:
    """captum as its documentation shows it, on the model as it was given: one coalition at a time."""
    kernel, found = KernelShap(scene.plain_model()), {}
    for grid in GRIDS:
        labels = patches(scene.classifier.input_size, grid)
        firsts = torch.stack([(labels == n).flatten().int().argmax() for n in range(grid * grid)])

        def theirs(turn: int, labels: Tensor = labels, firsts: Tensor = firsts) -> Any:
            torch.manual_seed(turn)
            made = kernel.attribute(
                scene.image, baselines=scene.plate, target=scene.target, feature_mask=labels[None, None],
                n_samples=samples,
            )  # fmt: skip
            return made[0, 0].flatten()[firsts].numpy()

        def ours(turn: int, count: int, grid: int = grid) -> Any:
            players = scene.explain("kernel-shap", 100 + turn, grid=grid, samples=count).players
            assert players is not None
            return players.values.numpy()

        counts = [samples // 4, samples // 2, samples]
        sides = {"captum": theirs, **{f"kernel-shap {n}": partial(ours, count=n) for n in counts}}
        timings, results = turn_about(sides, rounds)
        long = scene.explain("kernel-shap", 999, grid=grid, samples=LONG["kernel-shap"], shrink=False).players
        assert long is not None
        agreed = {name: agreement(made, long.values.numpy()) for name, made in results.items()}
        found[f"{grid * grid} patches"] = {
            "sides": timings,
            **_compared(timings, agreed, "captum", "kernel-shap", counts),
        }
    return found


def measure_rise(scene: Scene, samples: int, rounds: int) -> dict[str, Any]:
    """The authors' way: all masks made and kept up front, multiplied on batches, a weighted sum at the end."""
    model, side, cells, keep = nn.Sequential(scene.plain_model(), nn.Softmax(1)), 224, 7, 0.5

    def theirs(turn: int, batch: int) -> Any:
        draw = np.random.default_rng(turn)
        cell = -(-side // cells)
        grids = torch.from_numpy((draw.random((samples, 1, cells, cells)) < keep).astype("float32"))
        masks = torch.empty(samples, 1, side, side)
        for n in range(samples):
            x, y = draw.integers(0, cell, 2)
            large = nn.functional.interpolate(grids[n : n + 1], (cells + 1) * cell, mode="bilinear")
            masks[n] = large[0, :, x : x + side, y : y + side]
        stack, scores = torch.lerp(scene.plate, scene.image, masks), []
        with torch.no_grad():
            scores += [model(stack[n : n + batch])[:, scene.target] for n in range(0, samples, batch)]
        return ((torch.cat(scores) @ masks.flatten(1)) / (samples * keep)).numpy()

    def ours(turn: int, count: int) -> Any:
        return scene.explain("rise", 100 + turn, samples=count).values.numpy()

    counts = [samples // 4, samples // 2, samples]
    sides: dict[str, Callable[[int], object]] = {f"plain {n}": partial(theirs, batch=n) for n in BATCHES}
    sides |= {f"rise {n}": partial(ours, count=n) for n in counts}
    timings, results = turn_about(sides, rounds)
    truth = ours(999, LONG["rise"])
    agreed = {name: agreement(made, truth) for name, made in results.items()}
    faster = min((f"plain {n}" for n in BATCHES), key=lambda name: timings[name]["median_s"])
    return {"sides": timings, **_compared(timings, agreed, faster, "rise", counts)}


def _compared(
    timings: dict[str, Any], agreed: dict[str, dict[str, float]], other: str, name: str, counts: list[int]
) -> dict[str, Any]:
    """Times theirs over ours, at as many passes and at as good a result."""
    theirs = timings[other]["median_s"]

    def as_good(count: int, measure: str, sign: int) -> bool:
        return sign * agreed[f"{name} {count}"][measure] >= sign * agreed[other][measure]

    enough = {measure: next((n for n in counts if as_good(n, measure, sign)), None)
              for measure, sign in (("rank_correlation", 1), ("squared_error", -1))}  # fmt: skip
    over = {n: round(theirs / timings[f"{name} {n}"]["median_s"], 2) for n in counts}
    return {
        "against_a_long_run": agreed,
        f"{other}_over_ours_at_as_many_passes": over[counts[-1]],
        "passes_for_a_result_as_good": enough,
        f"{other}_over_ours_for_a_result_as_good": {
            measure: None if count is None else over[count] for measure, count in enough.items()
        },
    }


def measure_tokens(scene: Scene, samples: int, rounds: int) -> dict[str, Any]:
    """A ViT-S/16's size; its weights do not matter for time."""
    import timm

    torch.manual_seed(0)
    preprocessing = scene.classifier.preprocessing
    classifier = Classifier(timm.create_model("vit_small_patch16_224"), preprocessing=preprocessing, device="cpu")
    gate, images = token_gate(classifier), scene.image.expand(4, -1, -1, -1)
    assert gate is not None
    half = torch.zeros(4, *classifier.input_size)
    half[:, :112] = 1

    def passes(turn: int, kept: Tensor) -> None:
        with torch.no_grad():
            for _ in range(4):
                gate.logits(classifier, images, kept)

    sides = {"all tokens": partial(passes, kept=torch.ones_like(half)), "half of them": partial(passes, kept=half)}
    for work in sides.values():
        work(0)
    timings, _ = turn_about(sides, 3 * rounds)
    ratio = round(timings["half of them"]["median_s"] / timings["all tokens"]["median_s"], 3)
    return {"model": "vit_small_patch16_224", "passes": 16, "sides": timings, "half_over_all": ratio}


PARTS = {"tokens": measure_tokens, "loop": measure_loop, "captum": measure_captum, "rise": measure_rise}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure games, and write benchmarks/results/games.json.")
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; all of them if none is named")
    parser.add_argument("--samples", type=int, default=512, help="passes of each side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", action="store_true", help="one thread, and the processor's seconds")
    given = parser.parse_args()
    if given.busy:
        torch.set_num_threads(1)
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    path, scene = RESULT.with_name("games.json"), Scene()
    figures = json.loads(path.read_text()) if path.exists() else {}
    for part in given.parts or PARTS:
        head = {"aim": AIMS[part], "machine": machine(), "samples": given.samples}
        head["clock"] = "the processor's seconds, on one thread" if given.busy else "seconds"
        found = PARTS[part](scene, given.samples, given.rounds)
        figures[part] = {**head, "load_at_end": round(os.getloadavg()[0], 2), **found}
        path.write_text(json.dumps(figures, indent=2) + "\n")
        print(json.dumps({part: figures[part]}, indent=2), flush=True)


if __name__ == "__main__":
    main()
