"""What CVAT exports as "CVAT for images 1.1": one XML file with polygons, boxes, ellipses and masks.

Format: docs.cvat.ai, "XML annotation format". A mask's runs go along the rows of its box, outside first; boxes and
ellipses are turned clockwise about their middle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from core.errors import UserError
from core.segments.files import shapes
from core.segments.files.details import plain
from core.segments.files.documents import read_xml
from core.segments.files.opened import MALFORMED, SegmentFiles, gathered, picture_key, picture_size
from core.segments.mask import Mask
from core.segments.segments import Segments, legal_name

WITH_AREA = ("polygon", "box", "ellipse", "mask")
WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")


def read(path: Path) -> SegmentFiles:
    """An annotation file of images; tags of whole pictures are passed over, shapes without an area noted.

    Raises:
        UserError: not such a file, one over a video, or one that lists a picture twice.
    """
    root = read_xml(path)
    if root.tag != "annotations":
        raise UserError(f"{path} is no CVAT annotation file (it holds <{root.tag}>); export 'CVAT for images 1.1'.")
    if root.find("track") is not None:
        raise UserError(f"{path} holds tracks over a video; export 'CVAT for images 1.1' from CVAT instead.")
    readers: dict[str, _Picture] = {}
    for image in root.iter("image"):
        key = picture_key(image.get("name") or image.get("id") or "")
        if key in readers:
            raise UserError(f"{path} lists the picture {key} twice; export one task at a time.")
        readers[key] = _Picture(path, key, image)
    return SegmentFiles(path, "CVAT for images 1.1", readers)


@dataclass(frozen=True)
class _Picture:
    """Reads the shapes of one picture when it is called."""

    path: Path
    key: str
    image: ElementTree.Element

    def __call__(self) -> Segments:
        where = f"{self.key} in {self.path}"
        size = picture_size((self.image.get("height", ""), self.image.get("width", "")), where)
        items = []
        for shape in self.image:
            if shape.tag in WITH_AREA:
                try:
                    items.append(plain(_mask(shape.tag, shape.attrib, size), legal_name(shape.get("label", ""))))
                except UserError as error:
                    raise UserError(f"A {shape.tag} of {where}: {error}") from error
                except MALFORMED as error:
                    raise UserError(f"A {shape.tag} of {where} cannot be read ({error}); export it again.") from error
        flat = Counter(shape.tag for shape in self.image if shape.tag in WITHOUT_AREA)
        told = ", ".join(f"{count} {tag}" for tag, count in flat.items())
        return gathered(size, items, [f"Shapes without an area were left out ({told})."] if flat else [])


def _mask(tag: str, shape: Mapping[str, str], size: tuple[int, int]) -> Mask:
    degrees = float(shape.get("rotation", 0))
    if tag == "polygon":
        return shapes.polygons([[pair.split(",") for pair in shape["points"].split(";")]], size)
    if tag == "box":
        left, top, right, bottom = (float(shape[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return shapes.box((left, top), (right - left, bottom - top), size, degrees)
    if tag == "ellipse":
        x, y, radius_x, radius_y = (float(shape[key]) for key in ("cx", "cy", "rx", "ry"))
        return shapes.ellipse((x, y), (radius_x, radius_y), size, degrees)
    top, left, height, width = (int(float(shape[key])) for key in ("top", "left", "height", "width"))
    # runs along rows are runs down the columns of the turned piece
    turned = Mask(np.array([int(run) for run in shape["rle"].split(",")]), (width, height))
    return Mask.from_piece(turned.decode().T, top, left, size)
