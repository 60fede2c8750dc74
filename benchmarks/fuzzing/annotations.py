"""Annotation files of other tools: areas as their own rules give them, and documents that were damaged."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from pycocotools import mask as coco_masks

from core.segments.files import open_segments
from core.segments.files.label_maps import VOC_CLASSES

from .damage import ODD_VALUES, damaged, damaged_document
from .harness import Case, Family, Wrong
from .mask_ways import scene, voc_palette
from .pictures import saved

NAMES = ("beak", "wing", "Käse", "a/b", "<b>", "背景", "background", "x" * 150)
FILES = ("{}.jpg", "train/{}.png", "./{}.jpg", "sub\\{}.JPG", "é {}.jpeg", "{}.v2.png", "{}")
#: picture -> (name, mask bool [h, w]) in order
Truth = dict[str, list[tuple[str, np.ndarray]]]


def size_of(case: Case) -> tuple[int, int]:
    return case.number(1, 40), case.number(1, 40)


def rasterised(outline: list[float], size: tuple[int, int]) -> np.ndarray:
    """bool [h, w] of x, y, x, y, ..., by pycocotools."""
    return coco_masks.decode(coco_masks.frPyObjects([outline], *size))[..., 0] > 0


def outline_of(case: Case, size: tuple[int, int]) -> list[float]:
    """A polygon; some hang over the border."""
    points = case.rng.random((case.number(3, 9), 2)) * np.array(size[::-1]) * 1.3 - 0.15 * np.array(size[::-1])
    return [round(float(v), case.pick((0, 2))) for v in points.ravel()]


def box_of(case: Case, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """x, y, width, height in whole pixels, inside."""
    x, y = case.number(0, size[1] - 1), case.number(0, size[0] - 1)
    return x, y, case.number(1, size[1] - x), case.number(1, size[0] - y)


def filled(box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    x, y, width, height = box
    mask = np.zeros(size, bool)
    mask[y : y + height, x : x + width] = True
    return mask


def disc(centre: tuple[float, float], radii: tuple[float, float], size: tuple[int, int], degrees: float) -> np.ndarray:
    """The pixels whose middle lies in an ellipse turned clockwise."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    x, y, angle = columns - centre[0], rows - centre[1], math.radians(degrees)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1


def runs(flat: np.ndarray) -> list[int]:
    """Lengths outside, inside, outside, ..."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(int)))
    ends = np.append(edges, len(flat)) if not len(edges) or edges[-1] != len(flat) else edges
    return np.diff(ends, prepend=0).tolist()


def picture_names(case: Case) -> list[str]:
    return [case.pick(FILES).format(f"{number:03d}") for number in range(case.number(1, 4))]


def coco(case: Case) -> tuple[str, Any, Truth]:
    truth: Truth = {}
    images, annotations = [], []
    names = [case.pick(NAMES) for _ in range(case.number(1, 3))]
    categories = [{"id": 10 * place, "name": name} for place, name in enumerate(names)]
    for number, file in enumerate(picture_names(case)):
        size = size_of(case)
        images.append({"id": number, "file_name": file, "height": size[0], "width": size[1]})
        masks: list[tuple[str, np.ndarray]] = []
        for _ in range(case.number(0, 3)):
            category = case.number(0, len(names) - 1)
            entry: dict[str, Any] = {"id": len(annotations), "image_id": number, "category_id": 10 * category}
            form = case.pick(("polygon", "two polygons", "runs", "compressed", "box"))
            if "polygon" in form:
                outlines = [outline_of(case, size) for _ in range(1 + (form != "polygon"))]
                entry["segmentation"] = outlines
                mask = np.logical_or.reduce([rasterised(outline, size) for outline in outlines])
            elif form == "box":
                box = box_of(case, size)
                entry["bbox"] = list(box)
                mask = filled(box, size)
            else:
                mask = case.rng.random(size) < case.rng.random()
                packed = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
                counts = packed["counts"].decode() if form == "compressed" else runs(mask.ravel(order="F"))
                entry |= {"segmentation": {"size": list(size), "counts": counts}, "iscrowd": case.number(0, 1)}
            annotations.append(entry)
            masks.append((names[category], mask))
        truth[file] = masks
    return "COCO", {"images": images, "annotations": annotations, "categories": categories}, truth


def label_studio(case: Case) -> tuple[str, Any, Truth]:
    truth: Truth = {}
    tasks = []
    for number, file in enumerate(picture_names(case)):
        size = (case.number(2, 40), case.number(2, 40))
        results, masks = [], []
        for place in range(case.number(1, 3)):
            name = case.pick(NAMES)
            form = case.pick(("rectangle", "polygon", "ellipse", "brush"))
            value, mask = _region(case, form, size)
            sides = {"original_height": size[0], "original_width": size[1]}
            labels = {f"{form}labels": [name]}
            results.append({"id": f"r{place}", "type": f"{form}labels", "value": value | labels, **sides})
            masks.append((name, mask))
        address = file.replace("\\", "/").removeprefix("./")
        tasks.append({"id": number, "data": {"image": f"/data/{address}"}, "annotations": [{"result": results}]})
        truth[f"data/{address}"] = masks
    return "Label Studio", tasks, truth


def _region(case: Case, form: str, size: tuple[int, int]) -> tuple[dict[str, Any], np.ndarray]:
    height, width = size
    if form == "rectangle":
        x, y, w, h = box_of(case, size)
        value = {"x": 100 * x / width, "y": 100 * y / height, "width": 100 * w / width, "height": 100 * h / height}
        return value | {"rotation": 0}, filled((x, y, w, h), size)
    if form == "polygon":
        outline = outline_of(case, size)
        points = [[100 * x / width, 100 * y / height] for x, y in zip(outline[::2], outline[1::2])]
        back = [value for x, y in points for value in (x * width / 100, y * height / 100)]
        return {"points": points}, rasterised(back, size)
    if form == "ellipse":
        x, y, rx, ry = (float(v) for v in case.rng.integers(5, 60, 4) + 0.37)
        degrees = case.pick((0, 0, 33.0))
        value = {"x": x, "y": y, "radiusX": rx, "radiusY": ry, "rotation": degrees}
        centre, radii = (x * width / 100, y * height / 100), (rx * width / 100, ry * height / 100)
        return value, disc(centre, radii, size, degrees)
    mask = case.rng.random(size) < 0.5
    rgba = np.zeros((*size, 4), np.uint8)
    rgba[mask] = 255
    return {"format": "rle", "rle": brush(rgba.ravel())}, mask


def brush(values: np.ndarray) -> list[int]:
    """Label Studio's runs, all of them plain."""
    widths = (3, 4, 8, 16)
    bits = [f"{len(values):032b}", f"{8 - 1:05b}", *(f"{width - 1:04b}" for width in widths)]
    for start in range(0, len(values), 65536):
        part = values[start : start + 65536]
        bits += ["0", "11", f"{len(part) - 1:016b}", *(f"{value:08b}" for value in part.tolist())]
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[place : place + 8], 2) for place in range(0, len(text), 8)]


def cvat(case: Case) -> tuple[str, Any, Truth]:
    truth: Truth = {}
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for number, file in enumerate(picture_names(case)):
        size = size_of(case)
        sides = {"width": str(size[1]), "height": str(size[0])}
        image = ElementTree.SubElement(root, "image", {"id": str(number), "name": file, **sides})
        masks = []
        for _ in range(case.number(0, 3)):
            name = case.pick(NAMES)
            form = case.pick(("polygon", "box", "ellipse", "mask"))
            attributes, mask = _shape(case, form, size)
            ElementTree.SubElement(image, form, {"label": name, **attributes})
            masks.append((name, mask))
        if case.chance(0.2):
            ElementTree.SubElement(image, "points", {"label": "beak", "points": "1,1"})
        truth[file] = masks
    return "CVAT", root, truth


def _shape(case: Case, form: str, size: tuple[int, int]) -> tuple[dict[str, str], np.ndarray]:
    if form == "polygon":
        outline = outline_of(case, size)
        return {"points": ";".join(f"{x},{y}" for x, y in zip(outline[::2], outline[1::2]))}, rasterised(outline, size)
    if form == "box":
        x, y, w, h = box_of(case, size)
        places = {"xtl": x, "ytl": y, "xbr": x + w, "ybr": y + h}
        return {key: f"{value}.00" for key, value in places.items()}, filled((x, y, w, h), size)
    if form == "ellipse":
        cx, cy = (round(float(v), 2) for v in case.rng.random(2) * size[::-1])
        rx, ry = (round(float(v), 2) for v in case.rng.random(2) * 20 + 0.6)
        degrees = case.pick((0.0, 0.0, 41.3))
        values = {"cx": cx, "cy": cy, "rx": rx, "ry": ry} | ({"rotation": degrees} if degrees else {})
        return {key: str(value) for key, value in values.items()}, disc((cx, cy), (rx, ry), size, degrees)
    x, y, w, h = box_of(case, size)
    piece = case.rng.random((h, w)) < 0.5
    mask = np.zeros(size, bool)
    mask[y : y + h, x : x + w] = piece
    places = {"left": x, "top": y, "width": w, "height": h}
    rle = ", ".join(map(str, runs(piece.ravel())))
    return {"rle": rle, **{key: str(value) for key, value in places.items()}}, mask


def voc(case: Case, folder: Path) -> tuple[str, Truth]:
    """Palette pictures in VOC's own classes, or colours named by `labelmap.txt`."""
    masks = scene(case, case.number(1, 3))
    palette = voc_palette()
    numbers = [int(v) for v in case.rng.choice(np.arange(1, 21), len(masks), replace=False)]
    index = np.zeros(masks.shape[1:], np.uint8)
    for number, mask in zip(numbers, masks):
        index[mask] = number
    index[0] = case.pick((0, 255))  # the border that nobody judged
    pictures = folder / "SegmentationClass"
    pictures.mkdir(parents=True)
    if case.chance(0.5):
        image = Image.frombytes("P", index.shape[::-1], index.tobytes())
        image.putpalette(palette.tobytes())
        kind = "VOC palette"
    else:
        image, kind = Image.fromarray(palette[index]), "VOC colours"
        lines = [f"{name}:{','.join(map(str, palette[place]))}::" for place, name in enumerate(VOC_CLASSES)]
        (folder / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines))
    (pictures / "001.png").write_bytes(saved(image, "PNG"))
    return kind, {"001": [(VOC_CLASSES[v], index == v) for v in sorted({0, *numbers}) if (index == v).any()]}


def voc_boxes(case: Case) -> str:
    return "<annotation><filename>a.jpg</filename><object><name>cat</name></object></annotation>"


def compare(case: Case, path: Path, truth: Truth, among: set[str] | None = None) -> None:
    """Every picture of the truth (of `among`, those only) must come back as it is."""
    files = open_segments(path)
    known = {key.replace("\\", "/").removeprefix("./"): key for key in files}
    for picture, masks in truth.items():
        key = picture.replace("\\", "/").removeprefix("./")
        if among is not None and picture not in among:
            continue
        case.expect(key in known, f"the picture {key} is missing")
        segments = files[known[key]]
        wanted = [(name, mask) for name, mask in masks if mask.any()]
        case.expect(len(wanted) == len(masks) or segments.notes, "an empty mask is left out without a note")
        got = [(segment.name, segment.mask.decode()) for segment in segments]
        case.expect([name for name, _ in got] == [name for name, _ in wanted], "other names, or another order")
        for (_, mask), (_, want) in zip(got, wanted):
            if not np.array_equal(mask, want):
                raise Wrong(f"an area of {mask.sum()}, {want.sum()} expected, {(mask != want).sum()} pixels apart")


WAYS: tuple[Callable[[Case], tuple[str, Any, Truth]], ...] = (coco, coco, label_studio, cvat)


def _large(case: Case) -> None:
    """A small ellipse on a picture of 63 megapixels."""
    case.kind = "CVAT over 63 megapixels"
    size, radii = (7900, 8000), (float(case.number(2, 900)), float(case.number(2, 900)))
    shape = (
        f'<ellipse label="beak" cx="4000" cy="4000" rx="{radii[0]}" ry="{radii[1]}" rotation="{case.number(0, 90)}"/>'
    )
    image = f'<image id="0" name="a.jpg" width="{size[1]}" height="{size[0]}">{shape * 2}</image>'
    path = case.folder / "annotations.xml"
    path.write_text(f"<annotations>{image}</annotations>")
    for segment in case.sound(lambda: open_segments(path)["a.jpg"]):
        area = math.pi * radii[0] * radii[1]
        around = 4 * sum(radii)  # at most, in pixels that its line crosses
        case.expect(abs(segment.mask.area - area) <= around, f"an area of {segment.mask.area}, {area:.0f} expected")


def attempt(case: Case) -> None:
    if case.chance(1 / 1500):
        _large(case)
        return
    if case.chance(0.1):
        _attempt_voc(case)
        return
    case.kind, document, truth = case.pick(WAYS)(case)
    if isinstance(document, ElementTree.Element):
        path = case.folder / case.pick(("annotations.xml", "a b.XML"))
    else:
        path = case.folder / case.pick(("annotations.json", "instances é.json", "A.JSON"))
    where = path if case.chance(0.5) else case.folder
    if case.chance(0.35):
        path.write_bytes(_written(case, document))
        case.sound(lambda: compare(case, where, truth))
        return
    case.kind = f"damaged {case.kind}"
    if isinstance(document, ElementTree.Element):
        data = _damaged_xml(case, document)
    else:
        data = damaged_document(case, document).encode()
        if case.chance(0.2):
            data = damaged(case, data)
    path.write_bytes(data)
    for segments in open_segments(where).values():
        segments.with_background()


def _attempt_voc(case: Case) -> None:
    case.kind, truth = voc(case, case.folder)
    picture = case.folder / "SegmentationClass/001.png"
    if case.chance(0.5):
        case.sound(lambda: compare(case, case.folder, truth))
        return
    case.kind = f"damaged {case.kind}"
    labels = case.folder / "labelmap.txt"
    victim = labels if labels.exists() and case.chance(0.6) else picture
    victim.write_bytes(damaged(case, victim.read_bytes()))
    for segments in open_segments(case.folder).values():
        segments.with_background()


def _written(case: Case, document: Any) -> bytes:
    if isinstance(document, ElementTree.Element):
        return ElementTree.tostring(document, encoding="utf-8", xml_declaration=case.chance(0.5))
    text = json.dumps(document, ensure_ascii=case.chance(0.5), indent=case.pick((None, 1)))
    return (b"\xef\xbb\xbf" if case.chance(0.2) else b"") + text.encode()


def _damaged_xml(case: Case, root: ElementTree.Element) -> bytes:
    for _ in range(case.number(1, 3)):
        element = case.pick(list(root.iter()))
        how = case.pick(("value", "value", "gone", "tag", "child", "deep"))
        if how in ("value", "gone") and element.attrib:
            key = case.pick(sorted(element.attrib))
            if how == "gone":
                del element.attrib[key]
            else:
                odd = str(case.pick(ODD_VALUES))
                element.attrib[key] = "".join(c for c in odd if c.isprintable())
        elif how == "tag":
            element.tag = case.pick(("track", "box", "mask", "polygon", "image", "x", "cuboid"))
        elif how == "child":
            element.append(copy.deepcopy(case.pick(list(root)) if len(root) else ElementTree.Element("box")))
        elif how == "deep":
            for _ in range(case.pick((10, 300))):
                element = ElementTree.SubElement(element, case.pick(("image", "box")))
    try:
        data = ElementTree.tostring(root)
    except RecursionError:
        data = b"<annotations>" + b"<image>" * 100_000
    if case.chance(0.1):
        data = case.pick((
            b'<!DOCTYPE a [<!ENTITY x "y">]>' + data, b'<?xml version="1.0" encoding="utf-7"?>' + data,
            voc_boxes(case).encode(), b"<annotations>" * 50_000, data.decode().encode("utf-16"),
        ))  # fmt: skip
    return damaged(case, data) if case.chance(0.4) else data


FAMILY = Family("annotations", 0.17, attempt)
