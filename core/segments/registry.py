"""What whatever cuts pictures by itself must do, and the one list of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from core.errors import UserError
from core.images import Picture
from core.parameters import Parameters
from core.registry import Registry
from core.runtime.chunks import out_of_memory
from core.segments.segments import MIN_AREA, Segments


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


class Cutting:
    """A segmenter with its parameters, as a function of a picture; it remembers what was noted of how many."""

    def __init__(self, segmenter: Segmenter, parameters: Parameters) -> None:
        self.segmenter, self.parameters = segmenter, parameters
        self._noted: Counter[str] = Counter()

    def __call__(self, picture: Picture) -> Segments:
        """As of `Segmenter.segment`."""
        found = self.segmenter.segment(picture, self.parameters)
        self._noted.update(found.notes)
        return found

    @property
    def notes(self) -> list[str]:
        """A line each."""
        return [f"In {count:,} picture{'' if count == 1 else 's'}: {note}" for note, count in self._noted.items()]


#: What the segments are called: nothing yet, by a model's own categories, or by the words that were asked for.
FAMILIES = ("unnamed", "semantic", "concepts")

_registry: Registry[Segmenter] = Registry("segmenter", Segmenter, "core.segments.segmenters", FAMILIES)
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
        from core.segments.segmenters.concepts import checked, segmenter_for

        if options.get("concepts") is not None:
            checked(options["concepts"])  # before a model is fetched for them
        name, spec = segmenter_for(spec, options.get("progress"))
    return type(_registry.get(name))(spec, **options)
