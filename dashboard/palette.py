"""One colour and one shape for each explainer, everywhere; other colours for segments; light and dark."""

from __future__ import annotations

from core.explainer import FAMILIES, Explainer, explainers

# (light, dark), after Okabe and Ito: told apart with any colour vision, and the shape differs besides
COLOURS = (
    ("#0072b2", "#4aa8e0"),
    ("#d55e00", "#f0894a"),
    ("#009e73", "#35c49b"),
    ("#a8477f", "#dd8fbe"),
    ("#b98500", "#e8b640"),
    ("#2c97c9", "#7cc9f2"),
    ("#6b4a96", "#ac8fd6"),
    ("#8a6a2f", "#c3a468"),
    ("#7f8a00", "#bcc63f"),
    ("#9d2b2b", "#e07a74"),
    ("#6b7280", "#9aa3ae"),
    ("#3d4a5c", "#b9c4d2"),
)
GREYS = 2  # the last ones, for controls alone and what is not known: what they say is no explanation
# of segments' names, as numbered by `core.segments.colours`; none is an explainer's
SEGMENT_COLOURS = (
    ("#e5383b", "#ff4d5e"),
    ("#ff8fab", "#ffb3c6"),
    ("#f9a03f", "#ffc078"),
    ("#e9c46a", "#f5dd90"),
    ("#c0ca33", "#e3ee62"),
    ("#66bb3a", "#9be26f"),
    ("#1b7a2f", "#4fbf68"),
    ("#4dd0c0", "#8af0e2"),
    ("#00838f", "#35b6c2"),
    ("#8ecdf7", "#b9e2ff"),
    ("#3563e9", "#7d9dff"),
    ("#1f2f8f", "#5b6fd6"),
    ("#b39ddb", "#d3c4f2"),
    ("#8e24aa", "#c267dc"),
    ("#e754d0", "#ff9bee"),
    ("#a1503b", "#b87a63"),
)
SHAPES = ("circle", "square", "diamond", "triangle")
FAMILY_TITLES = {
    "gradient": "Gradients", "cam": "Feature maps", "attention": "Attention", "relevance": "Relevance",
    "removal": "Removal", "learned": "Learned", "control": "Controls",
}  # fmt: skip


def ordered() -> dict[str, Explainer]:
    """Every explainer by name in the order of the page: defaults first, controls last."""
    return dict(sorted(explainers().items(), key=lambda item: (not item[1].default, item[1].family == "control")))


def families() -> dict[str, dict[str, Explainer]]:
    """Every explainer by family and name, the defaults of a family first."""
    known = explainers()
    grouped = {family: {n: e for n, e in known.items() if e.family == family} for family in FAMILIES}
    return {family: members for family, members in grouped.items() if members}


def look(explainer: str) -> tuple[int, str]:
    """(index into COLOURS, shape); no two of the first 40 explainers share both, and none has a control's colour. One
    that is not known looks like one more control."""
    known = ordered()
    control = explainer not in known or known[explainer].family == "control"
    names = [name for name, e in known.items() if (e.family == "control") == control]
    index = names.index(explainer) if explainer in names else len(names)
    count, first = (GREYS, len(COLOURS) - GREYS) if control else (len(COLOURS) - GREYS, 0)
    lap, colour = divmod(index, count)
    return first + colour, SHAPES[(index + lap) % len(SHAPES)]


def marker(explainer: str) -> str:
    """CSS classes that give an explainer's colour and shape."""
    colour, shape = look(explainer)
    return f"x-{colour} s-{shape}"


def colour_rules() -> str:
    """CSS: class x-0, x-1, ... (explainers) and g-0, g-1, ... (segments) set the variable --x, in light and in dark."""
    every = [(f"x-{i}", pair) for i, pair in enumerate(COLOURS)]
    every += [(f"g-{i}", pair) for i, pair in enumerate(SEGMENT_COLOURS)]
    light = "".join(f".{name}{{--x:{pair[0]}}}\n" for name, pair in every)
    return light + "".join(f".dark .{name}{{--x:{pair[1]}}}\n" for name, pair in every)
