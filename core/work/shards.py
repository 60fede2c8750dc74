"""What a shard is, what computes one, and what takes part in it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from core.classifier import Classifier
from core.errors import UserError
from core.runtime import folders
from core.runtime.progress import Progress

Part = TypeVar("Part")
Tables = dict[str, list[dict[str, Any]]]
"""Records by folder; those of the last one are written last, and say that all are there."""


class Shard(Protocol):
    """A part of the work: plain data that can be pickled, so that any process can compute it.

    Attributes:
        file: its name in each of its tables' folders; last: the folder whose file says that it is done.
        size: how much of the work it is, in the units of its progress.
    """

    @property
    def file(self) -> str: ...

    @property
    def last(self) -> str: ...

    @property
    def size(self) -> int: ...

    def compute(self, tools: Any) -> Generator[Progress, None, Tables]:
        """Its tables, from the shard and the tools alone; yields how far it is in itself."""
        ...


class Tools(Protocol):
    """Makes, once in each process, what shards are computed with: models loaded, explainers tied. Can be pickled."""

    def __call__(self, device: str | None = None) -> Any:
        """Args:
        device: where models go instead of where they were; None for there.
        """
        ...


@dataclass(frozen=True)
class Recipe:
    """A classifier to be loaded in another process.

    Attributes:
        fingerprint: of the one that is here: the other must be the same.
    """

    options: dict[str, Any]
    fingerprint: str

    @classmethod
    def of(cls, classifier: Classifier) -> Recipe:
        """Of one that came from `load_classifier`.

        Raises:
            UserError: it did not, so that no other process can make it.
        """
        if classifier.recipe is None:
            raise UserError(
                f"{classifier.name} was made in this process, and others cannot make it again; load it with "
                "load_classifier (python:MODULE:FUNCTION for a function of yours), or work without workers."
            )
        options = {**classifier.recipe, "device": str(classifier.device), "precision": classifier.precision}
        return cls(options, classifier.fingerprint)

    def load(self, device: str | None = None) -> Classifier:
        """The same classifier again.

        Raises:
            UserError: it is not the same any more: a file has changed.
        """
        from core.loading import load_classifier

        options = {**self.options, "device": device} if device else self.options
        found = load_classifier(**options)
        if found.fingerprint != self.fingerprint:
            raise UserError(f"{found.name} has changed since the run began; begin again in another folder.")
        return found


def parts(whole: Sequence[Part], size: int) -> Iterator[tuple[str, tuple[Part, ...]]]:
    """(name of its file, part) of what is cut into shards of so many."""
    for number, at in enumerate(range(0, len(whole), size)):
        yield f"{number:06d}.parquet", tuple(whole[at : at + size])


def is_done(out: Path, shard: Shard) -> bool:
    """Whether its last table is there."""
    return (out / shard.last / shard.file).is_file()


def outstanding(out: Path, shards: Sequence[Shard]) -> tuple[list[Shard], int, int]:
    """The shards that are still to be computed; how much of the work is done, and how much there is in all."""
    waiting = [shard for shard in shards if not is_done(out, shard)]
    total = sum(shard.size for shard in shards)
    return waiting, total - sum(shard.size for shard in waiting), total


def compute_and_write(shard: Shard, tools: Any, out: Path) -> Generator[Progress]:
    """One shard from beginning to end; closed before that, it leaves nothing."""
    tables = yield from shard.compute(tools)
    folders.write_shard(out, shard.file, tables)


class Engine(Protocol):
    """Computes shards that are not done yet and writes their tables, in whatever order and wherever."""

    def run(self, stage: str, shards: Sequence[Shard]) -> Generator[Progress]:
        """Progress over all shards; when it is over all are written. Close it to stop.

        Raises:
            UserError: as a shard does; or a shard ends every process that takes it up.
        """
        ...

    def close(self) -> None:
        """End its processes. Shards that are being computed are lost, those that were written stay."""
        ...


MakeEngine = Callable[[Tools, Path], Engine]


class Here:
    """The engine of this process: one shard after the other.

    Args:
        tools: what shards are computed with, made already.
    """

    def __init__(self, tools: Any, out: Path) -> None:
        self._tools, self._out = tools, out

    def run(self, stage: str, shards: Sequence[Shard]) -> Generator[Progress]:
        total, done = sum(shard.size for shard in shards), 0
        yield Progress(stage, 0, total)
        for shard in shards:
            if not is_done(self._out, shard):
                for step in compute_and_write(shard, self._tools, self._out):
                    yield Progress(step.stage, done + step.done, total)
            done += shard.size
            yield Progress(stage, done, total)

    def close(self) -> None:
        """There is nothing to end."""


@contextmanager
def working(make: MakeEngine | None, here: Any, elsewhere: Callable[[], Tools], out: Path) -> Generator[Engine]:
    """The engine for a block of work.

    Args:
        make: makes the engine; None for this process.
        here: the tools of this process. elsewhere: what makes those of others.
    """
    engine = Here(here, out) if make is None else make(elsewhere(), out)
    try:
        yield engine
    finally:
        engine.close()
