"""Masks with names: the segments of one picture."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.errors import UserError
from core.preprocessing import Geometry
from core.segments.mask import Mask, covered
from core.text import composed

KINDS = ("object", "context", "unset")
# who named a segment; "" = nobody: it has no name yet, or one that goes with its source
NAMINGS = ("", "typed", "proposed", "accepted", "file", "model")
CONTEXT_BY_DEFAULT = ("background",)
MAX_NAME = 200
#: Segmenters drop masks of fewer pixels; importers keep all but empty ones.
MIN_AREA = 16
REST = "background"  # the source of what no named mask covers
# masks that are decoded together on their way into the model's frame hold at most so many pixels
DECODED_AT_ONCE = 16_000_000


def default_kind(name: str) -> str:
    """ "background" starts as context, every other name as unset."""
    return "context" if name.lower() in CONTEXT_BY_DEFAULT else "unset"


@lru_cache(maxsize=4096)
def legal_name(name: str) -> str:
    """A name as it is kept: without spaces at its ends, and with composed accents, so that equal names are equal.

    A name is data: slashes, markup and emoji are as good as letters, and whoever shows or stores it must see to that.

    Raises:
        UserError: longer than MAX_NAME characters, or with characters that cannot be shown (line breaks, control).
    """
    legal = composed(name).strip()
    if len(legal) > MAX_NAME:
        raise UserError(
            f"A name has {len(legal)} characters ({legal[:20]!r}...); the limit is {MAX_NAME}, so shorten it."
        )
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in legal):
        raise UserError(f"The name {legal!r} has a line break or a control character; take it out.")
    return legal


@dataclass(frozen=True)
class Segment:
    """One mask and what is known of it.

    Attributes:
        name: "" if it has none yet.
        kind: one of KINDS.
        score: the segmenter's own, of any range; None where it gives none.
        source: where the mask came from ("files", "superpixels", "sam:compact", "semantic:NAME", "drawn", ...).
        naming: where the name came from, one of NAMINGS.
        confidence: of a proposed name, in [0, 1].
    """

    mask: Mask
    name: str = ""
    kind: str = "unset"
    score: float | None = None
    source: str = "files"
    naming: str = ""
    confidence: float | None = None

    def __post_init__(self) -> None:
        for field_name in ("name", "source"):
            object.__setattr__(self, field_name, legal_name(getattr(self, field_name)))
        if self.kind not in KINDS:
            raise ValueError(f"expected a kind of {KINDS}, got {self.kind!r}")
        if self.naming not in NAMINGS or (self.naming and not self.name):
            raise ValueError(f"expected a naming of {NAMINGS}, and none without a name; got {self.naming!r}")
        for field_name, low, high in (("score", -math.inf, math.inf), ("confidence", 0.0, 1.0)):
            value = getattr(self, field_name)
            if value is not None:
                if not (math.isfinite(value) and low <= value <= high):
                    raise ValueError(f"expected a {field_name} in [{low}, {high}], got {value}")
                object.__setattr__(self, field_name, float(value))


@dataclass(frozen=True)
class Segments:
    """The segments of one picture, over its upright pixels. Masks may overlap, and need not cover everything.

    Attributes:
        size: (height, width) of the picture.
        items: in a steady order.
        notes: what was left out or changed on the way in, one sentence each; they do not count in comparisons.
    """

    size: tuple[int, int]
    items: tuple[Segment, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))
        object.__setattr__(self, "items", tuple(self.items))
        strays = {item.mask.size for item in self.items} - {self.size}
        if strays:
            raise ValueError(f"expected masks of size {self.size}, got {sorted(strays)}")

    @classmethod
    def from_masks(
        cls,
        masks: np.ndarray,
        names: Sequence[str],
        kinds: Sequence[str],
        source: str = "files",
        *,
        scores: Sequence[float | None] | None = None,
        naming: str = "file",
    ) -> Segments:
        """From dense masks.

        Args:
            masks: bool [P, h, w].
            names, kinds, scores: one each; "" is no name yet.
            source, naming: of all of them; unnamed ones have no naming.
        """
        scores = [None] * len(masks) if scores is None else scores
        if masks.ndim != 3 or not len(masks) == len(names) == len(kinds) == len(scores):
            raise ValueError(f"{len(names)} names and {len(kinds)} kinds for masks {masks.shape}")
        items = tuple(
            Segment(Mask.from_dense(mask), name, kind, score, source, naming if name else "")
            for mask, name, kind, score in zip(masks, names, kinds, scores)
        )
        return cls((masks.shape[1], masks.shape[2]), items)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.items)

    @property
    def masks(self) -> np.ndarray:
        """bool [P, h, w], decoded anew each time."""
        return self._decoded(self.items)

    @property
    def names(self) -> tuple[str, ...]:
        """One each; "" where there is none yet. A name that occurs twice has instances 0, 1, ..."""
        return tuple(item.name for item in self)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(item.kind for item in self)

    @property
    def instances(self) -> tuple[int, ...]:
        """For each segment, how many of the same name stand before it."""
        seen: Counter[str] = Counter()
        out = []
        for name in self.names:
            out.append(seen[name])
            seen[name] += 1
        return tuple(out)

    @property
    def titles(self) -> tuple[str, ...]:
        """What to call each of them before people: "beak", its second instance "beak 2", an unnamed one "region 5"."""
        return tuple(
            f"region {place + 1}" if not name else f"{name} {instance + 1}" if instance else name
            for place, (name, instance) in enumerate(zip(self.names, self.instances))
        )

    @property
    def named(self) -> bool:
        """False as long as any has no name, as superpixels."""
        return all(self.names)

    def with_context(self, context: Iterable[str]) -> Segments:
        """The same, with these names marked as context."""
        marked = set(map(composed, context))
        return replace(
            self, items=tuple(replace(item, kind="context") if item.name in marked else item for item in self)
        )

    def resized(self, size: tuple[int, int]) -> Segments:
        """Over a copy of the picture of another size (height, width), without those that vanish there."""
        items = (replace(item, mask=item.mask.resized(size)) for item in self)
        return replace(self, size=size, items=tuple(item for item in items if item.mask.area))

    def only_named(self) -> Segments:
        """The same without those that have no name yet."""
        return replace(self, items=tuple(item for item in self if item.name))

    def with_background(self, name: str = "background") -> Segments:
        """The same and one more: everything that no named segment covers; none where nothing is left.

        It takes the place of one that was made like this before.
        """
        items = tuple(item for item in self if item.source != REST or item.naming)  # but one that was named since stays
        masks = [item.mask for item in items if item.name]
        rest = covered(masks).complement() if masks else Mask(np.array([0, self.size[0] * self.size[1]]), self.size)
        if rest.area:
            items = (*items, Segment(rest, name, default_kind(name), source=REST))
        return replace(self, items=items)

    def to_model(self, geometry: Geometry) -> Tensor:
        """[P, H, W] float32 in [0, 1]: area-averaged into the model's frame, a few masks at a time."""
        if not self.items:
            return torch.zeros((0, *geometry.model_size))
        together = max(1, DECODED_AT_ONCE // (self.size[0] * self.size[1]))
        groups = (self.items[first : first + together] for first in range(0, len(self), together))
        return torch.cat([geometry.mask_to_model(self._decoded(group)) for group in groups])

    def _decoded(self, items: Sequence[Segment]) -> np.ndarray:
        dense = np.zeros((len(items), *self.size), bool)
        for item, into in zip(items, dense):
            item.mask.decode(into)
        return dense


def segments_from_label_map(
    label_map: np.ndarray, names: Mapping[int, tuple[str, str]], source: str = "files"
) -> Segments:
    """From one integer label a pixel, in the order of the labels.

    Args:
        label_map: [h, w] integers.
        names: value -> (name, kind); values without an entry belong to no segment.
    """
    flat = label_map.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    stops = np.append(starts[1:], flat.size)
    values = flat[starts]
    items = []
    for value in np.unique(values).tolist():
        if value in names:
            name, kind = names[value]
            own = values == value
            mask = Mask.from_spans(starts[own], stops[own], label_map.shape)
            items.append(Segment(mask, name, kind, source=source, naming="file" if name else ""))
    return Segments((label_map.shape[0], label_map.shape[1]), tuple(items))


def segments_from_regions(labels: np.ndarray, size: tuple[int, int], source: str) -> Segments:
    """Of a picture that was cut over a smaller copy: a segment without a name for each number.

    Args:
        labels: [h, w] integers up to 65535; laid over `size`, (height, width).
    """
    if labels.shape != size:
        small = Image.fromarray(labels.astype(np.uint16))
        labels = np.asarray(small.resize((size[1], size[0]), Image.Resampling.NEAREST))
    return segments_from_label_map(labels, dict.fromkeys(np.unique(labels).tolist(), ("", "unset")), source)


def check_size(segments: Segments, size: tuple[int, int], what: str) -> Segments:
    """Segments must lie over their own picture.

    Raises:
        UserError: of another size.
    """
    if segments.size != size:
        got, want = "x".join(map(str, segments.size)), "x".join(map(str, size))
        turned = " (is one of them turned?)" if segments.size == size[::-1] else ""
        raise UserError(
            f"The mask of {what} is {got} pixels (height x width), its picture {want}{turned}; make them equal."
        )
    return segments
