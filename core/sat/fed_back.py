"""A name for what a report found and nobody had named: its areas become segments, beside those that were there."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from core.data import Dataset, Item, open_dataset
from core.errors import UserError
from core.runtime.progress import Progress
from core.sat.areas import geometry_of, mask_of
from core.sat.saved_report import Report
from core.segments.mask import Mask, covered
from core.segments.saved.store import Store
from core.segments.segments import REST, Segment, Segments, check_size, legal_name

HALF = 0.5  # of a pixel of the picture, from which it belongs to an area


def data_of(
    report: Report,
    data: str | None = None,
    segments: str | Path | None = None,
    results: Iterable[str | Path] = (),
) -> Dataset:
    """The pictures that a report was made of, with their masks.

    Args:
        data, segments: where they are now; None for where they lay then. results: as of `open_dataset`.

    Raises:
        UserError: they cannot be opened.
    """
    made = report.made_from
    try:
        return open_dataset(data or made["data"], segments=segments or made["segments"], results=results)
    except UserError as error:
        if data is not None:
            raise
        raise UserError(
            f"The report's pictures cannot be opened where they lay when it was made ({str(error).rstrip('.')}); "
            "say where they are with --data, and their masks with --segments."
        ) from error


def name_gallery(
    report: Report, number: int, name: str, data: Dataset, store: Store, kind: str | None = None
) -> Iterator[Progress]:
    """Write the areas of a gallery into a store, in pictures that have none there together with the segments that the
    data have; and those of the report's other pictures, so that a new report on the store finds all of them.

    Args:
        number: of the gallery. kind: of the name; None for what it has, or "unset".

    Raises:
        UserError: the report has no such gallery, the name will not do, or the data are not those of the report.
    """
    name = legal_name(name)
    if not name:
        raise UserError("The name is empty; say what the pictures of the gallery show.")
    known = [entry["number"] for entry in report.manifest.get("unnamed", ())]
    if number not in known:
        there = f"it has {', '.join(map(str, sorted(known)))}" if known else "it has none"
        raise UserError(f"The report in {report.path} has no gallery {number}; {there}.")
    masks = _masks_by_picture(report, number)
    items = {item.id: item for item in data.items}
    if gone := [image for image in masks if image not in items]:
        raise UserError(
            f"{data.name} has no picture {gone[0]}, which is in the report; give the data set that it was made of."
        )
    if kind is not None:
        store.set_kind(name, kind)
    reported = set(report.pictures["image"])
    some = [item for item in data.items if item.id in reported]
    for done, item in enumerate(some, 1):
        _add(item, masks.get(item.id), name, number, store)
        yield Progress("naming", done, len(some))


def _masks_by_picture(report: Report, number: int) -> dict[str, Mask]:
    """The areas of a gallery over the upright pictures, those of one picture together."""
    found: dict[str, list[Mask]] = {}
    for record in report.areas(number).to_dict("records"):
        dense = geometry_of(record).map_to_picture(mask_of(record)).numpy() >= HALF
        found.setdefault(record["image"], []).append(Mask.from_dense(dense))
    return {image: covered(masks) for image, masks in found.items()}


def _add(item: Item, mask: Mask | None, name: str, number: int, store: Store) -> None:
    record = store.load(item.id)
    before = item.segments() if record is None else record.segments
    if mask is None or not mask.area:
        if record is None and before is not None:
            store.save(item.id, before, None, "taken from the data set")
        return
    before = before or Segments(mask.size, ())
    check_size(replace(before, items=(Segment(mask),)) if not before.items else before, mask.size, item.id)
    if any(one.name == name and one.mask == mask for one in before):
        return  # named before
    segments = replace(before, items=(*before, Segment(mask, name, source="report", naming="typed")))
    if rest := next((one.name for one in before if one.source == REST and not one.naming), ""):
        segments = segments.with_background(rest)
    store.save(item.id, store.with_kinds(segments), record, f"named gallery {number} of a report")


def next_report(report: Report, store: Path) -> str:
    """The command that tests what was named."""
    made = report.made_from
    given = {"--model": made["model"], "--labels": made["labels"], "--segments": str(store)}
    said = [f"{option} {shlex.quote(value)}" for option, value in given.items() if value]
    return f"satchel report {shlex.quote(made['data'])} {' '.join(said)} --out DIR"
