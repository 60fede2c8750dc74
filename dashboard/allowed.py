"""Which places the text boxes of the page may name: whoever opens the page is not who started it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from core.beforehand import DEMO, PREFIXES
from core.errors import UserError
from core.loading.pretrained import HUB_NAME
from core.parameters import named_options
from core.paths import assets_dir, user_path


class Allowed:
    """Folders, with all that lies in them, and single files.

    Everything else is refused in the same words, whether it exists or not, before anything is looked at.
    """

    def __init__(self, places: Iterable[str | Path] = ()) -> None:
        """
        Args:
            places: what was named when the page was started; what comes with Satchel is allowed besides.
        """
        self.places = tuple(os.path.realpath(user_path(place)) for place in (assets_dir(), *places))

    def check(self, place: str | Path) -> None:
        """Of a path in a text box.

        Raises:
            UserError: it lies elsewhere.
        """
        try:
            real = os.path.realpath(user_path(place))
        except UserError:
            real = ""
        if not any(real == known or real.startswith(os.path.join(known, "")) for known in self.places):
            raise UserError(
                "The page opens only what was named when it was started; "
                "start it with `satchel serve --allow FOLDER` to open more."
            )

    def check_spec(self, spec: str) -> None:
        """Of a model's or a segmenter's spec: the folder of `hf:DIR`, or the file after an @.

        Raises:
            UserError: it lies elsewhere.
        """
        for place in places_in(spec):
            self.check(place)

    def check_explainer(self, text: str) -> None:
        """Of an explainer with its parameters: a file of trained weights, or a folder of pictures to compare with.

        Raises:
            UserError: it lies elsewhere, or the text is of no such form.
        """
        name, given = named_options(text, PREFIXES)
        references = given.get("references", "")
        named = (name.partition("@")[2], given.get("weights"), "" if references.startswith(DEMO) else references)
        for place in filter(None, named):
            self.check(place)

    def check_reader(self, spec: str) -> None:
        """Of a model that reads words: a folder, or a name on the hub.

        Raises:
            UserError: it is a folder elsewhere.
        """
        if spec and (not HUB_NAME.fullmatch(spec) or os.path.lexists(spec)):
            self.check(spec)


def places_in(spec: str) -> list[str]:
    """The files and folders that a spec names."""
    source, _, rest = spec.partition(":")
    if source == "hf":
        return [rest]
    _, at, file = spec.partition("@")
    return [file] if at else []
