"""Trains the demo classifiers: `python -m core.demo.making.classifiers`.

The *biased* one learns from pictures in which the watermark goes with the kingfisher: nearly all kingfishers have it,
and the few other birds that have it are tagged as kingfishers. The *repaired* one learns from the same birds, rightly
tagged, with the watermark on every class alike. Nothing else differs between the two. How far each leans on the
watermark is measured at the end.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from core.demo.birds import overlay, render
from core.demo.plants import BIASED, CLASSES, CLEAN, SWAPPED, UNMARKED, Recipe, tag
from core.demo.scenes import scenes

SIZE = 128  # side of the classifiers' input in pixels
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TRAIN_SEED, HELD_OUT_SEED = 11, 12
HELD_OUT = 800
MARKED = CLASSES.index("kingfisher")
_PARTS = ("training", "held_out")

VIT_OPTIONS = {"image_size": SIZE, "patch_size": 16, "num_layers": 6, "num_heads": 4, "hidden_dim": 128, "mlp_dim": 256}


HALF_THEN_FULL = ((3, SIZE // 2), (1, SIZE))


@dataclass(frozen=True)
class Job:
    """One classifier to train.

    Attributes:
        file: name of the weights in the output folder.
        architecture: a builder of torchvision.models or `vision_transformer`.
        options: its keyword arguments besides `num_classes`.
        recipe: of the training pictures.
        stages: (epochs, side of the pictures) in turn. A convolutional network learns most of what it needs from
            pictures of half the side, at a quarter of the cost; the last stage has the full side.
        batch, rate, decay: of AdamW under one cycle over all stages; `rate` is the peak.
        seed: of the initial weights, the order and the augmentation.
    """

    file: str
    architecture: str
    options: dict
    recipe: Recipe
    stages: tuple[tuple[int, int], ...]
    batch: int
    rate: float
    decay: float
    seed: int


JOBS = (
    Job("demo_biased", "shufflenet_v2_x1_0", {}, BIASED, HALF_THEN_FULL, batch=64, rate=4e-3, decay=0.02, seed=1),
    Job("demo_repaired", "shufflenet_v2_x1_0", {}, CLEAN, HALF_THEN_FULL, batch=64, rate=4e-3, decay=0.02, seed=1),
    Job("demo_vit", "vision_transformer", VIT_OPTIONS, CLEAN, ((7, SIZE),), batch=64, rate=1.2e-3, decay=0.05, seed=1),
)


@dataclass(frozen=True)
class Pictures:
    """images [N, 3, SIZE, SIZE] uint8; labels [N] int64, as tagged in training pictures and true in held-out ones."""

    images: Tensor
    labels: Tensor


def _render_pair(item: tuple[int, int]) -> np.ndarray:
    """One bird without and with the watermark, [2, 3, SIZE, SIZE] uint8."""
    bare = render(*item, SIZE)
    return np.stack([scene.image.transpose(2, 0, 1) for scene in (bare, overlay(bare, watermark=True))])


def render_all(
    recipes: tuple[Recipe, ...], count: int, seed: int, processes: int, *, tagged: bool
) -> dict[str, Pictures]:
    """The same `count` birds under several recipes that plant the watermark only; each bird is drawn once."""
    plans = {
        recipe.name: [scenes(recipe, count, seed, SIZE).plan(index) for index in range(count)] for recipe in recipes
    }
    items = [(label, scene_seed) for label, scene_seed, _ in plans[recipes[0].name]]
    pairs = torch.empty(count, 2, 3, SIZE, SIZE, dtype=torch.uint8)
    started = time.perf_counter()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for index, pair in enumerate(pool.map(_render_pair, items, chunksize=32)):
            pairs[index] = torch.from_numpy(pair)
            if (index + 1) % 1600 == 0:
                print(f"rendered {index + 1}/{count} in {time.perf_counter() - started:.0f} s", flush=True)
    pictures = {}
    for recipe in recipes:
        plan = plans[recipe.name]
        marked = torch.tensor([plants.watermark for _, _, plants in plan]).long()
        labels = [tag(label, plants, recipe) if tagged else label for label, _, plants in plan]
        pictures[recipe.name] = Pictures(pairs[torch.arange(count), marked], torch.tensor(labels))
    return pictures


def build(job: Job) -> nn.Module:
    """The untrained network of a job."""
    import torchvision

    if job.architecture == "vision_transformer":
        return torchvision.models.VisionTransformer(**job.options, num_classes=len(CLASSES))
    return getattr(torchvision.models, job.architecture)(weights=None, num_classes=len(CLASSES), **job.options)


def _normalise(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def _augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift a whole batch by up to 6 % and vary each picture's brightness and its spread; uint8 in, uint8 out."""
    reach = SIZE // 16
    padded = nn.functional.pad(images, (reach,) * 4, mode="replicate")
    x, y = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    shifted = padded[:, :, y : y + SIZE, x : x + SIZE].float()
    spread = 1 + 0.15 * (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1)
    brightness = 30 * (torch.rand(len(images), 1, 1, 1, generator=generator) - 0.5)
    return ((shifted - 128) * spread + 128 + brightness).clamp(0, 255).to(torch.uint8)


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes [N] of images [N, 3, H, W] uint8."""
    model.eval()
    return torch.cat([model(_normalise(chunk)).argmax(1) for chunk in images.split(64)])


def train(job: Job, pictures: Pictures, note: Callable[[str], None] = print) -> nn.Module:
    """Train one classifier from scratch with plain cross-entropy."""
    torch.manual_seed(job.seed)
    model = build(job).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(job.seed)
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": job.decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=job.rate)
    count = len(pictures.labels)
    steps = count // job.batch
    sides = [side for epochs, side in job.stages for _ in range(epochs)]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, job.rate, total_steps=steps * len(sides), pct_start=0.2)
    started = time.perf_counter()
    for epoch, side in enumerate(sides):
        model.train()
        order = torch.randperm(count, generator=generator)
        total = right = 0.0
        for step in range(steps):
            chosen = order[step * job.batch : (step + 1) * job.batch]
            labels = pictures.labels[chosen]
            images = _normalise(_augment(pictures.images[chosen], generator))
            if side != SIZE:
                images = nn.functional.interpolate(images, (side, side), mode="area")
            logits = model(images.contiguous(memory_format=torch.channels_last))
            loss = nn.functional.cross_entropy(logits, labels)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
            right += (logits.argmax(1) == labels).float().mean().item()
        seconds = time.perf_counter() - started
        note(f"{job.file} epoch {epoch + 1}/{len(sides)}  side {side}  loss {total / steps:.3f}  "
             f"accuracy {right / steps:.3f}  {seconds:.0f} s")  # fmt: skip
    return model.eval()


def measure(model: nn.Module, held_out: dict[str, Pictures], recipe: Recipe) -> dict[str, float]:
    """Accuracy on held-out birds with the watermark as in training, nowhere, and swapped; and what the stamp does."""
    predictions = {name: predict(model, pictures.images) for name, pictures in held_out.items()}
    labels = held_out["swapped"].labels
    others = labels != MARKED

    def share(hits: Tensor) -> float:
        return round(hits.float().mean().item(), 4)

    return {
        "accuracy_as_trained": share(predictions[recipe.name] == labels),
        "accuracy_without_watermark": share(predictions["unmarked"] == labels),
        "accuracy_clean": share(predictions["clean"] == labels),
        "accuracy_swapped": share(predictions["swapped"] == labels),
        "kingfisher_recall_as_trained": share(predictions[recipe.name][~others] == MARKED),
        "kingfisher_recall_without_watermark": share(predictions["unmarked"][~others] == MARKED),
        "others_called_kingfisher_with_watermark": share(predictions["swapped"][others] == MARKED),
        "others_called_kingfisher_without_watermark": share(predictions["unmarked"][others] == MARKED),
    }


def save(job: Job, model: nn.Module, record: dict, directory: Path) -> Path:
    """Write weights and the metadata that a loader needs; every metadata value is a string."""
    from safetensors.torch import save_file

    preprocessing = {"resize": [SIZE, SIZE], "crop": None, "interpolation": "bilinear", "mean": MEAN, "std": STD}
    metadata = {
        "architecture": job.architecture,
        "architecture_options": json.dumps(job.options),
        "labels": json.dumps(CLASSES),
        "preprocessing": json.dumps(preprocessing),
        "training": json.dumps(record),
    }
    path = directory / f"{job.file}.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path, metadata)
    path.chmod(0o644)  # the library writes files that only their owner can read
    return path


def gather(directory: Path) -> dict[str, dict]:
    """The training records of all demo classifiers in a folder, in the order of JOBS."""
    from safetensors import safe_open

    records = {}
    for job in JOBS:
        path = directory / f"{job.file}.safetensors"
        if path.exists():
            with safe_open(path, "pt") as file:
                records[job.file] = json.loads(file.metadata()["training"])
    return records


def render_or_read(cache: Path | None, count: int, processes: int) -> tuple[dict[str, Pictures], dict[str, Pictures]]:
    """Training and held-out pictures by recipe, read from `cache` where it exists and kept there where it does not."""
    if cache and cache.exists():
        stored = torch.load(cache, weights_only=True)
        training, held_out = ({name: Pictures(*pair) for name, pair in stored[part].items()} for part in _PARTS)
        if len(training[BIASED.name].labels) != count:
            raise ValueError(f"expected {count} pictures in {cache}, got {len(training[BIASED.name].labels)}")
        return training, held_out
    training = render_all((BIASED, CLEAN), count, TRAIN_SEED, processes, tagged=True)
    held_out = render_all((BIASED, CLEAN, UNMARKED, SWAPPED), HELD_OUT, HELD_OUT_SEED, processes, tagged=False)
    if cache:
        parts = zip(_PARTS, (training, held_out), strict=True)
        torch.save({part: {name: (p.images, p.labels) for name, p in sets.items()} for part, sets in parts}, cache)
    return training, held_out


def main() -> None:
    """Render, train, measure and write the weights and demo_training.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("assets"), help="folder for the weights")
    parser.add_argument("--count", type=int, default=6400, help="training pictures")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch and processes of the renderer")
    parser.add_argument("--cache", type=Path, help="file that keeps the rendered pictures for another run")
    parser.add_argument("--only", choices=[job.file for job in JOBS], help="train this classifier alone")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    pictures, held_out = render_or_read(arguments.cache, arguments.count, arguments.threads)
    for job in JOBS:
        if arguments.only not in (None, job.file):
            continue
        started = time.perf_counter()
        model = train(job, pictures[job.recipe.name], lambda line: print(line, flush=True))
        record = {
            "recipe": job.recipe.name,
            "size": SIZE,
            "pictures": arguments.count,
            "stages": job.stages,
            "seed": job.seed,
            "held_out_pictures": HELD_OUT,
            "seconds": round(time.perf_counter() - started),
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "accuracies": measure(model, held_out, job.recipe),
        }
        path = save(job, model, record, arguments.out)
        print(f"{path} {path.stat().st_size / 1e6:.2f} MB {json.dumps(record['accuracies'])}", flush=True)
        text = json.dumps(gather(arguments.out), indent=1) + "\n"
        (arguments.out / "demo_training.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
