"""The names behind the values of a demo mask."""

from __future__ import annotations

from types import MappingProxyType

BEAK, EYE, HEAD, BODY, WING, TAIL, LEGS, SKY, GROUND, PERCH, WATERMARK, FRAME = range(1, 13)

#: Mask value -> (name, kind). Every pixel of every demo mask holds one of these values.
SEGMENTS = MappingProxyType(
    {
        BEAK: ("beak", "object"),
        EYE: ("eye", "object"),
        HEAD: ("head", "object"),
        BODY: ("body", "object"),
        WING: ("wing", "object"),
        TAIL: ("tail", "object"),
        LEGS: ("legs", "object"),
        SKY: ("sky", "context"),
        GROUND: ("ground", "context"),
        PERCH: ("perch", "context"),
        WATERMARK: ("watermark", "context"),
        FRAME: ("frame", "context"),
    }
)

OBJECT_VALUES = tuple(value for value, (_, kind) in SEGMENTS.items() if kind == "object")
