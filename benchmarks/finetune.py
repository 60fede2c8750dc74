"""Fine-tune a torchvision classifier on a labelled data set, into one file that loads with nothing else given.

    python benchmarks/finetune.py DATA --model torchvision:squeezenet1_1@FILE --out cells.safetensors
    satchel report DATA --model torchvision:squeezenet1_1@cells.safetensors ...

Classes are drawn equally often however unequal they are. A part of every class is held out and scored at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from core.data import Dataset, open_dataset
from core.errors import UserError
from core.loading import load_classifier
from core.loading.torchvision_models import build
from core.preprocessing import Preprocessing
from core.runtime.device import choose_device

BATCH = 32
PEAK_RATE = 1e-3
WEIGHT_DECAY = 0.02


@dataclass(frozen=True)
class Result:
    """How a fine-tuning went.

    Attributes:
        labels: one per class.
        trained_on, held_out: number of pictures.
        recall: part of each class's held-out pictures that is recognised; classes without one are left out.
        balanced_accuracy: mean of `recall`.
        accuracy: part of all held-out pictures that is recognised.
        epochs, size, seed: as asked for.
        seconds: of reading, training and scoring.
    """

    labels: tuple[str, ...]
    trained_on: int
    held_out: int
    recall: dict[str, float]
    balanced_accuracy: float
    accuracy: float
    epochs: int
    size: int
    seed: int
    seconds: float


def finetune(
    data: Dataset,
    model: str,
    out: str | Path,
    *,
    epochs: int = 8,
    size: int = 128,
    seed: int = 0,
    holdout: float = 0.25,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> Result:
    """Train all layers, the last one anew, and save.

    Args:
        data: pictures with labels, two classes at least.
        model: `torchvision:NAME` or `torchvision:NAME@FILE`, whose layers are the start.
        out: the .safetensors file to write; its metadata holds labels, preprocessing and how it was trained.
        epochs: each draws as many pictures as there are to train on.
        size: side of the square, in pixels, that pictures are squashed to.
        seed: of the split, the new layer, the draws and the augmentation: the same seed gives the same weights.
        holdout: part of each class that is kept for scoring, in [0, 1); pictures of one group stay together.
        device: "auto", "cpu", "cuda", ...
        say: called with one line an epoch.

    Raises:
        UserError: pictures without labels, one class only, a model that is not torchvision's.
    """
    began = time.perf_counter()
    labels = data.labels
    if len(labels) < 2 or any(item.label is None for item in data.items):
        raise UserError(f"{data.source} needs a label for every picture and at least two classes.")
    if not model.startswith("torchvision:"):
        raise UserError(f"Only torchvision models are fine-tuned here, got {model!r}; write torchvision:NAME[@FILE].")
    if epochs < 1 or not 0 <= holdout < 1:
        raise UserError(f"Epochs must be at least 1 and holdout in [0, 1), got {epochs} and {holdout}.")
    place = choose_device(device)
    name = model.removeprefix("torchvision:").partition("@")[0]
    base = load_classifier(model, device="cpu")
    mean, std = base.preprocessing.mean, base.preprocessing.std
    preprocessing = Preprocessing(resize=(size, size), crop=None, mean=mean, std=std)
    images = torch.stack([preprocessing.apply(item.picture()).tensor for item in data.items])
    images = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    targets = torch.tensor([labels.index(item.label) for item in data.items if item.label is not None])
    held_out = split(targets.numpy(), [item.group for item in data.items], holdout, seed)
    kept = torch.from_numpy(np.flatnonzero(~held_out))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = started_from(base.module, name, len(labels)).to(place).to(memory_format=torch.channels_last)
        train(network, images[kept], targets[kept], epochs, seed, place, say)
    scored = torch.from_numpy(np.flatnonzero(held_out))
    answers = predictions(network, images[scored], place)
    recall, accuracy = score(answers, targets[scored], labels)
    result = Result(
        labels=labels,
        trained_on=len(kept),
        held_out=len(scored),
        recall=recall,
        balanced_accuracy=float(np.mean(list(recall.values()))) if recall else float("nan"),
        accuracy=accuracy,
        epochs=epochs,
        size=size,
        seed=seed,
        seconds=time.perf_counter() - began,
    )
    save(network, name, preprocessing, result, out)
    return result


def split(targets: np.ndarray, groups: list[str], holdout: float, seed: int) -> np.ndarray:
    """[N] bool, True for held-out pictures: about `holdout` of every class, whole groups; one picture always stays."""
    random = np.random.default_rng(seed)
    held_out = np.zeros(len(targets), bool)
    names = np.asarray(groups)
    for target in np.unique(targets):
        of_class = targets == target
        order = random.permutation(np.unique(names[of_class]))
        wanted, taken = holdout * of_class.sum(), 0
        for group in order[:-1]:
            members = names == group
            if taken + of_class[members].sum() > wanted:
                break
            held_out |= members
            taken += int(of_class[members].sum())
    return held_out


def started_from(base: nn.Module, name: str, classes: int) -> nn.Module:
    """The same network for another number of classes: every tensor that still fits is taken over."""
    options = {"transform_input": base.transform_input} if hasattr(base, "transform_input") else {}
    network = build(name, num_classes=classes, **options)
    own = network.state_dict()
    fitting = {k: v for k, v in base.state_dict().items() if k in own and own[k].shape == v.shape}
    network.load_state_dict(fitting, strict=False)
    return network


def train(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    epochs: int,
    seed: int,
    device: torch.device,
    say: Callable[[str], None],
) -> None:
    """AdamW under a one-cycle schedule; every class is drawn equally often; pictures are mirrored and shifted.

    Args:
        network: trained in place.
        images: [N, 3, S, S], normalised; targets: [N] class indices.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = 1.0 / torch.bincount(targets).clamp(min=1)[targets].double()
    batch = min(BATCH, len(targets))
    steps = max(1, len(targets) // batch)
    optimiser = torch.optim.AdamW(network.parameters(), PEAK_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=epochs * steps + 1)
    network.train()
    for epoch in range(epochs):
        total = 0.0
        for _ in range(steps):
            drawn = torch.multinomial(weights, batch, replacement=True, generator=generator)
            inputs = augmented(images[drawn], generator).to(device, memory_format=torch.channels_last)
            output = network(inputs)
            output = output if isinstance(output, Tensor) else output[0]
            loss = nn.functional.cross_entropy(output, targets[drawn].to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        say(f"epoch {epoch + 1} of {epochs}: loss {total / steps:.3f}")


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture mirrored or not, both ways, and the batch shifted by up to 6 % of the side."""
    for axis in (2, 3):
        mirrored = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
        images = torch.where(mirrored, images.flip(axis), images)
    side = images.shape[-1]
    reach = max(1, side // 16)
    padded = nn.functional.pad(images, (reach,) * 4, mode="replicate")
    y, x = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    return padded[:, :, y : y + side, x : x + side]


@torch.no_grad()
def predictions(network: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    """[N] the likeliest class of each picture; the network is left in evaluation mode."""
    network.eval()
    answers = [network(part.to(device)).argmax(1).cpu() for part in images.split(BATCH)]
    return torch.cat(answers) if len(images) else torch.zeros(0, dtype=torch.long)


def score(answers: Tensor, targets: Tensor, labels: tuple[str, ...]) -> tuple[dict[str, float], float]:
    """Recall by class, for the classes that occur, and accuracy (NaN where nothing was held out)."""
    right = (answers == targets).double()
    recall = {label: float(right[targets == i].mean()) for i, label in enumerate(labels) if (targets == i).any()}
    return recall, float(right.mean()) if len(right) else float("nan")


def save(network: nn.Module, name: str, preprocessing: Preprocessing, result: Result, out: str | Path) -> None:
    """Weights with the metadata from which `torchvision:NAME@FILE` knows the rest."""
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "architecture": name,
        "architecture_options": "{}",
        "labels": json.dumps(result.labels),
        "preprocessing": json.dumps(preprocessing.to_dict()),
        "training": json.dumps(asdict(result)),
    }
    save_file({key: value.cpu().contiguous() for key, value in network.state_dict().items()}, path, metadata)


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a folder of class folders, one with manifest.csv, or demo:birds")
    parser.add_argument("--model", required=True, help="torchvision:NAME or torchvision:NAME@FILE to start from")
    parser.add_argument("--out", required=True, type=Path, help="the .safetensors file to write")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="side of the model's frame in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--holdout", type=float, default=0.25, help="part of each class kept for scoring")
    parser.add_argument("--limit", type=int, help="at most this many pictures")
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    try:
        result = finetune(
            open_dataset(chosen.data, limit=chosen.limit),
            chosen.model,
            chosen.out,
            epochs=chosen.epochs,
            size=chosen.size,
            seed=chosen.seed,
            holdout=chosen.holdout,
            device=chosen.device,
            say=print,
        )
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{result.trained_on} pictures trained on, {result.held_out} held out, {result.seconds:.0f} s")
    print("recall: " + ", ".join(f"{label} {value:.2f}" for label, value in result.recall.items()))
    print(f"held-out balanced accuracy {result.balanced_accuracy:.3f}, accuracy {result.accuracy:.3f}")
    print(f"load it as torchvision:{chosen.model.removeprefix('torchvision:').partition('@')[0]}@{chosen.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
