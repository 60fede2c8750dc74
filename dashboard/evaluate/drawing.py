"""An evaluation drawn in quiet HTML: the answer, the leaderboard, faithfulness against time, sanity, warnings."""

from __future__ import annotations

import math
from html import escape

from core.choice import full_title
from core.explainer import Explainer, explainers
from dashboard.evaluate.standing import ARROWS, DIRECTIONS, Entry, Standing, caveat, headline, listed
from dashboard.palette import marker
from dashboard.plots import percent
from dashboard.subject import short
from dashboard.words import number, plural

STUBBORN = 0.9
"""Above this likeness a map hardly changes when the model's weights are shuffled."""
CHANGED = 0.5
"""Below it, interval and all, it changes as it should; between, in part."""
LABEL_GAP = 17  # pixels between two names in the scatter
HEIGHT = 270  # pixels of the scatter


def answer_html(standing: Standing) -> str:
    """One sentence, what stands behind it, and what to beware of."""
    sentence, evidence = headline(standing)
    running = ""
    if standing.planned is not None:
        running = f'<p class="note">So far: {standing.pictures} of {plural(standing.planned, "picture")}.</p>'
    few = caveat(standing)
    careful = f'<p class="note few-pictures">{escape(few)}</p>' if few else ""
    data = f'<p class="note">{escape(short(standing.manifest["model"]))} on {escape(standing.manifest["data"])}</p>'
    return (
        f'<div class="answer" data-testid="evaluation-answer"><h2>{escape(sentence)}</h2>'
        f"<p>{escape(evidence)}</p>{careful}{running}{data}</div>"
    )


def leaderboard_html(standing: Standing) -> str:
    """Explainers by metrics; controls below a line."""
    head = "".join(
        f'<th scope="col" title="{escape(m["summary"])} {DIRECTIONS[m["higher_is_better"]].capitalize()}.">'
        f"{escape(full_title(m))} <b>{ARROWS[m['higher_is_better']]}</b></th>"
        for m in standing.metrics
    )
    groups = {False: "", True: ""}
    for label in standing.ranked:
        groups[standing.is_control(label)] += _row(standing, label)
    return (
        '<div class="scroll" tabindex="-1"><table class="leaderboard" data-testid="leaderboard"><thead><tr>'
        f'<th scope="col">Explainer</th>{head}'
        '<th scope="col" title="median computing time a picture">Seconds</th>'
        '<th scope="col" title="share of the samples, by weight, where the probability hardly moves; such samples '
        'tell little">Saturated</th>'
        '<th scope="col" title="distance between the spectra of the pictures a sampler draws and of the real one; '
        'nearer to 0 is closer to real pictures">Spectrum</th>'
        f'</tr></thead><tbody>{groups[False]}</tbody><tbody class="controls">{groups[True]}</tbody></table></div>'
        f'<p class="note">Means over {plural(standing.pictures, "picture")}{_compared(standing)}</p>'
    )


def _compared(standing: Standing) -> str:
    below = "Below the line: controls, which never look at the model."
    if standing.few:
        return f"; too few to say who is better. {below}"
    return f" with 95 % intervals; the best of each column is bold. {below} A metric they win says little."


def _row(standing: Standing, label: str) -> str:
    entries = [standing.entries[metric["label"], label] for metric in standing.metrics]
    cost = entries[0]
    saturated = "–" if cost["saturated"] is None else percent(cost["saturated"])
    spectrum = "–" if cost["alignment"] is None else number(cost["alignment"], 2)
    return (
        f'<tr><th scope="row">{mark(standing.names[label])}{escape(standing.titles[label])}</th>'
        f"{''.join(_cell(standing, entry) for entry in entries)}"
        f'<td title="{cost["passes"]:.0f} passes a picture">{seconds(cost["seconds"])}</td>'
        f"<td>{saturated}</td><td>{spectrum}</td></tr>"
    )


def _cell(standing: Standing, entry: Entry) -> str:
    mean, interval = standing.interval(entry)
    said = plural(entry["pictures"], "picture")
    if entry["undefined"]:
        said += f", undefined on {entry['undefined']}"
    if entry["behind"] is not None and not standing.few:
        digits = standing.digits(entry["metric"])
        behind = [
            number(entry[key], digits) for key in ("behind", "behind_low", "behind_high") if entry[key] is not None
        ]
        said += f"; behind the best by {behind[0]}" + (f" [{behind[1]}, {behind[2]}]" if len(behind) == 3 else "")
    part = f"<small>n = {entry['pictures']}</small>" if entry["pictures"] != standing.pictures else ""
    best = ' class="best"' if entry["best"] and not standing.few else ""
    return f'<td{best} title="{said}"><span>{mean}</span><small>{interval}</small>{part}{_bar(standing, entry)}</td>'


def _bar(standing: Standing, entry: Entry) -> str:
    """From zero to the mean, on the scale of its column, with the interval as a whisker."""
    if entry["mean"] is None:
        return '<i class="track"></i>'
    column = [e for (metric, _), e in standing.entries.items() if metric == entry["metric"] and e["mean"] is not None]
    ends = [0.0, *(e[key] for e in column for key in ("mean", "low", "high") if e[key] is not None)]
    low, size = min(ends), (max(ends) - min(ends)) or 1.0

    def span(a: float, b: float) -> str:
        return f"left:{(min(a, b) - low) / size * 100:.1f}%;width:{abs(b - a) / size * 100:.1f}%"

    whisker = "" if entry["low"] is None else f'<i class="whisker" style="{span(entry["low"], entry["high"])}"></i>'
    return f'<i class="track"><i class="length" style="{span(0.0, entry["mean"])}"></i>{whisker}</i>'


def scatter_html(standing: Standing) -> str:
    """The judge against seconds a picture; a dashed line where the best control is."""
    judge = standing.judge
    if judge is None:
        return '<p class="note">Choose a metric of faithfulness to see it against time.</p>'
    board = [standing.entries[judge["label"], label] for label in standing.ranked]
    known = [entry for entry in board if entry["mean"] is not None]
    points, controls = [e for e in known if not e["control"]], [e["mean"] for e in known if e["control"]]
    if not points:
        return '<p class="note">Nothing to draw yet.</p>'
    bounds = [e[key] for e in points for key in ("mean", "low", "high") if e[key] is not None]
    compared = controls and not standing.few
    beaten = (max(controls) if judge["higher_is_better"] else min(controls)) if compared else None
    low, high = (
        min([*bounds, *([] if beaten is None else [beaten])]),
        max([*bounds, *([] if beaten is None else [beaten])]),
    )
    pad = (high - low) * 0.08 or 0.05
    low, high = low - pad, high + pad
    logs = [math.log10(max(e["seconds"], 1e-4)) for e in points]
    left, right = math.floor(min(logs) - 0.1), math.ceil(max(logs) + 0.1)
    heights = {e["explainer"]: (high - e["mean"]) / (high - low) * HEIGHT for e in points}
    places = {e["explainer"]: (x - left) / (right - left) * 100 for e, x in zip(points, logs)}
    sides = {label: _side(label, places, heights) for label in places}
    names = _spread(heights, places, sides)
    drawn = "".join(
        _point(standing, e, places[e["explainer"]], names[e["explainer"]], sides[e["explainer"]], low, high)
        for e in points
    )
    legend = "".join(
        f"<span>{mark(standing.names[label])}{escape(standing.short_titles[label])}</span>" for label in places
    )
    line = ""
    if beaten is not None:
        line = f'<i class="beaten" style="top:{(high - beaten) / (high - low) * 100:.1f}%"><em>best control</em></i>'
    ticks = "".join(
        f'<span style="left:{(power - left) / (right - left) * 100:.1f}%">{_power(power)}</span>'
        for power in range(left, right + 1)
    )
    digits = standing.digits(judge["label"])
    rungs = "".join(
        f'<span style="top:{part * 100:.0f}%">{number(high - part * (high - low), digits)}</span>'
        for part in (0.0, 0.5, 1.0)
    )
    return (
        f'<div class="scatter" data-testid="scatter"><p class="axis-name">{escape(judge["title"])} '
        f"{ARROWS[judge['higher_is_better']]}</p><div class='rungs'>{rungs}</div>"
        f'<div class="plot" style="height:{HEIGHT}px">{line}{drawn}</div><div class="ticks">{ticks}</div>'
        f'<p class="axis-name right">seconds a picture, log scale; {plural(standing.pictures, "picture")}</p>'
        f'<div class="legend">{legend}</div></div>'
    )


def _side(label: str, places: dict[str, float], heights: dict[str, float]) -> str:
    """Names stand where there is room: after the mark, before it near the right edge or left of a neighbour."""
    crowded = any(
        0 < places[other] - places[label] < 15 and abs(heights[other] - heights[label]) < LABEL_GAP for other in places
    )
    return "before" if places[label] > 55 or (crowded and places[label] > 30) else "after"


def _spread(heights: dict[str, float], places: dict[str, float], sides: dict[str, str]) -> dict[str, float]:
    """Heights for the names, moved down where one would lie on another of its side."""
    found: dict[str, float] = {}
    for label in sorted(heights, key=lambda label: heights[label]):
        y = heights[label]
        for other, taken in found.items():
            near = abs(places[label] - places[other]) < 30 and sides[label] == sides[other]
            if near and y < taken + LABEL_GAP:
                y = taken + LABEL_GAP
        found[label] = y
    return found


def _point(standing: Standing, entry: Entry, x: float, name: float, side: str, low: float, high: float) -> str:
    label = entry["explainer"]
    y = (high - entry["mean"]) / (high - low) * 100
    mean, interval = standing.interval(entry)
    kind = marker(standing.names[label])
    whisker = ""
    if entry["low"] is not None:
        top, bottom = (high - entry["high"]) / (high - low) * 100, (high - entry["low"]) / (high - low) * 100
        whisker = f'<i class="upright {kind}" style="left:{x:.1f}%;top:{top:.1f}%;height:{bottom - top:.1f}%"></i>'
    title = f"{standing.titles[label]}: {mean} {interval}, {seconds(entry['seconds'])} s a picture"
    shown = escape(standing.short_titles[label])
    return (
        f'{whisker}<i class="mark {kind}" style="left:{x:.1f}%;top:{y:.1f}%" title="{escape(title)}"></i>'
        f'<span class="name {side}" style="left:{x:.1f}%;top:{name:.0f}px">{shown}</span>'
    )


def sanity_html(standing: Standing) -> str:
    """In words: whose maps change when the model forgets what it learned."""
    metric = next((m for m in standing.metrics if m["name"] == "randomisation"), None)
    if metric is None:
        return (
            '<p class="note" data-testid="sanity">Not asked here. With the metric <i>Randomised weights</i> this says '
            "whose maps stay the same when the model forgets what it learned.</p>"
        )
    lines, fine, partly = [], [], []
    for label in standing.ranked:
        entry = standing.entries[metric["label"], label]
        if entry["control"] or entry["mean"] is None:
            continue
        mean, interval = standing.interval(entry)
        said = f"{standing.titles[label]} ({mean}{' ' + interval if interval else ''})"
        if standing.few:
            lines.append(f"<li>{escape(said)}</li>")
        elif entry["mean"] > STUBBORN:
            lines.append(f"<li><b>{escape(said)}</b> does not change when the model forgets what it learned.</li>")
        elif (entry["mean"] if entry["high"] is None else entry["high"]) < CHANGED:
            fine.append(said)
        else:
            partly.append(said)
    if not lines and not fine and not partly:
        return '<p class="note" data-testid="sanity">No map could be compared: all are flat or not numbers.</p>'
    if partly:
        verb = "changes" if len(partly) == 1 else "change"
        said = f"{verb} only in part when the model forgets what it learned: some of the map is the picture's own"
        lines.append(f"<li>{escape(listed(partly))} {said}, not the model's.</li>")
    if fine:
        verb, they = ("changes", "it") if len(fine) == 1 else ("change", "they")
        forgotten = f"{verb} when the model forgets what it learned, as {they} should"
        lines.append(f"<li>{escape(listed(fine))} {forgotten}.</li>")
    known = explainers()
    own = {known[name].title: known[name].forgets for name in standing.names.values()
           if name in known and known[name].forgets != Explainer.forgets}  # fmt: skip
    besides = "".join(f" Of {escape(title)} it is {escape(what)} that is shuffled." for title, what in own.items())
    return (
        f'<ul class="said" data-testid="sanity">{"".join(lines)}</ul><p class="note">Likeness of a map before and '
        f"after the weights are shuffled: 1 the same, 0 nothing in common; {plural(standing.pictures, 'picture')}."
        f"{besides}</p>"
    )


def warnings_html(standing: Standing) -> str:
    """Metrics that a control wins, pictures left out, and what each metric asks (folded)."""
    said = "".join(f"<li>{escape(_titled(warning, standing))}</li>" for warning in standing.manifest["warnings"])
    warned = f'<ul class="said warned" data-testid="warnings">{said}</ul>' if said else (
        f'<p class="note">{standing.counted} cannot tell: nothing is said of the controls.</p>' if standing.few else
        '<p class="note">On every metric the best explainer is ahead of the controls by more than chance.</p>'
    )  # fmt: skip
    left_out = "".join(
        f'<p class="problem">{escape(p["image"])} was left out: {escape(p["problem"])}</p>'
        for p in standing.manifest["problems"][:5]
    )
    asked = "".join(
        f"<li><b>{escape(m['title'])}</b> {escape(m['summary'])} <i>{escape(m['reference'])}</i></li>"
        for m in standing.metrics
    )
    return f'{warned}{left_out}<details class="help"><summary>What each metric asks</summary><ul>{asked}</ul></details>'


def _titled(warning: str, standing: Standing) -> str:
    """With the metric's title for the name that it begins with."""
    title = next((full_title(m) for m in standing.metrics if warning.startswith(f"{m['label']} ")), None)
    return warning if title is None else f"{title} {warning.partition(' ')[2]}"


def mark(name: str) -> str:
    """The explainer's colour and shape."""
    return f'<i class="mark {marker(name)}"></i>'


def seconds(value: float) -> str:
    """Two figures."""
    return (
        "<0.01" if value < 0.01 else f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"
    )


def _power(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:.{-power}f}"
