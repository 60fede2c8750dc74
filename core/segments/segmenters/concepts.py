"""Segmenters that read: one looks for words, with any model of its kind from a folder or the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from core.errors import UserError
from core.loading.pretrained import WEIGHTS, load_module, load_processor, model_folder, model_type, transformers_for
from core.paths import kind_at, user_path
from core.runtime.device import choose_device, choose_precision
from core.runtime.fingerprints import weights_mark
from core.runtime.progress import OnProgress
from core.segments.registry import Segmenter, segmenters
from core.segments.segments import legal_name

USUAL = "CIDAS/clipseg-rd64-refined"


@dataclass(frozen=True)
class Reader:
    """A model that is loaded, with what goes before it.

    Attributes:
        tokenizer, image_processor: the weights' own, of transformers.
        device, precision: where it runs, and "float32" or "bfloat16".
    """

    module: Any
    tokenizer: Any
    image_processor: Any
    device: torch.device
    precision: str

    def cast(self) -> AbstractContextManager:
        """Passes inside run in its precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


class ConceptSegmenter(Segmenter):
    """Finds whatever its words mean. Names are the words as they were given.

    Class attributes:
        model_types: what `config.json` calls the models that it takes; architecture: transformers' class of them.
        usual: its default on the hub.
    """

    family = "concepts"
    specs = ("DIR", "OWNER/NAME")
    model_types: ClassVar[tuple[str, ...]]
    architecture: ClassVar[str]
    usual: ClassVar[str]

    def __init__(self, spec: str = "", **options: Any) -> None:
        """As of `Segmenter`; `concepts` in the options are the words, without which nothing can be cut."""
        super().__init__(spec or self.usual, **options)
        given = options.get("concepts")
        self.concepts: tuple[str, ...] = () if given is None else checked(given)
        self._reader: Reader | None = None

    def supports(self) -> str | None:
        """Whether transformers is there; its model is found out about when it is loaded."""
        try:
            transformers_for(f"Models that read words, such as {self.title},")
        except UserError as error:
            return str(error)
        return None

    @property
    def source(self) -> str:
        """ "concepts:" and the last part of the folder or name."""
        return f"concepts:{os.path.basename(os.path.realpath(user_path(self.spec)))}"

    def settings(self) -> dict[str, str]:
        about = {"concepts": repr(list(self.concepts))}
        folder = user_path(self.spec)
        if kind_at(folder, "model folder") == "folder":
            about["weights"] = weights_mark(sorted(folder.glob(WEIGHTS)))
        return about

    def load(self) -> Reader:
        if not self.concepts:
            raise UserError(f"{self.title} looks for words; say which (--concepts beak,watermark).")
        if self._reader is None:
            options = self.given("device", "precision", "progress")
            self._reader = open_reader(self.spec, self.title, self.architecture, self.model_types, **options)
            self.prepare(self._reader)
        return self._reader

    def prepare(self, reader: Reader) -> None:
        """What is made of the words once, before the first picture."""


def open_reader(
    spec: str,
    title: str,
    architecture: str,
    model_types: Sequence[str],
    *,
    device: str | torch.device = "auto",
    precision: str = "auto",
    progress: OnProgress | None = None,
) -> Reader:
    """Load a model with its tokenizer and its image processor.

    Args:
        spec: as of `model_folder`.
        title: for messages; architecture: transformers' class; model_types: what `config.json` may say.

    Raises:
        UserError: transformers is missing or too old, or there is no whole model of this kind.
    """
    device = choose_device(device)
    precision = choose_precision(precision, device)
    library = transformers_for(f"Models that read words, such as {title},")
    kind = getattr(library, architecture, None)
    if kind is None:
        raise UserError(f"{title} needs a newer transformers than {library.__version__}; update it.")
    folder = model_folder(spec, progress)
    found = model_type(folder)
    if found not in model_types:
        raise UserError(f"{spec} holds a model of the kind {found!r}, which is not {title}'s ({model_types[0]}).")
    module: nn.Module = load_module(kind, folder, title).to(device)
    processor = load_processor(folder, title)
    return Reader(module, processor.tokenizer, processor.image_processor, device, precision)


def segmenter_for(spec: str, progress: OnProgress | None = None) -> tuple[str, str]:
    """Name and spec of the segmenter that takes the model at `spec` (DIR, OWNER/NAME, or "" for the usual one).

    Raises:
        UserError: nothing there, or a model of another kind.
    """
    spec = spec or USUAL
    transformers_for("Concepts")
    kind = model_type(model_folder(spec, progress))
    readers = [one for one in segmenters().values() if isinstance(one, ConceptSegmenter)]
    for one in readers:
        if kind in one.model_types:
            return one.name, spec
    titles = ", ".join(one.title for one in readers)
    raise UserError(f"{spec} holds a model of the kind {kind!r}; those that find concepts are: {titles}.")


def checked(concepts: Sequence[str], option: str = "--concepts") -> tuple[str, ...]:
    """The words as names; `option` is where they were given.

    Raises:
        UserError: there are none, one is empty, not legal as a name, or given twice (small and capital letters alike).
    """
    if isinstance(concepts, str):
        raise TypeError("expected a list of concepts, got a text")
    names = tuple(legal_name(concept) for concept in concepts)
    if not names or not all(names):
        raise UserError(f"A word is empty; write one before and after each comma ({option} beak,watermark).")
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise UserError(f"The word {name!r} is given twice; leave one of them out ({option}).")
        seen.add(name.casefold())
    return names
