"""Pictures on the page: uploads and examples, and how a classifier sees them. Bounded, shared by all visitors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from core.classifier import Classifier, Prediction
from core.data import Item, no_segments
from core.errors import UserError
from core.images import Picture, read_picture
from core.overlays import display_size, shrunk
from core.preprocessing import Geometry
from core.regions import Regions
from core.runtime.recent import Recent
from core.segments import Segments, check_size, regions, regions_of
from core.segments.files.label_maps import read_one
from dashboard.classifiers import LoadedClassifier
from dashboard.log import timed
from dashboard.overlays import jpeg

THUMBNAIL = 112
SEGMENT_SIDE = 384
COPY_BYTES, VIEW_BYTES = 64 * 2**20, 128 * 2**20  # kept of the pictures seen last, for all visitors together


@dataclass(frozen=True)
class Source:
    """A picture somebody can choose.

    Attributes:
        id: digest of its pixels; equal pictures are one.
        name: for people. path: where it is read from.
        size: (height, width) upright.
        thumbnail: a data address.
        segments: reads those that come with it, over the upright picture; None where none do.
        upload: False for examples.
        notes: what was changed on the way in.
        label: what it shows, where that is known.
    """

    id: str
    name: str
    path: Path
    size: tuple[int, int]
    thumbnail: str
    segments: Callable[[], Segments | None] | None = None
    upload: bool = True
    notes: tuple[str, ...] = ()
    label: str | None = None


@dataclass(frozen=True)
class View:
    """A picture as one classifier sees it.

    Attributes:
        shown: uint8 [h, w, 3], the copy on the page.
        image: [3, H, W] in [0, 1], the classifier's input.
        geometry: between the shown copy and the input.
        segments, segment_geometry: over a still smaller copy (masks are many), and from there to the input.
        masks, coverage: [P, H, W] in [0, 1], the segments in the model's frame; the part of it each covers.
        predictions: the likeliest classes, likeliest first.
        labels, fingerprint: of the classifier.
        truth: the class that the picture shows; None where that is not known, or no class of this classifier.
        seconds: what the prediction took, one pass.
    """

    source: Source
    shown: np.ndarray
    image: Tensor
    geometry: Geometry
    segments: Segments
    segment_geometry: Geometry
    masks: Tensor
    coverage: tuple[float, ...]
    predictions: list[Prediction]
    labels: tuple[str, ...]
    fingerprint: str
    truth: int | None = None
    seconds: float = 0.0

    @cached_property
    def regions(self) -> Regions:
        """The segments as what can be taken away, one at a time."""
        return regions_of([(self.segments, self.masks)])

    def told(self, source: Source, classifier: Classifier) -> View:
        """The same of the picture as this visitor has it: another one may call it something else."""
        return self if source == self.source else replace(self, source=source, truth=truth_of(source, classifier))

    @property
    def instead(self) -> str | None:
        """What the picture shows, where that is known and the likeliest class is another one."""
        return None if self.truth in (None, self.predictions[0].index) else self.labels[self.truth]

    @property
    def boxed(self) -> bool:
        """Part of the picture lies outside what the model sees."""
        return self.geometry.seen_box() != (0, 0, *self.geometry.picture_size)


class Saved(Protocol):
    """What was named of pictures on the Segments tab."""

    def version(self, source: Source) -> int:
        """Counts up with every change; 0 as long as there was none."""
        ...

    def named(self, source: Source, size: tuple[int, int]) -> Segments | None:
        """The named segments over a copy of that size, if there are any."""
        ...


class Pictures:
    """Reads pictures once, keeps small copies of the ones in use."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self._copies: Recent[tuple[str, int], tuple[Picture, Segments]] = Recent(COPY_BYTES, _copy_bytes)
        self._views: Recent[tuple[str, int, str], View] = Recent(VIEW_BYTES, _view_bytes)

    def read(
        self,
        path: Path,
        name: str | None = None,
        segments: Callable[[], Segments | None] | None = None,
        upload: bool = True,
        label: str | None = None,
    ) -> Source:
        """Read a file as a picture.

        Raises:
            UserError: it is none.
        """
        with timed("picture", "taken", without=name or path.name) if upload else nullcontext({}) as about:
            picture = read_picture(path, name)
            about |= {"height": picture.size[0], "width": picture.size[1]}
        thumbnail = picture.image
        if max(thumbnail.size) > THUMBNAIL:  # without a copy of the whole
            thumbnail = ImageOps.contain(thumbnail, (THUMBNAIL, THUMBNAIL))
        return Source(
            picture.digest,
            picture.name,
            path,
            picture.size,
            jpeg(np.asarray(thumbnail)),
            segments,
            upload,
            picture.notes,
            label,
        )

    def view(self, source: Source, loaded: LoadedClassifier, turn: Callable) -> View:
        """Prepare, cut and predict; `turn()` is a context in which the device may be used.

        Raises:
            UserError: the file is gone, or the model's answer is not a number.
        """
        classifier = loaded.classifier
        key = (source.id, self._saved.version(source), classifier.fingerprint)
        found = self._views.get(key)
        if found is not None:
            return found.told(source, classifier)
        picture = self._reread(source)
        prepared = classifier.prepare(picture)
        copy, segments = self._copy(source, picture, key[1])
        with turn():
            began = perf_counter()
            predictions = classifier.predict(prepared.tensor[None])[0]
            seconds = perf_counter() - began
        geometry = shrunk(prepared.geometry, copy.size)
        cut = shrunk(prepared.geometry, segments.size)
        masks = segments.to_model(cut)
        coverage = tuple(masks.mean((1, 2)).tolist())
        view = View(
            source, copy.array(), prepared.tensor, geometry, segments, cut, masks, coverage, predictions,
            classifier.labels, classifier.fingerprint, truth_of(source, classifier), seconds,
        )  # fmt: skip
        return self._views.put(key, view)

    def _reread(self, source: Source) -> Picture:
        if not source.path.is_file():
            raise UserError(f"{source.name} is no longer stored here; add it again.")
        return read_picture(source.path, source.name)

    def _copy(self, source: Source, picture: Picture, version: int) -> tuple[Picture, Segments]:
        def make() -> tuple[Picture, Segments]:
            copy = _smaller(picture, display_size(source.size))
            return copy, self._saved.named(source, display_size(source.size, SEGMENT_SIDE)) or _segments(source, copy)

        return self._copies.get_or_make((source.id, version), make)


def truth_of(source: Source, classifier: Classifier) -> int | None:
    """The class that a picture shows; None where that is not known, or no class of this classifier."""
    with suppress(UserError):  # the classifier has no such class
        return None if source.label is None else classifier.class_index(source.label)
    return None


def _copy_bytes(copy: tuple[Picture, Segments]) -> int:
    height, width = copy[0].size
    return 3 * height * width  # masks are kept as runs, which are small beside it


def _view_bytes(view: View) -> int:
    return view.shown.nbytes + 4 * (view.image.numel() + 2 * view.masks.numel())  # masks, and regions made of them


def _smaller(picture: Picture, size: tuple[int, int]) -> Picture:
    if picture.size == size:
        return picture
    return Picture(picture.image.resize((size[1], size[0]), Image.Resampling.LANCZOS), picture.name)


def _segments(source: Source, copy: Picture) -> Segments:
    """Those that come with a picture, else regions without names; over a copy of at most SEGMENT_SIDE a side."""
    size = display_size(source.size, SEGMENT_SIDE)
    found = source.segments() if source.segments is not None else None
    if found is not None:
        check_size(found, source.size, source.name)
        found = found.resized(size)
    return found if found is not None and len(found) else regions(_smaller(copy, size))


def item_of(source: Source, name: str) -> Item:
    """A picture of the page as one of a data set, called `name` there."""
    return Item(name, source.label, partial(read_picture, source.path, source.name), source.segments or no_segments)


def example_files() -> list[tuple[Path, Callable[[], Segments | None] | None]]:
    """(picture, what reads its segments or None) of the examples that come with the page, the ones with a watermark
    first. Their names begin with what they show.
    """
    from core.demo.segments import SEGMENTS
    from core.paths import assets_dir

    folder = assets_dir() / "examples"
    found = [p for p in folder.glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")] if folder.is_dir() else []
    found.sort(key=lambda p: ("watermark" not in p.stem, p.stem))
    masks = [folder / "masks" / f"{p.stem}.png" for p in found]
    return [(p, partial(read_one, m, dict(SEGMENTS)) if m.is_file() else None) for p, m in zip(found, masks)]
