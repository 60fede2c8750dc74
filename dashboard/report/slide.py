"""A report as one picture for slides: the answer with its verdict, its tests with their intervals, and its pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import gradio
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core.overlays import scale_of
from core.sat.statistics import Interval
from core.sat.verdicts import VERDICTS
from dashboard.plots import probability
from dashboard.report.finished import Cell, Finished
from dashboard.report.pictures import array, attribution_of, behind, clearest, overlaid
from dashboard.report.plots import effect_rows
from dashboard.report.words import KIND_WORDS, headline, interval, strongest_shortcut
from dashboard.subject import short
from dashboard.theme import ACCENT, INK, LINE, PAPER, QUIET
from dashboard.words import plural, signed

SIZE = (1920, 1080)
EDGE, LEFT, GAP = 72, 940, 56  # margin, width of the text's column, and between both columns
SIDE, CAPTION = 372, 66  # of a picture
SHORTCUT = "#b3261e"  # as on the page
MOST_ROWS = 6
FONTS = Path(gradio.__file__).parent / "templates" / "frontend" / "static" / "fonts" / "IBMPlexSans"
Shot = tuple[str, np.ndarray | None, str]  # what it is, the picture, a line under it


def slide(finished: Finished) -> bytes:
    """PNG of `SIZE`."""
    image = Image.new("RGB", SIZE, PAPER[0])
    draw = ImageDraw.Draw(image)
    shortcut = strongest_shortcut(finished)
    cell = shortcut or next(iter(finished.cells.values()), None)
    colour = SHORTCUT if shortcut else INK[0]
    draw.rectangle((0, 0, 18, SIZE[1]), fill=colour)
    sentence, evidence = headline(finished)
    y = EDGE
    if shortcut:
        y = _text(draw, (EDGE, y), "Shortcut confirmed", 26, colour, bold=True) + 10
    y = _text(draw, (EDGE, y), sentence, 50, INK[0], bold=True, most=3) + 18
    y = _text(draw, (EDGE, y), signed(evidence), 25, INK[0], most=7) + 16
    if shortcut:  # else the counts are the evidence
        y = _text(draw, (EDGE, y), _counts(finished), 22, QUIET[0], most=2)
    y += 30
    if cell is not None:
        which = "This" if shortcut else "The strongest"
        found = f"{which} finding: {cell.segment} ({KIND_WORDS[cell.kind]}) for {cell.label}, {cell.verdict}"
        y = _text(draw, (EDGE, y), found, 23, INK[0], bold=True, most=2) + 10
        _chart(draw, y, finished, cell)
        _pictures(image, draw, _shots(finished, cell), finished, cell)
    _text(draw, (EDGE, SIZE[1] - EDGE + 4), _origin(finished), 20, QUIET[0], width=SIZE[0] - 2 * EDGE, most=1)
    encoded = io.BytesIO()
    image.save(encoded, "PNG", optimize=True)
    return encoded.getvalue()


def _counts(finished: Finished) -> str:
    count = {verdict: sum(c.verdict == verdict for c in finished.cells.values()) for verdict in VERDICTS}
    return "Pairs of class and segment: " + ", ".join(f"{n:,} {verdict}" for verdict, n in count.items() if n) + "."


def _origin(finished: Finished) -> str:
    m = finished.manifest
    pictures, made = plural(m["pictures"], "picture"), str(m.get("created", ""))[:10]
    return f"{short(m['model'])} on {m['data']}, {pictures}. {made}  Satchel".strip()


def _shots(finished: Finished, cell: Cell) -> list[Shot]:
    """As it is, its map, without the segment, and another picture with it: those that the report keeps."""
    removal, paste = clearest(finished, cell)
    image = removal["image"] if removal else next(iter(behind(finished, cell).images), None)
    shots: list[Shot] = []
    if image is not None:
        entry = finished.report.examples["pictures"][image]
        lead = next(iter(finished.explainers))
        said = probability(removal["before_probability"]) if removal else ""
        shots.append(("as it is", array(finished, entry["file"]), said))
        found = attribution_of(finished, entry, lead)
        if found is not None and found.condition == "fine":
            shown = overlaid(finished, entry["file"], found, scale_of(found, linked=True))
            shots.append(("map", shown, finished.explainers[lead]))
    for record, word in ((removal, "without it"), (paste, "given to another picture")):
        if record is not None:
            change = f"{probability(record['before_probability'])} → {probability(record['after_probability'])}"
            shots.append((word, array(finished, record["file"]), change))
    return [shot for shot in shots if shot[1] is not None]


def _pictures(
    image: Image.Image, draw: ImageDraw.ImageDraw, shots: Sequence[Shot], finished: Finished, cell: Cell
) -> None:
    left, top = EDGE + LEFT + GAP, EDGE + 40
    _text(draw, (left, EDGE), f"{cell.segment}, for {cell.label}", 24, INK[0], bold=True, width=2 * SIDE + 24, most=1)
    for place, (word, pixels, said) in enumerate(shots):
        assert pixels is not None
        x, y = left + (place % 2) * (SIDE + 24), top + (place // 2) * (SIDE + CAPTION + 14)
        shown = Image.fromarray(pixels)
        scale = SIDE / max(shown.size)
        size = (max(1, round(shown.width * scale)), max(1, round(shown.height * scale)))
        image.paste(shown.resize(size, Image.Resampling.BICUBIC), (x, y))
        _text(draw, (x, y + size[1] + 6), word, 21, INK[0], bold=True, width=SIDE, most=1)
        if said:
            said = said if word == "map" else f"{cell.label}: {said}"
            _text(draw, (x, y + size[1] + 34), said, 20, QUIET[0], width=SIDE, most=1)


def _chart(draw: ImageDraw.ImageDraw, top: int, finished: Finished, cell: Cell) -> None:
    """One row a test: its mean with the interval, on one axis with lines at zero and where it matters."""
    room = (SIZE[1] - EDGE - 70 - top) // 52
    rows = [(name, found) for name, found, _ in effect_rows(finished, cell)][: max(0, min(MOST_ROWS, room - 1))]
    if not rows:
        return
    delta = finished.manifest["delta"]
    first, last = EDGE + 320, EDGE + LEFT - 210
    low, high = _range([found for _, found in rows], delta)

    def at(value: float) -> int:
        return round(first + (value - low) / (high - low) * (last - first))

    bottom = top + 52 * len(rows)
    draw.line((at(0), top, at(0), bottom), fill=QUIET[0], width=2)
    for y in range(top, bottom, 10):
        draw.line((at(delta), y, at(delta), min(bottom, y + 5)), fill=ACCENT[0], width=2)
    for place, (name, found) in enumerate(rows):
        y = top + 52 * place + 26
        _text(draw, (EDGE, y - 14), name, 21, INK[0], width=310, most=1)
        draw.line((first, y, last, y), fill=LINE[0], width=1)
        if np.isfinite([found.low, found.high]).all():
            draw.line((at(found.low), y, at(found.high), y), fill=INK[0], width=4)
        if np.isfinite(found.estimate):
            x = at(found.estimate)
            draw.polygon([(x, y - 9), (x + 9, y), (x, y + 9), (x - 9, y)], fill=INK[0])
        _text(draw, (last + 18, y - 14), interval(found), 21, INK[0], width=220, most=1)
    axis = f"change of the log-odds of {cell.label}; matters from {delta:.2g} (dashed); 95 % intervals"
    _text(draw, (EDGE, bottom + 8), axis, 20, QUIET[0], most=1)


def _range(found: Sequence[Interval], delta: float) -> tuple[float, float]:
    ends = [0.0, delta, *(v for one in found for v in (one.estimate, one.low, one.high) if np.isfinite(v))]
    pad = 0.06 * (max(ends) - min(ends))
    return min(ends) - pad, max(ends) + pad


@lru_cache(maxsize=32)
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The page's own; Pillow's where Gradio does not bring it."""
    try:
        return ImageFont.truetype(FONTS / f"IBMPlexSans-{'Bold' if bold else 'Regular'}.woff2", size)
    except OSError:
        return ImageFont.load_default(size)


def _text(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    colour: str,
    *,
    bold: bool = False,
    width: int = LEFT,
    most: int = 1,
) -> int:
    """Write lines of so many pixels, so many at most; returns where the next one would begin."""
    font = _font(size, bold)
    lines = _lines(text, font, width)
    if len(lines) > most:
        lines = [*lines[: most - 1], _cut(f"{lines[most - 1]}…", font, width)]
    x, y = place
    for line in lines:
        draw.text((x, y), line, colour, font)
        y += round(1.3 * size)
    return y


def _lines(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(_cut(word, font, width))
        else:
            lines[-1] = _cut(longer, font, width)
    return lines


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """What fits, with dots where it does not."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip('… ')}…"
