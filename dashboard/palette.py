"""One colour and one shape for each explainer, everywhere; one accent; light and dark."""

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
    ("#6b7280", "#9aa3ae"),
    ("#7f8a00", "#bcc63f"),
    ("#9d2b2b", "#e07a74"),
    ("#3d4a5c", "#b9c4d2"),
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
    """(index into COLOURS, shape); no two of the first 48 explainers share both. One that is not known comes last."""
    names = list(ordered())
    index = names.index(explainer) if explainer in names else len(names)
    lap, colour = divmod(index, len(COLOURS))
    return colour, SHAPES[(index + lap) % len(SHAPES)]


def marker(explainer: str) -> str:
    """CSS classes that give an explainer's colour and shape."""
    colour, shape = look(explainer)
    return f"x-{colour} s-{shape}"


def colour_rules() -> str:
    """CSS: class x-0, x-1, ... set the variable --x, in light and in dark."""
    light = "".join(f".x-{i}{{--x:{pair[0]}}}\n" for i, pair in enumerate(COLOURS))
    dark = "".join(f".dark .x-{i}{{--x:{pair[1]}}}\n" for i, pair in enumerate(COLOURS))
    return light + dark
