"""Steps, checkpoints and curves of any training: what is killed goes on from its last checkpoint, number for number."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from core.errors import UserError
from core.runtime.whole_files import whole_file, writing
from core.training import together
from core.training.stage import Stage

EVERY = 30.0  # seconds between two checkpoints, and one whenever held-out pictures are looked at
FINE = 100  # points between the ends of epochs, in a stage
FORMAT = 2


@dataclass(frozen=True)
class Point:
    """One point of the curves: the mean of the steps since the last.

    Attributes:
        stage, step: where. loss: on the pictures that were learned from.
        held_out: the loss on held-out pictures, where they were looked at.
        low, middle, high: parts of the drawn subsets by the target's likelihood, where subsets are drawn for balance.
        area: mean of the masks, where masks are learned; inside, outside: part of the masked-in and of the masked-out
            pictures that get their class.
        seconds: of training so far.
    """

    stage: str
    step: int
    loss: float
    seconds: float
    held_out: float | None = None
    low: float | None = None
    middle: float | None = None
    high: float | None = None
    area: float | None = None
    inside: float | None = None
    outside: float | None = None


@dataclass
class Training:
    """How far a training is.

    Attributes:
        stage, stages: name of the one in work, and all. step, steps: of all stages together. ends: last step of each.
        points: of the curves, where held-out pictures were looked at: at the ends of epochs, or of several short ones.
        between: more of them, nearer together, without a held-out loss.
        seconds: of training so far, all runs together. left: an estimate of what is still to come, None at first.
        notes: one sentence each on what was noticed.
    """

    stages: tuple[str, ...]
    ends: tuple[int, ...] = ()
    stage: str = ""
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    left: float | None = None
    points: list[Point] = field(default_factory=list)
    between: list[Point] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class CheckpointRefused(UserError):
    """A checkpoint is there that cannot be gone on with.

    Attributes:
        differs: what it was made with, where that is all; "" where it cannot be read at all.
    """

    def __init__(self, sentence: str, differs: str = "") -> None:
        super().__init__(sentence)
        self.differs = differs


@contextmanager
def alone(out: Path) -> Generator[None]:
    """Nobody else trains into this file meanwhile.

    Raises:
        UserError: somebody does.
    """
    if together.rank() > 0:  # the first one keeps others out
        yield
        return
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    # whoever closes a generator may be another thread than the one that began it
    lock = FileLock(out.with_name(out.name + ".lock"), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"Another training is writing {out}; wait for it, stop it, or choose another file.") from error
    try:
        yield
    finally:
        lock.release()


def checkpoint_of(out: Path) -> Path:
    """Where an unfinished training into this file is kept."""
    return out.with_name(out.name + ".training")


def train(
    stages: Sequence[Stage], out: Path, identity: dict[str, Any], notes: Sequence[str] = (), *, fresh: bool = False
) -> Generator[Training]:
    """Train one stage after the other, yielding after every step.

    Args:
        out: the file that the result is for; checkpoints lie beside it.
        identity: what must be equal for a checkpoint to be gone on with, for JSON.
        fresh: leave a checkpoint that is there.

    Raises:
        UserError: the loss is no number, the disk is full, or a checkpoint belongs to another training
            (`CheckpointRefused`).
    """
    path = checkpoint_of(out)
    together.wait()
    saved = _read(path, identity) if path.is_file() and not fresh else None
    ends = tuple(accumulate(stage.epochs * stage.steps for stage in stages))
    told = Training(tuple(stage.name for stage in stages), ends, steps=ends[-1], notes=list(notes))
    finished: dict[int, dict[str, Tensor]] = {}  # weights of the stages that are done
    if saved is not None:
        told.points = [Point(**point) for point in saved["points"]]
        told.between = [Point(**point) for point in saved.get("between", [])]
        told.seconds, told.step, finished = saved["seconds"], saved["step"], dict(saved["finished"])
    start = told.step, time.monotonic()
    first = 0
    for number, stage in enumerate(stages):
        if number in finished:
            stage.learning().load_state_dict(finished[number])
            stage.finish()
        else:
            state = saved if saved is not None and saved["stage"] == number else None
            yield from _one_stage(stage, number, first, state, told, path, identity, finished, start)
            finished[number] = _copied(stage.learning())
        first += stage.epochs * stage.steps


def _one_stage(
    stage: Stage,
    number: int,
    first: int,
    state: dict[str, Any] | None,
    told: Training,
    path: Path,
    identity: dict[str, Any],
    finished: dict[int, Any],
    start: tuple[int, float],
) -> Generator[Training]:
    module, optimiser = stage.learning(), stage.optimiser()
    peaks = [group["lr"] for group in optimiser.param_groups]
    best, best_weights = math.inf, _copied(module)
    begin, recent = 0, _Recent()
    if state is not None:
        module.load_state_dict(state["weights"])
        optimiser.load_state_dict(state["optimiser"])
        stage.remember(state["memory"])
        best, best_weights, begin = state["best"], state["best_weights"], state["step"] - first
        recent = _Recent(state["recent"])
    total = stage.epochs * stage.steps
    fine = math.ceil(total / FINE)
    told.stage, saved = stage.name, time.monotonic()
    done_before, began = start
    seconds_before = told.seconds
    entered = time.monotonic()

    def save() -> None:
        if together.rank() > 0:
            return
        whole = {
            "format": FORMAT, "identity": json.dumps(identity, sort_keys=True), "stage": number, "step": told.step,
            "points": [asdict(point) for point in told.points],
            "between": [asdict(point) for point in told.between], "seconds": told.seconds, "finished": finished,
            "weights": module.state_dict(), "optimiser": optimiser.state_dict(), "best": best,
            "best_weights": best_weights, "recent": recent.kept, "memory": stage.memory(),
        }  # fmt: skip
        with whole_file(path) as part:
            torch.save(whole, part)

    if begin == total:  # stopped after the last step: what is left to do needs the curves
        yield told
    for step in range(begin, total):
        for group, peak in zip(optimiser.param_groups, peaks):
            group["lr"] = peak * stage.rate(step, total)
        optimiser.zero_grad(set_to_none=True)
        loss, measures = stage.loss(step)
        measured = float(loss.detach())
        if not math.isfinite(*together.total([measured], loss.device)):
            there = f"; what was learned up to the last checkpoint is in {path}" if path.is_file() else ""
            raise UserError(
                f"The loss is no number any more at step {step + 1} of the {stage.name}{there}: try again with a lower "
                "--rate."
            )
        stage.backward(loss)
        together.average(module)
        stage.clip()
        optimiser.step()
        recent.add({"loss": measured, **measures})
        told.step = first + step + 1
        told.seconds = seconds_before + time.monotonic() - entered
        each = (time.monotonic() - began) / max(1, told.step - done_before)
        told.left = each * (told.steps - told.step)
        if (step + 1) % fine == 0:
            told.between.append(Point(stage.name, told.step, seconds=told.seconds, **recent.mean(fine)))
        looks = (step + 1) % stage.watch == 0 or step + 1 == total
        if looks:
            held = stage.held_out()
            if held < best or stage.moves:
                best, best_weights = held, _copied(module)
            told.notes += [note for note in stage.noticed() if note not in told.notes]
            told.points.append(Point(stage.name, told.step, seconds=told.seconds, held_out=held, **recent.mean()))
            recent = _Recent()
        if looks or time.monotonic() - saved > EVERY:
            save()
            saved = time.monotonic()
        try:
            yield told
        except GeneratorExit:  # stopped: nothing of what was learned is lost
            save()
            raise
    module.load_state_dict(best_weights)
    stage.finish()


class _Recent:
    """Measures of the steps since the last point."""

    def __init__(self, kept: Sequence[dict[str, float]] = ()) -> None:
        self.kept = list(kept)

    def add(self, measures: dict[str, float]) -> None:
        self.kept.append(measures)

    def mean(self, last: int = 0) -> dict[str, float]:
        """Of so many steps, or of all."""
        some = self.kept[-last:]
        names = {name for one in some for name in one}
        values = {name: [one[name] for one in some if name in one] for name in sorted(names)}
        return {name: sum(each) / len(each) for name, each in values.items()}


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _read(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        told = json.loads(state["identity"])
        version = state["format"]
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise CheckpointRefused(f"The checkpoint {path} cannot be read; begin anew with --fresh.") from error
    if version != FORMAT:
        raise CheckpointRefused(
            f"The checkpoint {path} was written by another version of Satchel; begin anew with --fresh."
        )
    now = json.loads(json.dumps(identity, sort_keys=True))
    if told != now:
        differs = _differences(told, now)
        raise CheckpointRefused(
            f"The checkpoint {path} is of a training with another {differs}; do the same as then to go on with it, "
            "begin anew with --fresh, or choose another file.",
            differs,
        )
    return state


def _differences(then: dict[str, Any], now: dict[str, Any]) -> str:
    """What is not the same, and of options what it was then."""
    found = []
    for name in sorted({*then, *now}):
        old, new = then.get(name), now.get(name)
        if old == new:
            continue
        values = ""
        if isinstance(old, dict) and isinstance(new, dict):
            changed = [f"{key.replace('_', ' ')} {old.get(key)}" for key in sorted({*old, *new})
                       if old.get(key) != new.get(key)]  # fmt: skip
            values = f" (then {', '.join(changed)})"
        found.append(name + values)
    return " and ".join(found)
