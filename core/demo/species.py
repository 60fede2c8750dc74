"""What tells the demo birds apart: the build and the colours of each class.

Bird units: the bird faces right, x forwards and y down, the trunk about one unit long; the origin lies in the trunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Beak:
    """A beak grows from the face along a parabola.

    Attributes:
        length: face to tip.
        depth: height at the face.
        droop: how far the tip hangs below a straight beak; negative points up.
        fullness: 1 is a straight cone, more stays deep longer.
        upper, lower: colours of the two halves.
        tip: colour of the last fifth, or None.
    """

    length: float
    depth: float
    droop: float
    fullness: float
    upper: str
    lower: str
    tip: str | None = None


@dataclass(frozen=True)
class Tail:
    """A fan of feathers.

    Attributes:
        length: of the longest feather.
        width: of one feather.
        spread: half opening of the fan in degrees.
        shape: how the lengths run from the middle to the edge.
        angle: direction in degrees, 0 backwards and 90 straight down.
        tip: colour of a band at the end, or None.
    """

    length: float
    width: float
    spread: float
    shape: Literal["square", "notched", "wedge", "streamer", "round"]
    angle: float
    colour: str
    tip: str | None = None


@dataclass(frozen=True)
class Wing:
    """A wing of layered feathers.

    Attributes:
        shoulder: where it is joined to the trunk.
        length, width: folded.
        angle: direction of the folded wing in degrees, 0 backwards and 90 straight down.
        flight, coverts, shoulder_colour: colours from the long feathers to the small ones.
        pattern: marks on it; `mark` is their colour.
    """

    shoulder: tuple[float, float]
    length: float
    width: float
    angle: float
    flight: str
    coverts: str
    shoulder_colour: str
    pattern: Literal["plain", "dots", "bars", "spots", "mottle"] = "plain"
    mark: str = "#ffffff"


@dataclass(frozen=True)
class Species:
    """One class of birds.

    Attributes:
        spine: (x, y, radius) from the head along neck and trunk to the root of the tail.
        neck: number of leading spine points that belong to the head's plumage besides the head itself.
        back, belly, head: main colours; `throat`, `cheek`, `cap`, `stripe` are patches of the head or None.
        crest: what stands up from the head.
        legs: free length of the legs; `leg` their colour.
        hip: where the legs leave the trunk.
        front: True where the face looks at the viewer.
        belly_pattern: marks on the belly.
        iris: colour of the eye; `ring` of the skin round it, or None; `eye` its radius in parts of the head's.
    """

    name: str
    spine: tuple[tuple[float, float, float], ...]
    beak: Beak
    tail: Tail
    wing: Wing
    back: str
    belly: str
    head: str
    leg: str
    legs: float
    hip: tuple[float, float]
    throat: str | None = None
    cheek: str | None = None
    cap: str | None = None
    stripe: str | None = None
    crest: Literal["spikes", "plume", "peak", "tufts"] | None = None
    crest_colour: str | None = None
    front: bool = False
    belly_pattern: Literal["plain", "streaks", "band", "bib"] = "plain"
    belly_mark: str = "#ffffff"
    iris: str = "#2a1d1a"
    ring: str | None = None
    eye: float = field(default=0.24)


SPECIES: tuple[Species, ...] = (
    Species(
        "kingfisher",
        spine=((0.28, -0.42, 0.2), (0.2, -0.26, 0.2), (0.07, -0.01, 0.25), (-0.07, 0.2, 0.18), (-0.26, 0.37, 0.07)),
        beak=Beak(0.42, 0.13, 0.0, 1.15, "#2d2b33", "#3a3236"),
        tail=Tail(0.22, 0.09, 13, "square", 52, "#1d6fa3"),
        wing=Wing((0.03, -0.17), 0.62, 0.3, 50, "#165d8c", "#1f86a8", "#2596ae", "dots", "#9fe0e6"),
        back="#2391b5",
        belly="#e3873a",
        head="#1f7fa8",
        leg="#d3542e",
        legs=0.13,
        hip=(0.0, 0.2),
        throat="#f6efe0",
        cheek="#e08a40",
        stripe="#22344a",
        crest="spikes",
    ),
    Species(
        "bee-eater",
        spine=((0.3, -0.44, 0.165), (0.21, -0.27, 0.17), (0.06, -0.01, 0.225), (-0.11, 0.2, 0.165), (-0.33, 0.4, 0.06)),
        beak=Beak(0.42, 0.085, 0.12, 1.2, "#2b292f", "#37323a"),
        tail=Tail(0.5, 0.075, 7, "streamer", 50, "#1f7f98"),
        wing=Wing((0.04, -0.17), 0.68, 0.26, 50, "#1b6d8f", "#2a93a6", "#3aa0a6", "plain"),
        back="#2c99ad",
        belly="#dd8f42",
        head="#2488a6",
        leg="#54454a",
        legs=0.12,
        hip=(-0.02, 0.19),
        throat="#f4e2a4",
        stripe="#1e2a38",
        iris="#8e2f24",
    ),
    Species(
        "finch",
        spine=((0.3, -0.36, 0.185), (0.22, -0.22, 0.19), (0.07, 0.0, 0.255), (-0.11, 0.17, 0.19), (-0.34, 0.32, 0.065)),
        beak=Beak(0.16, 0.16, 0.02, 1.0, "#c9b7a6", "#b7a493"),
        tail=Tail(0.38, 0.085, 12, "notched", 42, "#4a4048"),
        wing=Wing((0.04, -0.13), 0.6, 0.28, 42, "#453c46", "#5d4f52", "#8b5f4e", "bars", "#f7efe2"),
        back="#9a664c",
        belly="#d98866",
        head="#7c93a6",
        leg="#8a6552",
        legs=0.17,
        hip=(-0.02, 0.2),
        cheek="#d08361",
    ),
    Species(
        "heron",
        spine=(
            (0.4, -0.94, 0.088),
            (0.29, -0.87, 0.066),
            (0.27, -0.7, 0.056),
            (0.35, -0.52, 0.062),
            (0.34, -0.34, 0.082),
            (0.2, -0.14, 0.16),
            (0.02, -0.01, 0.215),
            (-0.2, 0.1, 0.15),
            (-0.4, 0.19, 0.06),
        ),
        beak=Beak(0.4, 0.075, 0.0, 1.1, "#e0a33c", "#c98d35"),
        tail=Tail(0.2, 0.09, 9, "square", 28, "#76828f"),
        wing=Wing((0.1, -0.13), 0.66, 0.3, 26, "#48535f", "#8492a0", "#9aa6b2", "plain"),
        back="#94a1ae",
        belly="#e4e2dc",
        head="#eceae3",
        leg="#b08a4c",
        legs=0.56,
        hip=(0.0, 0.17),
        stripe="#2b2f3a",
        crest="plume",
        crest_colour="#2b2f3a",
        iris="#e7c33f",
        eye=0.3,
    ),
    Species(
        "parrot",
        spine=((0.2, -0.46, 0.2), (0.13, -0.29, 0.205), (0.04, 0.0, 0.25), (-0.06, 0.23, 0.18), (-0.18, 0.42, 0.075)),
        beak=Beak(0.11, 0.25, 0.2, 2.4, "#4a4346", "#6a5d5b"),
        tail=Tail(0.68, 0.085, 7, "wedge", 66, "#2a7d56", "#2e62a8"),
        wing=Wing((0.0, -0.17), 0.66, 0.31, 60, "#2b5fa6", "#2f9a55", "#e2b53a", "plain"),
        back="#3aa758",
        belly="#6cbf5a",
        head="#46b060",
        leg="#7d7371",
        legs=0.1,
        hip=(0.0, 0.22),
        cheek="#d4493c",
        iris="#e98b2c",
        ring="#f1ece2",
    ),
    Species(
        "woodpecker",
        spine=(
            (0.27, -0.5, 0.158),
            (0.17, -0.33, 0.135),
            (0.05, -0.02, 0.215),
            (-0.08, 0.22, 0.17),
            (-0.2, 0.41, 0.07),
        ),
        beak=Beak(0.27, 0.085, 0.0, 1.0, "#5d6168", "#70747a"),
        tail=Tail(0.38, 0.085, 9, "wedge", 60, "#2c2a33"),
        wing=Wing((0.02, -0.18), 0.66, 0.28, 56, "#26242d", "#2f2d37", "#35323d", "spots", "#f6f1e6"),
        back="#312e39",
        belly="#ece4d4",
        head="#35323d",
        leg="#75716f",
        legs=0.11,
        hip=(0.02, 0.2),
        cheek="#f3ecdd",
        crest="peak",
        crest_colour="#cf3b32",
        cap="#cf3b32",
        belly_pattern="streaks",
        belly_mark="#8d8580",
    ),
    Species(
        "owl",
        spine=(
            (0.09, -0.4, 0.275),
            (0.07, -0.24, 0.265),
            (0.02, 0.03, 0.295),
            (-0.03, 0.25, 0.215),
            (-0.1, 0.42, 0.09),
        ),
        beak=Beak(0.13, 0.1, 0.03, 1.5, "#cfae58", "#a98b45"),
        tail=Tail(0.26, 0.11, 10, "round", 72, "#6d5140", "#c7a67c"),
        wing=Wing((-0.1, -0.15), 0.62, 0.3, 72, "#614737", "#795943", "#8b6a50", "mottle", "#d9bd93"),
        back="#8a6b51",
        belly="#d8bb90",
        head="#8f6f55",
        leg="#c7a77e",
        legs=0.09,
        hip=(0.04, 0.26),
        cheek="#e5cda6",
        crest="tufts",
        front=True,
        belly_pattern="streaks",
        belly_mark="#7a5a44",
        iris="#f0b432",
        eye=0.3,
    ),
    Species(
        "toucan",
        spine=((0.22, -0.42, 0.195), (0.15, -0.26, 0.195), (0.03, 0.0, 0.25), (-0.1, 0.2, 0.185), (-0.28, 0.36, 0.07)),
        beak=Beak(0.55, 0.21, 0.07, 3.2, "#f0a02f", "#e2702a", "#332b31"),
        tail=Tail(0.46, 0.1, 7, "square", 50, "#26242c"),
        wing=Wing((0.0, -0.16), 0.6, 0.29, 50, "#1f1d25", "#292731", "#302e39", "plain"),
        back="#2d2b35",
        belly="#34313c",
        head="#2d2b35",
        leg="#5d86a6",
        legs=0.12,
        hip=(0.0, 0.2),
        throat="#f6ecd0",
        belly_pattern="bib",
        belly_mark="#f3d569",
        ring="#4a9ac2",
    ),
)
