"""The SAMs that are loaded, shared by all visitors."""

from __future__ import annotations

import threading
from collections.abc import Callable

from core.errors import UserError
from core.runtime.recent import Recent
from core.segments.registry import SamSegmenter
from core.segments.sam import Sam

KEPT = 2


class Sams:
    """Loads by spec, keeps the few used last."""

    def __init__(self) -> None:
        self._kept: Recent[str, SamSegmenter] = Recent(KEPT)
        self._loading = threading.Lock()

    def segmenter(self, spec: str, progress: Callable[[float, str], None] | None = None) -> SamSegmenter:
        """A loaded one.

        Args:
            progress: called with (fraction in [0, 1], text) while weights are fetched.

        Raises:
            UserError: as of `core.segments.checkpoints.load_sam`.
        """
        spec = (spec or "").strip()
        if not spec:
            raise UserError("No SAM was named; choose one, such as compact or vit_b.")
        with self._loading:
            found = self._kept.get(spec)
            if found is None:
                found = SamSegmenter(spec, progress=progress)
                _ = found.sam  # what cannot be loaded is not kept
                self._kept.put(spec, found)
            return found

    def get(self, spec: str) -> Sam:
        """For clicks and boxes."""
        return self.segmenter(spec).sam
