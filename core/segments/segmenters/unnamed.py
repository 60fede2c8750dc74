"""Segmenters whose segments have no names: Segment Anything, regions and superpixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from core.errors import UserError
from core.images import Picture
from core.parameters import Parameters, parameter
from core.paths import user_path
from core.runtime.fingerprints import weights_mark
from core.segments.registry import Segmenter, register
from core.segments.sam.checkpoints import COMPACT, NAMES, compact_file, load_sam
from core.segments.sam.model import EverythingParameters, Sam, open_sam, usual_parameters
from core.segments.segments import Segments
from core.segments.superpixels import superpixels
from core.segments.unsure import NOTE, regions, sure_of


@register
class SamSegmenter(Segmenter):
    """A SAM in everything-mode."""

    name = "sam"
    title = "Segment Anything"
    summary = "masks of all that a SAM finds, overlapping, without names"
    family = "unnamed"
    specs = (*NAMES, "NAME@FILE")
    parameters = EverythingParameters

    def __init__(self, spec: str = "", **options: Any) -> None:
        super().__init__(spec or COMPACT, **options)
        self.parameters = usual_parameters(self.spec)
        self._sam: Sam | None = None

    @property
    def sam(self) -> Sam:
        """Loaded at the first use."""
        if self._sam is None:
            self._sam = open_sam(self.spec, **self.given("device", "precision", "progress", "cache"))
        return self._sam

    def supports(self) -> str | None:
        """What is missing for the compact SAM; the others are found out about when they are loaded."""
        if self.spec != COMPACT or self._sam is not None:
            return None
        try:
            load_sam(self.spec)
        except UserError as error:
            return str(error)
        return None

    def load(self) -> Sam:
        return self.sam

    def settings(self) -> dict[str, str]:
        file = self.spec.partition("@")[2]
        if not file and self.spec != COMPACT:  # published ones are always the same
            return {}
        return {"weights": weights_mark([user_path(file) if file else compact_file()])}

    def cut(self, picture: Picture, parameters: EverythingParameters) -> Segments:
        """What the SAM finds; regions instead, and a note, where the compact one is unsure of the picture."""
        found = self.sam.everything(picture, parameters)
        if not self.sam.click_means_part or sure_of(found):
            return found
        return replace(regions(picture), notes=(*found.notes, NOTE))


@dataclass(frozen=True)
class RegionParameters(Parameters):
    """Of regions."""

    count: int = parameter(0, "how many regions; 0: as many as the picture asks for, 4 to 12", low=0, high=200, step=1)


@register
class RegionSegmenter(Segmenter):
    """A tree of regions, cut where joining on would cost much."""

    name = "regions"
    title = "Regions"
    summary = "a handful of regions that fill the picture, told apart by colour, texture and edges, without names"
    family = "unnamed"
    parameters = RegionParameters

    def cut(self, picture: Picture, parameters: RegionParameters) -> Segments:
        return regions(picture, parameters.count)


@dataclass(frozen=True)
class SuperpixelParameters(Parameters):
    """Of SLIC."""

    count: int = parameter(24, "about how many regions", low=2, high=200, step=1)
    compactness: float = parameter(12.0, "high: square regions; low: along the edges", low=0.1, high=100.0, step=0.1)


@register
class Superpixels(Segmenter):
    """SLIC."""

    name = "superpixels"
    title = "Superpixels"
    summary = "regions of similar colour that fill the picture, without names or meaning"
    family = "unnamed"
    parameters = SuperpixelParameters

    def cut(self, picture: Picture, parameters: SuperpixelParameters) -> Segments:
        return superpixels(picture, parameters.count, parameters.compactness)
