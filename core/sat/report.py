"""A data set and a classifier -> a report on disk: explain, cut by segment, test, judge.

for each shard (`core.sat.shards`): pictures -> predictions -> attributions -> rows; segments removed -> necessity
then: transplants and context swaps between pictures -> sufficiency; controls
in the end, from the tables: table; verdicts; examples; manifest
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from core.attribution import Attribution
from core.choice import short_titles, tied_by_label
from core.classifier import Classifier
from core.data import Dataset, no_segments
from core.errors import UserError
from core.paths import user_path
from core.runtime import folders
from core.runtime.progress import Progress
from core.runtime.randomness import derived_seed, picture_seeds
from core.runtime.software import software
from core.runtime.streams import rows_in, streamed
from core.sat.asked import check, columns_of
from core.sat.batch import Scene, asked_regions, label_warning, load
from core.sat.circumstances import circumstances
from core.sat.examples import choose_examples, measured_in, rare_carriers, write_examples
from core.sat.noticed import noticed
from core.sat.options import ReportOptions
from core.sat.pairs import REVISION, ChoosePairs, Pair, choose_pairs
from core.sat.pooled import pooled
from core.sat.saved_report import FORMAT, MEMBERS, PACK, merge_shards, open_report
from core.sat.shards import AreaShard, Bench, BenchMaker, ControlShard, PairShard, PictureShard, StampShard
from core.sat.stamps import PICTURES, judge_stamps
from core.sat.tables import table_of
from core.sat.trust import disagreements, trust
from core.sat.unnamed import REVISION as UNNAMED
from core.sat.unnamed import Gallery, find_galleries, judge_unnamed, members, tests_of, write_galleries
from core.sat.verdicts import (
    LEAST_PICTURES,
    VERDICTS,
    Judged,
    delta_for,
    flag_by_controls,
    is_shortcut,
    judge,
    without_nan,
)
from core.sat.whole import blind_spots, choose_whole_pairs, judge_whole, shown
from core.storage.pack import packing
from core.work.shards import MakeEngine, Recipe, parts, working

PAIRS = 512  # a shard
STATISTICS = 32  # pictures by which a model that knows nothing is made
LARGE_JSON = 2000  # findings, from which a person would not read them as they lie
HOPELESS = 3  # shards without a picture that is understood, after which none will come


def build_report(
    data: Dataset, classifier: Classifier, out: Path, options: ReportOptions, engine: MakeEngine | None = None
) -> Iterator[Progress]:
    """Write a report into `out`, yielding progress; close the iterator to stop, run it again to go on.

    Args:
        engine: what computes the shards (`core.work.engines`); None for this process.

    Raises:
        UserError: the data, the options or the folder do not do.
    """
    return _ReportRun(data.with_context(options.context), classifier, user_path(out), options, engine).stages()


class _ReportRun:
    """One report being written: what is planned here, computed by an engine, and judged at the end."""

    def __init__(
        self, data: Dataset, classifier: Classifier, out: Path, options: ReportOptions, engine: MakeEngine | None
    ) -> None:
        chosen = tuple(choice.found(classifier) for choice in options.explainers)
        for choice in chosen:
            if choice.weights is not None and (why := choice.method.no_evidence(choice.weights.file)):
                raise UserError(why)
        self.data, self.classifier, self.out = data, classifier, out
        self.options = replace(options, explainers=chosen)
        self.by_id = {item.id: item for item in data.items}
        self.shard = options.shard or folders.shard_size(len(data))
        self.whole_only = options.check and all(item.segments is no_segments for item in data.items)
        self.make_engine = engine

    def stages(self) -> Iterator[Progress]:
        o = self.options
        given = (o.fills, o.seed, o.check, o.batch, o.target)
        self.bench = Bench(self.classifier, tied_by_label(o.explainers, self.classifier), *given)
        check(
            self.data, o.context, o.by, self.whole_only
        )  # before the folder is made, which belongs to these settings once anything is in it
        if folders.begin(self.out, self.settings(), open_report):
            yield Progress("finished before", 1, 1)
            return
        started, resumed = datetime.now(UTC), any((self.out / "pictures").glob("*.parquet"))

        def maker() -> BenchMaker:
            return BenchMaker(Recipe.of(self.classifier), o.explainers, *given)

        with working(self.make_engine, self.bench, maker, self.out) as engine:
            for step in engine.run("explaining", self.picture_shards()):
                yield step
                self.stop_if_hopeless(step)
            pictures = folders.read_shards(self.out / "pictures")
            if not self.whole_only and not any(map(rows_in, (self.out / "rows").glob("*.parquet"))):
                raise self.nothing_to_report()
            if not len(pictures):
                raise self.nothing_to_report()
            known = shown(pictures) if o.check else []
            pairs, whole = (
                planned_pairs(known, o.recipients, o.seed, choose) if o.check else []
                for choose in (choose_pairs, choose_whole_pairs)
            )
            if self.whole_only and not whole and not o.stamps:
                raise self.nothing_to_report()
            for stage, some, table in (("transplanting", pairs, "pairs"), ("whole pictures", whole, "whole")):
                yield from engine.run(stage, self.pair_shards(some, table, stage))
            yield from engine.run("controls", self.control_shards(pictures))
            galleries = find_galleries(self.out, pictures, o.seed)
            if o.check:
                yield from engine.run("what nobody named", self.area_shards(galleries))
            if o.stamps:
                yield from engine.run("stamping", self.stamp_shards(pictures))
        blind = blind_spots(known, whole, o.check, self.whole_only)
        yield from self.finish(pictures, pairs, whole, galleries, blind, started, resumed)

    def nothing_to_report(self) -> UserError:
        """Named masks were there, and still no row came of them, or no two classes have enough pictures to be tested as
        wholes; takes the folder back."""
        problems = folders.read_shards(self.out / "problems")
        why = "no named mask covers anything of what the model sees"
        if self.whole_only:
            why = f"it has no masks, and no two classes {LEAST_PICTURES} pictures that could be tested as wholes"
        if len(problems):
            why = str(problems["problem"].iloc[0]).rstrip(".")
        folders.abandon(self.out)
        return UserError(f"No picture of {self.data.name} gives anything to report ({why}); check pictures and masks.")

    def settings(self) -> dict[str, Any]:
        o = self.options
        return {
            "format": FORMAT,
            "data": self.data.source,
            "items": self.data.fingerprint(),
            "fingerprint": self.classifier.fingerprint,
            "explainers": [[choice.label, choice.key] for choice in o.explainers],
            **{key: getattr(o, key) for key in ("check", "seed", "delta", "recipients", "control_pictures")},
            "shard": self.shard,
            "pairs": REVISION,
            "unnamed": UNNAMED,
            "fills": list(o.fills),
            "context": sorted(o.context),
            **({"by": list(o.by)} if o.by else {}),
            **({} if o.target is None else {"target": o.target}),
            **({"stamps": [[s.name, s.sha256, s.width] for s in o.stamps]} if o.stamps else {}),
        }

    # -- the plan ----------------------------------------------------------------------------------------------------

    def picture_shards(self) -> list[PictureShard]:
        return [PictureShard(*part) for part in parts(self.data.items, self.shard)]

    def stop_if_hopeless(self, step: Progress) -> None:
        """A model that answers with no number on a whole first shard does so on a million pictures.

        Raises:
            UserError: as of `nothing_to_report`.
        """
        if step.done // self.shard != HOPELESS or step.done == step.total:
            return  # the folder is looked into while so many are there, and not at every step of a million
        done = sorted((self.out / "pictures").glob("*.parquet"))
        if len(done) == HOPELESS and not any(map(rows_in, done)):
            raise self.nothing_to_report()

    def pair_shards(self, pairs: list[Pair], table: str, stage: str) -> list[PairShard]:
        shards = []
        for file, part in parts(pairs, PAIRS):
            images = dict.fromkeys(image for pair in part for image in pair.images)
            shards.append(PairShard(file, part, tuple(self.by_id[image] for image in images), table, stage))
        return shards

    def control_shards(self, pictures: pd.DataFrame) -> list[ControlShard]:
        """The same rows for a model that knows nothing, and for edges: what a map shows by itself.

        Of the targets with enough pictures for a verdict; where none has, of a few pictures of any.
        """
        o = self.options
        sizes = pictures[pictures["segments"] > 0].groupby("target")["group"].nunique()
        judged = {int(target) for target, groups in sizes.items() if groups >= LEAST_PICTURES}
        ranked = sorted(pictures.to_dict("records"), key=lambda p: derived_seed(o.seed, p["image"], "control"))
        by_target: dict[int, list[dict[str, Any]]] = {}
        for line in ranked:
            if judged and line["target"] not in judged:
                continue
            part = by_target.setdefault(line["target"] if judged else -1, [])
            if line["segments"] and len(part) < o.control_pictures:
                part.append(line)
        chosen = [line for target in sorted(by_target) for line in by_target[target]]
        first = tuple(self.by_id[line["image"]] for line in chosen[:STATISTICS])
        shards = []
        for file, lines in parts(chosen, o.batch):
            items = tuple(self.by_id[line["image"]] for line in lines)
            shards.append(ControlShard(file, items, lines, first))
        return shards

    def area_shards(self, galleries: Sequence[Gallery]) -> list[AreaShard]:
        shards = []
        for file, part in parts(tests_of(galleries, self.options.seed), self.shard):
            shards.append(AreaShard(file, tuple(self.by_id[image] for image, *_ in part), part))
        return shards

    def stamp_shards(self, pictures: pd.DataFrame) -> list[StampShard]:
        ranked = sorted(pictures["image"], key=lambda image: derived_seed(self.options.seed, image, "stamp"))
        items = [self.by_id[image] for image in ranked[:PICTURES]]
        return [StampShard(file, part, self.options.stamps) for file, part in parts(items, self.shard)]

    def scene(self, image: str) -> Scene:
        return self.bench.scene(self.by_id[image])

    # -- table, verdicts, examples, manifest -------------------------------------------------------------------------

    def finish(
        self,
        pictures: pd.DataFrame,
        pairs: list[Pair],
        whole: list[Pair],
        galleries: list[Gallery],
        blind: list[str],
        started: datetime,
        resumed: bool,
    ) -> Iterator[Progress]:
        o = self.options
        table = table_of(self.out / "rows", pictures, o.seed)
        controls = table_of(self.out / "controls", pictures, o.seed)
        table["flagged"] = flag_by_controls(table, controls)
        folders.write_table(self.out / "table.parquet", table)
        delta = o.delta or delta_for(pictures["margin"].tolist())
        planned, planned_whole = (Counter((p.target, p.label, p.test) for p in some) for some in (pairs, whole))
        effects = streamed([self.out / "effects", self.out / "pairs"], "target")
        judged = judge(table, effects, self.classifier.labels, delta, planned)
        large = len(judged.findings) > LARGE_JSON
        folders.write_json(self.out / "findings.json", judged.findings, large)
        effects = streamed([self.out / "whole"], "target")
        found = judge_whole(effects, pictures, self.classifier.labels, delta, planned_whole) if whole else []
        yield Progress("judging", 1, 1)

        def explain(scene: Scene, target: int) -> dict[str, Attribution]:
            images = scene.image[None]
            seeds, found = picture_seeds(o.seed, images), {}
            for label, bound in self.bench.runs.items():
                regions = asked_regions(bound, (load(self.by_id[image], self.classifier) for image in [scene.id]))
                (found[label],) = bound.explain(images, [target], seeds=seeds, regions=regions)
            return found

        rare = rare_carriers(judged.findings)
        chosen = choose_examples(pictures[pictures["segments"] > 0], rare)
        total, index = sum(map(len, chosen.values())), {"pictures": {}, "removals": [], "pastes": []}
        with packing(self.out / PACK) as pack:
            written = write_examples(pack, measured_in(self.out, chosen), chosen, pairs, self.scene, explain, o.seed)
            for done, index in enumerate(written, 1):  # noqa: B007 - the last one is kept
                yield Progress("examples", min(done, total), total)
            kept = dict(write_galleries(pack, galleries, self.scene))
        folders.write_json(self.out / "examples.json", index, large)
        told: dict[str, Any] = {"pooled": pooled(self.out, pictures, delta, planned, columns_of(self.data, o.by))}
        told |= {"whole": found, "blind_spots": blind}
        folders.write_table(self.out / MEMBERS, members(galleries))
        merge_shards(self.out)
        removed = folders.read_shards(self.out / "unnamed")
        unnamed = judge_unnamed(galleries, removed, self.classifier.labels, delta, o.seed, o.check)
        told["unnamed"] = [{**entry, "areas": kept[entry["number"]]} for entry in unnamed]
        labelled = {choice.label: choice for choice in o.explainers}
        rows, removals = (streamed([self.out / kind], "target") for kind in ("rows", "effects"))
        stamped = folders.read_shards(self.out / "stamps").to_dict("records")
        told["stamps"] = judge_stamps(stamped, self.classifier.labels, delta)
        told["trust"] = trust(rows, removals, labelled, o.fills) if o.check else []
        manifest = self.manifest(pictures, table, judged, delta, started)
        # what went before it was stopped is not known
        told["seconds"] = None if resumed else (datetime.now(UTC) - started).total_seconds()
        folders.write_json(self.out / "manifest.json", manifest | without_nan(told))
        yield Progress("finished", 1, 1)

    def manifest(
        self, pictures: pd.DataFrame, table: pd.DataFrame, judged: Judged, delta: float, started: datetime
    ) -> dict[str, Any]:
        o = self.options
        correct = pictures["correct"].dropna()
        cells = {(e["target"], e["segment"]): e for e in judged.findings}.values()
        kinds = table.drop_duplicates("segment")
        problems = folders.read_shards(self.out / "problems")
        explainers = [{**choice.record(), "title": choice.method.title} for choice in o.explainers]
        titles = short_titles(explainers)
        return {
            "format": FORMAT,
            "model": self.classifier.name,
            "fingerprint": self.classifier.fingerprint,
            "labels": list(self.classifier.labels),
            "output": self.classifier.output,
            "data": self.data.name,
            "pictures": len(pictures),
            "without_masks": int((pictures["segments"] == 0).sum()),
            "accuracy": float(correct.astype(float).mean()) if len(correct) else None,
            "explainers": [{**entry, "title": titles[entry["label"]]} for entry in explainers],
            "segments": kinds[["segment", "kind"]].rename(columns={"segment": "name"}).to_dict("records"),
            "targets": sorted(int(t) for t in table["target"].unique()),
            "verdicts": {verdict: sum(e["verdict"] == verdict for e in cells) for verdict in VERDICTS},
            "shortcuts": sum(is_shortcut(e) for e in cells),
            "redundant": judged.redundant,
            "checked": o.check,
            "delta": delta,
            "fills": list(o.fills),
            "seed": o.seed,
            "problems": problems.head(100).to_dict("records"),
            "problem_count": len(problems),
            "noticed": noticed(
                self.classifier.notes,
                self.data,
                folders.read_shards(self.out / "noticed").to_dict("records"),
                {name for text in pictures["coverage"] for name in json.loads(text)},
            ),
            "notes": disagreements(table, self.classifier.labels),
            "warnings": [
                *filter(None, [label_warning(self.data, self.classifier)]),
                *circumstances(
                    pictures,
                    table,
                    self.classifier.labels,
                    delta,
                    o.delta is not None,
                    o.stamps,
                    self.classifier.input_size,
                ),
            ],
            "made_from": self.made_from(),
            "created": started.isoformat(timespec="seconds"),
            "versions": software(),
            "device": str(self.classifier.device),
        }

    def made_from(self) -> dict[str, Any]:
        recipe = self.classifier.recipe or {}
        masks = self.data.masks
        return {
            "model": str(recipe.get("spec", self.classifier.name)),
            "labels": str(recipe["labels"]) if recipe.get("labels") else None,
            "output": recipe.get("output"),
            "preprocessing": dict(recipe.get("preprocessing") or {}),
            "groups": recipe.get("groups"),
            "data": self.data.source,
            "segments": None if masks is None else str(masks.path),
        }


def planned_pairs(
    known: Sequence[dict[str, Any]], recipients: int, seed: int, choose: ChoosePairs = choose_pairs
) -> list[Pair]:
    """As chosen from a report's pictures (`core.sat.whole.shown`), for all classes that are asked of them and all
    segments they show."""
    names = sorted({name for picture in known for name in picture["coverage"]})
    targets = sorted({picture["target"] for picture in known})
    return choose(known, targets, recipients, seed, names)
