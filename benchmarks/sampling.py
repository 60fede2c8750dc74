"""Does suppression sampling explain better? The sweep that picks its defaults, and the comparison on other pictures.

    uv run python benchmarks/sampling.py sweep [--model mobilenet_v2] [--pictures 50]
    uv run python benchmarks/sampling.py refine [--model ...] [--pictures 50]
    uv run python benchmarks/sampling.py compare [--model ...] [--pictures 50] [--data imagenet100|imagenette]
    uv run python benchmarks/sampling.py table

The sweep and its second round (refine) run on the even photos of imagenet100; the comparison on the odd ones and on
imagenette's validation photos. Masked pictures are filled with blur (insertion) and black (deletion), which no sampler
here uses, and scored by the classifier itself. All are evaluations (core/evaluation), kept in runs/ and taken up again
when killed; their leaderboards go to benchmarks/results/sampling-*.json, and `table` prints those as Markdown. Needs the
real weights and photos that the tests use (`../shared/data` or $SATCHEL_TEST_DATA).
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from figures import machine

from core.data import Dataset, open_dataset
from core.evaluation.run import Contender, EvaluationOptions, Yardstick, evaluate
from core.evaluation.store import open_evaluation
from core.explain import parse_explainer
from core.loading import load_classifier
from core.metrics.metric import parse_metric

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DATA = Path(os.environ.get("SATCHEL_TEST_DATA", ROOT.parent / "shared" / "data"))
MODELS = ("squeezenet1_1", "mobilenet_v2")
FAITHFULNESS = "insertion-deletion:insertion_fill=blur,deletion_fill=black"

# in the comparison; the sweep tries more widths of noise instead of the signed forms
BASELINES = (
    "gradient",
    "smoothgrad:samples={n}",
    "smoothgrad:samples={n},sigma=0.08",
    "smoothgrad:samples={n},reduction=variance",
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
            "operator=field",
            "operator=field,contrast=no",
            "operator=field,keep=0.5,contrast=no",
            "operator=field,noise=0.05",
            "operator=field,fill=inpaint",
            "operator=multiscale",
            "operator=gain",
            "operator=patch,keep=0.5,contrast=no",
            "operator=patch,keep=0.5,cell=2,contrast=no",
            "operator=pixel,keep=0.5",
            "operator=pixel,keep=0.5,contrast=no",
            "operator=pixel,keep=0.3,contrast=no",
            "operator=pixel,keep=0.7,contrast=no",
            "operator=pixel,keep=0.5,contrast=no,noise=0.05",
            "operator=lowpass",
        )
    ),
)

# the second round, around the settings that led the first
REFINE = (
    "smoothgrad:samples={n},sigma=0.08",
    "smoothgrad:samples={n},sigma=0.08,scale=log-probability",
    *(
        f"suppression:samples={{n}},{setting}"
        for setting in (
            "operator=pixel,keep=0.5,contrast=no,noise=0.05",
            "operator=pixel,keep=0.5,contrast=no,noise=0.05,scale=log-probability",
            "operator=pixel,keep=0.5,contrast=no,noise=0.05,reduction=squared",
            "operator=pixel,keep=0.5,contrast=no,noise=0.08",
            "operator=pixel,keep=0.5,contrast=yes,noise=0.05",
            "operator=patch,cell=2,keep=0.5,contrast=yes,noise=0.05",
            "operator=gain,cell=16,keep=0,contrast=yes,noise=0.05",
            "operator=gain,cell=4,keep=0.3,contrast=yes,noise=0.05",
            "operator=field,cell=16,keep=0,contrast=yes,noise=0.08",
        )
    ),
)


def half(data: Dataset, first: int) -> Dataset:
    """Every other picture, from the first (0) or the second (1) on."""
    return replace(data, items=data.items[first::2])


def spread(data: Dataset, count: int) -> Dataset:
    """At most so many pictures, evenly over the whole."""
    if count >= len(data):
        return data
    keep = np.linspace(0, len(data) - 1, count).round().astype(int)
    return replace(data, items=tuple(data.items[i] for i in keep))


def run(part: str, model: str, data: Dataset, explainers: list[str], metrics: list[str]) -> None:
    """One evaluation, its leaderboard kept as JSON."""
    classifier = load_classifier(f"torchvision:{model}@{DATA}/weights/{model}.pth")
    options = EvaluationOptions(
        contenders=tuple(Contender(text, *parse_explainer(text)) for text in explainers),
        yardsticks=tuple(Yardstick(text, *parse_metric(text)) for text in metrics),
        shard=5,
        batch=5,
    )
    name = f"{part}-{model}-{len(data)}"
    out = ROOT / "runs" / f"sampling-{name}"
    for progress in evaluate(data, classifier, out, options):
        print(f"\r{progress.stage} {progress.done}/{progress.total}".ljust(100), end="", flush=True)
    found = open_evaluation(out)
    kept = {key: found.manifest[key] for key in ("pictures", "scorer", "warnings", "seed", "seconds", "device")}
    kept["scorer"] = f"torchvision:{model}"  # the file's place is nobody's business
    result = {"machine": machine(), "model": model, "part": part, **kept, "leaderboard": found.leaderboard}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"sampling-{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def table() -> None:
    """Every result as Markdown: faithfulness first, then the others, best first."""
    for path in sorted(RESULTS.glob("sampling-*.json")):
        result = json.loads(path.read_text())
        print(f"\n### {result['model']}, {result['part']}, {result['pictures']} photos\n")
        metrics = list(dict.fromkeys(e["metric"] for e in result["leaderboard"]))
        by_name = {(e["metric"], e["explainer"]): e for e in result["leaderboard"]}
        print("| explainer | " + " | ".join(metrics) + " | behind the best | alignment | saturated | seconds |")
        print("|---|" + "---|" * (len(metrics) + 4))
        for lead in (e for e in result["leaderboard"] if e["metric"] == metrics[0]):
            cells = []
            for metric in metrics:
                e = by_name[metric, lead["explainer"]]
                cells.append("-" if e["mean"] is None else f"{e['mean']:.3f} [{e['low']:.3f}, {e['high']:.3f}]")
            behind = "-"
            if lead["behind"] is not None:
                behind = f"{lead['behind']:.3f} [{lead['behind_low']:.3f}, {lead['behind_high']:.3f}]"
            more = ("-" if lead[key] is None else f"{lead[key]:.2f}" for key in ("alignment", "saturated", "seconds"))
            print(f"| `{lead['explainer']}` | " + " | ".join([*cells, behind, *more]) + " |")
        for warning in result["warnings"]:
            print(f"\n{warning}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Sweep and compare samplers of gradient integration.")
    parser.add_argument("part", choices=("sweep", "refine", "compare", "table"))
    parser.add_argument("--model", choices=MODELS, action="append", help="both if none is named")
    parser.add_argument("--data", choices=("imagenet100", "imagenette"), default="imagenet100")
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--samples", type=int, default=32)
    given = parser.parse_args()
    if given.part == "table":
        table()
        return
    if given.data == "imagenet100":
        data = half(open_dataset(DATA / "imagenet100"), 1 if given.part == "compare" else 0)
    else:
        data = open_dataset(DATA / "imagenette" / "val")
    data = spread(data, given.pictures)
    metrics = [FAITHFULNESS, "certainty"]
    settings = {"sweep": SWEEP, "refine": REFINE, "compare": (*BASELINES, "suppression:samples={n}")}[given.part]
    contenders = [text.format(n=given.samples) for text in settings]
    for model in given.model or MODELS:
        run(f"{given.part}-{given.data}", model, data, contenders, metrics)


if __name__ == "__main__":
    main()
