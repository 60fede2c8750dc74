"""What Label Studio exports as JSON: brushed masks, polygons, rectangles and ellipses.

Format: labelstud.io, "Label Studio JSON format of annotated tasks". Places are percent of the picture's sides.
Rectangles are turned clockwise about their top left corner, ellipses about their middle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from core.errors import UserError
from core.images import PICTURE_SUFFIXES
from core.segments.files import shapes
from core.segments.files.brush_rle import brushed
from core.segments.files.details import plain, with_details
from core.segments.files.documents import read_json
from core.segments.files.opened import MALFORMED, SegmentFiles, gathered, picture_key, picture_size
from core.segments.mask import Mask
from core.segments.segments import Segment, Segments, legal_name

# Label Studio puts eight hexadecimal digits before the name of an uploaded file.
UPLOAD = re.compile(r"/upload/.*?([0-9a-f]{8}-)?([^/]+)$")


def read(path: Path, document: Any = None) -> SegmentFiles:
    """An export in the form "JSON". Of several annotations of a task the ground truth counts, else the first that was
    not skipped; without any, the first prediction does. A region with several labels becomes several segments.

    Args:
        document: what the file holds, where it has been read already.

    Raises:
        UserError: not such a file, or one that lists a picture twice.
    """
    document = read_json(path) if document is None else document
    readers: dict[str, _Picture] = {}
    several = 0
    try:
        for task in document:
            annotations = [a for a in task.get("annotations") or () if not a.get("was_cancelled")]
            several += len(annotations) > 1
            annotations.sort(key=lambda annotation: not annotation.get("ground_truth"))
            predicted = not annotations
            results = [a["result"] for a in (annotations or task.get("predictions") or ())[:1]]
            regions = _regions(results[0]) if results else []
            key = _picture_of(task["data"])
            if key in readers:
                raise UserError(f"The picture {key} is listed twice; keep one task a picture.")
            if regions:  # the size of the picture stands with the regions only
                readers[key] = _Picture(path, key, regions, predicted)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except MALFORMED as error:
        raise UserError(
            f"{path} is no Label Studio export ({type(error).__name__}: {error}); export it in the form 'JSON'."
        ) from error
    note = f"Of pictures with several annotations in {path.name} one was taken ({several})."
    return SegmentFiles(path, "Label Studio JSON", readers, [note] if several else [])


@dataclass(frozen=True)
class _Picture:
    """Reads the regions of one picture when it is called."""

    path: Path
    key: str
    regions: list[dict[str, Any]]
    predicted: bool

    def __call__(self) -> Segments:
        where = f"{self.key} in {self.path}"
        first = self.regions[0]
        size = picture_size((first.get("original_height"), first.get("original_width")), where)
        items: list[Segment] = []
        flat: list[str] = []
        for region in self.regions:
            if region.get("image_rotation"):
                raise UserError(f"{where} was turned in Label Studio; turn it back there and export again.")
            try:
                mask = _mask(region["value"], size)
                if mask is None:
                    flat.append(str(region.get("type")))
                else:
                    items += self._segments(mask, region)
            except UserError as error:
                raise UserError(f"A region of {where}: {error}") from error
            except MALFORMED as error:
                raise UserError(f"A region of {where} cannot be read ({error}); export it again.") from error
        told = ", ".join(dict.fromkeys(flat))
        return gathered(size, items, [f"Regions without an area were left out ({told})."] if flat else [])

    def _segments(self, mask: Mask, region: Mapping[str, Any]) -> Iterable[Segment]:
        details = {"score": region.get("score"), **({"naming": "model"} if self.predicted else {})}
        for label in _labels(region["value"]) or [""]:
            segment = plain(mask, legal_name(str(label)))
            yield with_details(segment, details, "It")


def _regions(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Results of one id are one region: a shape from one control and its label from another. Others have no place."""
    regions: dict[Any, dict[str, Any]] = {}
    for place, result in enumerate(results):
        value = result.get("value")
        if isinstance(value, Mapping) and "original_width" in result:
            id_ = result.get("id", place)
            known = regions.setdefault(id_, {**result, "value": {}})
            known["value"] = {**known["value"], **value}
    return list(regions.values())


def _labels(value: Mapping[str, Any]) -> list[Any]:
    return next((found for key, found in value.items() if key.endswith("labels") and isinstance(found, list)), [])


def _mask(value: Mapping[str, Any], size: tuple[int, int]) -> Mask | None:
    """None for what has no area."""

    def pixels(x: Any, y: Any) -> tuple[float, float]:
        return float(x) * size[1] / 100, float(y) * size[0] / 100

    degrees = float(value.get("rotation") or 0)
    if "rle" in value:
        return brushed(value["rle"], size)
    if "points" in value:
        return shapes.polygons([[pixels(x, y) for x, y in value["points"]]], size)
    if "radiusX" in value:
        radii = pixels(value["radiusX"], value["radiusY"])
        return shapes.ellipse(pixels(value["x"], value["y"]), radii, size, degrees)
    if "height" in value and "width" in value:
        corner = pixels(value["x"], value["y"])
        return shapes.box(corner, pixels(value["width"], value["height"]), size, degrees, pivot=corner)
    return None


def _picture_of(data: Mapping[str, Any]) -> str:
    """The picture's path, out of an address, a path below Label Studio's own storage, or an uploaded file's name."""
    texts = [data.get("image"), *data.values()]
    for text in (text for text in texts if isinstance(text, str)):
        address = urlsplit(text)
        path = parse_qs(address.query).get("d", [unquote(address.path)])[0]
        if text is data.get("image") or path.lower().endswith(PICTURE_SUFFIXES):
            uploaded = UPLOAD.search(path)
            return picture_key(uploaded[2] if uploaded else path.lstrip("/"))
    raise KeyError("a picture in 'data'")
