"""The segmenters that are loaded, shared by all visitors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from core.errors import UserError
from core.runtime.progress import OnProgress
from core.runtime.recent import Recent
from core.segments.registry import Segmenter, get_segmenter, segmenters
from core.segments.sam.checkpoints import COMPACT
from core.segments.sam.model import Sam
from dashboard.allowed import Allowed
from dashboard.loads import Loads

if TYPE_CHECKING:
    from core.segments.segmenters.unnamed import SamSegmenter

KEPT = 3


class Segmenters:
    """Loads by name, spec and words, keeps the few used last."""

    def __init__(self, allowed: Allowed | None = None) -> None:
        """
        Args:
            allowed: what a spec may name; without it only what comes with Satchel.
        """
        self.allowed = allowed or Allowed()
        self._kept: Recent[tuple[str, tuple[str, ...]], Segmenter] = Recent(KEPT)
        self._loads: Loads[tuple[str, tuple[str, ...]], Segmenter] = Loads()

    def get(
        self,
        name: str,
        spec: str = "",
        words: Sequence[str] = (),
        sam: str = COMPACT,
        progress: OnProgress | None = None,
    ) -> Segmenter:
        """A loaded one.

        Args:
            name: as registered; spec: which model, "" for the usual one.
            words, sam: what to look for, and which SAM cuts out what was found, for those that read.
            progress: called with (fraction in [0, 1], text) while weights are fetched.

        Raises:
            UserError: there is none of that name, its model cannot be had, or takes too long.
        """
        spec = (spec or "").strip()
        known = segmenters().get(name)
        if known is not None and known.family == "concepts":
            self.allowed.check_reader(spec)
        else:
            self.allowed.check_spec(f"{name}:{spec}")
        self.allowed.check_spec(f"sam:{sam}")
        key = (f"{name}:{spec}", (*words, *([sam] if words else ())))

        def load(told: OnProgress) -> Segmenter:
            def make() -> Segmenter:
                options: dict[str, Any] = {"concepts": tuple(words), "sam": sam} if words else {}
                made = get_segmenter(f"{name}:{spec}" if spec else name, progress=told, **options)
                made.load()  # what cannot be loaded is not kept
                return made

            return self._kept.get_or_make(key, make)

        return self._kept.get(key) or self._loads.get(key, f"{name} {spec}".strip(), load, progress)

    def sam(self, spec: str, progress: OnProgress | None = None) -> Sam:
        """For clicks and boxes."""
        if not (spec or "").strip():
            raise UserError("No SAM was named; choose one, such as compact or vit_b.")
        return cast("SamSegmenter", self.get("sam", spec, progress=progress)).sam
