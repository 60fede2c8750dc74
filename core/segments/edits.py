"""What a person does to the segments of one picture, one function each. Nothing is changed in place.

Segments are meant by their keys (`segment_keys`), not by their place: an edit still means the same masks after somebody
else has added or removed others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence, Sized
from dataclasses import dataclass, replace

import numpy as np

from core.errors import UserError
from core.segments.mask import Mask
from core.segments.saved.records import BY_PEOPLE, mask_key
from core.segments.segments import MIN_AREA, Segment, Segments, default_kind, legal_name

DRAWN = "drawn"
SAME = 0.9  # IoU from which two masks are the same thing


@dataclass(frozen=True)
class Edited:
    """What came out.

    Attributes:
        segments: of the whole picture.
        touched: keys of the segments that were changed or made.
        action: what was done, in words.
        nameless: `mask_key` of masks that were left without a name on purpose.
    """

    segments: Segments
    touched: tuple[str, ...]
    action: str
    nameless: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Edit:
    """Something to do to the segments of a picture; call it with them.

    Attributes:
        keys: of the segments that are meant. Whoever saves it sees to it that they still are what was seen.
    """

    keys: tuple[str, ...]
    do: Callable[[Segments], Edited]

    def __call__(self, segments: Segments) -> Edited:
        return self.do(segments)


def segment_keys(segments: Iterable[Segment]) -> list[str]:
    """One each: the key of its mask, numbered from the second segment on that has the same mask."""
    seen: Counter[str] = Counter()
    keys = []
    for item in segments:
        key = mask_key(item.mask)
        seen[key] += 1
        keys.append(key if seen[key] == 1 else f"{key}-{seen[key]}")
    return keys


def by_key(segments: Iterable[Segment] | None) -> dict[str, Segment]:
    """The same with their segments; empty for None."""
    items = tuple(segments or ())
    return dict(zip(segment_keys(items), items))


def rename(keys: Sequence[str], name: str) -> Edit:
    """Give masks a name; an empty one takes theirs away. Whoever saves it knows the kind of a known name.

    Raises:
        UserError: the name is not legal; on use, no mask is chosen or one is not there any more.
    """
    name = legal_name(name)

    def edit(segments: Segments) -> Edited:
        chosen = _chosen(segments, keys)
        changes = {"name": name, "kind": default_kind(name), "naming": "typed" if name else "", "confidence": None}
        items = tuple(replace(item, **changes) if place in chosen else item for place, item in enumerate(segments))
        done = f"named {_count(chosen)} {name}" if name else f"took the name from {_count(chosen)}"
        nameless = frozenset() if name else frozenset(mask_key(item.mask) for item in chosen.values())
        return Edited(replace(segments, items=items), tuple(keys), done, nameless)

    return Edit(tuple(keys), edit)


def accept(keys: Sequence[str]) -> Edit:
    """Agree with proposed names.

    Raises:
        UserError: on use, none of the masks has a proposed name, or one is not there any more.
    """

    def edit(segments: Segments) -> Edited:
        chosen = {place: item for place, item in _chosen(segments, keys).items() if item.naming == "proposed"}
        if not chosen:
            raise UserError("None of these masks has a proposed name; type one.")
        items = tuple(replace(s, naming="accepted") if place in chosen else s for place, s in enumerate(segments))
        return Edited(replace(segments, items=items), tuple(keys), f"accepted {_count(chosen)}")

    return Edit(tuple(keys), edit)


def add(mask: Mask, source: str = DRAWN, score: float | None = None) -> Edit:
    """Put a mask on top, without a name.

    Raises:
        UserError: on use, it is too small, or that very mask is there already.
    """

    def edit(segments: Segments) -> Edited:
        if mask.area < MIN_AREA:
            raise UserError(f"That mask has only {mask.area} pixels; at least {MIN_AREA} are needed. Click elsewhere.")
        key = mask_key(mask)
        if any(item.mask == mask for item in segments):
            raise UserError("That very mask is there already; click on it to name it.")
        items = (*segments.items, Segment(mask, score=score, source=source))
        return Edited(replace(segments, items=items), (key,), "cut a mask")

    return Edit((), edit)


def merge(keys: Sequence[str]) -> Edit:
    """Make one mask of several. It has the name of the largest of them that has one.

    Raises:
        UserError: on use, fewer than two are chosen, or one is not there any more.
    """

    def edit(segments: Segments) -> Edited:
        chosen = _chosen(segments, keys)
        if len(chosen) < 2:
            raise UserError("Choose two or more masks to merge: hold Shift and click on the others.")
        model = max(chosen.values(), key=lambda item: (bool(item.name), item.mask.area))
        union = model.mask.union(*(item.mask for item in chosen.values()))
        whole = replace(model, mask=union, score=None, source=DRAWN)
        if whole.naming == "proposed":  # for a mask that is no more
            whole = replace(whole, name="", kind="unset", naming="", confidence=None)
        return _put(segments, chosen, (whole,), f"merged {len(chosen)} masks")

    return Edit(tuple(keys), edit)


def split(keys: Sequence[str]) -> Edit:
    """Divide a mask into its connected pieces; or, of two masks, take the smaller out of the larger.

    Pieces under MIN_AREA pixels go.

    Raises:
        UserError: on use, there is nothing to divide, or a mask is not there any more.
    """

    def edit(segments: Segments) -> Edited:
        chosen = sorted(_chosen(segments, keys).items(), key=lambda placed: -placed[1].mask.area)
        if len(chosen) > 2:
            raise UserError("Choose one mask to split into its pieces, or two to take the smaller out of the larger.")
        place, whole = chosen[0]
        if len(chosen) == 2:
            rest = whole.mask.intersection(chosen[1][1].mask.complement())
            if rest.area == whole.mask.area:
                raise UserError("These two masks do not overlap, so there is nothing to take out.")
            pieces, done = [rest] if rest.area >= MIN_AREA else [], "took a mask out of another"
        else:
            pieces, done = _pieces(whole.mask), "split a mask"
            if len(pieces) < 2:
                raise UserError(
                    "That mask is in one piece; cut the part out with a click, then split with both chosen."
                )
        parts = tuple(replace(whole, mask=piece, score=None, source=DRAWN) for piece in pieces)
        return _put(segments, [place], parts, done)

    return Edit(tuple(keys), edit)


def delete(keys: Sequence[str]) -> Edit:
    """Remove masks.

    Raises:
        UserError: on use, none is chosen, or one is not there any more.
    """

    def edit(segments: Segments) -> Edited:
        chosen = _chosen(segments, keys)
        return _put(segments, chosen, (), f"deleted {_count(chosen)}")

    return Edit(tuple(keys), edit)


def recut(found: Segments) -> Edit:
    """Put a new cut in place of all masks but those with a name that a person stands behind or that came with them.

    New masks that are about the same as one that stays are left out.
    """

    def edit(segments: Segments) -> Edited:
        kept = tuple(item for item in segments if item.naming in (*BY_PEOPLE, "file"))
        new = tuple(item for item in found if all(item.mask.iou(other.mask) < SAME for other in kept))
        items = (*kept, *new)
        return Edited(replace(segments, items=items), (), f"cut into {len(new)} masks")

    return Edit((), edit)


def _chosen(segments: Segments, keys: Iterable[str]) -> dict[int, Segment]:
    """Place -> segment."""
    wanted = set(keys)
    if not wanted:
        raise UserError("Choose a mask first: click on it.")
    placed = enumerate(zip(segment_keys(segments), segments))
    chosen = {place: item for place, (key, item) in placed if key in wanted}
    if len(chosen) < len(wanted):
        raise UserError("A mask that you chose is not there any more; choose again.")
    return chosen


def _put(segments: Segments, gone: Collection[int], new: Sequence[Segment], action: str) -> Edited:
    """All but those at the places that are `gone`; the new ones stand where the first of them stood."""
    place = min(gone)
    after = [item for at, item in enumerate(segments) if at > place and at not in gone]
    items = (*segments.items[:place], *new, *after)
    return Edited(replace(segments, items=items), tuple(segment_keys(items)[place : place + len(new)]), action)


def _pieces(mask: Mask) -> list[Mask]:
    """Its connected pieces (neighbours by side or corner), the largest first."""
    from scipy.ndimage import find_objects, label

    left, top, _, _ = mask.box
    numbered, _ = label(mask.crop(), np.ones((3, 3), int))
    found = []
    for number, (rows, columns) in enumerate(find_objects(numbered), 1):
        piece = numbered[rows, columns] == number
        if piece.sum() >= MIN_AREA:
            dense = np.zeros(mask.size, bool)
            dense[top + rows.start : top + rows.stop, left + columns.start : left + columns.stop] = piece
            found.append(Mask.from_dense(dense))
    return sorted(found, key=lambda piece: -piece.area)


def _count(chosen: Sized) -> str:
    return "1 mask" if len(chosen) == 1 else f"{len(chosen)} masks"
