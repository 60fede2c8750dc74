"""A folder of masks per name: FOLDER/beak/001.png is the beak of picture 001.

`segments.json` tells which folder stands for which name and kind, so that any name can be written on any file system
and read back exactly. Folders of other tools do without: there the folder's own name is the name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.segments.files.details import details_of, plain, with_details
from core.segments.files.mask_pictures import mask_pictures, passed_over, placed, read_mask, write_mask_picture
from core.segments.files.names import NAMES_FILE, NameTable, read_name_table
from core.segments.files.opened import SegmentFiles, gathered
from core.segments.files.values import inside_of
from core.segments.mask import Mask
from core.segments.segments import Segment, Segments, default_kind, legal_name

PLACE = "place"
INSIDE = 255


def read(folder: Path) -> SegmentFiles:
    """A folder with one folder a name, each with mask pictures under their picture's relative path or name.

    Raises:
        UserError: the names are not in order.
    """
    if (folder / NAMES_FILE).is_file():
        names = read_name_table(folder / NAMES_FILE)
    else:
        found = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        names = {name: (legal_name(name), default_kind(legal_name(name))) for name in found}
    paths: dict[str, list[tuple[Path, tuple[str, str]]]] = defaultdict(list)
    for key, entry in names.items():
        if Path(key).name != key or key in ("", ".."):
            raise UserError(f"{folder / NAMES_FILE} names {key!r}, which is no folder in it; take it out.")
        for picture, path in mask_pictures(folder / key).items():
            paths[picture].append((path, entry))
    readers = {picture: partial(_read_one, entries, picture) for picture, entries in sorted(paths.items())}
    return SegmentFiles(
        folder, "masks in folders", readers, passed_over(folder), names=(name for name, _ in names.values())
    )


def write(folder: Path, pictures: Iterable[tuple[str, Segments]]) -> None:
    """Write a folder that `read` takes, picture by picture; one that is there is added to.

    A second instance of a name in a picture gets a second folder. A picture without segments leaves no trace.

    Args:
        pictures: (picture id, its segments); empty masks are left out.

    Raises:
        UserError: two pictures would share a mask, or the disk is full.
    """
    table = NameTable(folder)
    for _, relative, segments in placed(pictures):
        keys = table.keys(segments)
        for place, (key, item) in enumerate(zip(keys, segments)):
            details = {PLACE: place, **details_of(item, plain(item.mask, item.name, item.kind))}
            write_mask_picture(folder / key / relative, item.mask.decode() * np.uint8(INSIDE), details)
        for key in table.entries.keys() - keys:  # of an earlier state of this picture
            (folder / key / relative).unlink(missing_ok=True)


def _read_one(entries: list[tuple[Path, tuple[str, str]]], picture: str) -> Segments:
    found: list[tuple[int, Segment]] = []
    notes: dict[str, None] = {}
    for path, (name, kind) in entries:
        mask = read_mask(path)
        try:
            inside, noticed = inside_of(mask.values)
        except UserError as error:
            raise UserError(
                f"The mask {path} {error}; "
                "one picture a segment is read here, and label maps need a segments.json that names their values."
            ) from error
        notes.update(dict.fromkeys((*mask.notes, *noticed)))
        segment = plain(Mask.from_dense(inside), name, kind)
        place = len(entries)
        if mask.details is not None:
            segment = with_details(segment, mask.details, f"The mask {path}")
            place = mask.details[PLACE] if isinstance(mask.details.get(PLACE), int) else place
        found.append((place, segment))
    sizes = {segment.mask.size for _, segment in found}
    if len(sizes) > 1:
        told = " and ".join("x".join(map(str, size)) for size in sorted(sizes))
        raise UserError(f"The masks of {picture} are of different sizes ({told}); make them equal.")
    found.sort(key=lambda entry: entry[0])
    return gathered(found[0][1].mask.size, (segment for _, segment in found), tuple(notes))
