"""A data set and a classifier -> a report on disk: explain, cut by segment, test, judge.

for each shard: pictures -> predictions -> attributions -> rows; segments removed -> necessity
then: transplants and context swaps between pictures -> sufficiency; controls; table; verdicts; examples; manifest
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from core.attribution import Attribution
from core.classifier import Classifier
from core.data import Dataset, Item, check_context, no_segments
from core.errors import UserError
from core.explainer import BoundExplainer, get_explainer
from core.fills import PLATES
from core.metrics.sanity import randomised
from core.parameters import Parameters
from core.paths import user_path
from core.runtime import folders
from core.runtime.progress import Progress
from core.runtime.randomness import derived_seed
from core.sat.batch import Loaded, Scene, asked_regions, attribution_rows, label_warning, load, picture_lines
from core.sat.effects import necessity_records, pair_records
from core.sat.examples import choose_examples, write_examples
from core.sat.noticed import noticed, noticed_in
from core.sat.pairs import Pair, choose_pairs
from core.sat.store import FORMAT, open_report
from core.sat.tables import attribution_table
from core.sat.verdicts import VERDICTS, delta_for, findings, flag_by_controls, is_shortcut

SHARD = ("problems", "noticed", "rows", "effects", "pictures")
Run = tuple[str, Parameters | None, BoundExplainer]  # name in the table, parameters, what makes the maps

BLIND_SPOTS = (
    "a colour cast over the whole picture",
    "where in the picture something stands",
    "the size or proportions of the picture",
    "the absence of something",
    "anything no segment covers",
)


@dataclass(frozen=True)
class ReportOptions:
    """What to do.

    Attributes:
        explainers: (name, parameters) each; the first one leads.
        check: run the tests (removals, transplants, swaps); without them nothing is confirmed or cleared.
        delta: smallest effect on the log-odds that matters; None: see `delta_for`.
        fills: what stands where a segment was removed; necessity must hold under each.
        context: segment names to mark as context.
        recipients: pictures a segment is transplanted to, per (target, segment).
        shard: pictures a Parquet file, None for what suits the data set; batch: pictures explained at once, at most a
            shard.
        control_pictures: pictures a target explained again under randomised weights.
    """

    explainers: tuple[tuple[str, Parameters], ...]
    check: bool = True
    seed: int = 0
    delta: float | None = None
    fills: tuple[str, ...] = ("inpaint", "mean")
    context: tuple[str, ...] = ()
    recipients: int = 60
    shard: int | None = None
    batch: int = 8
    control_pictures: int = 12

    def __post_init__(self) -> None:
        if not self.explainers:
            raise UserError("A report needs at least one explainer.")
        if len({name for name, _ in self.explainers}) < len(self.explainers):
            raise UserError("An explainer is named twice; name each once.")
        if len(self.fills) < 2 or any(fill not in PLATES for fill in self.fills):
            raise UserError(f"Give at least two fills of {', '.join(PLATES)}.")
        if self.delta is not None and not self.delta > 0:
            raise UserError(f"delta must be above 0, got {self.delta}.")


def build_report(data: Dataset, classifier: Classifier, out: Path, options: ReportOptions) -> Iterator[Progress]:
    """Write a report into `out`, yielding progress; close the iterator to stop, run it again to go on.

    Raises:
        UserError: the data, the options or the folder do not do.
    """
    run = _Run(data.with_context(options.context), classifier, user_path(out), options)
    return run.stages()


class _Run:
    """One report being written."""

    def __init__(self, data: Dataset, classifier: Classifier, out: Path, options: ReportOptions) -> None:
        self.data, self.classifier, self.out, self.options = data, classifier, out, options
        self.by_id = {item.id: item for item in data.items}
        self.shard = options.shard or folders.shard_size(len(data))
        self.scene = lru_cache(maxsize=512)(self._scene)

    def stages(self) -> Iterator[Progress]:
        runs: list[Run] = [(name, p, get_explainer(name).bind(self.classifier)) for name, p in self.options.explainers]
        self.check()  # before the folder is made, which belongs to these settings once anything is in it
        if folders.begin(self.out, self.settings(), open_report):
            yield Progress("finished before", 1, 1)
            return
        started = datetime.now(UTC)
        yield from self.explain_all(runs)
        pictures, rows = folders.read_shards(self.out / "pictures"), folders.read_shards(self.out / "rows")
        if rows.empty:
            raise self.nothing_to_report()
        pairs = self.pairs(pictures) if self.options.check else []
        yield from self.run_pairs(pairs)
        yield from self.control_rows(pictures, runs)
        yield from self.finish(pictures, rows, pairs, runs, started)

    def check(self) -> None:
        """What can be known before anything is written: masks are read until all names that are asked for were seen.

        Raises:
            UserError: parameters do not go together, no mask can be used, or a name of the context is in none.
        """
        for name, parameters in self.options.explainers:
            get_explainer(name).check(parameters)
        read, names, problem = False, set(), ""
        for item in self.data.items:
            if item.segments is no_segments:
                continue
            try:
                _, segments = item.load()
            except UserError as error:
                problem = problem or str(error).rstrip(".")
                continue
            read = read or segments is not None
            names.update(segments.names if segments else ())
            if any(names) and names.issuperset(self.options.context):
                return
        named = list(filter(None, names))
        if named:
            check_context(self.options.context, named)
        data = self.data.name
        if names:
            raise UserError(f"The masks of {data} have no names; give them some with `satchel name`.")
        if problem:
            raise UserError(f"No picture of {data} can be used with its masks ({problem}); mend them.")
        if read:
            raise UserError(f"The masks of {data} are empty; check that segments.json names the values in them.")
        raise UserError(f"{data} has no masks; give a folder of named masks with --segments.")

    def nothing_to_report(self) -> UserError:
        """Named masks were there, and still no row came of them; takes the folder back."""
        problems = folders.read_shards(self.out / "problems")
        why = "no named mask covers anything of what the model sees"
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
            "explainers": [[name, p.to_dict()] for name, p in o.explainers],
            **{key: getattr(o, key) for key in ("check", "seed", "delta", "recipients", "control_pictures")},
            "shard": self.shard,
            "fills": list(o.fills),
            "context": sorted(o.context),
        }

    # -- stage 1: shards ---------------------------------------------------------------------------------------------

    def explain_all(self, runs: list[Run]) -> Iterator[Progress]:
        total, size = len(self.data), self.shard
        yield Progress("explaining", 0, total)
        for start in range(0, total, size):
            items = self.data.items[start : start + size]
            done = self.out / "pictures" / f"{start // size:06d}.parquet"
            if not done.is_file():
                shard: dict[str, list[dict]] = {k: [] for k in SHARD}
                for at in range(0, len(items), self.options.batch):
                    self.explain_batch(items[at : at + self.options.batch], runs, shard)
                    yield Progress("explaining", start + min(at + self.options.batch, len(items)), total)
                folders.write_shard(self.out, done.name, shard)
            yield Progress("explaining", start + len(items), total)

    def explain_batch(self, items: tuple[Item, ...], runs: list[Run], shard: dict[str, list[dict]]) -> None:
        batch = []
        for item in items:
            try:
                batch.append(load(item, self.classifier))
            except UserError as error:
                # one bad picture among a million is noted and left out; it does not stop the run
                shard["problems"].append({"image": item.id, "problem": str(error)})
        if not batch:
            return
        try:
            found = [self.found_in(batch, runs)]
        except UserError as error:
            found = list(self.found_singly(batch, runs, shard["problems"]))
            if not (found or shard["pictures"] or any((self.out / "pictures").glob("*.parquet"))):
                raise error  # it is the model, not a picture
        for records in found:
            for kind, entries in records.items():
                shard[kind] += entries

    def found_singly(self, batch: Sequence[Loaded], runs: list[Run], problems: list[dict]) -> Iterator[dict]:
        """The same picture by picture, without those on which the model answers with something that is no number."""
        for entry in batch:
            try:
                yield self.found_in([entry], runs)
            except UserError as error:
                problems.append({"image": entry.item.id, "problem": str(error)})

    def found_in(self, batch: Sequence[Loaded], runs: list[Run]) -> dict[str, list[dict]]:
        """What the model and its maps say of these pictures, and the effects of taking their segments away."""
        lines = picture_lines(batch, self.classifier)
        rows = attribution_rows(batch, lines, runs, self.options.seed)
        effects: list[dict] = []
        if self.options.check:
            for entry, line in zip(batch, lines):
                scene = entry.scene(self.classifier.device)
                effects += necessity_records(
                    scene, line["target"], self.classifier, self.options.fills, self.options.seed
                )
        return {"pictures": lines, "rows": rows, "effects": effects, "noticed": noticed_in(batch)}

    def _scene(self, image: str) -> Scene:
        return load(self.by_id[image], self.classifier).scene(self.classifier.device)

    # -- stage 2: pairs ----------------------------------------------------------------------------------------------

    def pairs(self, pictures: pd.DataFrame) -> list[Pair]:
        shown: list[dict[str, Any]] = [
            {
                "id": line["image"],
                "prediction": line["prediction"],
                "label_index": None if pd.isna(line["label_index"]) else int(line["label_index"]),
                "coverage": json.loads(line["coverage"]),
            }
            for line in pictures.to_dict("records")
        ]
        names = sorted({name for picture in shown for name in picture["coverage"]})
        targets = sorted({picture["prediction"] for picture in shown})
        return choose_pairs(shown, targets, self.options.recipients, self.options.seed, names)

    def run_pairs(self, pairs: list[Pair], block: int = 512) -> Iterator[Progress]:
        for start in range(0, len(pairs), block):
            file = self.out / "pairs" / f"{start // block:06d}.parquet"
            part = pairs[start : start + block]
            if not file.is_file():
                records: list[dict] = []
                for i, batch in enumerate(pair_records(part, self.scene, self.classifier, self.options.seed)):
                    records += batch
                    yield Progress("transplanting", start + min(32 * (i + 1), len(part)), len(pairs))
                folders.write_table(file, records)
            yield Progress("transplanting", start + len(part), len(pairs))

    # -- stage 3: controls -------------------------------------------------------------------------------------------

    def control_rows(self, pictures: pd.DataFrame, runs: list[Run]) -> Iterator[Progress]:
        """The same rows for a model that knows nothing, and for edges: what a map shows by itself."""
        file = self.out / "controls.parquet"
        if file.is_file():
            return
        ranked = sorted(
            pictures.to_dict("records"), key=lambda p: derived_seed(self.options.seed, p["image"], "control")
        )
        chosen: list[dict] = []
        for target in sorted(pictures["target"].unique()):
            chosen += [p for p in ranked if p["target"] == target and p["segments"]][: self.options.control_pictures]
        first = [self.scene(p["image"]).image for p in chosen[:32]]
        twin = randomised(self.classifier, torch.stack(first), self.options.seed)
        controls: list[Run] = [(f"{name} (randomised)", p, get_explainer(name).bind(twin)) for name, p, _ in runs]
        controls.append(("edges", None, get_explainer("edges").bind(self.classifier)))
        rows: list[dict] = []
        for at in range(0, len(chosen), self.options.batch):
            lines = chosen[at : at + self.options.batch]
            batch = [load(self.by_id[line["image"]], self.classifier) for line in lines]
            rows += attribution_rows(batch, lines, controls, self.options.seed)
            yield Progress("controls", at + len(batch), len(chosen))
        folders.write_table(file, rows)

    # -- stage 4: table, verdicts, examples, manifest ----------------------------------------------------------------

    def finish(
        self,
        pictures: pd.DataFrame,
        rows: pd.DataFrame,
        pairs: list[Pair],
        runs: list[Run],
        started: datetime,
    ) -> Iterator[Progress]:
        o = self.options
        table = attribution_table(rows, pictures, o.seed)
        controls = attribution_table(folders.read_table(self.out / "controls.parquet"), pictures, o.seed)
        table["flagged"] = flag_by_controls(table, controls)
        folders.write_table(self.out / "table.parquet", table)
        removals, pasted = folders.read_shards(self.out / "effects"), folders.read_shards(self.out / "pairs")
        effects = pd.concat([part for part in (removals, pasted) if len(part)] or [removals], ignore_index=True)
        delta = o.delta or delta_for(pictures["margin"].tolist())
        planned = Counter((pair.target, pair.segment, pair.test) for pair in pairs)
        found = findings(table, effects, self.classifier.labels, delta, planned)
        folders.write_json(self.out / "findings.json", found)
        yield Progress("judging", 1, 1)

        def explain(scene: Scene, target: int) -> dict[str, Attribution]:
            found, seed = {}, derived_seed(o.seed, scene.id)
            for n, p, e in runs:
                regions = asked_regions(e, p, (load(self.by_id[image], self.classifier) for image in [scene.id]))
                (found[n],) = e.explain(scene.image[None], [target], p, seeds=[seed], regions=regions)
            return found

        chosen = choose_examples(pictures[pictures["segments"] > 0])
        total, index = sum(map(len, chosen.values())), {"pictures": {}, "removals": [], "pastes": []}
        for done, index in enumerate(  # noqa: B007 - the last one is written
            write_examples(self.out / "examples", chosen, effects, pairs, self.scene, explain, o.seed), 1
        ):
            yield Progress("examples", min(done, total), total)
        folders.write_json(self.out / "examples.json", index)
        folders.write_json(self.out / "manifest.json", self.manifest(pictures, table, found, delta, started))
        yield Progress("finished", 1, 1)

    def manifest(
        self, pictures: pd.DataFrame, table: pd.DataFrame, found: list[dict], delta: float, started: datetime
    ) -> dict[str, Any]:
        o = self.options
        correct = pictures["correct"].dropna()
        pairs = {(e["target"], e["segment"]): e for e in found}.values()
        kinds = table.drop_duplicates("segment")
        problems = folders.read_shards(self.out / "problems")
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
            "explainers": [
                {"name": name, "title": get_explainer(name).title, "parameters": p.to_dict()}
                for name, p in o.explainers
            ],
            "segments": kinds[["segment", "kind"]].rename(columns={"segment": "name"}).to_dict("records"),
            "targets": sorted(int(t) for t in table["target"].unique()),
            "verdicts": {verdict: sum(e["verdict"] == verdict for e in pairs) for verdict in VERDICTS},
            "shortcuts": sum(is_shortcut(e) for e in pairs),
            "checked": o.check,
            "delta": delta,
            "fills": list(o.fills),
            "seed": o.seed,
            "problems": problems.head(100).to_dict("records"),
            "problem_count": len(problems),
            "blind_spots": list(BLIND_SPOTS),
            "noticed": noticed(
                self.classifier.notes,
                self.data,
                folders.read_shards(self.out / "noticed").to_dict("records"),
                {name for text in pictures["coverage"] for name in json.loads(text)},
            ),
            "notes": disagreements(table, self.classifier.labels),
            "warnings": [warning for warning in (label_warning(self.data, self.classifier),) if warning],
            "created": started.isoformat(timespec="seconds"),
            "seconds": (datetime.now(UTC) - started).total_seconds(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "device": str(self.classifier.device),
        }


def disagreements(table: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    """Where explainers contradict each other about attention beyond the controls, one sentence each."""
    notes = []
    for cell in table[["target", "segment"]].drop_duplicates().to_dict("records"):
        target, segment = cell["target"], cell["segment"]
        part = table[(table["target"] == target) & (table["segment"] == segment)]
        flagged = part.loc[part["flagged"], "explainer"].tolist()
        if 0 < len(flagged) < len(part):
            others = ", ".join(sorted(set(part["explainer"]) - set(flagged)))
            notes.append(f"{labels[target]}, {segment}: above the controls for {', '.join(flagged)}, not for {others}.")
    return notes
