"""The parts that a report is computed in: pictures, pairs and controls. Each is plain data in, tables out."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch

from core.choice import Choice, tied_by_label
from core.classifier import Classifier
from core.data import Item
from core.errors import UserError
from core.explainer import BoundExplainer, explainers
from core.randomised import randomised
from core.runtime import interrupt
from core.runtime.progress import Progress
from core.runtime.recent import Recent
from core.sat.areas import area_records
from core.sat.batch import LoadedPicture, Scene, attribution_rows, explained, load, picture_lines
from core.sat.effects import necessity_records, pair_records
from core.sat.noticed import noticed_in
from core.sat.pairs import Pair
from core.sat.properties import measures
from core.sat.stamps import Stamp, stamp_records
from core.sat.unnamed import Test, scene_with
from core.work.shards import Recipe, Tables

SCENES = 512  # pictures that a process keeps while it works on pairs


@dataclass
class Bench:
    """What one process computes a report with.

    Attributes:
        runs: explainers by label; fills, seed, check, batch, target: as of `ReportOptions`.
    """

    classifier: Classifier
    runs: dict[str, BoundExplainer]
    fills: tuple[str, ...]
    seed: int
    check: bool
    batch: int
    target: int | None = None
    _scenes: Recent[str, Scene] = field(default_factory=lambda: Recent(SCENES))
    _controls: dict[tuple[str, ...], dict[str, BoundExplainer]] = field(default_factory=dict)

    def scene(self, item: Item) -> Scene:
        """One picture, ready to be changed; remembered for a while."""
        return self._scenes.get_or_make(item.id, lambda: load(item, self.classifier).scene(self.classifier.device))

    def controls(self, items: tuple[Item, ...]) -> dict[str, BoundExplainer]:
        """The same explainers on a model that knows nothing, whose statistics are those of these pictures, and those
        that never look at a model."""
        key = tuple(item.id for item in items)
        if key not in self._controls:
            twin = randomised(self.classifier, torch.stack([self.scene(item).image for item in items]), self.seed)
            found = {f"{label} (randomised)": bound.on(twin) for label, bound in self.runs.items()}
            for name, method in explainers().items():
                if method.to_beat:
                    found[name] = method.bind(self.classifier)
            self._controls = {key: found}
        return self._controls[key]


@dataclass(frozen=True)
class BenchMaker:
    """Makes the bench of another process."""

    recipe: Recipe
    choices: tuple[Choice, ...]
    fills: tuple[str, ...]
    seed: int
    check: bool
    batch: int
    target: int | None = None

    def __call__(self, device: str | None = None) -> Bench:
        classifier = self.recipe.load(device)
        given = (self.fills, self.seed, self.check, self.batch, self.target)
        return Bench(classifier, tied_by_label(self.choices, classifier), *given)


@dataclass(frozen=True)
class PictureShard:
    """Pictures to explain, to cut into rows, and to take segments from."""

    file: str
    items: tuple[Item, ...]
    last: ClassVar[str] = "pictures"

    @property
    def size(self) -> int:
        return len(self.items)

    def compute(self, tools: Bench) -> Generator[Progress, None, Tables]:
        found: Tables = {kind: [] for kind in ("problems", "noticed", "rows", "areas", "effects", "pictures")}
        for at in range(0, self.size, tools.batch):
            batch = []
            for item in self.items[at : at + tools.batch]:
                try:
                    batch.append(load(item, tools.classifier))
                except UserError as error:
                    # one bad picture among a million is noted and left out; it does not stop the run
                    found["problems"].append({"image": item.id, "problem": str(error)})
            for records in _found_in(batch, tools, found["problems"]) if batch else ():
                for kind, entries in records.items():
                    found[kind] += entries
            yield Progress("explaining", min(at + tools.batch, self.size), self.size)
        return found


def _found_in(batch: Sequence[LoadedPicture], tools: Bench, problems: list[dict[str, Any]]) -> list[Tables]:
    """What the model and its maps say of these pictures together; or one by one, without those on which the model
    answers with something that is no number."""
    try:
        return [_told(batch, tools)]
    except UserError:
        found = []
        for entry in batch:
            try:
                found.append(_told([entry], tools))
            except UserError as error:
                problems.append({"image": entry.item.id, "problem": str(error)})
        return found


def _told(batch: Sequence[LoadedPicture], tools: Bench) -> Tables:
    lines = picture_lines(batch, tools.classifier, tools.target)
    rows: list[dict[str, Any]] = []
    areas: list[dict[str, Any]] = []
    for place, (name, maps) in enumerate(explained(batch, lines, tools.runs, tools.seed)):
        rows += attribution_rows(name, maps)
        areas += area_records(maps, tools.classifier) if place == 0 else []
    effects: list[dict[str, Any]] = []
    if tools.check:
        for entry, line in zip(batch, lines):
            interrupt.check()
            scene = entry.scene(tools.classifier.device)
            effects += necessity_records(scene, line["target"], tools.classifier, tools.fills, tools.seed)
            line["properties"] = json.dumps(measures(scene))
    return {"pictures": lines, "rows": rows, "effects": effects, "areas": areas, "noticed": noticed_in(batch)}


@dataclass(frozen=True)
class PairShard:
    """Transplants and swaps to try, with the pictures that take part in them.

    Attributes:
        last: the table that their records go to. stage: what is being done, for people.
    """

    file: str
    pairs: tuple[Pair, ...]
    items: tuple[Item, ...]
    last: str = "pairs"
    stage: str = "transplanting"

    @property
    def size(self) -> int:
        return len(self.pairs)

    @cached_property
    def _by_id(self) -> dict[str, Item]:
        return {item.id: item for item in self.items}

    def compute(self, tools: Bench) -> Generator[Progress, None, Tables]:
        records: list[dict[str, Any]] = []
        done = 0
        for made in pair_records(
            self.pairs, lambda image: tools.scene(self._by_id[image]), tools.classifier, tools.seed
        ):
            records += made
            done = min(done + 32, self.size)
            yield Progress(self.stage, done, self.size)
        return {self.last: records}


@dataclass(frozen=True)
class ControlShard:
    """Pictures to explain for a model that knows nothing, with what is known of them.

    Attributes:
        lines: as of `picture_lines`, one an item.
        first: pictures by whose statistics that model is made.
    """

    file: str
    items: tuple[Item, ...]
    lines: tuple[dict[str, Any], ...]
    first: tuple[Item, ...]
    last: ClassVar[str] = "controls"

    @property
    def size(self) -> int:
        return len(self.items)

    def compute(self, tools: Bench) -> Generator[Progress, None, Tables]:
        batch = [load(item, tools.classifier) for item in self.items]
        maps = explained(batch, self.lines, tools.controls(self.first), tools.seed)
        rows = [row for name, some in maps for row in attribution_rows(name, some)]
        yield Progress("controls", self.size, self.size)
        return {"controls": rows}


@dataclass(frozen=True)
class StampShard:
    """Pictures to paste stamps on."""

    file: str
    items: tuple[Item, ...]
    stamps: tuple[Stamp, ...]
    last: ClassVar[str] = "stamps"

    @property
    def size(self) -> int:
        return len(self.items)

    def compute(self, tools: Bench) -> Generator[Progress, None, Tables]:
        records: list[dict[str, Any]] = []
        for done, item in enumerate(self.items, 1):
            scene = tools.scene(item)
            records += stamp_records([(item.id, item.group, scene.image)], self.stamps, tools.classifier, tools.seed)
            yield Progress("stamping", done, self.size)
        return {"stamps": records}


@dataclass(frozen=True)
class AreaShard:
    """Areas that nobody named, to be removed.

    Attributes:
        areas: one an item, as of `core.sat.unnamed.tests_of`.
    """

    file: str
    items: tuple[Item, ...]
    areas: tuple[Test, ...]
    last: ClassVar[str] = "unnamed"

    @property
    def size(self) -> int:
        return len(self.items)

    def compute(self, tools: Bench) -> Generator[Progress, None, Tables]:
        records: list[dict[str, Any]] = []
        for done, (item, (_, name, target, areas)) in enumerate(zip(self.items, self.areas), 1):
            scene = scene_with(tools.scene(item), name, areas)
            records += necessity_records(scene, target, tools.classifier, tools.fills, tools.seed, only=name)
            yield Progress("what nobody named", done, self.size)
        return {"unnamed": records}
