"""Pictures with exact masks that a SAM is trained on: rendered birds and random scenes; no real picture is among them.

Drawing one takes as long as learning from one, so that each is drawn once and then used several times, moved and
recoloured anew.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from core.demo.birds import render
from core.demo.making.sam_scenes import Labelled, scene
from core.demo.plants import FRAMES, Planting, Recipe
from core.demo.scenes import scenes
from core.demo.segments import BEAK, BODY, EYE, HEAD, LEGS, TAIL, WING

BIRD = 100  # the label of the whole bird, which no pixel has of its own
BIRD_PARENTS = {EYE: HEAD, BEAK: HEAD, HEAD: BIRD, BODY: BIRD, WING: BIRD, TAIL: BIRD, LEGS: BIRD}
BIRD_SEED = 31
BIRDS = 0.6  # of the pictures
ZOOMS = (-0.2, 0.9)  # the logarithms of the least and the most
KEPT = 480  # pictures that a process remembers, of 0.26 MB each at the compact SAM's side
MARKS = (Planting("watermark", True, None, 0.3, 0.3),)
RECIPE = Recipe("sam", (*MARKS, *(Planting("frame", colour, None, 0.04, 0.04) for colour in FRAMES)))


def bird(index: int, side: int, seed: int = BIRD_SEED) -> Labelled:
    """Rendered bird number `index` of a seed, with the watermarks and frames of RECIPE."""
    label, scene_seed, plants = scenes(RECIPE, index + 1, seed, side).plan(index)
    drawn = render(label, scene_seed, side, plants)
    return Labelled(drawn.image, drawn.mask, BIRD_PARENTS)


@lru_cache(maxsize=KEPT)
def picture(seed: int, number: int, side: int) -> Labelled:
    """Picture `number` of a seed, from its arguments alone: a bird or a scene."""
    rng = np.random.default_rng([seed, number, 5])
    if rng.random() < BIRDS:
        return bird(number, side, BIRD_SEED + seed)
    return scene(int(rng.integers(1 << 40)), side)


def moved(rng: np.random.Generator, picture: Labelled, side: int) -> Labelled:
    """A square picture flipped, turned and cropped at random to `side` pixels; at times to a frame that is not square.

    Four in ten stay upright and whole, where `side` is not so small that nothing would be seen.
    """
    import cv2

    image, labels, drawn = picture.image, picture.labels, len(picture.labels)
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    width = height = side
    zoom, angle, slack = 1.0, 0.0, np.zeros(2)
    if rng.random() < 0.6 or 2 * side < drawn:
        quarter = int(rng.choice((0, 1, 2, 3), p=(0.85, 0.05, 0.05, 0.05)))
        image, labels = np.rot90(image, quarter), np.rot90(labels, quarter)
        if rng.random() < 0.3:
            width, height = rng.permutation([side, int(side * rng.uniform(0.45, 0.95))]).tolist()
        zoom = float(np.exp(rng.uniform(ZOOMS[0], max(ZOOMS[1], np.log(drawn / side))))) * max(width, height) / side
        angle = rng.normal(0, 8)
        slack = np.maximum(np.array([side * zoom - width, side * zoom - height]) / 2, 0)
    scale = zoom * side / drawn
    turn = cv2.getRotationMatrix2D(((drawn - 1) / 2, (drawn - 1) / 2), angle, scale)
    turn[:, 2] += (np.array([width, height]) - drawn) / 2 + rng.uniform(-1, 1, 2) * slack
    image = np.ascontiguousarray(image)
    if scale < 0.8:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
    size = (int(width), int(height))
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101
    image = cv2.warpAffine(image, turn, size, flags=flags, borderMode=border)
    labels = cv2.warpAffine(np.ascontiguousarray(labels), turn, size, flags=cv2.INTER_NEAREST, borderMode=border)
    return Labelled(image, labels, picture.parents)


def recoloured(rng: np.random.Generator, picture: Labelled) -> Labelled:
    """Vary hue, brightness, its contrast, and sharpness; nearly half of the pictures stay as they are."""
    import cv2

    if rng.random() < 0.45:
        return picture
    image = picture.image.astype(np.float32)
    if rng.random() < 0.25:
        image = image[..., rng.permutation(3)]
    if rng.random() < 0.1:
        image = np.repeat(image.mean(2, keepdims=True), 3, 2)
    image = 255 * (image / 255) ** float(np.exp(rng.normal(0, 0.25)))
    image = (image - 128) * rng.uniform(0.6, 1.25) + 128 + rng.normal(0, 14) + rng.normal(0, 8, 3)
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    image = image + rng.standard_normal(image.shape, np.float32) * rng.uniform(0, 6)
    return Labelled(np.clip(image, 0, 255).astype(np.uint8), picture.labels, picture.parents)
