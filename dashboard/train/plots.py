"""Curves of a training: losses stage by stage, and how likely the class was on the subsets that were drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboard.theme import ACCENT, INK, LINE, QUIET

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from core.training.loop import Training

HEIGHT = 236
# (light, dark), of one hue: unlikely, in between, likely
SHARES = (("#cfd8da", "#33474b"), ("#7fabb2", "#3f7f89"), ("#0b6370", "#58b8c6"))
BOUNDS = ("unlikely, < 0.2", "between", "likely, > 0.8")


def loss_figure(told: Training, stage: str, dark: bool) -> go.Figure:
    """The loss of one stage: a line on what is learned from, dots on held-out pictures."""
    figure = _frame(f"Loss of the {stage}", told, stage, dark)
    between = [point for point in told.between if point.stage == stage]
    ends = [point for point in told.points if point.stage == stage and point.held_out is not None]
    figure.add_scatter(
        x=[point.step for point in between], y=[point.loss for point in between], mode="lines", name="learned from",
        line={"width": 1.5, "color": QUIET[dark]}, hovertemplate="step %{x}: %{y:.3g}<extra>learned from</extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[point.step for point in ends], y=[point.held_out for point in ends], mode="lines+markers", name="held out",
        line={"width": 2, "color": ACCENT[dark]}, marker={"size": 6, "color": ACCENT[dark]},
        hovertemplate="step %{x}: %{y:.3g}<extra>held out</extra>",
    )  # fmt: skip
    figure.update_yaxes(rangemode="tozero")
    return figure


def balance_figure(told: Training, dark: bool) -> go.Figure:
    """What part of the drawn subsets left the class unlikely, in between and likely."""
    figure = _frame("How likely the class is on the subsets", told, told.stages[-1], dark)
    points = [point for point in told.between if point.low is not None]
    for n, (name, colours) in enumerate(zip(("low", "middle", "high"), SHARES)):
        figure.add_scatter(
            x=[point.step for point in points], y=[getattr(point, name) for point in points], mode="lines",
            name=BOUNDS[n], stackgroup="one", line={"width": 0.5, "color": colours[dark]}, fillcolor=colours[dark],
            hovertemplate=f"step %{{x}}: %{{y:.0%}}<extra>{BOUNDS[n]}</extra>",
        )  # fmt: skip
    figure.update_yaxes(range=[0, 1], tickformat=".0%", tickvals=[0, 0.5, 1])
    return figure


def masks_figure(told: Training, dark: bool) -> go.Figure:
    """How large the masks are, and how often the class is said of what they keep and of what they leave out."""
    figure = _frame("Masks, and the answer they leave", told, told.stages[-1], dark)
    points = [point for point in told.between if point.area is not None]
    lines = {
        "inside": ("class kept inside", ACCENT[dark], "solid"),
        "outside": ("class left outside", INK[dark], "dot"),
        "area": ("area of the mask", QUIET[dark], "solid"),
    }
    for name, (title, colour, dash) in lines.items():
        figure.add_scatter(
            x=[point.step for point in points], y=[getattr(point, name) for point in points], mode="lines", name=title,
            line={"width": 2, "color": colour, "dash": dash},
            hovertemplate=f"step %{{x}}: %{{y:.0%}}<extra>{title}</extra>",
        )  # fmt: skip
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%", tickvals=[0, 0.5, 1])
    return figure


def _frame(title: str, told: Training, stage: str, dark: bool) -> go.Figure:
    """An empty chart as wide as the stage is long, so that curves grow into it."""
    import plotly.graph_objects as go  # takes a second, which pages without a training need not wait for

    figure = go.Figure()
    font: dict[str, Any] = {"family": "IBM Plex Sans, system-ui, sans-serif", "size": 12, "color": INK[dark]}
    figure.update_layout(
        template="none", height=HEIGHT, margin={"l": 42, "r": 8, "t": 46, "b": 30}, font=font, dragmode=False,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", hovermode="x", showlegend=True,
        title={"text": title, "x": 0, "xref": "paper", "y": 0.98, "yanchor": "top", "font": {"size": 12.5}},
        legend={"orientation": "h", "traceorder": "normal", "x": 0, "y": 1.02, "yanchor": "bottom",
                "font": {"size": 11, "color": QUIET[dark]}},
    )  # fmt: skip
    axis: dict[str, Any] = {"fixedrange": True, "zeroline": False, "tickfont": {"color": QUIET[dark], "size": 11}}
    number = told.stages.index(stage) if stage in told.stages else 0
    first, last = (0, *told.ends)[number], told.ends[number]
    figure.update_xaxes(
        showgrid=False,
        linecolor=LINE[dark],
        range=[first, last],
        tickformat=",d",
        nticks=min(6, 1 + last - first),
        **axis,
    )
    figure.update_yaxes(gridcolor=LINE[dark], nticks=4, **axis)
    return figure
