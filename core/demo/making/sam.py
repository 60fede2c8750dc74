"""Trains the compact SAM from nothing on rendered pictures: `python -m core.demo.making.sam --minutes 100 --out FILE`.

Mostly birds, else random scenes, made by background processes and used several times each; no real picture. First the
encoder learns alone to tell things apart (sam_dense.py), then all of it from prompts, on small pictures before large
ones. It can be killed and run again: a checkpoint lies beside the output. How well the result does is measured by
benchmarks/sam.py.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from core.demo.making.sam_dense import Apart, apart_loss, drawn
from core.demo.making.sam_lessons import Lesson, lesson
from core.demo.making.sam_loss import overlap
from core.demo.making.sam_passes import (
    Window,
    answer,
    encode,
    images_of,
    lessons_loss,
    positions,
    prompts_of,
    targets_of,
)
from core.demo.making.sam_pictures import KEPT, picture
from core.runtime.device import choose_device
from core.segments.sam.checkpoints import load_sam
from core.segments.sam.compact import Shape, build, save

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

HELD_OUT_SEED = 900_001
HELD_OUT = 32
USES = 8  # of each picture
# lessons of one lane share their pictures; a multiple of the number of processes, so that each draws its own
LANES = 48


@dataclass(frozen=True)
class Stage:
    """A stretch of a training.

    Attributes:
        until: which share of the time is over when it ends.
        side: of the pictures in pixels, as of `Window`; batch: pictures a step; prompts: a picture, none
            where only the encoder learns.
    """

    until: float
    side: int
    batch: int
    prompts: int


STAGES = (Stage(0.4, 128, 16, 0), Stage(0.8, 128, 8, 8), Stage(1.0, 256, 4, 8))


@dataclass(frozen=True)
class Settings:
    """What a training run is; a checkpoint is only taken up by the same settings.

    Attributes:
        minutes: of training, over which the learning rate rises and falls.
        stages: one after the other.
        rate, decay: peak learning rate and weight decay of AdamW; warm: share of the time until the peak.
        tilts: of the entropy (`core.demo.making.sam_loss.entropy`), at the start and at the end.
        corrections: chances of 0, 1, 2, ... rounds of correcting clicks after the first answer.
        anchors: a picture, of the dense task; dense: its weight once there are prompts.
        average: decay a step of the running average of the weights, which is what is saved.
        bfloat16: passes in bfloat16; losses and prompts stay in float32.
        seed: of the weights, the pictures and the prompts.
        start: SHA-256 of the weights that it begins with; random ones where it is empty.
    """

    minutes: float = 100.0
    stages: tuple[Stage, ...] = STAGES
    rate: float = 1.2e-3
    decay: float = 0.02
    warm: float = 0.02
    tilts: tuple[float, float] = (0.5, 0.9)
    corrections: tuple[float, ...] = (0.75, 0.25)
    anchors: int = 32
    dense: float = 0.5
    average: float = 0.997
    bfloat16: bool = True
    seed: int = 0
    start: str = ""

    def stage(self, part: float) -> Stage:
        """The stage after this part of the time."""
        return next((stage for stage in self.stages if part < stage.until), self.stages[-1])

    def tilt_at(self, part: float) -> float:
        """The tilt of the entropy after this part of the time."""
        return self.tilts[0] + (self.tilts[1] - self.tilts[0]) * part

    def rate_at(self, part: float) -> float:
        """Learning rate after this part of the time: a linear rise, then a cosine down to a hundredth."""
        if part < self.warm:
            return self.rate * (0.02 + 0.98 * part / self.warm)
        fall = min(1.0, (part - self.warm) / (1 - self.warm))
        return self.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * fall)))


class Lessons(torch.utils.data.Dataset[Lesson]):
    """Lesson by number, made in the background processes of a loader.

    Each of LANES lanes has every LANES-th lesson and its own pictures: a lesson is about one of the last that its lane
    has drawn, of which there is a new one every USES lessons, so that each is used USES times on average.
    """

    def __init__(self, seed: int, drawn: int, side: int, prompts: int) -> None:
        self.seed, self.drawn, self.side, self.prompts = seed, drawn, side, prompts

    def number(self, index: int) -> int:
        """Of the picture that a lesson is about."""
        newest = index // LANES // USES
        ago = np.random.default_rng([self.seed, index, 7]).integers(min(newest + 1, KEPT // LANES))
        return LANES * (newest - int(ago)) + index % LANES

    def __getitem__(self, index: int) -> Lesson:
        drawn = picture(self.seed, self.number(index), self.drawn)
        return lesson(self.seed, index, drawn, self.side, self.prompts)


class Numbers:
    """Every number from a first one on."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start)


def endless(lessons: Lessons, start: int, processes: int) -> Iterator[Lesson]:
    """All lessons from number `start` on, in order, whichever process makes them."""
    return iter(
        torch.utils.data.DataLoader(
            lessons,
            batch_size=None,
            sampler=Numbers(start),
            num_workers=processes,
            prefetch_factor=24 if processes else None,
            multiprocessing_context="spawn" if processes else None,
            worker_init_fn=_one_thread,
            collate_fn=_as_it_is,
        )
    )


def _one_thread(_: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _as_it_is(made: Any) -> Any:
    return made


class Training:
    """A training run: everything that a checkpoint has to hold.

    Attributes:
        sam, apart: learn, on `device`; average: the running average of the SAM's weights.
        seconds: trained so far; seen: lessons so far.
    """

    def __init__(self, settings: Settings, shape: Shape, device: torch.device | str = "cpu") -> None:
        self.settings, self.shape, self.device = settings, shape, torch.device(device)
        self.sam, self.average = (build(shape, settings.seed).to(device) for _ in range(2))
        self.sam.train()
        self.apart = Apart(shape.embedding).to(device)
        weights = [*self.sam.parameters(), *self.apart.parameters()]
        groups = [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": settings.decay},
            {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98))
        self.generator = torch.Generator(device).manual_seed(settings.seed)
        self.seconds, self.steps, self.seen = 0.0, 0, 0

    @property
    def part(self) -> float:
        """How much of the time is over, in [0, 1]."""
        return min(1.0, self.seconds / (60 * self.settings.minutes))

    def step(self, lessons: list[Lesson]) -> dict[str, float]:
        """One step of the optimiser; returns the mean losses and IoUs of the first answers."""
        settings = self.settings
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate_at(self.part)
        tilt = settings.tilt_at(self.part)
        prompted = len(lessons[0].meant) > 0
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.bfloat16):
            embeddings = encode(self.sam, images_of(lessons, self.device))
            grid = embeddings.shape[-1]
            window = self._window(grid)
            things = torch.from_numpy(np.stack([one.things for one in lessons])).to(self.device)
            anchors = drawn(things, settings.anchors, self.generator)
            apart = self.apart(self.sam, embeddings, positions(self.sam, grid, window), anchors)
            told = [
                lessons_loss(
                    self.sam,
                    embeddings[chosen],
                    [lessons[i] for i in chosen],
                    settings.corrections,
                    self.generator,
                    tilt,
                    window,
                )
                for chosen in (_by_sort(lessons) if prompted else [])
            ]
        dense, reached = apart_loss(apart, things, anchors, tilt)
        found = {"dense loss": float(dense.detach()), "dense IoU": reached}
        loss = dense
        if told:
            reached_by = torch.cat([iou for _, iou in told])
            asked = torch.stack([loss * len(iou) for loss, iou in told]).sum() / len(reached_by)
            loss = asked + settings.dense * dense
            found |= {"loss": float(asked.detach()), "IoU": float(reached_by.mean())}
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*self.sam.parameters(), *self.apart.parameters()], 1.0)
        self.optimiser.step()
        self.steps += 1
        self.seen += len(lessons)
        decay = min(settings.average, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.sam.parameters()):
                slow.lerp_(fast, 1 - decay)
        return found

    def _window(self, grid: int) -> Window:
        """Any cut of the whole input, or all of it, whose places are as many as `grid` a side."""
        if float(torch.rand(1, generator=self.generator, device=self.device)) < 0.5:
            return Window(stretch=self.shape.grid // grid)
        places = self.shape.grid - grid + 1
        row, column = torch.randint(places, (2,), generator=self.generator, device=self.device).tolist()
        return Window(row, column)

    def begin_with(self, path: Path) -> None:
        """Take the weights of an earlier run's file instead of random ones."""
        weights = load_sam(f"compact@{path}").state_dict()
        self.sam.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def keep(self, path: Path) -> None:
        """Write everything, whole or not at all."""
        state = {
            "settings": repr(self.settings),
            "shape": repr(self.shape),
            "sam": self.sam.state_dict(),
            "apart": self.apart.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "progress": (self.seconds, self.steps, self.seen),
        }
        temporary = path.with_name(path.name + ".part")
        torch.save(state, temporary)
        temporary.replace(path)

    def take_up(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: it is of a run with other settings.
        """
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        for name, own in (("settings", repr(self.settings)), ("shape", repr(self.shape))):
            if state[name] != own:
                raise ValueError(f"{path} is of a run with other {name}: expected {own}, got {state[name]}")
        self.sam.load_state_dict(state["sam"])
        self.apart.load_state_dict(state["apart"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.seconds, self.steps, self.seen = state["progress"]


def _by_sort(lessons: list[Lesson]) -> list[list[int]]:
    """The numbers of the lessons, those together whose prompts are boxes or as many clicks."""
    sorts: dict[int, list[int]] = {}
    for number, one in enumerate(lessons):
        sorts.setdefault(one.marks.shape[1], []).append(number)
    return list(sorts.values())


@torch.no_grad()
def examine(sam: Sam, shape: Shape, side: int, count: int = HELD_OUT) -> dict[str, float]:
    """Mean IoU of the first answers on held-out lessons: of clicks by output 0 and by the best output, and of boxes."""
    scores: dict[str, list[Tensor]] = {"click": [], "best": [], "box": []}
    for index in range(count):
        given = lesson(HELD_OUT_SEED, index, picture(HELD_OUT_SEED, index, shape.side), side, 8)
        embedding = encode(sam, images_of([given], sam.device))
        points, marks, boxes = prompts_of([given], sam.device)
        logits, _ = answer(sam, embedding, points, marks, boxes, window=Window(stretch=shape.side // side))
        wanted = targets_of([given], sam.device)[torch.arange(len(given.meant)), given.meant]
        reached = overlap(logits, wanted[:, None])[:, :, 0]
        scores["click" if boxes is None else "box"].append(reached[:, 0])
        if boxes is None:
            scores["best"].append(reached.amax(1))
    return {name: round(float(torch.cat(values).mean()), 4) for name, values in scores.items() if values}


def train(
    run: Training, out: Path, processes: int, keep_every: float = 180.0, tell_every: float = 30.0
) -> dict[str, float]:
    """Train to the end of the time, with a checkpoint every few minutes; write the averaged weights to `out`.

    Returns:
        What `examine` says of the averaged weights.
    """
    checkpoint = out.with_suffix(".checkpoint.pt")
    began = told = kept = time.perf_counter()
    before, recent = run.seconds, deque[dict[str, float]](maxlen=50)
    stage, lessons = None, iter(())
    while run.part < 1:
        if stage != (stage := run.settings.stage(run.part)):
            made = Lessons(run.settings.seed, run.shape.side, stage.side, stage.prompts)
            lessons = endless(made, run.seen, processes)
            recent.clear()
        recent.append(run.step([next(lessons) for _ in range(stage.batch)]))
        now = time.perf_counter()
        run.seconds = before + now - began
        if now - told > tell_every:
            means = "  ".join(f"{name} {sum(one[name] for one in recent) / len(recent):.3f}" for name in recent[0])
            print(
                f"{run.seconds / 60:6.1f} min  step {run.steps}  seen {run.seen}  side {stage.side}  {means}",
                flush=True,
            )
            told = now
        if now - kept > keep_every:
            run.keep(checkpoint)
            print(f"{run.seconds / 60:6.1f} min  held out: {examine(run.average, run.shape, stage.side)}", flush=True)
            kept = time.perf_counter()
    run.keep(checkpoint)
    found = examine(run.average, run.shape, run.shape.side, 4 * HELD_OUT)
    record = {"settings": asdict(run.settings), "steps": run.steps, "pictures": run.seen, "held_out_iou": found}
    save(run.average.cpu(), run.shape, out, record)
    return found


def stages(text: str) -> tuple[Stage, ...]:
    """From "0.4:128:16:0,1:256:4:8"."""
    parts = (part.split(":") for part in text.split(","))
    return tuple(Stage(float(until), int(side), int(batch), int(prompts)) for until, side, batch, prompts in parts)


def main() -> None:
    """Train, and write the weights."""
    defaults = Settings()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=defaults.minutes, help="of training")
    parser.add_argument("--out", type=Path, default=Path("assets/compact_sam.safetensors"))
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument(
        "--processes", type=int, default=2, help=f"that draw the pictures in the background; a divisor of {LANES}"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--stages",
        type=stages,
        default=STAGES,
        help="until:side:batch:prompts, ...: share of the time, pixels, pictures a step, prompts a picture",
    )
    parser.add_argument("--rate", type=float, default=defaults.rate, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--start", type=Path, help="weights of an earlier run to begin with")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    start = hashlib.sha256(given.start.read_bytes()).hexdigest() if given.start else ""
    settings = Settings(given.minutes, given.stages, given.rate, seed=given.seed, start=start)
    run = Training(settings, Shape(), choose_device(given.device))
    if given.start:
        run.begin_with(given.start)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = given.out.with_suffix(".checkpoint.pt")
    if checkpoint.is_file():
        try:
            run.take_up(checkpoint)
        except ValueError as error:
            raise SystemExit(f"{error}; remove it, or give another --out.") from error
        print(f"going on after {run.seconds / 60:.1f} minutes", flush=True)
    found = train(run, given.out, given.processes)
    print(f"{given.out}  {given.out.stat().st_size / 1e6:.2f} MB  {json.dumps(found)}", flush=True)


if __name__ == "__main__":
    main()
