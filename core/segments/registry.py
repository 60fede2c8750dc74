"""What cuts pictures by itself, and the one list of it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from core.errors import UserError
from core.images import Picture
from core.parameters import Parameters, parameter
from core.paths import existing_file, readable, user_path
from core.registry import Registry
from core.runtime.chunks import out_of_memory
from core.segments.sam.checkpoints import COMPACT, NAMES, compact_file, load_sam
from core.segments.sam.model import EverythingParameters, Sam, open_sam, usual_parameters
from core.segments.segments import MIN_AREA, Segments
from core.segments.superpixels import superpixels


class Segmenter(ABC):
    """Cuts a picture into segments. Registered once, it appears everywhere and in every contract test.

    Class attributes:
        name: as typed; title: as shown; summary: one line of help.
        family: one of FAMILIES: whether its segments have names, and whose.
        specs: what may stand after the colon, such as "vit_b" or "NAME@FILE"; nothing where there is no model.
        parameters: its frozen dataclass; one model's defaults may differ from another's.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    family: ClassVar[str]
    specs: ClassVar[tuple[str, ...]] = ()
    parameters: type[Parameters] = Parameters

    def __init__(self, spec: str = "", **options: Any) -> None:
        """Make one; nothing is loaded before it is needed.

        Args:
            spec: what stands after the colon in "sam:vit_b"; "" for the default.
            options: device, precision, progress, cache, labels, concepts, sam: everyone takes what concerns it.
        """
        self.spec, self.options = spec, options

    def given(self, *names: str) -> dict[str, Any]:
        """Those of its options that were given."""
        return {name: self.options[name] for name in names if name in self.options}

    def supports(self) -> str | None:
        """None, or one sentence why it cannot be used here."""
        return None

    def load(self) -> Any:
        """Its model, loaded at the first call, so that what is missing is known before any picture; None without one.

        Raises:
            UserError: the model cannot be had.
        """
        return None

    def segment(self, picture: Picture, parameters: Parameters | None = None) -> Segments:
        """Cut one picture; the same picture and parameters give the same segments.

        Returns:
            Segments over the upright pixels, none under MIN_AREA pixels; with names where its family says so.

        Raises:
            UserError: the parameters are another segmenter's, its model cannot be had, or memory runs out.
        """
        parameters = parameters if parameters is not None else self.parameters()
        if not isinstance(parameters, type(self).parameters):
            raise UserError(f"{self.name} takes {type(self).parameters.__name__}, got {type(parameters).__name__}.")
        try:
            found = self.cut(picture, parameters)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise UserError(
                f"Memory ran out in {self.name}; take a smaller model, a smaller picture, or the CPU."
            ) from error
        return replace(found, items=tuple(item for item in found if item.mask.area >= MIN_AREA))

    def signature(self, parameters: Parameters) -> str:
        """What cuts, with all that it depends on, in one line: equal ones cut alike. No model is loaded for it.

        Raises:
            UserError: a weights file cannot be read.
        """
        values = {**self.settings(), **parameters.to_dict()}
        said = ", ".join(f"{key}={value}" for key, value in values.items())
        return f"{self.name}{':' if self.spec else ''}{self.spec}" + (f" ({said})" if said else "")

    @property
    def source(self) -> str:
        """What stands in the segments that it makes: its name and spec, without the folder of a file."""
        name, at, file = self.spec.partition("@")
        return f"{self.name}:{name}{at}{Path(file).name}" if self.spec else self.name

    def settings(self) -> dict[str, str]:
        """What it depends on besides its spec and its parameters."""
        return {}

    @abstractmethod
    def cut(self, picture: Picture, parameters: Any) -> Segments:
        """What `segment` is made of."""


#: What the segments are called: nothing yet, by a model's own categories, or by the words that were asked for.
FAMILIES = ("unnamed", "semantic", "concepts")

_registry: Registry[Segmenter] = Registry("segmenter", Segmenter, "core.segments.named", FAMILIES)
register = _registry.register


def segmenters() -> dict[str, Segmenter]:
    """One of every kind by name, family by family, each with its default model."""
    return _registry.all()


def get_segmenter(text: str, **options: Any) -> Segmenter:
    """By name, or name and spec: "superpixels", "sam", "sam:vit_b", "sam:vit_b@FILE", "semantic:NAME".

    Args:
        text: "concepts:DIR_OR_ID" stands for whichever segmenter takes the model that lies there.
        options: as of `Segmenter`.

    Raises:
        UserError: unknown; names the nearest one.
    """
    name, _, spec = text.partition(":")
    if name == "concepts":
        from core.segments.named.concepts import checked, segmenter_for

        if options.get("concepts") is not None:
            checked(options["concepts"])  # before a model is fetched for them
        name, spec = segmenter_for(spec, options.get("progress"))
    return type(_registry.get(name))(spec, **options)


def weights_mark(files: Iterable[Path]) -> str:
    """A few letters that change with what weights files hold.

    Raises:
        UserError: one cannot be read.
    """
    digest = hashlib.blake2b(digest_size=6)
    for path in files:
        with readable(path, "weights file"), existing_file(path, "weights file").open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


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
    family = "unnamed"
    parameters = SuperpixelParameters

    def cut(self, picture: Picture, parameters: SuperpixelParameters) -> Segments:
        return superpixels(picture, parameters.count, parameters.compactness)
