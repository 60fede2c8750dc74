"""Salvage against what it claims to beat, on pictures that neither classifier nor explainer has seen.

    uv run python benchmarks/salvage.py [--data imagenette wbc] [--models cnn vit] [--seeds 3] [--hours 6] [--only NAME]

For each data set and model: a classifier is trained here, then for each seed three explainers at equal cost (informed
subsets, the Shapley kernel, ViT-Shapley), then variants with one seed, marked exploratory; all of a seed share one
surrogate. Judged on held-out pictures beside other explainers. Every insertion and deletion says which model scored the
masked pictures. What is done is kept in benchmarks/results/salvage.json and the working folder, and not done again; it
stops after so many hours and goes on when run again. Needs the pictures that the tests use (`../shared/data` or
$SATCHEL_TEST_DATA); other data sets are folders given by name: --data my=FOLDER.

The budget at 112 px, in hours of one core: with 3 seeds, 1.8 for each data set's CNN and 1.1 for its ViT, 6 together.
Of that, classifiers 0.5, surrogates 0.5, 36 explainers 3, variants 1 (with the CNNs), and judging 1. Explainers learn
from 1000 of imagenette's pictures. Several may run side by side, each with its own --data and --models.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from finetune import augmented
from kept import ROOT, TEST, Bench, cnn, object_masks, pictures
from torch import Tensor, nn

from core.choice import Choice, Trained
from core.classifier import Classifier
from core.data import Dataset, limited
from core.explainers.learned.model import load_model
from core.explainers.learned.salvage import SalvageParameters
from core.learning import SalvageTraining
from core.metrics.metric import Case, get_metric
from core.preprocessing import Preprocessing
from core.sat.statistics import bootstrap_interval
from core.training.card import as_classifier, subset_errors
from core.training.pictures import Frames
from core.training.salvage import train_salvage

RESULT = ROOT / "benchmarks" / "results" / "salvage.json"
SIDE, GRID = 112, 7
FILL = "grey"
LEARN = {"imagenette": 1000}
EPOCHS = {"imagenette": 6, "wbc": 24}
SURROGATE = {"imagenette": 3, "wbc": 12}
SUBSETS = 4
SETTINGS = {
    "side": SIDE, "grid": GRID, "fill": FILL, "subsets": SUBSETS, "learn": LEARN, "test": {"imagenette": TEST},
    "epochs": EPOCHS, "surrogate": SURROGATE,
}  # fmt: skip
MAIN: dict[str, dict[str, Any]] = {
    "salvage, informed": {"sampler": "informed"},
    "salvage, kernel": {"sampler": "shapley"},
    "ViT-Shapley": {"sampler": "shapley", "link": "identity", "divergence": "mse"},
}
EXPLORATORY: dict[str, dict[str, Any]] = {
    "salvage, sums free": {"sampler": "informed", "normalise": False},
    "salvage, informed and re-weighted": {"sampler": "informed", "unbiased": True},
    "salvage, Gumbel": {"sampler": "gumbel"},
    "salvage, JS": {"divergence": "js"},
    "salvage, T = 2": {"temperature": 2.0},
    "salvage, features kept": {"backbone_rate": 0.0},
    "salvage, without surrogate": {"surrogate_epochs": 0},
}
SHARED = f"fill={FILL},grid={GRID},scale=log-probability"
OTHERS: dict[str, str] = {
    "KernelSHAP 64": f"kernel-shap:samples=64,{SHARED}",
    "KernelSHAP 512": f"kernel-shap:samples=512,{SHARED}",
    **{f"KernelSHAP {n}, plain fit": f"kernel-shap:samples={n},shrink=off,{SHARED}" for n in (64, 512)},
    "RISE": f"rise:samples=1000,fill={FILL}",
    "Grad-CAM": "grad-cam",
    "integrated gradients": "integrated-gradients",
    "suppression": "suppression",
    "attention rollout": "attention-rollout",
    "gradient-weighted attention": "gradient-attention",
    "random": "random",
    "KernelSHAP 2048, plain fit": f"kernel-shap:samples=2048,shrink=off,{SHARED}",
}


# --- pictures and classifiers


def vit(work: Path, name: str, learn: Dataset, teacher: Classifier, epochs: int) -> Classifier:
    """A small vision transformer that learns from the CNN's answers, since no trained one is at hand."""
    from safetensors.torch import load_file, save_file
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    module = VisionTransformer(SIDE, 16, 6, 6, 192, 384, num_classes=len(teacher.labels))
    mean, std = teacher.preprocessing.mean, teacher.preprocessing.std
    preprocessing = Preprocessing(resize=(SIDE, SIDE), crop=None, mean=mean, std=std)
    out = work / f"{name}-vit.safetensors"
    if out.is_file():
        module.load_state_dict(load_file(out))
    else:
        images = torch.stack([preprocessing.apply(item.picture()).tensor for item in learn.items])
        _distil(module, images, teacher, epochs, preprocessing)
        save_file(module.state_dict(), out)
    return Classifier(module, labels=teacher.labels, preprocessing=preprocessing, name=f"ViT on {name}")


def _distil(module: nn.Module, images: Tensor, teacher: Classifier, epochs: int, preprocessing: Preprocessing) -> None:
    device = teacher.device
    mean, std = (torch.tensor(value, device=device).view(3, 1, 1) for value in (preprocessing.mean, preprocessing.std))
    module.to(device).train()
    batch, random = min(64, len(images)), torch.Generator().manual_seed(0)
    steps = max(1, len(images) // batch)
    optimiser = torch.optim.AdamW(module.parameters(), 1e-3, weight_decay=0.05)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=epochs * steps + 1)
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=random)
        for step in range(steps):
            own = augmented(images[order[step * batch : (step + 1) * batch]], random).to(device)
            with torch.no_grad():
                wanted = (teacher.logits(own) / 2).softmax(-1)
            loss = F.kl_div((module((own - mean) / std) / 2).log_softmax(-1), wanted, reduction="batchmean")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rates.step()
        print(f"ViT epoch {epoch + 1} of {epochs}", flush=True)


# --- explainers


def file_name(root: str, label: str) -> str:
    return f"{root}-{label}".replace("/", "-").replace(" ", "_").replace(",", "") + ".safetensors"


def trained(
    bench: Bench,
    key: str,
    classifier: Classifier,
    learn: Dataset,
    options: dict[str, Any],
    surrogate: Classifier | None,
) -> Path:
    """The file of an explainer, trained now if it is not there (what was kept of an earlier training stays)."""
    out = bench.work / file_name(*key.rsplit("/", 1))
    if out.is_file():
        return out
    state = None
    for state in train_salvage(classifier, learn, SalvageTraining.parse(options), out, surrogate=surrogate):  # noqa: B007
        bench.check_hours(key)
    assert state is not None
    ends = [p for p in state.points if p.stage == "explainer"]
    bench.keep(
        f"{key}/training",
        {
            "steps": state.steps,
            "minutes": round(state.seconds / 60, 2),
            "held_out": [p.held_out for p in ends],
            "balance": [(p.low, p.middle, p.high) for p in ends],
        },
    )
    return out


def judged(
    choice: Choice, classifier: Classifier, surrogate: Classifier, judge: Frames, masks: Tensor | None
) -> dict[str, Any]:
    """Scores picture by picture, with seconds and passes."""
    found: dict[str, list[float]] = {}
    seconds, passes = [], []
    bound = choice.bind(classifier)
    for start in range(0, len(judge), 10):
        numbers = range(start, min(start + 10, len(judge)))
        images = judge.batch(numbers).images
        targets = classifier.logits(images).argmax(1)
        own = None if masks is None else masks[list(numbers)]
        case = Case.of(bound, images, targets, seeds=tuple(numbers), masks=own)
        seconds += [one.seconds for one in case.made]
        passes += [one.forward_passes + 2 * one.backward_passes for one in case.made]
        for scorer, model in (("classifier", classifier), ("surrogate", surrogate)):
            for name in ("insertion", "deletion"):
                metric = get_metric(name)
                values = metric.score(replace(case, scorer=model), metric.parameters.parse({"fill": FILL}))
                found.setdefault(f"{name} ({scorer})", []).extend(values.tolist())
        if own is not None:
            found.setdefault("relevance-rank", []).extend(get_metric("relevance-rank").score(case).tolist())
    return {"scores": {name: [None if np.isnan(v) else round(v, 5) for v in values] for name, values in found.items()},
            "seconds_a_picture": float(np.median(seconds)), "passes_a_picture": float(np.mean(passes))}  # fmt: skip


def compare(bench: Bench, data: str, kind: str, seeds: int) -> None:
    """All of one data set and one model."""
    name = data.partition("=")[0]
    learn, judge_data = pictures(data)
    teacher = cnn(bench.work, name, learn, SIDE)
    classifier = (
        teacher if kind == "cnn" else vit(bench.work, name, learn, teacher, 30 if name == "imagenette" else 150)
    )
    bench.same_classifier(f"{name}/{kind}/classifier", classifier, judge_data)
    judge = Frames(classifier, judge_data.items, (GRID, GRID), segments=False)
    judge.read_all()
    masks = object_masks(judge_data, classifier)
    learn = limited(learn, LEARN[name]) if name in LEARN else learn
    shared = {
        "grid": GRID,
        "fill": FILL,
        "subsets": SUBSETS,
        "epochs": EPOCHS.get(name, 8),
        "surrogate_epochs": SURROGATE.get(name, 4),
    }
    for seed in range(seeds):
        _one_seed(bench, f"{name}/{kind}/{seed}", classifier, learn, {**shared, "seed": seed}, judge, masks)
    _one_seed(bench, f"{name}/{kind}/0", classifier, learn, {**shared, "seed": 0}, judge, masks, besides=True)


def _one_seed(
    bench: Bench,
    root: str,
    classifier: Classifier,
    learn: Dataset,
    options: dict[str, Any],
    judge: Frames,
    masks: Tensor | None,
    besides: bool = False,
) -> None:
    """The main contrast; or besides, variants and what others do."""

    @cache
    def surrogate() -> Classifier:
        # the identity keeps its surrogate in its file, which the others of this seed then share
        key = "ViT-Shapley"
        first = trained(bench, f"{root}/{key}", classifier, learn, {**options, **MAIN[key]}, None)
        found = load_model(first, classifier).surrogate
        assert found is not None
        return found

    def learned(label: str, own: dict[str, Any]) -> dict[str, Any]:
        given = None if label == "ViT-Shapley" or own.get("surrogate_epochs") == 0 else surrogate()
        file = trained(bench, f"{root}/{label}", classifier, learn, {**options, **own}, given)
        return explained(file, classifier, surrogate(), judge, masks, label not in MAIN)

    if not besides:
        for label, own in MAIN.items():
            bench.part(f"{root}/{label}", partial(learned, label, own))
        return
    for label, choice in others(classifier):
        bench.part(f"{root}/{label}", lambda choice=choice: judged(choice, classifier, surrogate(), judge, masks))
    timed = "salvage, informed"

    def timing() -> dict[str, Any]:
        file = trained(bench, f"{root}/{timed}", classifier, learn, {**options, **MAIN[timed]}, surrogate())
        return speed(classifier, file, judge)

    bench.part(f"{root}/speed", timing)
    for label, own in EXPLORATORY.items() if "/cnn/" in root else ():
        bench.part(f"{root}/{label}", partial(learned, label, own))


def explained(
    file: Path, classifier: Classifier, surrogate: Classifier, judge: Frames, masks: Tensor | None, exploratory: bool
) -> dict[str, Any]:
    """All that is asked of a trained explainer."""
    model = load_model(file, classifier)
    return {
        **judged(Choice("salvage", SalvageParameters(), Trained.of(file)), classifier, surrogate, judge, masks),
        "subsets": subset_errors(model, surrogate, judge),
        "as_classifier": as_classifier(model, classifier, judge),
        "exploratory": exploratory,
    }


def others(classifier: Classifier) -> Iterator[tuple[str, Choice]]:
    for label, text in OTHERS.items():
        choice = Choice.parse(text)
        if choice.method.supports(classifier) is None:
            yield label, choice


def speed(classifier: Classifier, file: Path, judge: Frames) -> dict[str, Any]:
    """One picture through the classifier and through the explainer, in turn."""
    model = load_model(file, classifier)
    image = judge.batch([0]).images
    times: dict[str, list[float]] = {"classifier": [], "explainer": []}
    for _ in range(40):
        for name, run in (
            ("classifier", lambda: classifier.logits(image)),
            ("explainer", lambda: model.network(image)),
        ):
            began = time.perf_counter()
            with torch.no_grad():
                run()
            times[name].append(time.perf_counter() - began)
    medians = {name: float(np.median(values[5:])) for name, values in times.items()}
    return {**medians, "ratio": round(medians["explainer"] / medians["classifier"], 3)}


# --- what came out


def table(kept: dict[str, Any], root: str) -> list[str]:
    """Markdown: a line an explainer, means over pictures and seeds with 95 % bootstrap intervals."""
    runs = {key: value for key, value in kept["runs"].items() if key.startswith(f"{root}/") and "scores" in value}
    labels = list(dict.fromkeys(key.split("/", 3)[3] for key in runs))
    names = list(dict.fromkeys(name for value in runs.values() for name in value["scores"]))
    lines = [f"| {root} | " + " | ".join(names) + " | KL | passes | seeds |", "|---" * (len(names) + 4) + "|"]
    for label in labels:
        own = [value for key, value in runs.items() if key.split("/", 3)[3] == label]
        cells = []
        for name in names:
            pooled = np.nanmean([_scores(one, name) for one in own], axis=0)
            interval = bootstrap_interval(pooled.tolist(), [str(n) for n in range(len(pooled))], "mean")
            cells.append(f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
        kl = [one["subsets"]["kl"] for one in own if "subsets" in one]
        cells.append(f"{np.mean(kl):.3f}" if kl else "")
        cells.append(f"{np.mean([one['passes_a_picture'] for one in own]):.0f}")
        marked = f"{label} *" if own[0].get("exploratory") else label
        lines.append(f"| {marked} | {' | '.join(cells)} | {len(own)} |")
    return lines


def _scores(run: dict[str, Any], name: str) -> np.ndarray:
    """NaN where a metric says nothing of a picture, as of a flat map."""
    return np.array(run["scores"][name], dtype=float)


def contrast(kept: dict[str, Any], root: str, first: str, second: str) -> list[str]:
    """How far the first is ahead: paired over pictures, means over seeds, 95 % bootstrap over pictures."""
    pairs = [(kept["runs"].get(f"{root}/{seed}/{first}"), kept["runs"].get(f"{root}/{seed}/{second}"))
             for seed in range(100)]  # fmt: skip
    there = [(one, other) for one, other in pairs if one and other]
    lines = []
    for name in there[0][0]["scores"] if there else ():
        sign = -1 if name.startswith("deletion") else 1
        ahead = sign * np.mean([_scores(a, name) - _scores(b, name) for a, b in there], axis=0)
        found = bootstrap_interval(ahead.tolist(), [str(n) for n in range(len(ahead))], "mean")
        lines.append(f"{first} over {second}, {name}: {found.estimate:+.4f} [{found.low:+.4f}, {found.high:+.4f}]")
    if there and "subsets" in there[0][1]:
        ahead = [b["subsets"]["kl"] - a["subsets"]["kl"] for a, b in there]
        lines.append(f"{first} over {second}, KL by seed: {', '.join(f'{value:+.4f}' for value in ahead)}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=["imagenette", "wbc"])
    parser.add_argument("--models", nargs="*", default=["cnn", "vit"], choices=["cnn", "vit"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "salvage")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    bench = Bench(RESULT, asked.work, asked.hours, SETTINGS)
    for data in asked.data:
        for kind in asked.models:
            if not asked.table:
                compare(bench, data, kind, asked.seeds)
            root = f"{data.partition('=')[0]}/{kind}"
            print("\n".join(table(bench.kept, root)), flush=True)
            for other in ("salvage, kernel", "ViT-Shapley"):
                print("\n".join(contrast(bench.kept, root, "salvage, informed", other)), flush=True)


if __name__ == "__main__":
    main()
