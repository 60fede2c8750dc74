"""One label map a picture: a picture of numbers, and a file that names the numbers.

Satchel's own folders have `segments.json`. Folders in the style of Pascal VOC have the names in `labelmap.txt`, or are
VOC itself: palette pictures in `SegmentationClass`, whose value 255 is no class but the border that nobody judged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.segments.files.details import details_of, plain, with_details
from core.segments.files.mask_pictures import (
    MaskPicture,
    mask_pictures,
    passed_over,
    placed,
    read_mask,
    write_mask_picture,
)
from core.segments.files.names import NAMES_FILE, NameTable, read_names
from core.segments.files.opened import MALFORMED, SegmentFiles
from core.segments.files.values import Colours, named_values
from core.segments.mask import covered
from core.segments.segments import Segments, default_kind, legal_name, segments_from_label_map

VOC_FOLDER = "SegmentationClass"
VOC_NAMES_FILE = "labelmap.txt"
# The classes of Pascal VOC 2007 to 2012 in their published order.
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOC_BORDER = 255
LARGEST = 65_535
Names = Mapping[int, tuple[str, str]]


def read(folder: Path) -> SegmentFiles:
    """A folder with `segments.json` and one PNG (or TIFF, BMP) a picture, under the picture's relative path or name.

    Raises:
        UserError: the names are not in order.
    """
    names = read_names(folder / NAMES_FILE)
    readers = {key: partial(read_one, path, names) for key, path in mask_pictures(folder).items()}
    return SegmentFiles(
        folder, "PNG label maps", readers, passed_over(folder), names=(name for name, _ in names.values())
    )


def read_one(path: Path, names: Names) -> Segments:
    """One label map: a segment a named value, in the order that was written, else of the values.

    Raises:
        UserError: missing, damaged, or with details that make no sense.
    """
    found = read_mask(path)
    segments = _named(path, found, names)
    if found.details is None:
        return segments
    present = [value for value in np.unique(found.values).tolist() if value in names]
    by_value = dict(zip(present, segments))
    where = f"The mask {path}"
    try:
        riding = {int(value): rest for value, rest in found.details.items()}
    except MALFORMED as error:
        raise UserError(f"{where} has details of an unknown form; save it without them.") from error
    order = [value for value in riding if value in by_value] + [value for value in present if value not in riding]
    items = [with_details(by_value[value], riding.get(value, {}), where) for value in order]
    return replace(segments, items=tuple(items))


def _named(path: Path, found: MaskPicture, names: Names, unjudged: Collection[int] = ()) -> Segments:
    try:
        values, notes = named_values(found.values, names.keys(), unjudged)
    except UserError as error:
        raise UserError(f"The mask {path} {error}.") from error
    return replace(segments_from_label_map(values, names), notes=(*found.notes, *notes))


def write(folder: Path, pictures: Iterable[tuple[str, Segments]]) -> None:
    """Write a folder that `read` takes, picture by picture; one that is there is added to.

    Args:
        pictures: (picture id, its segments); empty masks are left out.

    Raises:
        UserError: masks overlap, which a label map cannot hold; two pictures would share a mask; or the disk is full.
    """
    table = NameTable(folder, numbered=True)
    for picture, relative, segments in placed(pictures):
        _check_partition(segments, picture)
        values = [int(key) for key in table.keys(segments)]
        if max(values, default=0) > LARGEST:
            raise UserError(f"{folder} would need more than {LARGEST} mask values; write COCO JSON instead.")
        label_map = np.zeros(segments.size, np.uint16 if max(values, default=0) > 255 else np.uint8)
        for value, item in zip(values, segments):
            left, top, width, height = item.mask.box
            label_map[top : top + height, left : left + width][item.mask.crop()] = value
        usual = [plain(item.mask, item.name, item.kind) for item in segments]
        details = {str(value): details_of(*both) for value, both in zip(values, zip(segments, usual))}
        needless = values == sorted(values) and not any(details.values())
        write_mask_picture(folder / relative, label_map, None if needless else details)


def read_voc(folder: Path) -> SegmentFiles:
    """Label maps in the style of Pascal VOC, in `SegmentationClass` of this folder or in the folder itself.

    A picture of one channel holds places in the list of names, one of three channels holds the names' colours; other
    values and colours (255, the border) belong to no segment.

    Raises:
        UserError: the names are not in order.
    """
    pictures = folder / VOC_FOLDER if (folder / VOC_FOLDER).is_dir() else folder
    named = next((p for p in (folder, folder.parent) if (p / VOC_NAMES_FILE).is_file()), None)
    names, colours = _voc_names(named / VOC_NAMES_FILE) if named else (VOC_CLASSES, {})
    table = {value: (name, default_kind(name)) for value, name in enumerate(names)}
    readers = {key: partial(_read_voc_one, path, table, colours) for key, path in mask_pictures(pictures).items()}
    return SegmentFiles(
        folder, "label maps in the style of Pascal VOC", readers, names=names if named is not None else ()
    )


def _read_voc_one(path: Path, names: Names, colours: Colours) -> Segments:
    return _named(path, read_mask(path, colours or None), names, unjudged=(VOC_BORDER,))


def _voc_names(path: Path) -> tuple[list[str], dict[tuple[int, int, int], int]]:
    """From lines of `label:red,green,blue:parts:actions`."""
    names: list[str] = []
    colours: dict[tuple[int, int, int], int] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        for line in lines:
            if line.strip() and not line.startswith("#"):
                name, colour = line.rsplit(":", 3)[:2]
                if colour.strip():
                    red, green, blue = (int(part) for part in colour.split(","))
                    colours[red, green, blue] = len(names)
                names.append(legal_name(name))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} must hold lines such as 'beak:128,0,0::' ({error}).") from error
    return names, colours


def _check_partition(segments: Segments, picture: str) -> None:
    masks = [item.mask for item in segments]
    doubled = covered(masks, at_least=2).area if masks else 0
    if doubled:
        raise UserError(
            f"The segments of {picture} overlap in {doubled} pixels, which one label map cannot hold; "
            "write COCO JSON instead."
        )
