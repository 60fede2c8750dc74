"""Data sets: pictures with labels, and where there are any, segments."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from core.errors import UserError, closest
from core.images import PICTURE_SUFFIXES, Picture, read_picture
from core.runtime.fingerprints import file_state
from core.segments import Segments, check_size
from core.segments.files import SegmentFiles, match, open_segments
from core.segments.files.label_maps import read_one
from core.segments.files.names import NAMES_FILE, read_names
from core.segments.files.upright import upright


@dataclass(frozen=True)
class Item:
    """One picture of a data set; nothing is read before it is asked for.

    Attributes:
        id: unique and steady within the data set (a relative path, or a number of a rendered one).
        label: its class, or None.
        columns: what else the manifest says ("group" marks pictures that belong together, such as one patient's).
        files: what picture and segments are read from, where that is files of its own.
    """

    id: str
    label: str | None
    picture: Callable[[], Picture]
    segments: Callable[[], Segments | None]
    columns: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

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
        notes: what was left out of its masks when it was opened, one sentence each.
        masks: the files that its masks were taken from, if they lie elsewhere.
        files: what else all of it depends on, such as the names of mask values.
        names: those that its masks' files promise, whether or not a mask has them.
        noted: picture -> what was noticed of its masks, of those that were read so far.
        labels: the classes that occur, sorted.
    """

    name: str
    source: str
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    masks: SegmentFiles | None = None
    files: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    noted: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted({item.label for item in self.items if item.label is not None}))

    @property
    def masks_name(self) -> str:
        """What its masks were taken from, for people."""
        return self.name if self.masks is None else self.masks.path.name

    @property
    def first_without_masks(self) -> Item | None:
        """The first picture known to come without masks, which is found out without reading any; None if none does."""
        return next((item for item in self.items if item.segments is no_segments), None)

    def fingerprint(self) -> str:
        """Another one after any picture, label, name or mask has changed: from the files' sizes and times, unread."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(repr((item.id, item.label, sorted(item.columns.items()))).encode("utf-8", "surrogateescape"))
            digest.update(repr([_state(file) for file in item.files]).encode())
        digest.update(repr([_state(file) for file in self.files]).encode())
        if self.masks is not None:
            path = self.masks.path
            below = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
            for file in below:
                digest.update(repr((str(file), _state(file))).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

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
        segments: masks from elsewhere, of any form that `core.segments.files.open_segments` reads; they are matched by
            the picture's relative path, else its bare name. Pictures without any there keep what they have.
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
        data = _with_segments_from(data, Path(segments))
    data = _with_upright_masks(data)
    return data if limit is None else limited(data, limit)


def limited(data: Dataset, limit: int, besides: Container[str] = ()) -> Dataset:
    """At most so many pictures, spread evenly over the whole, and those with ids in `besides`.

    Raises:
        UserError: the limit is below 1.
    """
    if limit >= len(data):
        return data
    if limit < 1:
        raise UserError(f"The limit must be at least 1 picture, got {limit}.")
    keep = set(np.linspace(0, len(data) - 1, limit).round().astype(int).tolist())
    return replace(data, items=tuple(x for i, x in enumerate(data.items) if i in keep or x.id in besides))


def strays(files: SegmentFiles, used: int, data: Dataset) -> tuple[str, ...]:
    """A note on the entries of files that belong to no picture, when so many are `used`; nothing if all are."""
    left = len(files) - used
    note = f"Entries of {files.path.name} that belong to no picture of {data.name} were left out ({left})."
    return (note,) if left else ()


def _from_manifest(root: Path) -> Dataset:
    manifest = root / "manifest.csv"
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle, skipinitialspace=True)
            fields = [_column(name) for name in reader.fieldnames or ()]
            reader.fieldnames = fields
            rows = list(reader)
    except OSError as error:
        raise UserError(f"{manifest} cannot be read ({error.strerror}); check its permissions.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{manifest} is no CSV file in UTF-8 ({error}); save it as such.") from error
    if not fields:
        raise UserError(f"{manifest} is empty or begins with an empty line; begin it with: image,label")
    if "image" not in fields:
        if any(mark in name for name in fields for mark in ";\t"):
            raise UserError(f"The columns of {manifest} must be separated by commas; save it with commas.")
        raise UserError(f"{manifest} has no column 'image' (only {', '.join(fields)}); name the picture files there.")
    if not rows:
        raise UserError(f"{manifest} lists no pictures; add a line a picture.")
    label_column = "label" if "label" in fields else "name" if "name" in fields else None
    names = read_names(root / NAMES_FILE) if (root / NAMES_FILE).is_file() else None
    items = []
    for line, row in enumerate(rows, start=2):
        relative, mask = row["image"], (row.get("mask") or "")
        if not relative:
            raise UserError(f"{manifest} names no picture for its entry in line {line}; fill in 'image'.")
        if None in row:
            raise UserError(f"{manifest} has more cells than columns in line {line}; put texts with commas in quotes.")
        if mask and names is None:
            raise UserError(f"{root} has masks but no segments.json; write one that names the mask values.")
        files = tuple(_inside(root, part) for part in (relative, mask) if part)
        items.append(
            Item(
                id=relative,
                label=((row[label_column] or "").strip() or None) if label_column else None,
                picture=_picture_reader(files[0]),
                segments=partial(read_one, files[1], names or {}) if mask else no_segments,
                columns={k: v for k, v in row.items() if k not in ("image", "label", "mask") and v is not None},
                files=files,
            )
        )
    _check_unique(items, root)
    promised = tuple(dict.fromkeys(name for name, _ in (names or {}).values() if name))
    return Dataset(root.resolve().name, str(root), tuple(items), files=(root / NAMES_FILE,), names=promised)


def _column(name: str) -> str:
    """Columns that mean something here go by their plain name, however it is written; others keep theirs."""
    name = name.strip()
    return name.lower() if name.lower() in ("image", "label", "name", "mask", "group") else name


def _from_class_folders(root: Path) -> Dataset:
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
    if not paths:
        raise UserError(f"{root} holds no pictures; put them in one folder a class, or write a manifest.csv.")
    items = []
    for path in paths:
        relative = path.relative_to(root)
        label = relative.parts[0] if len(relative.parts) > 1 else None
        items.append(Item(relative.as_posix(), label, _picture_reader(path), no_segments, files=(path,)))
    return Dataset(root.resolve().name, str(root), tuple(items))


def _with_segments_from(data: Dataset, path: Path) -> Dataset:
    files = open_segments(path)
    keys = match([item.id for item in data.items], files)
    if not keys:
        raise UserError(
            f"{path} has no mask for any picture of {data.name}; masks and entries carry their picture's path or name."
        )
    items = [
        replace(item, segments=partial(files.__getitem__, keys[item.id])) if item.id in keys else item
        for item in data.items
    ]
    notes = (*data.notes, *files.notes, *strays(files, len(keys), data))
    return replace(data, items=tuple(items), notes=notes, masks=files, names=files.names)


def _with_upright_masks(data: Dataset) -> Dataset:
    """The same with masks that lie over the upright pictures, and what was noticed of them in `noted`."""

    def wrap(item: Item) -> Item:
        if item.segments is no_segments:
            return item

        def read() -> Segments | None:
            segments = item.segments()
            if segments is not None and item.files:
                segments = upright(segments, item.files[0])
            if segments is not None and segments.notes:
                data.noted[item.id] = segments.notes
            return segments

        return replace(item, segments=read)

    return replace(data, items=tuple(wrap(item) for item in data.items))


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


def _state(file: Path) -> list[int]:
    """As `file_state`; nothing for a file that is not there, which is told when it is read."""
    try:
        return file_state(file)
    except OSError:
        return []


def _inside(root: Path, relative: str) -> Path:
    """A manifest must not point outside its folder."""
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise UserError(f"{root / 'manifest.csv'} points outside its folder ({relative}); copy the file into it.")
    return path


def _picture_reader(path: Path) -> Callable[[], Picture]:
    return lambda: read_picture(path)


def _check_unique(items: list[Item], root: Path) -> None:
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise UserError(f"{root / 'manifest.csv'} lists {item.id} twice; keep one line a picture.")
        seen.add(item.id)
