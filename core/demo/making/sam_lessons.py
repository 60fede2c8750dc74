"""What a SAM is trained on: a picture, prompts, and the masks that each prompt may mean.

Most pictures are rendered birds, the others random scenes; no real picture is among them. A click means, from small
to large, the part it lies in, that part with what lies on it, and the whole thing; a box means what it encloses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.demo.making.sam_pictures import moved, recoloured
from core.demo.making.sam_scenes import GROUND, Labelled

MEANINGS = 3  # masks that one click may mean; also the outputs of a SAM
CLICKS = 4  # of one prompt at most
FINENESS = 2  # pixels of the input per pixel of a target, which is what a SAM's low-resolution masks have
BOXES = 0.45  # of the lessons
SMALLEST = 16  # pixels that a thing must have to be asked for
PADDING = (124, 116, 104)  # what normalisation turns into nought
NOWHERE = 255  # the label of what lies beyond a picture that is not square


@dataclass(frozen=True, eq=False)
class Lesson:
    """One picture with N prompts, all of one sort.

    Attributes:
        image: [3, S, S] uint8; beyond a picture that is not square, PADDING.
        points: [N, K, 2] float32, (x, y) in pixels; marks: [N, K] int64: 1 inside, 0 outside. K is at most CLICKS, and
            0 where there are boxes.
        boxes: [N, 4] float32 (left, top, right, bottom), or None where the prompts are clicks.
        targets: [N, MEANINGS, S / FINENESS, S / FINENESS] uint8 of 255, from small to large; empty ones do not count.
        meant: [N] int64, the meaning that the prompt has.
        things: [2, S / FINENESS, S / FINENESS] uint8: what each pixel belongs to, by parts and by wholes.
    """

    image: np.ndarray
    points: np.ndarray
    marks: np.ndarray
    boxes: np.ndarray | None
    targets: np.ndarray
    meant: np.ndarray
    things: np.ndarray


def lesson(seed: int, index: int, drawn: Labelled, side: int, prompts: int) -> Lesson:
    """Lesson number `index` of a seed about a square picture, from its arguments alone."""
    rng = np.random.default_rng([seed, index, 6])
    shown = recoloured(rng, moved(rng, drawn, side))
    return ask(rng, shown, side, prompts, with_boxes=rng.random() < BOXES)


def meanings(labels: np.ndarray, parents: dict[int, int], thing: int) -> list[np.ndarray]:
    """The masks that a click on a thing's own pixels may mean, bool [h, w], from small to large, at most MEANINGS.

    Its own pixels; it with its parts; what it is a part of, and so on. Nearly equal ones count once.
    """
    found = [labels == thing]
    at: int | None = thing
    while at is not None:
        whole = np.isin(labels, _family(parents, at))
        if found[-1].sum() < 0.9 * whole.sum():
            found.append(whole)
        at = parents.get(at)
    return found if len(found) <= MEANINGS else [*found[: MEANINGS - 1], found[-1]]


def _family(parents: dict[int, int], thing: int) -> list[int]:
    """A thing and all of its parts, and theirs."""
    family = [thing]
    for member in family:
        family.extend(part for part, parent in parents.items() if parent == member)
    return family


def middle(mask: np.ndarray) -> tuple[int, int]:
    """(x, y) of the pixel of a mask that lies farthest from everything else: its centre, and always inside it."""
    import cv2

    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """(left, top, right, bottom), the last two one beyond the mask's last pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def ask(rng: np.random.Generator, picture: Labelled, side: int, prompts: int, *, with_boxes: bool) -> Lesson:
    """Draw prompts for a picture of at most `side` pixels a side."""
    height, width = picture.labels.shape
    image = np.empty((side, side, 3), np.uint8)
    image[:] = PADDING
    image[:height, :width] = picture.image
    things, sizes = np.unique(picture.labels, return_counts=True)
    things = things[sizes >= SMALLEST]
    chains = {int(thing): meanings(picture.labels, picture.parents, int(thing)) for thing in things}
    # as many for each prompt, since a SAM sees the places that are left empty
    clicks = 0 if with_boxes else 1 if rng.random() < 0.75 else int(rng.integers(2, CLICKS + 1))
    points, marks = np.zeros((prompts, clicks, 2), np.float32), np.ones((prompts, clicks), np.int64)
    boxes = np.zeros((prompts, 4), np.float32) if with_boxes else None
    targets = np.zeros((prompts, MEANINGS, side // FINENESS, side // FINENESS), np.uint8)
    meant = np.zeros(prompts, np.int64)
    for n in range(prompts):
        chain = chains[_choose(rng, picture.labels, things, anything=not with_boxes)]
        if boxes is not None:
            mask = chain[int(rng.integers(len(chain)))]
            boxes[n], chain = _around(rng, mask, (height, width)), [mask]
        else:
            meant[n] = _click(rng, chain, points[n], marks[n])
        for level, mask in enumerate(chain):
            targets[n, level] = _coarse(mask, side)
    return Lesson(image.transpose(2, 0, 1).copy(), points, marks, boxes, targets, meant, _things(picture, side))


def _things(picture: Labelled, side: int) -> np.ndarray:
    """uint8 [2, side / FINENESS, side / FINENESS]: as of Lesson."""
    whole = np.arange(256, dtype=np.uint8)
    for part in picture.parents:
        at = part
        while at in picture.parents:
            at = picture.parents[at]
        whole[part] = at
    labels = picture.labels[FINENESS // 2 :: FINENESS, FINENESS // 2 :: FINENESS]
    found = np.full((2, side // FINENESS, side // FINENESS), NOWHERE, np.uint8)
    found[0, : labels.shape[0], : labels.shape[1]] = labels
    found[1, : labels.shape[0], : labels.shape[1]] = whole[labels]
    return found


def _choose(rng: np.random.Generator, labels: np.ndarray, things: np.ndarray, *, anything: bool) -> int:
    """One thing, mostly each as likely as another, at times as likely as it is large."""
    if anything and rng.random() < 0.25:
        drawn = int(labels[int(rng.integers(labels.shape[0])), int(rng.integers(labels.shape[1]))])
        if drawn in things:
            return drawn
    others = things if anything or len(things) == 1 else things[things != GROUND]
    return int(others[int(rng.integers(len(others)))])


def _click(rng: np.random.Generator, chain: list[np.ndarray], points: np.ndarray, marks: np.ndarray) -> int:
    """Fill in the clicks of one prompt in place; returns which of the chain is meant."""
    own = chain[0]
    if rng.random() < 0.5:
        points[0] = np.asarray(middle(own)) + rng.normal(0, 0.7, 2)
        x, y = np.clip(np.round(points[0]), 0, (own.shape[1] - 1, own.shape[0] - 1)).astype(int)
        if not own[y, x]:
            points[0] = middle(own)
    else:
        points[0] = _pixel(rng, own)
    if len(points) == 1:
        return 0
    meant = int(rng.integers(len(chain)))
    mask = chain[meant]
    left, top, right, bottom = box_of(mask)
    reach = max(right - left, bottom - top) // 3 + 4
    near = np.zeros_like(mask)
    near[max(top - reach, 0) : bottom + reach, max(left - reach, 0) : right + reach] = True
    outside = near & ~mask
    for k in range(1, len(points)):
        inside = rng.random() < 0.5 or not outside.any()
        points[k], marks[k] = _pixel(rng, mask if inside else outside), int(inside)
    return meant


def _pixel(rng: np.random.Generator, mask: np.ndarray) -> tuple[int, int]:
    ys, xs = np.nonzero(mask)
    at = int(rng.integers(len(ys)))
    return int(xs[at]), int(ys[at])


def _around(rng: np.random.Generator, mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask's box; six times in ten as a hand draws it, off by some percent of its sides."""
    box = np.asarray(box_of(mask), np.float32)
    if rng.random() < 0.6:
        sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
        box = box + np.clip(rng.normal(0, 0.05, 4) * sides, -16, 16)
    height, width = size
    return np.clip(box, 0, (width, height, width, height))


def _coarse(mask: np.ndarray, side: int) -> np.ndarray:
    """uint8 [side / FINENESS, side / FINENESS]: 255 times the part of each coarse pixel that the mask covers."""
    import cv2

    full = np.zeros((side, side), np.uint8)
    full[: mask.shape[0], : mask.shape[1]] = mask * np.uint8(255)
    return cv2.resize(full, (side // FINENESS, side // FINENESS), interpolation=cv2.INTER_AREA)
