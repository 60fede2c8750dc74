"""What `explain` returns: a map with the picture it is of, ready to look at, to add up by segment and to keep."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from core.attribution import Attribution
from core.choice import Choice
from core.classifier import Classifier
from core.images import Picture
from core.overlays import LONGEST_SIDE, LONGEST_SIDE_OF_A_FILE, drawing
from core.preprocessing import Prepared

if TYPE_CHECKING:
    from PIL import Image

    from core.export import MapFolder
    from core.segments import Segments


@dataclass(frozen=True, eq=False)
class Explanation:
    """One picture explained. Taken apart, it is `attribution, prepared`; a notebook shows its overlay.

    Attributes:
        attribution: [H, W] in the model's frame, raw, with how it was made.
        prepared: the picture in the model's frame, and the geometry of the way there and back.
        picture: as it was given, upright.
        classifier: whose answer is explained; choice, seed: how.
        probability: of the target on this picture, in [0, 1].
    """

    attribution: Attribution
    prepared: Prepared = field(repr=False)
    picture: Picture = field(repr=False)
    classifier: Classifier = field(repr=False)
    choice: Choice
    probability: float
    seed: int

    def __iter__(self) -> Iterator[Any]:
        return iter((self.attribution, self.prepared))

    @property
    def label(self) -> str:
        """The class that is explained."""
        return self.classifier.labels[self.attribution.target]

    @property
    def contrast_label(self) -> str | None:
        """The class that it is explained against, if there is one."""
        contrast = self.attribution.contrast
        return None if contrast is None else self.classifier.labels[contrast]

    def on_picture(self) -> Tensor:
        """[h, w] float32: the map laid over the whole upright picture; 0 where the model sees nothing."""
        return self.prepared.geometry.map_to_picture(self.attribution.values)

    def overlay(self, longest: int = LONGEST_SIDE_OF_A_FILE) -> Image.Image:
        """The map over the whole picture in colours, at most `longest` pixels a side; grey where it says nothing."""
        return drawing(self.picture, self.attribution, self.prepared.geometry, longest)

    def rows(self, segments: Segments) -> list[dict[str, Any]]:
        """What part of the map lies on which segment: one row a segment that the model can see.

        Args:
            segments: over the upright picture.

        Returns:
            As of `core.sat.rows.segment_rows`.

        Raises:
            UserError: they are of a picture of another size.
        """
        from core.sat.rows import segment_rows
        from core.segments import check_size

        check_size(segments, self.picture.size, self.picture.name)
        return segment_rows(self.attribution, segments, self.prepared.geometry)

    def save(self, folder: str | Path | MapFolder) -> Path:
        """Write the raw values (.npy), the overlay (.png), and attribution.json with what they are.

        Args:
            folder: a path starts a list of its own, which takes the place of one that is there; a `MapFolder` takes
                several explanations, one after another.

        Returns:
            The path of attribution.json.

        Raises:
            UserError: the folder cannot be written to.
        """
        from core.export import MapFolder

        into = folder if isinstance(folder, MapFolder) else MapFolder(folder)
        into.add(
            self.picture.name,
            self.attribution,
            self.classifier,
            self.probability,
            self.choice,
            self.seed,
            self.overlay(),
            self.picture.notes,
        )
        return into.finish()

    def _repr_png_(self) -> bytes:
        """For notebooks."""
        buffer = io.BytesIO()
        self.overlay(LONGEST_SIDE).save(buffer, "PNG")
        return buffer.getvalue()
