"""Data sets: pictures with labels, and where there are any, segments."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from core.errors import UserError, closest
from core.images import Picture, read_picture
from core.segments import Segments, check_size, default_kind, segments_from_label_map

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Item:
    """One picture of a data set; nothing is read before it is asked for.

    Attributes:
        id: unique and steady within the data set (a relative path, or a number of a rendered one).
        label: its class, or None.
        columns: what else the manifest says ("group" marks pictures that belong together, such as one patient's).
    """

    id: str
    label: str | None
    picture: Callable[[], Picture]
    segments: Callable[[], Segments | None]
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """Pictures of one group (a manifest column, such as a patient) are not independent; default: its own."""
        return self.columns.get("group") or self.id

    def load(self) -> tuple[Picture, Segments | None]:
        """The picture and its segments.

        Raises:
            UserError: either cannot be read, or the masks are of another size.
        """
        picture, segments = self.picture(), self.segments()
        if segments is not None:
            check_size(segments, picture.size, self.id)
        return picture, segments


@dataclass(frozen=True)
class Dataset:
    """Pictures to explain or to report on.

    Attributes:
        name: for people; source: what was given to open it.
        labels: the classes that occur, sorted.
    """

    name: str
    source: str
    items: tuple[Item, ...]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted({item.label for item in self.items if item.label is not None}))

    @property
    def first_without_masks(self) -> Item | None:
        """The first picture known to come without masks, which is found out without reading any; None if none does."""
        return next((item for item in self.items if item.segments is no_segments), None)

    def with_context(self, context: Iterable[str]) -> Dataset:
        """The same with these segment names marked as context."""
        marked = tuple(context)
        if not marked:
            return self

        def wrap(item: Item) -> Item:
            if item.segments is no_segments:
                return item

            def read() -> Segments | None:
                segments = item.segments()
                return segments.with_context(marked) if segments else segments

            return replace(item, segments=read)

        return replace(self, items=tuple(wrap(item) for item in self.items))


def open_dataset(source: str | Path, *, segments: str | Path | None = None, limit: int | None = None) -> Dataset:
    """Open a data set.

    Args:
        source: "demo:birds" (rendered, with masks), a folder with `manifest.csv` (image, label, optionally mask,
            group and further columns) and `segments.json`, or a folder of class folders.
        segments: a folder of masks from elsewhere: one PNG label map a picture under the picture's own relative path
            or stem, with `segments.json` beside them.
        limit: at most this many pictures, spread evenly over the whole.

    Raises:
        UserError: nothing there, or it does not fit together.
    """
    if str(source).startswith("demo:"):
        from core.demo.data import demo_dataset

        data = demo_dataset(str(source).removeprefix("demo:"))
    else:
        root = Path(source)
        if not root.is_dir():
            raise UserError(f"There is no folder {root}; give a folder of class folders, or one with manifest.csv.")
        data = _from_manifest(root) if (root / "manifest.csv").is_file() else _from_class_folders(root)
    if segments is not None:
        data = _with_masks_from(data, Path(segments))
    if limit is not None and limit < len(data):
        if limit < 1:
            raise UserError(f"The limit must be at least 1 picture, got {limit}.")
        keep = np.linspace(0, len(data) - 1, limit).round().astype(int)
        data = replace(data, items=tuple(data.items[i] for i in keep))
    return data


def _from_manifest(root: Path) -> Dataset:
    try:
        with (root / "manifest.csv").open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            fields = reader.fieldnames or []
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{root / 'manifest.csv'} is no CSV file in UTF-8 ({error}); save it as such.") from error
    if "image" not in fields:
        raise UserError(f"{root / 'manifest.csv'} has no column 'image'; name the picture files there.")
    if not rows:
        raise UserError(f"{root / 'manifest.csv'} lists no pictures; add a line a picture.")
    label_column = "label" if "label" in fields else "name" if "name" in fields else None
    names = read_names(root / "segments.json") if (root / "segments.json").is_file() else None
    items = []
    for line, row in enumerate(rows, start=2):
        relative, mask = row["image"], (row.get("mask") or "")
        if not relative:
            raise UserError(f"{root / 'manifest.csv'} names no picture for its entry in line {line}; fill in 'image'.")
        if mask and names is None:
            raise UserError(f"{root} has masks but no segments.json; write one that names the mask values.")
        items.append(
            Item(
                id=relative,
                label=row[label_column] if label_column else None,
                picture=_picture_reader(_inside(root, relative)),
                segments=_mask_reader(_inside(root, mask), names or {}) if mask else no_segments,
                columns={k: v for k, v in row.items() if k not in ("image", "label", "mask") and v is not None},
            )
        )
    _check_unique(items, root)
    return Dataset(root.resolve().name, str(root), tuple(items))


def _from_class_folders(root: Path) -> Dataset:
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
    if not paths:
        raise UserError(f"{root} holds no pictures; put them in one folder a class, or write a manifest.csv.")
    items = []
    for path in paths:
        relative = path.relative_to(root)
        label = relative.parts[0] if len(relative.parts) > 1 else None
        items.append(Item(relative.as_posix(), label, _picture_reader(path), no_segments))
    return Dataset(root.resolve().name, str(root), tuple(items))


def _with_masks_from(data: Dataset, folder: Path) -> Dataset:
    if not folder.is_dir():
        raise UserError(f"There is no folder of masks {folder}; check --segments.")
    if not (folder / "segments.json").is_file():
        raise UserError(f"{folder} has no segments.json; write one that names the mask values.")
    names = read_names(folder / "segments.json")
    items, found = [], 0
    for item in data.items:
        relative = Path(item.id).with_suffix(".png")
        mask = next((p for p in (folder / relative, folder / relative.name) if p.is_file()), None)
        found += mask is not None
        reader = _mask_reader(mask, names) if mask else item.segments
        items.append(replace(item, segments=reader))
    if not found:
        raise UserError(f"{folder} has no mask for any picture; a mask carries its picture's name with .png.")
    return replace(data, items=tuple(items))


def read_names(path: Path) -> dict[int, tuple[str, str]]:
    """`segments.json`: mask value -> name, or -> {name, kind}; returns value -> (name, kind).

    Raises:
        UserError: not of that form.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        out = {}
        for value, entry in entries.items():
            name = entry if isinstance(entry, str) else entry["name"]
            kind = default_kind(name) if isinstance(entry, str) else entry.get("kind", default_kind(name))
            if kind not in ("object", "context", "unset"):
                raise UserError(f"{path}: the kind of {name!r} must be object, context or unset, got {kind!r}.")
            out[int(value)] = (name, kind)
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path} must map mask values to names, such as {{'128': 'nucleus'}} ({error}).") from error
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path}: mask values must be whole numbers ({error}).") from error
    return out


def check_context(context: Iterable[str], names: Iterable[str]) -> None:
    """Names given as context must occur.

    Raises:
        UserError: one does not.
    """
    known = sorted(set(names))
    for name in context:
        if name not in known:
            raise UserError(f"No segment is called {name!r}; {closest(name, known)}")


def no_segments() -> None:
    return None


def _inside(root: Path, relative: str) -> Path:
    """A manifest must not point outside its folder."""
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise UserError(f"{root / 'manifest.csv'} points outside its folder ({relative}); copy the file into it.")
    return path


def _picture_reader(path: Path) -> Callable[[], Picture]:
    return lambda: read_picture(path)


def _mask_reader(mask: Path, names: dict[int, tuple[str, str]]) -> Callable[[], Segments]:
    return lambda: segments_from_label_map(read_label_map(mask), names)


def read_label_map(path: Path) -> np.ndarray:
    """[h, w] integers from a PNG: 8-bit, 16-bit or palette index; a 1-bit one reads as 0 and 255.

    Raises:
        UserError: missing, damaged or not a one-channel picture.
    """
    try:
        with Image.open(path, formats=("PNG", "TIFF", "BMP")) as image:
            image.load()
            # a 1-bit picture would read as True and False
            values = np.asarray(image.convert("L") if image.mode == "1" else image)
    except FileNotFoundError as error:
        raise UserError(f"There is no mask {path}; check the manifest.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"The mask {path} cannot be read ({error}); save it as an 8-bit PNG.") from error
    if values.ndim == 3 and (values[..., :1] == values[..., :3]).all():
        values = values[..., 0]
    if values.ndim != 2:
        raise UserError(f"The mask {path} has {values.shape[2]} channels; save one number a pixel.")
    return values.astype(np.int64)


def _check_unique(items: list[Item], root: Path) -> None:
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise UserError(f"{root / 'manifest.csv'} lists {item.id} twice; keep one line a picture.")
        seen.add(item.id)
