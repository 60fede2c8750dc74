"""COCO JSON: all pictures of a data set in one file, masks as runs or polygons."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.runtime.whole_files import whole_file
from core.segments.files import shapes
from core.segments.files.details import FIELD, details_of, plain, with_details
from core.segments.files.documents import read_json
from core.segments.files.opened import MALFORMED, SegmentFiles, gathered, picture_key, picture_size
from core.segments.files.outlines import outlines
from core.segments.files.rle_text import from_text, to_text
from core.segments.mask import Mask
from core.segments.segments import Segment, Segments, legal_name

FORMS = ("rle", "counts", "polygons")
UNNAMED = "unnamed"


def read(path: Path, document: Any = None) -> SegmentFiles:
    """A COCO annotation file. Crowd annotations are segments like others; boxes without a mask become filled boxes.

    Args:
        document: what the file holds, where it has been read already.

    Raises:
        UserError: not such a file, or one that lists a picture twice.
    """
    document = read_json(path) if document is None else document
    try:
        categories = {entry["id"]: _category(entry) for entry in document.get("categories") or ()}
        by_picture: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        for annotation in document.get("annotations") or ():
            by_picture[annotation["image_id"]].append(annotation)
        readers, used = {}, set()
        for entry in document["images"]:
            key = picture_key(entry.get("file_name") or str(entry["id"]))
            if key in readers or entry["id"] in used:
                raise UserError(f"The picture {key} is listed twice; keep one entry a picture.")
            used.add(entry["id"])
            readers[key] = _Picture(path, key, entry, by_picture.get(entry["id"], []), categories)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except MALFORMED as error:
        raise UserError(
            f"{path} is no COCO annotation file ({type(error).__name__}: {error}); "
            "it must hold images, annotations and categories, each with an id."
        ) from error
    strays = sum(len(found) for picture, found in by_picture.items() if picture not in used)
    note = f"Annotations of pictures that {path.name} does not list were left out ({strays})."
    return SegmentFiles(path, "COCO JSON", readers, [note] if strays else [], categories.values())


def write(path: Path, pictures: Iterable[tuple[str, Segments]], form: str = "rle") -> None:
    """Write one file. What COCO has no place for rides along in the field "satchel".

    Args:
        pictures: (picture id, its segments), which are written as they come; empty masks are left out.
        form: how masks are written: "rle" (compressed runs), "counts" (plain runs), or "polygons", where runs are still
            written for masks with holes, which COCO's polygons cannot have.

    Raises:
        UserError: the file cannot be written.
    """
    if form not in FORMS:
        raise ValueError(f"expected a form of {FORMS}, got {form!r}")
    categories: dict[str, int] = {}
    images: list[dict[str, Any]] = []
    count = 0
    # file names need not be Unicode: what is none of it becomes an escape, which JSON reads back
    with whole_file(path) as part, part.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write('{"info": {"description": "segments written by Satchel"},\n"annotations": [')
        for picture, segments in pictures:
            height, width = segments.size
            images.append({"id": len(images) + 1, "file_name": picture, "width": width, "height": height})
            for segment in segments:
                if segment.mask.area:
                    category = categories.setdefault(segment.name, len(categories) + 1)
                    count += 1
                    annotation = {"id": count, "image_id": len(images), "category_id": category}
                    annotation |= _written(segment, form)
                    file.write(",\n" if count > 1 else "\n")
                    file.write(json.dumps(annotation, allow_nan=False, ensure_ascii=False))
        rest = {"images": images, "categories": [_written_category(*entry) for entry in categories.items()]}
        file.write(f"\n],\n{json.dumps(rest, allow_nan=False, ensure_ascii=False)[1:]}\n")


@dataclass(frozen=True)
class _Picture:
    """Reads the annotations of one picture when it is called."""

    path: Path
    key: str
    entry: Mapping[str, Any]
    annotations: list[Mapping[str, Any]]
    categories: Mapping[Any, str]

    def __call__(self) -> Segments:
        size = self._size()
        boxes = bare = 0
        items = []
        for annotation in self.annotations:
            where = f"Annotation {annotation.get('id')} of {self.path}"
            try:
                if not annotation.get("segmentation"):
                    if not annotation.get("bbox"):  # keypoints, or a caption
                        bare += 1
                        continue
                    boxes += 1
                items.append(self._segment(_mask(annotation, size), annotation))
            except UserError as error:
                raise UserError(f"{where}: {error}") from error
            except MALFORMED as error:
                raise UserError(f"{where} cannot be read ({error}); export it again.") from error
        notes = [f"Boxes without a mask were filled ({boxes})."] if boxes else []
        notes += [f"Annotations without a mask or a box were left out ({bare})."] if bare else []
        return gathered(size, items, notes)

    def _size(self) -> tuple[int, int]:
        found = [(self.entry.get("height"), self.entry.get("width"))]
        found += [a["segmentation"].get("size") for a in self.annotations if isinstance(a.get("segmentation"), dict)]
        given = next((size for size in found if isinstance(size, list | tuple) and None not in size), ())
        return picture_size(given, f"{self.key} in {self.path}")

    def _segment(self, mask: Mask, annotation: Mapping[str, Any]) -> Segment:
        category = annotation.get("category_id")
        segment = plain(mask, self.categories.get(category, f"category {category}"))
        details = annotation.get(FIELD, {})
        if annotation.get("score") is not None:
            details = {"score": annotation["score"], **details} if isinstance(details, Mapping) else details
        return with_details(segment, details, "It")


def _mask(annotation: Mapping[str, Any], size: tuple[int, int]) -> Mask:
    found = annotation.get("segmentation")
    if not found:
        x, y, width, height = annotation["bbox"]
        return shapes.box((x, y), (width, height), size)
    if isinstance(found, list):
        return shapes.polygons(found if isinstance(found[0], list) else [found], size)
    if tuple(found["size"]) != size:
        got, want = "x".join(map(str, found["size"])), "x".join(map(str, size))
        raise UserError(f"Its mask is {got} pixels (height x width), its picture {want}; make them equal.")
    counts = found["counts"]
    return from_text(counts, size) if isinstance(counts, str) else Mask(counts, size)


def _category(entry: Mapping[str, Any]) -> str:
    """Its name; "" for the one that Satchel writes for segments without a name."""
    details = entry.get(FIELD)
    if isinstance(details, Mapping) and details.get("name") == "":
        return ""
    return legal_name(str(entry.get("name") or "")) or f"category {entry['id']}"


def _written(segment: Segment, form: str) -> dict[str, Any]:
    mask = segment.mask
    details = details_of(segment, plain(mask, segment.name))
    score = details.pop("score", None)
    return {
        "segmentation": _segmentation(mask, form),
        "area": mask.area,
        "bbox": list(mask.box),
        "iscrowd": 0,
        **({} if score is None else {"score": score}),
        **({FIELD: details} if details else {}),
    }


def _segmentation(mask: Mask, form: str) -> Any:
    if form == "polygons":
        found = outlines(mask)
        # the rasteriser has the last word: what it does not give back to the pixel is written as runs
        if found and shapes.polygons(found, mask.size) == mask:
            return found
    return {"size": list(mask.size), "counts": mask.counts.tolist() if form == "counts" else to_text(mask)}


def _written_category(name: str, number: int) -> dict[str, Any]:
    return {"id": number, "name": name} if name else {"id": number, "name": UNNAMED, FIELD: {"name": ""}}
