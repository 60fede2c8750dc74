"""A report as a folder: Parquet tables, findings as JSON, example pictures, and a manifest written last.

settings.json           what was asked for; a run with the same settings goes on where it was killed
pictures/ rows/ effects/ pairs/ whole/ stamps/ noticed/   one Parquet file a shard
controls/               rows under randomised weights and of the control explainers
pictures.parquet rows.parquet effects.parquet pairs.parquet   the shards of each together, where they are very many
table.parquet           the Segment Attribution Table
findings.json           verdicts with their numbers
examples.json, examples.zip   pictures behind the cells, all in one file
areas/ unnamed/         where maps are strong and nothing is named, and what removing it does
unnamed.parquet         such areas by the gallery they are in
manifest.json           last: a folder without it is half written
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from core.errors import UserError
from core.paths import user_path
from core.runtime.folders import open_finished, read_shards, read_table
from core.runtime.json_files import Entries, Left, read_json, read_leaving
from core.runtime.schema import (
    Wrong,
    anything,
    bounded,
    check_columns,
    file_name,
    listed,
    manifest_of,
    maybe,
    named,
    number,
    numbers,
    record,
    text,
    truth,
    whole,
)  # fmt: skip
from core.runtime.streams import merged, selected
from core.sat.effects import SWAP
from core.sat.verdicts import VERDICTS
from core.storage.pack import Pack

FORMAT = 4
PACK = "examples.zip"
MEMBERS = "unnamed.parquet"
MERGED = {"pictures": (), **dict.fromkeys(("rows", "effects", "pairs"), ("target", "segment"))}
MANY = 64  # shards of a kind
KINDS = ("context", "object", "unset")
AGAIN = "make it again with `satchel report`, in another folder"

_TRIO = numbers(3, missing=True)  # estimate, low, high
MANIFEST = manifest_of(
    {
        "labels": listed(text(), least=1), "accuracy": maybe(number(0, 1)),
        "explainers": listed(
            record({"label": text(), "name": text(), "title": text(), "key": text(), "parameters": named(anything)}),
            least=1,
        ),
        "verdicts": named(whole()), "shortcuts": whole(), "checked": truth, "delta": number(1e-300),
        "fills": listed(text()), "blind_spots": listed(text()), "notes": listed(text()),
        "trust": listed(
            record({"explainer": text(), "fill": text(), "pictures": whole(), "correlation": maybe(_TRIO)})
        ),
        "whole": listed(
            record(
                {"target": text(), "property": text(), "verdict": text(*VERDICTS), "sentence": text(),
                 **{what: maybe(_TRIO) for what in ("necessity", "sufficiency")},
                 "changed": named(listed(whole(), 2, 2)), "p": maybe(number(0, 1)), "q": maybe(number(0, 1)),
                 "relation": maybe(named(number(0, 1))), "lacking": listed(text())}
            )
        ),
        "redundant": listed(
            record(
                {"target": text(), "members": listed(text(), 2), "kinds": listed(text(*KINDS), 2),
                 "effect": numbers(3), "alone": numbers(3), "fill": text(),
                 "pictures": whole(), "stays": whole(), "changed": whole(), "q": number(0, 1), "sentence": text()}
            )
        ),
    },
    {
        "pooled": listed(
            record(
                {"column": text(), "value": text(), "segment": text(), "kind": text(*KINDS),
                 "verdict": text(*VERDICTS), "pictures": whole(), "groups": whole(), "answers": whole(),
                 "necessity": named(_TRIO), "sufficiency": maybe(_TRIO), "density": named(_TRIO),
                 "p": maybe(number(0, 1)), "q": maybe(number(0, 1)), "lacking": listed(text()), "sentence": text()}
            )
        ),
        "stamps": listed(
            record(
                {"stamp": text(), "pictures": whole(), "sentence": text(),
                 "classes": listed(
                     record({"target": text(), "effect": _TRIO, "raw": number(), "q": maybe(number(0, 1)),
                             "confirmed": truth, "turned": whole()})
                 )}
            )
        ),
        "unnamed": listed(
            record(
                {"number": whole(1), "target": text(), "pictures": whole(), "of": whole(), "share": number(0),
                 "verdict": text(*VERDICTS), "necessity": named(_TRIO), "p": maybe(number(0, 1)),
                 "q": maybe(number(0, 1)), "lacking": listed(text()), "sentence": text(),
                 "areas": listed(record({"file": file_name, "image": text(), "share": number(0)}))}
            )
        ),
        "without_masks": whole(), "warnings": listed(text()), "noticed": listed(text()),
        "made_from": record({"model": text(), "data": text()},
                            {"labels": maybe(text()), "output": maybe(text()), "segments": maybe(text()),
                             "preprocessing": named(anything), "groups": maybe(named(listed(text())))}),
    },
)  # fmt: skip
_TRIOS = tuple((name, f"{name}_low", f"{name}_high") for name in ("density", "necessity", "sufficiency"))
FINDING = bounded(
    record(
        {
            "target": text(), "segment": text(), "kind": text(*KINDS), "explainer": text(), "pictures": whole(),
            "presence": number(0), "coverage": number(0), "share": maybe(number()), "pairs": whole(),
            "p": maybe(number(0, 1)), "q": maybe(number(0, 1)), "verdict": text(*VERDICTS), "sentence": text(),
            "fills": named(_TRIO), "joint": maybe(_TRIO),
            "together": named(_TRIO), "changed": named(listed(whole(), 2, 2)),
            "placebos": maybe(numbers(2)), "lacking": listed(text()),
            "cases": named(listed(whole(), 2, 2)), "flagged": truth,
            **{name: maybe(number()) for trio in _TRIOS for name in trio},
        },
        {"carriers": named(listed(text())), "target_index": whole()},
    ),
    *_TRIOS,
)  # fmt: skip
_TRIED = {
    "file": file_name, "image": text(), "target": whole(), "segment": text(), "fill": text(), "effect": number(),
    "test": text("necessity", "sufficiency"),
    **{f"{when}_probability": number(0, 1) for when in ("before", "after", "placebo")},
}  # fmt: skip
TRIED = {"removals": record(_TRIED), "pastes": record({"picture": file_name, **_TRIED})}
EXAMPLES = record(
    {
        "pictures": named(
            record(
                {"file": file_name, "target": whole(),
                 "maps": named(record({"file": file_name, "scale": number(0), "signed": truth},
                                      {"unit": text("density", "intensity", "mask")}))}
            )
        ),
        **{name: listed(shape) for name, shape in TRIED.items()},
    }
)  # fmt: skip
SHAPES = {"manifest.json": MANIFEST, "findings.json": listed(FINDING), "examples.json": EXAMPLES}
TABLE = {
    "target": "whole", "segment": "text", "explainer": "text", "kind": "text", "pictures": "whole",
    "presence": "number", "share": "number?", "density": "number?",
}  # fmt: skip
PICTURES = {
    "image": "text", "group": "text", "label": "text?", "target": "whole", "prediction": "whole",
    "probability": "number", "correct": "truth?", "segments": "whole", "coverage": "text",
}  # fmt: skip
ANSWERS = {name: PICTURES[name] for name in ("image", "label", "target", "probability", "correct")}
AREAS = {
    "gallery": "whole", "image": "text", "target": "whole", "share": "number", "mask": "text", "geometry": "text",
}  # fmt: skip
ROWS = {"image": "text", "target": "whole", "segment": "text", "explainer": "text"}
EFFECTS = {
    "image": "text", "target": "whole", "segment": "text", "test": "text", "fill": "text", "effect": "number?",
}  # fmt: skip


Look = Callable[[dict[str, Any], dict[str, Any]], None]


class Place(NamedTuple):
    """What a finding is found by; `index`: of the class, None in older reports."""

    index: int | None
    target: str
    segment: str
    explainer: str
    verdict: str
    kind: str


def _place(entry: dict[str, Any]) -> Place:
    return Place(entry.get("target_index"), *(entry[name] for name in Place._fields[1:]))


def _cell(entry: dict[str, Any]) -> tuple[int, str]:
    return entry["target"], entry["segment"]


@dataclass(frozen=True)
class Report:
    """A finished report; tables are read when asked for, and so are findings and examples that were left on the disk.

    Raises:
        UserError: (from what is read) it is damaged.
    """

    path: Path
    manifest: dict[str, Any]
    findings: Sequence[dict[str, Any]]
    examples: dict[str, Any] = field(default_factory=lambda: {"pictures": {}, "removals": [], "pastes": []})

    @property
    def made_from(self) -> dict[str, Any]:
        """With which the same model and data are opened again: model (a spec), labels, output, preprocessing, groups,
        data, segments; None or empty where nothing was said."""
        try:
            data = str(json.loads((self.path / "settings.json").read_text(encoding="utf-8"))["data"])
        except (OSError, ValueError, KeyError, TypeError):
            data = ""
        usual = {"model": self.manifest["model"], "data": data, "labels": None, "output": None}
        return {**usual, "segments": None, "preprocessing": {}, "groups": None, **self.manifest.get("made_from", {})}

    @property
    def by_cell(self) -> dict[tuple[int, str], list[dict[str, Any]]]:
        """Findings by class (its index: two may share a name) and segment, in their order, an entry an explainer.

        Raises:
            UserError: the table, which older findings need for it, is damaged.
        """
        found: dict[tuple[int, str], list[dict[str, Any]]] = {}
        lines = None
        for entry in self.findings:
            index = entry.get("target_index")
            if index is None:
                lines = self._lines() if lines is None else lines
                same = lines[entry["target"], entry["segment"], entry["explainer"]]
                own = (entry["pictures"], entry["share"])
                alike = (n for n, line in enumerate(same) if (line["pictures"], line["share"]) == own)
                index = int(same.pop(next(alike, 0))["target"])
            found.setdefault((index, entry["segment"]), []).append(entry)
        return found

    @property
    def places(self) -> list[Place]:
        """Of its findings, in their order."""
        return list(_keys(self.findings, _place))

    def tried(self, what: str, target: int, segment: str) -> list[dict[str, Any]]:
        """Examples of a class and segment: "removals" or "pastes"."""
        entries = self.examples[what]
        if isinstance(entries, Entries):
            return entries.having((target, segment))
        return [entry for entry in entries if _cell(entry) == (target, segment)]

    def _lines(self) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
        """Of the table, by the class's name, segment and explainer."""
        labels, lines = self.manifest["labels"], {}
        for line in self.table.to_dict("records"):
            lines.setdefault((labels[line["target"]], line["segment"], line["explainer"]), []).append(line)
        return lines

    @cached_property
    def table(self) -> pd.DataFrame:
        return read_table(self.path / "table.parquet", columns=TABLE)

    @cached_property
    def pictures(self) -> pd.DataFrame:
        """A line each; of very many, only what a report needs to be worked with (the rest stays in the shards)."""
        return self._pictures(PICTURES)

    @cached_property
    def answers(self) -> pd.DataFrame:
        """The same with no more than it takes to look at a report: image, label, target, probability, correct."""
        found = self._pictures(ANSWERS)
        return found[list(ANSWERS)] if len(found) else found

    def _pictures(self, columns: dict[str, str]) -> pd.DataFrame:
        merged_ones = self.path / "pictures.parquet"
        if merged_ones.is_file():
            return read_table(merged_ones, columns=columns, only=list(columns))
        return read_shards(self.path / "pictures", columns)

    def areas(self, gallery: int) -> pd.DataFrame:
        """Areas that nobody named, of one gallery (by its number in the manifest): image, target, share, mask,
        geometry, as of `core.sat.areas`; none where the report has no such gallery."""
        if not self.manifest.get("unnamed"):
            return pd.DataFrame()
        found = read_table(self.path / MEMBERS, columns=AREAS)
        return found[found["gallery"] == gallery]

    def example(self, name: str) -> bytes:
        """A picture or map behind the cells, encoded, by its name in `examples`.

        Raises:
            UserError: it is missing or damaged.
        """
        return self._pack.read(name)

    @cached_property
    def _pack(self) -> Pack:
        return Pack(self.path / PACK)

    def rows(self, target: int | None = None, segment: str | None = None) -> pd.DataFrame:
        """SAT rows, all or of one target and segment, straight from the Parquet shards."""
        return self._select("rows", target, segment)

    def effects(self, target: int | None = None, segment: str | None = None) -> pd.DataFrame:
        """Effect records (removals, transplants, swaps), all or of one target and segment."""
        parts = [self._select(kind, target, segment) for kind in ("effects", "pairs")]
        return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)

    def _held(self, kind: str) -> bool:
        """Whether its findings rest on such records."""
        if kind == "pairs":
            return any(entry["pairs"] for entry in self.findings)
        if kind == "effects":
            return any(set(entry["fills"]) - {SWAP} for entry in self.findings)
        return bool(self.findings)

    def _select(self, kind: str, target: int | None, segment: str | None) -> pd.DataFrame:
        asked = {"target": target, "segment": segment}
        wanted = {name: [value] for name, value in asked.items() if value is not None}
        one = self.path / f"{kind}.parquet"
        if not one.is_file() and not any((self.path / kind).glob("*.parquet")) and self._held(kind):
            raise UserError(f"The report in {self.path} is damaged (its folder {kind} is gone); {AGAIN}.")
        try:
            found = selected(one if one.is_file() else self.path / kind, wanted)
            check_columns(found, ROWS if kind == "rows" else EFFECTS)
        except ValueError as error:
            raise UserError(f"The report in {self.path} is damaged ({str(error).splitlines()[0]}); {AGAIN}.") from error
        return found


def merge_shards(folder: Path) -> None:
    """Put the shards of a report together, kind by kind, where they are so many that looking into each takes long."""
    for kind, by in MERGED.items():
        one = folder / f"{kind}.parquet"
        if len(list((folder / kind).glob("*.parquet"))) > MANY:
            merged([folder / kind], one, by)
        else:
            one.unlink(missing_ok=True)


def open_report(path: str | Path, look: Look | None = None) -> Report:
    """Open a finished report.

    Args:
        look: is shown the manifest and every finding once, as it is read. Findings and examples are then left on the
            disk, for those who keep reports open: of many classes they take hundreds of megabytes.

    Raises:
        UserError: there is none, it is half written, damaged, or of another format.
    """
    folder = user_path(path)

    def agree(held: dict[str, Any]) -> None:
        try:
            table = read_table(folder / "table.parquet", columns=TABLE)
        except UserError as error:  # which says to remove it; but it comes from the shards, as the others do
            raise Wrong("table.parquet", "is missing or damaged") from error
        _agree(held, table)

    manifest: dict[str, Any] = {}

    def read(file: Path) -> Any:
        nonlocal manifest
        if look is not None and file.name == "findings.json":
            return read_leaving(file, {"": Left(FINDING, _place, lambda entry: look(manifest, entry))})
        if look is not None and file.name == "examples.json":
            return read_leaving(file, {name: Left(shape, _cell) for name, shape in TRIED.items()})
        found = read_json(file)
        if file.name == "manifest.json":  # which comes first
            manifest = found
        return found

    held = open_finished(folder, "report", "satchel report", FORMAT, SHAPES, agree, oldest=FORMAT, read=read)
    return Report(folder, held["manifest.json"], held["findings.json"], held["examples.json"])


def _keys(entries: Sequence[dict[str, Any]], key: Callable[[dict[str, Any]], Any]) -> Iterable[Any]:
    return entries.keys if isinstance(entries, Entries) else map(key, entries)


def _agree(held: dict[str, Any], table: pd.DataFrame) -> None:
    """Classes are among the labels, and every finding has its line in the table."""
    labels = held["manifest.json"]["labels"]
    examples = held["examples.json"]
    indices = {entry["target"] for entry in examples["pictures"].values()}
    indices |= {target for what in TRIED for target, _ in _keys(examples[what], _cell)}
    if len(table):
        indices |= {int(table["target"].min()), int(table["target"].max())}
    if any(not 0 <= index < len(labels) for index in indices):
        raise Wrong("", "speaks of a class that has no label")
    lines = (
        {(labels[t], s, e) for t, s, e in table[["target", "segment", "explainer"]].itertuples(index=False)}
        if len(table)
        else set()
    )
    for i, place in enumerate(_keys(held["findings.json"], _place)):
        if place.index is not None and (place.index >= len(labels) or labels[place.index] != place.target):
            raise Wrong(f"findings.json [{i}]", "names another class than its number does")
        if (place.target, place.segment, place.explainer) not in lines:
            raise Wrong(f"findings.json [{i}]", "has no line in table.parquet")
