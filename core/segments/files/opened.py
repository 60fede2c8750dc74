"""Segments that lie in files: which picture has which, read when somebody asks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from core.errors import UserError
from core.images import MAX_PIXELS, PICTURE_SUFFIXES
from core.segments.segments import Segment, Segments
from core.text import composed

# what wrong types and absent fields of a document raise
MALFORMED = (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError)


class SegmentFiles(Mapping[str, Segments]):
    """Picture id -> Segments, each read anew when it is asked for.

    The ids are what the files call their pictures: a path with forward slashes, with or without a suffix.

    Attributes:
        path: what was opened. form: what was found there ("COCO JSON", ...).
        notes: what was left out of the whole, one sentence each; what a picture lost stands in its Segments.
        names: those that the files promise, whether or not a mask has them.
        noted: picture -> the notes of its Segments, of those that were read so far and have any.
    """

    def __init__(
        self,
        path: Path,
        form: str,
        readers: Mapping[str, Callable[[], Segments]],
        notes: Sequence[str] = (),
        names: Iterable[str] = (),
    ) -> None:
        self.path, self.form, self.notes = path, form, tuple(notes)
        self.names = tuple(dict.fromkeys(filter(None, names)))
        self.noted: dict[str, tuple[str, ...]] = {}
        self._readers = dict(readers)

    def __getitem__(self, picture: str) -> Segments:
        found = self._readers[picture]()
        if found.notes:
            self.noted[picture] = found.notes
        return found

    def reader(self, picture: str) -> Callable[[], Segments]:
        """What reads one picture's segments by itself, in another process too."""
        return self._readers[picture]

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def __contains__(self, picture: object) -> bool:
        return picture in self._readers  # Mapping's own would read it

    def __repr__(self) -> str:
        return f"SegmentFiles({self.form} in {self.path}, {len(self)} pictures)"


def gathered(size: tuple[int, int], found: Iterable[Segment], notes: Sequence[str] = ()) -> Segments:
    """The segments of one picture as they come from a file: without empty masks, which a note names."""
    found = tuple(found)
    empty = [segment.name or "one without a name" for segment in found if not segment.mask.area]
    if empty:
        notes = (*notes, f"Empty masks were left out ({', '.join(dict.fromkeys(empty))}).")
    return Segments(size, tuple(segment for segment in found if segment.mask.area), tuple(notes))


def picture_size(given: Sequence[Any], what: str) -> tuple[int, int]:
    """(height, width) as a file gives it, numbers or their text.

    Raises:
        UserError: `what` has none that a picture can have.
    """
    try:
        height, width = (float(side) for side in given)
        if height.is_integer() and width.is_integer() and min(height, width) > 0 and height * width <= MAX_PIXELS:
            return int(height), int(width)
    except MALFORMED:
        pass
    raise UserError(
        f"{what} needs a width and a height in pixels, with at most {MAX_PIXELS // 1_000_000} million together; "
        f"it says {' x '.join(map(str, given)) or 'nothing'}."
    )


def picture_key(name: str) -> str:
    """A picture's path as files name it, with forward slashes and nothing that only says "here"."""
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def without_suffix(path: str) -> PurePosixPath:
    """A path without the suffix of a picture and with composed accents; other suffixes are part of the name."""
    pure = PurePosixPath(composed(path))
    return pure.with_suffix("") if pure.suffix.lower() in PICTURE_SUFFIXES else pure


def match(pictures: Sequence[str], keys: Iterable[str]) -> dict[str, str]:
    """Which key belongs to which picture; pictures without one are left out.

    The whole relative path decides first: the longer one must end in the shorter one, suffixes of pictures aside. Where
    that gives nothing, the bare file name does. Of several, the one with the longer common end counts, then the one
    with the same suffix.

    Raises:
        UserError: two keys fit one picture equally well, or one key two pictures.
    """
    index = _Index(keys)
    found: dict[str, str] = {}
    claims: dict[str, list[tuple[tuple[int, bool], str]]] = defaultdict(list)
    for picture in pictures:
        ranked = sorted(((_closeness(picture, key), key) for key in index.near(picture)), reverse=True)
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
            raise UserError(
                f"Two entries fit the picture {picture}: {ranked[1][1]} and {ranked[0][1]}; "
                "name them by the picture's path."
            )
        if ranked:
            claims[ranked[0][1]].append((ranked[0][0], picture))
    for key, claimants in claims.items():
        claimants.sort(reverse=True)
        if len(claimants) > 1 and claimants[0][0] == claimants[1][0]:
            raise UserError(
                f"{key} fits two pictures, {claimants[1][1]} and {claimants[0][1]}; name it by the picture's path."
            )
        found[claimants[0][1]] = key
    return found


class _Index:
    """Keys by the ends of their paths, so that a picture is compared with few of them, however many share its name.

    Of keys that end alike and have the same file name two are kept, the last ones in order: one that may be taken, and
    one by which it is seen that another fits as well.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._ends: dict[tuple[str, ...], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self._whole: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for key in keys:
            parts, name = _parts(key), key.rpartition("/")[2]
            self._whole[parts].append(key)
            for length in range(1, len(parts) + 1):
                kept = self._ends[parts[-length:]][name]
                kept.append(key)
                kept.sort(reverse=True)
                del kept[2:]

    def near(self, picture: str) -> set[str]:
        """Those among which the two closest ones are."""
        parts = _parts(picture)
        found = {key for length in range(1, len(parts) + 1) for key in self._whole.get(parts[-length:], ())}
        for end in {parts, parts[-1:]}:
            for kept in self._ends.get(end, {}).values():
                found.update(kept)
        return found


def _closeness(picture: str, key: str) -> tuple[int, bool]:
    """How well they fit, given that their stems are equal: (parts of the path that agree, same suffix)."""
    one, other = _parts(picture), _parts(key)
    shorter = min(len(one), len(other))
    same = composed(picture).rpartition("/")[2] == composed(key).rpartition("/")[2]
    return shorter if one[-shorter:] == other[-shorter:] else 0, same


@lru_cache(maxsize=4096)
def _parts(path: str) -> tuple[str, ...]:
    return without_suffix(path).parts or ("",)
