"""A mask in the making."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from core.images import Picture
from core.segments.mask import Mask
from core.segments.sam.model import Answer, Sam


@dataclass
class Cut:
    """A mask in the making: what was clicked, and what the SAM answered.

    Attributes:
        points, labels: clicks in pixels of the picture, 1 inside and 0 outside.
        box: (left, top, right, bottom) or None.
        answers: one a click, the last one holds; chosen: which of its masks.
    """

    points: list[tuple[float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: tuple[float, float, float, float] | None = None
    answer: Answer | None = None
    chosen: int = 0

    def ask(self, sam: Sam, picture: Picture) -> None:
        """Ask for masks of all clicks so far; after the first one they correct the mask that was chosen.

        Raises:
            UserError: as of `Sam.predict`.
        """
        previous = None if self.answer is None else self.answer.logits[self.chosen]
        self.answer = sam.predict(picture, self.points, self.labels, self.box, previous)
        self.chosen = 0

    def copy(self) -> Cut:
        """One that further clicks may be added to."""
        return replace(self, points=list(self.points), labels=list(self.labels))

    @property
    def is_region(self) -> bool:
        """Whether what would be kept is one of the picture's own regions, and no mask of the SAM."""
        return self.answer is not None and self.chosen in self.answer.regions

    @property
    def mask(self) -> Mask | None:
        """What would be kept."""
        return None if self.answer is None else Mask.from_dense(self.answer.masks[self.chosen])
