"""Data sets: pictures with labels, and where there are any, segments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from core.beforehand import DEMO, data_folder
from core.errors import UserError, closest
from core.images import Picture, read_picture
from core.manifest import find_manifest, read_manifest
from core.paths import user_path
from core.runtime.fingerprints import file_state
from core.segments import Segments, check_size
from core.segments.files import ANNOTATION_SUFFIXES, SegmentFiles, match, open_segments
from core.segments.files.label_maps import read_one
from core.segments.files.names import NAMES_FILE, read_names
from core.segments.files.upright import upright
from core.text import composed
from core.walking import pictures_in

MASKS = ("masks", "segments")  # folders beside pictures


@dataclass(frozen=True)
class Item:
    """One picture of a data set; nothing is read before it is asked for.

    It can be sent to another process: what reads it names files, or what to render.

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
            for file in _files_below(self.masks.path):
                digest.update(repr((str(file), _state(file))).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def with_context(self, context: Iterable[str]) -> Dataset:
        """The same with these segment names marked as context."""
        marked = tuple(context)
        return self._with_masks(lambda item: _Marked(item.segments, marked)) if marked else self

    def _with_masks(self, read: Callable[[Item], Callable[[], Segments | None]]) -> Dataset:
        """The same with masks read otherwise, of those that have any."""
        items = (item if item.segments is no_segments else replace(item, segments=read(item)) for item in self.items)
        return replace(self, items=tuple(items))


def open_dataset(
    source: str | Path,
    *,
    segments: str | Path | None = None,
    limit: int | None = None,
    results: Iterable[str | Path] = (),
) -> Dataset:
    """Open a data set.

    Args:
        source: "demo:birds" (rendered, with masks), a folder with `manifest.csv` (image, label, optionally mask,
            group and further columns) and `segments.json`, or a folder of class folders.
        segments: masks from elsewhere, of any form that `core.segments.files.open_segments` reads; they are matched by
            the picture's relative path, else its bare name. Pictures without any there keep what they have. Without it,
            class folders have those that lie beside them: an annotation file in the folder, or its folder "masks".
        limit: at most this many pictures, spread evenly over the whole.
        results: where results go; what lies there is no data.

    Raises:
        UserError: nothing there, or it does not fit together.
    """
    files = None if segments is None else open_segments(segments)
    root = data_folder(source)
    if root is None:
        from core.demo.dataset import demo_dataset

        data = demo_dataset(str(source).removeprefix(DEMO))
    else:
        manifest = find_manifest(root)
        if manifest is not None:
            data = _from_manifest(root, manifest)
        else:
            left_out = tuple(map(user_path, results))
            beside = _beside(root, left_out)
            elsewhere = [one.path for one in (beside, files) if one is not None and one.path.is_dir()]
            data = _from_class_folders(root, left_out, elsewhere)
            if beside is not None:
                data = _with_segments_from(data, beside)
                told = f"Masks were found in {beside.path.name} and are used."
                data = replace(data, files=tuple(_files_below(beside.path)), notes=(*data.notes, told))
    if files is not None:
        data = _with_segments_from(data, files)
    data = data._with_masks(
        lambda item: _Upright(item.id, item.files[0] if item.files else None, item.segments, data.noted)
    )
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


def _from_manifest(root: Path, manifest: Path) -> Dataset:
    names = read_names(root / NAMES_FILE) if (root / NAMES_FILE).is_file() else None
    items = []
    for line in read_manifest(manifest):
        if line.mask and names is None:
            raise UserError(f"{root} has masks but no segments.json; write one that names the mask values.")
        items.append(
            Item(
                id=line.id,
                label=line.label,
                picture=partial(read_picture, line.image),
                segments=partial(read_one, line.mask, names or {}) if line.mask else no_segments,
                columns=line.columns,
                files=(line.image, line.mask) if line.mask else (line.image,),
            )
        )
    promised = tuple(dict.fromkeys(name for name, _ in (names or {}).values() if name))
    return Dataset(root.resolve().name, str(root), tuple(items), files=(root / NAMES_FILE,), names=promised)


def _from_class_folders(root: Path, results: Iterable[Path], masks: Iterable[Path]) -> Dataset:
    found = pictures_in(root, results, masks)
    if not found.files:
        passed = " ".join(found.notes).rstrip(".")
        why = f" ({passed})" if passed else ""
        raise UserError(f"{root} holds no pictures{why}; put them in one folder a class, or write a manifest.csv.")
    items = []
    for path in found.files:
        relative = path.relative_to(root)
        label = composed(relative.parts[0]) if len(relative.parts) > 1 else None
        items.append(Item(relative.as_posix(), label, partial(read_picture, path), no_segments, files=(path,)))
    return Dataset(root.resolve().name, str(root), tuple(items), found.notes)


def _beside(root: Path, results: tuple[Path, ...]) -> SegmentFiles | None:
    """Masks that lie beside pictures in class folders: the first place there that has one for any of them."""
    documents = [path for path in root.iterdir() if path.suffix.lower() in ANNOTATION_SUFFIXES and path.is_file()]
    for place in (*sorted(documents), *(root / name for name in MASKS if (root / name).is_dir())):
        try:
            files = open_segments(place)
            data = _from_class_folders(root, results, [place] if place.is_dir() else [])
            if match([item.id for item in data.items], files):
                return files
        except UserError:  # something else of that name, or no masks of these pictures
            continue
    return None


def _files_below(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _with_segments_from(data: Dataset, files: SegmentFiles) -> Dataset:
    keys = match([item.id for item in data.items], files)
    if not keys:
        raise UserError(
            f"{files.path} has no mask for any picture of {data.name}; "
            "masks and entries carry their picture's path or name."
        )
    items = [replace(item, segments=files.reader(keys[item.id])) if item.id in keys else item for item in data.items]
    notes = (*data.notes, *files.notes, *strays(files, len(keys), data))
    return replace(data, items=tuple(items), notes=notes, masks=files, names=files.names)


@dataclass(frozen=True)
class _Marked:
    """Segments with these names marked as context."""

    read: Callable[[], Segments | None]
    context: tuple[str, ...]

    def __call__(self) -> Segments | None:
        segments = self.read()
        return segments.with_context(self.context) if segments else segments


@dataclass(frozen=True)
class _Upright:
    """Segments that lie over the upright picture; what was noticed of them goes into `noted`, in this process."""

    image: str
    picture: Path | None
    read: Callable[[], Segments | None]
    noted: dict[str, tuple[str, ...]]

    def __call__(self) -> Segments | None:
        segments = self.read()
        if segments is not None and self.picture is not None:
            segments = upright(segments, self.picture)
        if segments is not None and segments.notes:
            self.noted[self.image] = segments.notes
        return segments

    def __reduce__(self) -> tuple[type, tuple]:
        return _Upright, (self.image, self.picture, self.read, {})


def check_context(context: Iterable[str], names: Iterable[str]) -> None:
    """Names given as context must occur.

    Raises:
        UserError: one does not.
    """
    known = sorted(set(names))
    for name in context:
        if composed(name) not in known:
            raise UserError(f"No segment is called {name!r}; {closest(name, known)}")


def no_segments() -> None:
    return None


def _state(file: Path) -> list[int]:
    """As `file_state`; nothing for a file that is not there, which is told when it is read."""
    try:
        return file_state(file)
    except OSError:
        return []
