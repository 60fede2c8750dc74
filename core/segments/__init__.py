"""Named masks: what they are and where they come from."""

from core.segments.segments import KINDS, Segments, check_size, default_kind, segments_from_label_map
from core.segments.superpixels import superpixels

__all__ = ["KINDS", "Segments", "check_size", "default_kind", "segments_from_label_map", "superpixels"]
