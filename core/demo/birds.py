"""Demo birds: pictures whose every pixel has a known name, with shortcuts planted on request.

`render` draws one picture from (label, seed, plants) and nothing else. `core.demo.scenes` makes data sets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.demo.anatomy import choose_pose, draw_bird
from core.demo.canvas import Canvas
from core.demo.perches import PERCHES, draw_foreground, draw_perch
from core.demo.plants import CLASSES, CORNERS, Plants, border, stamp, stamp_box, stream
from core.demo.scenery import GROUNDS, SKIES, draw_ground, draw_sky
from core.demo.segments import BODY, FRAME, HEAD, OBJECT_VALUES, PERCH, SEGMENTS, TAIL, WATERMARK, WING
from core.demo.species import SPECIES

__all__ = ["CLASSES", "SEGMENTS", "Plants", "Scene", "overlay", "render"]

_CHOICES, _POSE, _SKY, _GROUND, _PERCH, _BIRD, _FRONT, _LIGHT, _CORNER = range(9)  # one random stream for each part


# Which parts bulge: (labels, how far the bulge reaches in parts of the picture's side, how deep its shade is).
_ROUNDING = (((HEAD, BODY), 0.045, 0.85), ((WING,), 0.03, 0.45), ((HEAD,), 0.03, 0.3), ((TAIL,), 0.02, 0.2))


@dataclass(frozen=True, eq=False)
class Scene:
    """One rendered picture.

    Attributes:
        image: [H, W, 3] uint8, RGB.
        mask: [H, W] uint8, a key of SEGMENTS for every pixel: what is topmost there.
        label: index into CLASSES.
        seed: what it was rendered from.
        plants: with every choice filled in, so that rendering (label, seed, plants) again gives the same picture.
    """

    image: np.ndarray
    mask: np.ndarray
    label: int
    seed: int
    plants: Plants


def render(label: int, seed: int, size: int = 224, plants: Plants = Plants()) -> Scene:  # noqa: B008 (it is frozen)
    """Draw one bird.

    The picture depends on the arguments alone. Plants change what they cover and nothing else: without its watermark a
    picture has the same pixels outside the watermark's mask.

    Args:
        label: index into CLASSES.
        seed: not negative; picks pose, plumage, surroundings and light.
        size: side of the picture in pixels, at least 32.
        plants: what is put into the picture on purpose.
    """
    if not 0 <= label < len(CLASSES):
        raise ValueError(f"expected a label in [0, {len(CLASSES) - 1}], got {label}")
    if seed < 0 or size < 32:
        raise ValueError(f"expected seed >= 0 and size >= 32, got seed {seed} and size {size}")
    plants = _fill_in(label, seed, plants)
    sky, ground, perch = plants.sky, plants.ground, plants.perch
    assert sky is not None
    assert ground is not None
    assert perch is not None  # all filled in just now
    species = SPECIES[label]
    canvas = Canvas(size)
    pose = choose_pose(species, stream(label, seed, _POSE))
    draw_sky(canvas, sky, stream(label, seed, _SKY))
    draw_ground(canvas, ground, stream(label, seed, _GROUND))
    draw_perch(canvas, perch, pose.foot, pose.scale, stream(label, seed, _PERCH))
    draw_bird(canvas, species, pose, stream(label, seed, _BIRD))
    draw_foreground(canvas, stream(label, seed, _FRONT))
    colours, mask = canvas.finish()
    image = _light(colours, mask, stream(label, seed, _LIGHT))
    corner = plants.corner or _free_corner(mask, stream(label, seed, _CORNER))
    bare = Scene(image, mask, label, seed, replace(plants, watermark=False, frame=None, corner=corner))
    return overlay(bare, watermark=plants.watermark, frame=plants.frame)


def overlay(scene: Scene, *, watermark: bool = False, frame: str | None = None) -> Scene:
    """`scene`, which has neither watermark nor frame, with them on top: the same as rendering it with them."""
    if scene.plants.watermark or scene.plants.frame:
        raise ValueError("expected a scene without watermark and frame, got one that has some already")
    image, mask, size = scene.image.copy(), scene.mask.copy(), len(scene.mask)
    if watermark:
        _lay(image, mask, *stamp(size, scene.plants.corner or CORNERS[0]), WATERMARK)
    if frame:
        _lay(image, mask, *border(size, frame), FRAME)
    return Scene(image, mask, scene.label, scene.seed, replace(scene.plants, watermark=watermark, frame=frame))


def _fill_in(label: int, seed: int, plants: Plants) -> Plants:
    rng = stream(label, seed, _CHOICES)
    drawn = {}
    for field, options in (("sky", SKIES), ("ground", GROUNDS), ("perch", PERCHES)):
        choice = options[int(rng.integers(len(options)))]  # drawn in any case: one wish must not change the next choice
        drawn[field] = getattr(plants, field) or choice
    return replace(plants, **drawn)


def _free_corner(mask: np.ndarray, rng: np.random.Generator) -> str:
    """One of the corners in which a watermark hides least of the bird, in steps of a tenth of the watermark."""
    bird = _cover(mask, OBJECT_VALUES)
    hidden = [round(10 * float(bird[stamp_box(len(mask), corner)].mean())) for corner in CORNERS]
    best = [corner for corner, tenths in zip(CORNERS, hidden, strict=True) if tenths == min(hidden)]
    return best[int(rng.integers(len(best)))]


def _light(colours: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Round the bird's body, cast its shadow, tint everything by the hour of the day and add the grain of paper."""
    import cv2

    size = len(mask)
    angle = rng.uniform(-0.75, 0.75) * np.pi / 2
    towards = np.array([np.sin(angle), -np.cos(angle)], np.float32)  # where the light comes from: always from above
    strength = float(rng.uniform(0.5, 1.0))
    warmth, brightness = rng.normal(0, 0.05), rng.uniform(0.86, 1.08)

    bird = _cover(mask, OBJECT_VALUES)
    shade = np.ones((size, size), np.float32)
    for values, reach, depth in _ROUNDING:
        part = _cover(mask, values)
        soft = cv2.GaussianBlur(part, (0, 0), reach * size)
        slope_x = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3, scale=0.125) * size
        slope_y = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3, scale=0.125) * size
        lit = -(slope_x * towards[0] + slope_y * towards[1]) * reach
        covered = bird if values == (HEAD, BODY) else part
        shade += np.clip(lit, -0.45, 0.4) * depth * strength * covered
    # The bird's shadow falls on its perch only; the rest is too far behind.
    step = -towards * 0.05 * size
    shift = np.array([[1, 0, step[0]], [0, 1, step[1] + 0.02 * size]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(bird, shift, (size, size)), (0, 0), 0.018 * size)
    shade -= 0.4 * strength * shadow * (mask == PERCH)
    # A third of a pixel of softness hides the steps where one part's shade ends.
    shade = cv2.GaussianBlur(shade, (0, 0), 0.0022 * size)

    across = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    sweep = 1 + 0.1 * strength * (across[None, :] * towards[0] + across[:, None] * towards[1])
    tint = np.array([1 + warmth, 1 + 0.2 * warmth, 1 - warmth], np.float32)
    grain = 2.2 * rng.standard_normal((size, size, 1), np.float32)
    lit = colours * (shade * sweep * brightness)[..., None] * tint + grain
    return np.clip(lit + 0.5, 0, 255).astype(np.uint8)


def _cover(mask: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    table = np.zeros(256, np.float32)
    table[list(values)] = 1
    return table[mask]


def _lay(image: np.ndarray, mask: np.ndarray, colours: np.ndarray, opacity: np.ndarray, value: int) -> None:
    covered = opacity > 0
    share = opacity[covered][:, None]
    image[covered] = np.round(image[covered] * (1 - share) + colours[covered] * share).astype(np.uint8)
    mask[covered] = value
