"""Segments in files: which form lies at a path, opened as picture id -> Segments."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from core.beforehand import masks_place
from core.errors import UserError
from core.paths import existing_file
from core.runtime.versions import Versions
from core.segments.files import coco, cvat, label_maps, label_studio, mask_folders
from core.segments.files.documents import read_json
from core.segments.files.mask_pictures import SUFFIXES, read_label_map
from core.segments.files.names import NAMES_FILE, read_name_table, read_names
from core.segments.files.opened import SegmentFiles, match
from core.segments.segments import Segments

__all__ = [
    "ANNOTATION_SUFFIXES", "WRITERS", "SegmentFiles", "match", "open_segments", "read_label_map", "read_names",
    "write_segments",
]  # fmt: skip

WRITERS = {
    "coco": coco.write,
    "coco-polygons": partial(coco.write, form="polygons"),
    "label-maps": label_maps.write,
    "folders": mask_folders.write,
}
ANNOTATION_SUFFIXES = (".json", ".xml")
STORE_NAMES = "names"


def open_segments(path: str | Path) -> SegmentFiles:
    """Open segments of any form that is read: Satchel's own store, COCO JSON, label maps with `segments.json` or in
    VOC's style, a folder of masks per name, CVAT's XML, Label Studio's JSON; or a folder with one such annotation file.

    Raises:
        UserError: nothing there, or nothing of these forms.
    """
    path, kind = masks_place(path)
    if kind == "file":
        return _open_file(path)
    if holds_store(path):
        from core.segments.saved.store import Store  # which needs this package itself

        return Store(path).files()
    if (path / NAMES_FILE).is_file():
        folders = {child.name for child in path.iterdir() if child.is_dir()}
        # a key of digits is a mask value, even where a folder of pictures is called so
        in_folders = any(key in folders and not key.isdecimal() for key in read_name_table(path / NAMES_FILE))
        return mask_folders.read(path) if in_folders else label_maps.read(path)
    if (path / label_maps.VOC_NAMES_FILE).is_file() or label_maps.VOC_FOLDER in (path.name, *_folders(path)):
        return label_maps.read_voc(path)
    annotations = sorted(child for child in path.iterdir() if child.suffix.lower() in ANNOTATION_SUFFIXES)
    if len(annotations) > 1:
        names = ", ".join(child.name for child in annotations[:5])
        raise UserError(f"{path} holds several annotation files ({names}); give one of them.")
    if annotations:
        return _open_file(annotations[0])
    if any(child.suffix.lower() in SUFFIXES for child in path.iterdir()):
        raise UserError(f"{path} has no segments.json; write one that names the mask values.")
    if any(child.suffix.lower() in SUFFIXES for child in path.glob("*/**/*")):
        return mask_folders.read(path)
    if any(child.suffix.lower() in (".jpg", ".jpeg") for child in path.rglob("*")):
        raise UserError(f"{path} holds only JPEG files, and JPEG changes the values of masks; save them as PNG.")
    raise UserError(f"{path} holds no masks and no annotation file; docs/segments.md shows the forms that are read.")


def holds_store(folder: Path) -> bool:
    """Whether a folder is one that `core.segments.saved.store.Store` made."""
    return bool(Versions(folder / STORE_NAMES).newest())


def write_segments(path: Path, form: str, pictures: Iterable[tuple[str, Segments]]) -> None:
    """Write pictures' segments in one of the forms of WRITERS: COCO as a file, the others as a folder.

    Raises:
        UserError: the form cannot hold them (label maps hold no overlaps), or the disk is full.
    """
    WRITERS[form](path, pictures)


def _open_file(path: Path) -> SegmentFiles:
    existing_file(path, "annotation file")
    if path.suffix.lower() == ".xml":
        return cvat.read(path)
    if path.suffix.lower() != ".json":
        raise UserError(f"{path} is no annotation file; give a .json, an .xml, or a folder (unpack archives first).")
    if path.name == NAMES_FILE:
        return open_segments(path.parent)
    document = read_json(path)
    first = document[0] if isinstance(document, list) and document else None
    if isinstance(document, dict) and "images" in document:
        return coco.read(path, document)
    if isinstance(first, dict) and "data" in first:
        return label_studio.read(path, document)
    raise UserError(f"{path} {_why_not(document, first)}")


def _why_not(document: Any, first: Any) -> str:
    if isinstance(first, dict) and "image_id" in first:
        return "holds COCO results, which do not name their pictures; give the annotation file with 'images'."
    if isinstance(first, dict) and any(isinstance(value, list) for value in first.values()):
        return "looks like Label Studio's JSON-MIN, which lacks what is needed; export it in the form 'JSON'."
    return "is neither COCO JSON nor a Label Studio export; docs/segments.md shows the forms that are read."


def _folders(path: Path) -> list[str]:
    return [child.name for child in path.iterdir() if child.is_dir()]
