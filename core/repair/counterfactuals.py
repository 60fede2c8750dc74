"""Pictures in which a fault tells nothing: the segment removed where it is, pasted where it is not; labels stay.

All of this happens at the pictures' own size, or at `LARGER` times the model's frame where that is less, with what a
report's tests do in the model's frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.data import Item
from core.errors import UserError
from core.preprocessing import Preprocessing
from core.repair.faults import Fault
from core.runtime.randomness import derived_seed
from core.runtime.recent import Recent
from core.sat.batch import Scene, read
from core.sat.interventions import LARGE, context_swapped, placement, removal_mask, removed, transplanted
from core.sat.properties import MIRROR, PROPERTIES

LARGER = 2.0
FILLS = ("inpaint", "mean", "blur")  # one a copy, in turn: no fill shall become the new mark
SCENES = 64  # that are kept
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Changed:
    """A picture after the change.

    Attributes:
        done: "removed", "pasted", "swapped" or "given". donor: the id of the picture that lent, or nothing.
    """

    item: Item
    copy: int
    image: Image.Image
    done: str
    donor: str


@dataclass(frozen=True)
class Known:
    """A picture that may take part: what it is of, and whether the segment is in it and how much it covers."""

    item: Item
    label: str
    coverage: float


class Counterfactuals:
    """Makes the changed pictures of some items.

    Args:
        items: with labels; they lend to each other. frame: (H, W) of the model's. seed: same seed, same pictures.

    Raises:
        UserError: no picture shows the segment, or all pictures that could lend are of one class.
    """

    def __init__(self, items: Sequence[Item], fault: Fault, frame: tuple[int, int], seed: int) -> None:
        self.fault, self.seed, self.longest = fault, seed, round(LARGER * max(frame))
        self._scenes: Recent[tuple[str, tuple[int, ...] | None], Scene] = Recent(SCENES)
        self.known = [known for item in items if (known := self._known(item)) is not None]
        ranked = sorted(self.known, key=lambda one: derived_seed(seed, one.item.id, "donor"))
        self.donors = [one for one in ranked if fault.kind == "property" or one.coverage > 0]
        if not self.donors:
            raise UserError(f"None of the {len(items)} pictures to learn from shows {fault.name}; give more of them.")
        self.large = fault.kind == "segment" and float(np.median([one.coverage for one in self.donors])) > LARGE
        if (self.large or fault.kind == "property") and len({one.label for one in self.donors}) < 2:
            raise UserError(f"All pictures with {fault.name} are of one class; give pictures of others beside them.")

    def __len__(self) -> int:
        return len(self.known)

    def made(self, number: int, copy: int) -> Changed | None:
        """The changed picture of that number; None where nothing can be changed."""
        one = self.known[number]
        scene = self._scene(one.item)
        size = tuple(scene.image.shape[1:])
        if self.fault.kind == "property":
            return self._given(one, copy, scene, size)
        if one.coverage > LARGE:
            donor = self._donor(one, number + copy, others=True)
            lent = self._scene(donor.item, size)
            image = context_swapped(scene.image, scene.masks[self.name], lent.image, lent.masks[self.name])
            return self._changed(one, copy, image, "swapped", donor)
        if one.coverage > 0:
            gone = removal_mask(scene.masks[self.name], scene.neighbours(self.name))
            return self._changed(one, copy, removed(scene.image, gone, FILLS[copy % len(FILLS)]), "removed", None)
        if self.large:
            return None
        donor = self._donor(one, number + copy, others=False)
        lent = self._scene(donor.item, size)
        mask = lent.masks[self.name]
        if not bool(mask.any()):
            return None
        random = np.random.default_rng(derived_seed(self.seed, one.item.id, donor.item.id, copy))
        shift = placement(mask, scene.objects(), random)
        return self._changed(one, copy, transplanted(scene.image, lent.image, mask, shift), "pasted", donor)

    def all(self, copies: int) -> Iterator[Changed | None]:
        """In order of copies, then of pictures."""
        return (self.made(number, copy) for copy in range(copies) for number in range(len(self)))

    @property
    def name(self) -> str:
        return self.fault.name

    def _given(self, one: Known, copy: int, scene: Scene, size: tuple[int, ...]) -> Changed | None:
        if self.name == MIRROR:
            return self._changed(one, copy, scene.image.flip(2), "given", None)
        chosen = PROPERTIES[self.name]
        donor = self._donor(one, copy, others=True)
        lent = self._scene(donor.item, size)
        if chosen.measure(scene) is None or chosen.measure(lent) is None:
            return None
        given = chosen.give(scene, lent)
        return None if given is None else self._changed(one, copy, given, "given", donor)

    def _donor(self, one: Known, turn: int, others: bool) -> Known:
        """All lend alike; where `others`, only those of another class."""
        fit = [d for d in self.donors if d.item.id != one.item.id and not (others and d.label == one.label)]
        fit = fit or self.donors
        return fit[(derived_seed(self.seed, one.item.id) + turn) % len(fit)]

    def _changed(self, one: Known, copy: int, image: Tensor, done: str, donor: Known | None) -> Changed:
        array = (image.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).numpy()
        return Changed(one.item, copy, Image.fromarray(array), done, donor.item.id if donor else "")

    def _known(self, item: Item) -> Known | None:
        """None for a picture that cannot be read or has no label."""
        if item.label is None:
            return None
        try:
            scene = self._scene(item)
        except UserError:
            return None
        shown = self.fault.kind == "segment" and self.name in scene.masks
        return Known(item, item.label, scene.coverage(self.name) if shown else 0.0)

    def _scene(self, item: Item, size: tuple[int, ...] | None = None) -> Scene:
        """One picture and its masks, at a size (H, W) or at its own."""

        def prepared(width: int, height: int) -> Preprocessing:
            smaller = min(1.0, self.longest / max(width, height))
            own = size or (max(1, round(height * smaller)), max(1, round(width * smaller)))
            return Preprocessing(resize=(own[0], own[1]), crop=None)

        def make() -> Scene:
            return read(item, lambda picture: prepared(*picture.size).apply(picture)).scene(CPU)

        return self._scenes.get_or_make((item.id, size), make)
