"""Named masks: what they are and where they come from."""

from core.segments.mask import Mask, covered
from core.segments.partition import regions_of
from core.segments.segments import (
    KINDS,
    MIN_AREA,
    Segment,
    Segments,
    check_size,
    default_kind,
    legal_name,
    segments_from_label_map,
)
from core.segments.superpixels import superpixels
from core.segments.unsure import regions

__all__ = [
    "KINDS",
    "MIN_AREA",
    "Mask",
    "Segment",
    "Segments",
    "check_size",
    "covered",
    "default_kind",
    "legal_name",
    "regions",
    "regions_of",
    "segments_from_label_map",
    "superpixels",
]
