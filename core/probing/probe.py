"""One look at a model when it is loaded: how it takes pictures, what its answers are, whether they hold still."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import UserError
from core.preprocessing import Preprocessing
from core.probing.answers import Kind, Undone, makers_of, recognised, tensor_of, without_last
from core.probing.copying import reason

Output = Literal["softmax", "sigmoid"]

GREY = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow makes grey of colours
SAME_ANSWER = 1e-2  # of the largest answer: rounding, and what a GPU's shorter mantissas make of it
SIDES = (28, 32, 48, 64, 96, 112, 128, 160, 192, 224, 227, 256, 299, 384, 512)  # that models are trained on

TAKEN_OFF = "The model ends in a {what} layer, which was taken off, so that its logits are explained and tested."
UNDONE: dict[Kind, str] = {
    "softmax": "The model answers with probabilities (a softmax); their logarithms are taken as its logits.",
    "sigmoid": "The model answers with a probability a class (a sigmoid); their log-odds are taken as its logits.",
    "log-sigmoid": "The model answers with log-probabilities (of a sigmoid); log-odds are taken as its logits.",
    "log-softmax": "The model answers with log-probabilities, which are taken as its logits.",
}
IN_DOUBT = (
    "The model's answers lie between 0 and 1, but nothing else shows that they are probabilities, so they are taken as "
    "logits; if they are, one a class, state the output as sigmoid, or let the model return its logits instead."
)
RANDOM = (
    "The model answers the same picture differently each time (dropout or noise that stays on), so the same seed does "
    "not give the same map; turn it off in evaluation mode."
)
BATCHED = (
    "The model's answer to a picture depends on which others are sent with it (batch statistics), so that results vary "
    "with how many are sent at once; give it running statistics."
)


@dataclass(frozen=True)
class Probe:
    """What was found.

    Attributes:
        memory_format: in which the model takes pictures and gives the right answers.
        channels: 3, or 1 where grey is made of the three in front of the model.
        answers: what the model that was given answers with.
        classes: how many numbers a picture it answers with.
        output: "sigmoid" where each class stands on its own.
        notes: one sentence for each thing that a person should know.
    """

    memory_format: torch.memory_format
    channels: int
    answers: Kind
    classes: int
    output: Output
    notes: tuple[str, ...]


@torch.no_grad()
def probed(
    module: nn.Module, pictures: Tensor, preprocessing: Preprocessing, output: Output | None, name: str
) -> tuple[nn.Module, Probe]:
    """Watch a private copy, and bring it into the form [B, 3, H, W] normalised -> [B, classes] logits.

    Args:
        module: of `private_copy`, on its device; it may be changed.
        pictures: `probe_pictures`, normalised, on the same device.
        output: as a person or a file states it; None to go by what is found.

    Raises:
        UserError: the module does not take such pictures, or answers with something else than a classifier does.
    """
    with _seeded(pictures, 0):
        return _probed(module, pictures, preprocessing, output, name)


def _probed(
    module: nn.Module, pictures: Tensor, preprocessing: Preprocessing, output: Output | None, name: str
) -> tuple[nn.Module, Probe]:
    notes: list[str] = []
    module, channels = _taking(module, pictures, preprocessing, name)
    if channels == 1:
        notes.append("The model takes one channel; grey is made of red, green and blue in front of it.")
    answers = _answers(module, pictures)
    memory_format, still = _memory_format(module, pictures, answers)
    made_by, alone = _alone(module, pictures[:1])
    if not still:
        notes.append(RANDOM)
    elif not _close(alone, answers[:1]):
        notes.append(BATCHED)
    if (others := _other_answers(module, pictures[:1])) > 0:
        notes.append(f"The model answers with {others + 1} tensors; the first is taken as its logits.")
    try:
        kind = recognised(answers, made_by)
    except UserError as error:
        raise UserError(f"{name} cannot be used: {error}") from error
    if kind is None and output == "sigmoid":
        kind = "sigmoid"
    if kind is None:
        notes.append(IN_DOUBT)
    elif kind != "logits":
        module, note = _as_logits(module, pictures, kind, output)
        notes.append(note)
    found = output or ("sigmoid" if kind in ("sigmoid", "log-sigmoid") else "softmax")
    return module, Probe(memory_format, channels, kind or "logits", answers.shape[1], found, tuple(notes))


def probe_pictures(frame: tuple[int, int]) -> Tensor:
    """[6, 3, H, W] in [0, 1] that differ much: grey, noise of several grains and contrasts, smooth colours."""
    generator = torch.Generator().manual_seed(12)

    def noise(*size: int) -> Tensor:
        return torch.rand(1, 3, *size, generator=generator)

    smooth = [F.interpolate(noise(size, size), frame, mode="bicubic", align_corners=False) for size in (3, 6)]
    pictures = [
        torch.full((1, 3, *frame), 0.5),
        0.45 + 0.1 * noise(*frame),
        noise(*frame),
        F.interpolate((noise(8, 8) > 0.5).float(), frame),
        smooth[0],
        0.5 + 2 * (smooth[1] - 0.5),
    ]
    return torch.cat(pictures).clamp(0, 1)


def _answers(module: nn.Module, images: Tensor, seed: int = 0) -> Tensor:
    """[B, classes] float32, with the same randomness for the same seed.

    Raises:
        UserError: no classifier's answer.
        ValueError: another number of answers than pictures.
    """
    with _seeded(images, seed):
        answers = tensor_of(module(images), len(images)).float()
    if len(answers) != len(images):
        raise ValueError(f"{len(images)} pictures came out as {len(answers)}")
    return answers


@contextmanager
def _seeded(images: Tensor, seed: int) -> Generator[None]:
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        torch.manual_seed(seed)
        yield


def _close(some: Tensor, others: Tensor) -> bool:
    scale = float(others.abs().nan_to_num(posinf=0.0).max())
    return torch.allclose(some, others, rtol=0, atol=SAME_ANSWER * scale + 1e-6, equal_nan=True)


def _taking(module: nn.Module, pictures: Tensor, preprocessing: Preprocessing, name: str) -> tuple[nn.Module, int]:
    """The module as it takes three channels, and how many it takes itself."""
    problem = _problem(module, pictures)
    if problem is None:
        return module, 3
    grey = nn.Sequential(_grey(preprocessing).to(pictures.device), module)
    if _problem(grey, pictures) is None:
        return grey, 1
    if isinstance(problem, UserError):
        raise UserError(f"{name}: {problem}") from problem
    raise UserError(_why(module, grey, pictures, problem, name)) from problem


def _problem(module: nn.Module, images: Tensor) -> Exception | None:
    """What stands in the way of these pictures, if anything does."""
    try:
        _answers(module, images)
    except Exception as error:  # noqa: BLE001 - the model's own code raises anything
        return error
    return None


def _grey(preprocessing: Preprocessing) -> nn.Conv2d:
    """Normalised colours -> normalised grey, [B, 3, H, W] -> [B, 1, H, W], by one mean and one deviation."""
    weights, stds = torch.tensor(GREY), torch.tensor(preprocessing.std)
    layer = nn.Conv2d(3, 1, 1, bias=False).requires_grad_(False).eval()
    layer.weight.copy_((weights * stds / (weights * stds).sum()).view(1, 3, 1, 1))
    return layer


def _why(module: nn.Module, grey: nn.Module, pictures: Tensor, problem: Exception, name: str) -> str:
    """One sentence that names the cause of a refusal as nearly as it can be found."""
    height, width = pictures.shape[-2:]
    refusal = f"{name} does not take pictures of {height}x{width} pixels ({reason(problem)})"
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    if first is not None and first.in_channels not in (1, 3):
        return (
            f"{name} takes pictures of {first.in_channels} channels, and photos have 3; give a function that makes "
            "them of a photo (python:package.module:function)."
        )
    if _problem(module, pictures[:1]) is None or _problem(grey, pictures[:1]) is None:
        return f"{name} takes only one picture at a time ({reason(problem)}); keep the batch as its first dimension."
    for side in SIDES:
        smaller = F.interpolate(pictures[:2], (side, side))
        if _problem(module, smaller) is None or _problem(grey, smaller) is None:
            return f"{refusal}; it takes {side}x{side}, so give --size {side}x{side} (from Python: preprocessing)."
    return f"{refusal}; give the size it was trained with as --size HxW (from Python: check its preprocessing)."


def _memory_format(module: nn.Module, pictures: Tensor, answers: Tensor) -> tuple[torch.memory_format, bool]:
    """The faster format where answers stay the same in it, and whether the same pictures get the same answers twice."""
    if any(isinstance(part, nn.Conv2d) for part in module.modules()) or isinstance(module, torch.jit.ScriptModule):
        last = torch.channels_last
        try:
            module.to(memory_format=last)
            again = _answers(module, pictures.contiguous(memory_format=last), seed=1)
            if _close(again, answers):
                return last, True
            if _close(_answers(module, pictures.contiguous(memory_format=last)), answers):
                return last, False
        except Exception:  # noqa: BLE001 - `view` needs pictures that lie plane by plane
            pass
        module.to(memory_format=torch.contiguous_format)
    return torch.contiguous_format, _close(_answers(module, pictures, seed=1), answers)


def _alone(module: nn.Module, picture: Tensor) -> tuple[set[Kind] | None, Tensor]:
    """What made the answer to a single picture, by autograd's record, and the answer [1, classes]."""
    with torch.inference_mode(False), torch.enable_grad(), torch.jit.optimized_execution(False), _seeded(picture, 0):
        answer = tensor_of(module(picture.clone().requires_grad_(True)), 1)
        return makers_of(answer), answer.detach().float()


def _other_answers(module: nn.Module, picture: Tensor) -> int:
    """How many tensors a model answers with beside the first, where its answer is a tuple or a list."""
    output = module(picture)
    if not isinstance(output, (tuple, list)) or hasattr(output, "logits"):
        return 0
    return sum(isinstance(part, Tensor) for part in output[1:])


def _as_logits(module: nn.Module, pictures: Tensor, kind: Kind, output: Output | None) -> tuple[nn.Module, str]:
    """The module as one that answers with logits, and the sentence about it."""
    if kind == "softmax" and output == "sigmoid":  # as stated: each class by its own probability
        return Undone(module, "sigmoid"), UNDONE["sigmoid"]
    with _seeded(pictures, 0):
        bare = without_last(module, pictures, kind)
    if bare is not None:
        return bare, TAKEN_OFF.format(what=kind)
    return (module if kind == "log-softmax" else Undone(module, kind)), UNDONE[kind]
