"""What cuts pictures by itself, and the one list of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from core.errors import UserError, closest
from core.images import Picture
from core.parameters import Parameters, parameter
from core.segments.checkpoints import COMPACT, load_sam
from core.segments.sam import EverythingParameters, Sam, open_sam
from core.segments.segments import MIN_AREA, Segments
from core.segments.superpixels import superpixels


class Segmenter(ABC):
    """Cuts a picture into segments. Registered once, it appears everywhere and in every contract test.

    Class attributes:
        name: as typed; title: as shown; summary: one line of help.
        parameters: its frozen dataclass.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    parameters: ClassVar[type[Parameters]] = Parameters

    def __init__(self, spec: str = "", **options: Any) -> None:
        """Make one; nothing is loaded before it is needed.

        Args:
            spec: what stands after the colon in "sam:vit_b"; "" for the default.
            options: as of the model's loader (device, cache, progress); segmenters without a model take none.
        """
        self.spec, self.options = spec, options

    def supports(self) -> str | None:
        """None, or one sentence why it cannot be used here."""
        return None

    def segment(self, picture: Picture, parameters: Parameters | None = None) -> Segments:
        """Cut one picture; the same picture and parameters give the same segments.

        Returns:
            Segments over the upright pixels, without names, none under MIN_AREA pixels.

        Raises:
            UserError: the parameters are another segmenter's, its model cannot be had, or memory runs out.
        """
        parameters = parameters if parameters is not None else self.parameters()
        if not isinstance(parameters, self.parameters):
            raise UserError(f"{self.name} takes {self.parameters.__name__}, got {type(parameters).__name__}.")
        found = self.cut(picture, parameters)
        return replace(found, items=tuple(item for item in found if item.mask.area >= MIN_AREA))

    @abstractmethod
    def cut(self, picture: Picture, parameters: Any) -> Segments:
        """What `segment` is made of."""


_registry: dict[str, type[Segmenter]] = {}


def register(cls: type[Segmenter]) -> type[Segmenter]:
    """Class decorator: put a segmenter on the one list."""
    if cls.name in _registry:
        raise ValueError(f"two segmenters are called {cls.name!r}")
    _registry[cls.name] = cls
    return cls


def segmenters() -> dict[str, type[Segmenter]]:
    """Every segmenter by name."""
    return dict(_registry)


def get_segmenter(text: str, **options: Any) -> Segmenter:
    """By name, or name and spec: "superpixels", "sam", "sam:vit_b", "sam:vit_b@FILE".

    Raises:
        UserError: unknown; names the nearest one.
    """
    name, _, spec = text.partition(":")
    if name not in _registry:
        raise UserError(f"There is no segmenter {name!r}; {closest(name, list(_registry))}")
    return _registry[name](spec, **options)


@register
class SamSegmenter(Segmenter):
    """A SAM in everything-mode."""

    name = "sam"
    title = "Segment Anything"
    summary = "masks of all that a SAM finds, overlapping, without names"
    parameters = EverythingParameters

    def __init__(self, spec: str = "", **options: Any) -> None:
        super().__init__(spec or COMPACT, **options)
        self._sam: Sam | None = None

    @property
    def sam(self) -> Sam:
        """Loaded at the first use."""
        if self._sam is None:
            self._sam = open_sam(self.spec, **self.options)
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

    def cut(self, picture: Picture, parameters: EverythingParameters) -> Segments:
        return self.sam.everything(picture, parameters)


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
    parameters = SuperpixelParameters

    def cut(self, picture: Picture, parameters: SuperpixelParameters) -> Segments:
        return superpixels(picture, parameters.count, parameters.compactness)
