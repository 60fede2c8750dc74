"""Does suppression sampling explain better? The sweep that picks its defaults, and the comparison on other pictures.

    uv run python benchmarks/sampling.py sweep [--model mobilenet_v2] [--pictures 50]
    uv run python benchmarks/sampling.py refine [--model ...] [--pictures 50]
    uv run python benchmarks/sampling.py third|fourth [--model ...] [--pictures 50]
    uv run python benchmarks/sampling.py compare [--model ...] [--pictures 50] [--data imagenet100|imagenette]
    uv run python benchmarks/sampling.py sanity [--model ...] [--pictures 10]
    uv run python benchmarks/sampling.py table | plot

The sweep and its further rounds run on the even photos of imagenet100; the comparison on the odd ones and on
imagenette's validation photos. Masked pictures are filled with what the suppression that is judged does not use (blur
and black in the first round, mean colour and black afterwards), and scored by the classifier itself. All are
evaluations (core/evaluation), kept in runs/ and taken up again when killed; their leaderboards go to
benchmarks/results/sampling-*.json; `table` prints those as Markdown and `plot` draws the sweeps into
docs/sampling.svg. Needs the real weights and photos that the tests use (`../shared/data` or $SATCHEL_TEST_DATA).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from figures import machine

from core.choice import Choice, References
from core.data import Dataset, limited, open_dataset
from core.evaluation.evaluate import EvaluationOptions, Yardstick, evaluate
from core.evaluation.leaderboard import leaderboard, paired_difference, warnings
from core.evaluation.saved_evaluation import open_evaluation
from core.explainer import controls
from core.loading import load_classifier
from core.runtime.randomness import derived_seed

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DATA = Path(os.environ.get("SATCHEL_TEST_DATA", ROOT.parent / "shared" / "data"))
MODELS = ("squeezenet1_1", "mobilenet_v2")
FIRST_ROUND = "insertion-deletion:insertion_fill=blur,deletion_fill=black"
FAITHFULNESS = "insertion-deletion:insertion_fill=mean,deletion_fill=black"  # blur is what suppression fades to

# in the comparison; the sweep tries more widths of noise instead of the signed forms
NOISE = (
    "smoothgrad:samples={n}",
    "smoothgrad:samples={n},sigma=0.08",
    "smoothgrad:samples={n},reduction=variance",
)
BASELINES = (
    "gradient",
    *NOISE,
    "integrated-gradients:samples={n}",
    "integrated-gradients:samples={n},reduction=absolute",
    "expected-gradients:samples={n}",
    "expected-gradients:samples={n},reduction=absolute",
)
SWEEP = (
    "gradient",
    "smoothgrad:samples={n}",
    "smoothgrad:samples={n},sigma=0.08",
    "smoothgrad:samples={n},sigma=0.05",
    "smoothgrad:samples={n},reduction=variance",
    "integrated-gradients:samples={n},reduction=absolute",
    *(
        f"suppression:samples={{n}},{setting}"
        for setting in (
            "operator=field,cell=16,keep=0,fade=yes,noise=0,fill=mean",
            "operator=field,cell=16,keep=0,fade=no,noise=0,fill=mean",
            "operator=field,cell=16,keep=0.5,fade=no,noise=0,fill=mean",
            "operator=field,cell=16,keep=0,fade=yes,noise=0.05,fill=mean",
            "operator=field,cell=16,keep=0,fade=yes,noise=0,fill=inpaint",
            "operator=multiscale,cell=16,keep=0,fade=yes,noise=0,fill=mean",
            "operator=gain,cell=16,keep=0,fade=yes,noise=0,fill=mean",
            "operator=patch,cell=16,keep=0.5,fade=no,noise=0,fill=mean",
            "operator=patch,cell=2,keep=0.5,fade=no,noise=0,fill=mean",
            "operator=pixel,keep=0.5,fade=yes,noise=0,fill=mean",
            "operator=pixel,keep=0.5,fade=no,noise=0,fill=mean",
            "operator=pixel,keep=0.3,fade=no,noise=0,fill=mean",
            "operator=pixel,keep=0.7,fade=no,noise=0,fill=mean",
            "operator=pixel,keep=0.5,fade=no,noise=0.05,fill=mean",
            "operator=lowpass,cell=16,keep=0,fade=yes,noise=0,fill=mean",
        )
    ),
)

# the second round: the leaders again, fading to the blurred picture as well, and noise added to all
REFINE = (
    "smoothgrad:samples={n}",
    "smoothgrad:samples={n},sigma=0.08",
    "smoothgrad:samples={n},sigma=0.05",
    *(
        f"suppression:samples={{n}},operator={setting}"
        for setting in (
            "gain,cell=8,keep=0.3,fade=yes,noise=0.05,fill=mean",
            "gain,cell=32,keep=0,fade=yes,noise=0.05,fill=mean",
            "gain,cell=16,keep=0,fade=no,noise=0.05,fill=blur",
            "gain,cell=32,keep=0,fade=no,noise=0.05,fill=blur",
            "gain,cell=64,keep=0,fade=no,noise=0.05,fill=blur",
            "gain,cell=32,keep=0,fade=no,noise=0.08,fill=blur",
            "gain,cell=32,keep=0,fade=no,noise=0,fill=blur",
            "field,cell=32,keep=0,fade=no,noise=0.05,fill=blur",
            "patch,cell=32,keep=0,fade=no,noise=0.05,fill=blur",
            "pixel,keep=0.5,fade=yes,noise=0.05,fill=mean",
        )
    ),
)

# the third round: how much noise and how much suppression together, and whether more samples change the order
THIRD = (
    *(f"smoothgrad:samples={{n}},sigma={sigma}" for sigma in (0.05, 0.08, 0.1, 0.12, 0.15)),
    *(
        f"suppression:samples={{n}},operator={setting}"
        for setting in (
            *(
                f"gain,cell=16,keep={keep},fade=no,noise={noise},fill=blur"
                for keep in (0, 0.3, 0.5, 0.7)
                for noise in (0.05, 0.08)
            ),
            "gain,cell=64,keep=0,fade=no,noise=0.08,fill=blur",
            "gain,cell=64,keep=0.5,fade=no,noise=0.08,fill=blur",
            "field,cell=32,keep=0,fade=no,noise=0.08,fill=blur",
            "field,cell=32,keep=0.5,fade=no,noise=0.08,fill=blur",
            "pixel,keep=0.5,fade=no,noise=0.05,fill=mean",
            "pixel,keep=0.5,fade=no,noise=0.05,fill=blur",
            "pixel,keep=0.3,fade=no,noise=0.05,fill=blur",
            "pixel,keep=0.7,fade=no,noise=0.05,fill=blur",
            "pixel,keep=0.7,fade=no,noise=0.08,fill=blur",
            "patch,cell=2,keep=0.5,fade=no,noise=0.05,fill=mean",
            "patch,cell=2,keep=0.5,fade=no,noise=0.05,fill=blur",
        )
    ),
    "smoothgrad:samples=128,sigma=0.08",
    "suppression:samples=128,operator=gain,cell=16,keep=0,fade=no,noise=0.05,fill=blur",
    "suppression:samples=128,operator=gain,cell=16,keep=0.5,fade=no,noise=0.08,fill=blur",
    "suppression:samples=128,operator=pixel,keep=0.5,fade=no,noise=0.05,fill=mean",
)

# the fourth round: how much is kept, since the two models want different amounts
FOURTH = (
    *(f"smoothgrad:samples={{n}},sigma={sigma}" for sigma in (0.08, 0.1, 0.12)),
    *(
        f"suppression:samples={{n}},operator=gain,{setting},fade=no,fill=blur"
        for setting in (
            "cell=16,keep=0,noise=0.05",
            "cell=16,keep=0.1,noise=0.05",
            "cell=16,keep=0.2,noise=0.05",
            "cell=16,keep=0.3,noise=0.05",
            "cell=16,keep=0.4,noise=0.05",
            "cell=16,keep=0.2,noise=0.06",
            "cell=32,keep=0.2,noise=0.05",
            "cell=64,keep=0.2,noise=0.06",
        )
    ),
)
USUAL = "32"  # samples
ROUNDS = {"sweep": SWEEP, "refine": REFINE, "third": THIRD, "fourth": FOURTH}


def half(data: Dataset, first: int) -> Dataset:
    """Every other picture, from the first (0) or the second (1) on."""
    return replace(data, items=data.items[first::2])


def comparing(text: str, data: Dataset) -> Choice:
    """Expected gradients compare with other pictures of the data, under the label without them."""
    choice = Choice.parse(text)
    if choice.explainer != "expected-gradients":
        return choice
    return replace(choice, references=References.of(data.source))


def run(part: str, model: str, data: Dataset, groups: Sequence[Sequence[str]], metrics: Sequence[str]) -> None:
    """One evaluation a group of explainers, so that one of them can change alone; one leaderboard, kept as JSON."""
    classifier = load_classifier(f"torchvision:{model}@{DATA}/weights/{model}.pth", precision="float32")
    yardsticks = tuple(map(Yardstick.parse, metrics))
    name, tables = f"{part}-{model}-{len(data)}", []
    for explainers in groups:
        contenders = tuple(map(partial(comparing, data=data), explainers))
        options = EvaluationOptions(contenders, yardsticks, shard=5, batch=5)
        settings = derived_seed(*explainers, *metrics) % 16**8
        out = ROOT / "runs" / f"sampling-{name}-{settings:08x}"
        for progress in evaluate(data, classifier, out, options):
            print(f"\r{progress.stage} {progress.done}/{progress.total}".ljust(100), end="", flush=True)
        found = open_evaluation(out)
        tables.append((found.scores, found.costs))
    scores, costs = (
        pd.concat(parts).drop_duplicates([k for k in ("image", "explainer", "metric") if k in parts[0]])
        for parts in zip(*tables)
    )
    higher = {y.label: y.metric.higher_is_better for y in yardsticks}
    board = leaderboard(scores, costs, higher, list(controls()))
    result = {
        "machine": machine(),
        "model": model,
        "part": part,
        "pictures": len(data),
        "scorer": model,
        "warnings": warnings(board),
        "over_noise": {metric: over_noise(board, scores, metric) for metric in metrics},
        "leaderboard": board,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"sampling-{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def over_noise(board: Sequence[dict[str, Any]], scores: pd.DataFrame, metric: str) -> dict[str, Any]:
    """Each explainer minus the best one that adds noise, on the same pictures: mean and paired 95 % interval.

    The best one is found on these very pictures, which favours it.
    """
    entries = [e for e in board if e["metric"] == metric]
    best = next((e["explainer"] for e in entries if e["explainer"].startswith("smoothgrad")), None)  # best first
    if best is None:
        return {}
    scores = scores[scores["metric"] == metric]
    others = [e["explainer"] for e in entries if e["explainer"] != best]
    gaps = {name: paired_difference(scores, name, best) for name in others}
    return {"best_noise": best, "differences": {n: [g.estimate, g.low, g.high] for n, g in gaps.items()}}


def results(part: str = "") -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"sampling-{part}*.json"))]


def with_interval(numbers: Sequence[float | None], signed: bool = False) -> str:
    if numbers[0] is None:
        return "-"
    mean, low, high = (f"{value:{'+' if signed else ''}.3f}" for value in numbers)
    return f"{mean} [{low}, {high}]"


def table() -> None:
    """Every result as Markdown: the first metric's best first; its difference to the best noise beside it."""
    for result in results():
        print(f"\n### {result['model']}, {result['part']}, {result['pictures']} photos\n")
        metrics = list(dict.fromkeys(e["metric"] for e in result["leaderboard"]))
        by_name = {(e["metric"], e["explainer"]): e for e in result["leaderboard"]}
        gaps = result["over_noise"][metrics[0]].get("differences", {})
        print("| explainer | " + " | ".join(metrics) + " | over the best noise | alignment | saturated | seconds |")
        print("|---|" + "---|" * (len(metrics) + 4))
        for lead in (e for e in result["leaderboard"] if e["metric"] == metrics[0]):
            name = lead["explainer"]
            cells = [
                with_interval([by_name[metric, name][key] for key in ("mean", "low", "high")]) for metric in metrics
            ]
            cells.append(with_interval(gaps[name], signed=True) if name in gaps else "-")
            cells += ["-" if lead[key] is None else f"{lead[key]:.2f}" for key in ("alignment", "saturated", "seconds")]
            print(f"| `{name}` | " + " | ".join(cells) + " |")
        for warning in result["warnings"]:
            print(f"\n{warning}")


def plot() -> None:
    """All rounds of the sweep, one panel a model: faithfulness over the best noise on the same photos."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MultipleLocator

    rounds = (
        ("sweep", "#4c6a92", "first round"),
        ("refine", "#c05a1c", "second round"),
        ("third", "#5a8a3c", "third round"),
        ("fourth", "#8a4c92", "fourth round"),
    )
    gaps: dict[tuple[str, str], dict[str, list[float]]] = {}  # (part, explainer) -> model -> mean, low, high
    for part, _, _ in rounds:
        for result in results(part):
            found = next(iter(result["over_noise"].values()))
            named = {found["best_noise"]: [0.0, 0.0, 0.0], **found["differences"]}
            for name, gap in named.items():
                if name not in controls():
                    gaps.setdefault((part, name), {})[result["model"]] = gap
    rows = sorted(gaps, key=lambda row: np.mean([gap[0] for gap in gaps[row].values()]))
    plt.rcParams["svg.fonttype"] = "none"  # text stays text
    figure, panels = plt.subplots(
        1, len(MODELS), figsize=(11, 1.2 + 0.19 * len(rows)), sharex=True, sharey=True, layout="constrained"
    )
    for panel, model in zip(panels, MODELS):
        for y, row in enumerate(rows):
            if model in gaps[row]:
                mean, low, high = gaps[row][model]
                colour = next(colour for part, colour, _ in rounds if part == row[0])
                panel.plot([low, high], [y, y], color=colour, lw=1.5)
                panel.plot(mean, y, "o", color=colour, ms=5)
        panel.set_yticks(range(len(rows)), [short(name) for _, name in rows], fontsize=8)
        panel.xaxis.set_major_locator(MultipleLocator(0.05))
        panel.axvline(0, color="#888888", lw=1)
        panel.set_title(model, loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    for _, colour, title in rounds:
        panels[0].plot([], [], "o-", color=colour, label=title)
    panels[0].legend(frameon=False, fontsize=9, loc="upper left")
    figure.supxlabel("insertion minus deletion, minus that of the best noise on the same photos", fontsize=9)
    figure.savefig(ROOT / "docs" / "sampling.svg", metadata={"Date": None}, facecolor="white")


def short(explainer: str) -> str:
    """A setting in words: "gain 16 px to blur + noise 0.05"."""
    name, _, settings = explainer.partition(":")
    given = dict(part.split("=") for part in settings.split(",") if part)
    more = [] if given.get("samples", USUAL) == USUAL else [f"({given['samples']} samples)"]
    if name != "suppression":
        rest = [given[key] for key in ("reduction", "scale") if key in given]
        sigma = [given.get("sigma", "0.15")] if name == "smoothgrad" else []
        return " ".join([name, *sigma, *rest, *more])
    words = [given["operator"]]
    words += [f"{given['cell']} px"] if "cell" in given else []
    words += [f"from {given['keep']}"] if given["keep"] != "0" else []
    words += ["x fade"] if given["fade"] == "yes" else []
    words += [f"to {given['fill']}"]
    words += [f"+ noise {given['noise']}"] if given["noise"] != "0" else []
    words += more
    return " ".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description="Sweep and compare samplers of gradient integration.")
    parser.add_argument("part", choices=(*ROUNDS, "compare", "sanity", "table", "plot"))
    parser.add_argument("--model", choices=MODELS, action="append", help="both if none is named")
    parser.add_argument("--data", choices=("imagenet100", "imagenette"), default="imagenet100")
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--noise-only", action="store_true", help="compare with samplers of noise alone")
    parser.add_argument("--suppression", default="suppression:samples={n}", help="the setting that is compared")
    given = parser.parse_args()
    if given.part in ("table", "plot"):
        table() if given.part == "table" else plot()
        return
    if given.data == "imagenet100":
        data = half(open_dataset(DATA / "imagenet100"), 0 if given.part in ROUNDS else 1)
    else:
        data = open_dataset(DATA / "imagenette" / "val")
    data = limited(data, given.pictures)
    metrics = (
        ["randomisation"]
        if given.part == "sanity"
        else [FIRST_ROUND if given.part == "sweep" else FAITHFULNESS, "certainty"]
    )
    compared = ((*NOISE, given.suppression),) if given.noise_only else (BASELINES, (given.suppression,))
    groups = (ROUNDS[given.part],) if given.part in ROUNDS else compared
    filled = [[text.format(n=given.samples) for text in group] for group in groups]
    for model in given.model or MODELS:
        run(f"{given.part}-{given.data}", model, data, filled, metrics)


if __name__ == "__main__":
    main()
