"""What the Segments tab shows: one picture's masks as data for its script, the strip of pictures, and the progress."""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.errors import UserError
from core.images import Picture
from core.overlays import display_size
from core.runtime.recent import Recent
from core.segments.edits import by_key, segment_keys
from core.segments.mask import Mask
from core.segments.naming.review import Question
from core.segments.naming.spread import current
from core.segments.segments import Segments
from dashboard.overlays import jpeg
from dashboard.pictures import THUMBNAIL
from dashboard.segments.cut import Cut
from dashboard.segments.layers import layers, small_copy
from dashboard.segments.work import Bench, Work
from dashboard.words import plural

SHOWN_AT_ONCE = 24  # thumbnails
STATES = {
    "named": "named",
    "proposed": "proposed names wait for an answer",
    "cut": "masks without names",
    "bare": "no masks yet",
}
QUESTIONS = 12
CLOSE_UP = 168  # pixels a side
Colours = Callable[[Iterable[str]], Mapping[str, int]]
UNREADABLE = (300, 400)  # (height, width) of what stands for a picture that cannot be read
_thumbnails: Recent[tuple[str, str], str] = Recent(2000)
_close_ups: Recent[tuple[str, str, str], str] = Recent(500)


def holder(name: str, values: dict[str, Any]) -> str:
    """Data for the page's script, which watches for it."""
    return f'<i data-{name}="{escape(json.dumps(values))}"></i>'


def packed(numbers: np.ndarray) -> str:
    """An array of whole numbers for the script: little-endian, deflated, base64."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(numbers).tobytes(), 1)).decode()


def picture_data(bench: Bench) -> dict[str, Any]:
    """The picture in view, at most 1024 pixels a side; a grey one for one that cannot be read."""
    if bench.picture is None:
        return {"id": None}
    try:
        picture = bench.work.picture(bench.picture)
    except UserError as error:
        grey = np.full((*UNREADABLE, 3), 128, np.uint8)
        return {"id": bench.picture, "name": str(error), "size": UNREADABLE, "src": jpeg(grey)}
    size = display_size(picture.size)
    copy = picture.image
    if size != picture.size:
        copy = copy.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return {"id": bench.picture, "name": picture.name, "size": size, "src": jpeg(np.asarray(copy), 90)}


def masks_data(bench: Bench) -> dict[str, Any]:
    """The masks of the picture in view, drawn as one; large, and the same until one of them changes."""
    if bench.picture is None:
        return {"id": None, "segments": [], "size": [1, 1], "map": packed(np.zeros(1, np.uint32)), "sets": [[]]}
    try:
        full = bench.work.picture(bench.picture).size
    except UserError:
        full = UNREADABLE
    size = display_size(full)
    segments = bench.segments or Segments(full, ())
    laid = layers(segments, size)
    return {
        "id": bench.picture,
        "size": size,
        "map": packed(laid.sets.astype(np.uint32)),
        "sets": laid.members,
        "segments": [
            {
                "key": key,
                "title": title,
                "name": item.name,
                "naming": item.naming,
                "confidence": item.confidence,
                "share": item.mask.area / (full[0] * full[1]),
                "source": item.source,
                "at": anchor,
            }
            for key, item, title, anchor in zip(segment_keys(segments), segments, segments.titles, laid.anchors)
        ],
    }


def state_data(
    bench: Bench, colours: Colours, chosen: Sequence[str] = (), say: str = "", problem: bool = False
) -> dict[str, Any]:
    """All else: what may be done, the names, and the cut in the making.

    Args:
        colours: names -> the numbers of their colours.
        chosen: keys of the masks to choose.
        say: a sentence for the visitor; problem: it is about something that could not be done.
    """
    record = bench.record
    return {
        "id": bench.picture,
        "say": say,
        "problem": problem,
        "chosen": list(chosen),
        "names": _names(bench, colours),
        "last": "" if record is None else f"{record.action}, by {record.by}",
        "undo": record is not None and record.before is not None,
        "redo": record is not None and bool(record.again),
        "cut": _cut(bench),
    }


def _guess(cut: Cut) -> str:
    """What is thought of the mask in the making."""
    assert cut.answer is not None
    if cut.is_region:
        return "A region by colour, texture and edges: the small SAM is unsure here."
    return f"The SAM expects {100 * cut.answer.scores[cut.chosen]:.0f} % overlap (IoU) with what you mean."


def _cut(bench: Bench) -> dict[str, Any] | None:
    cut = bench.cut
    if bench.picture is None or (not cut.points and cut.box is None):
        return None
    full = bench.work.picture(bench.picture).size
    size, mask = display_size(full), cut.mask
    values: dict[str, Any] = {
        "points": [(x / full[1], y / full[0], label) for (x, y), label in zip(cut.points, cut.labels)],
        "box": None if cut.box is None else [v / side for v, side in zip(cut.box, (full[1], full[0]) * 2)],
    }
    if mask is not None and cut.answer is not None:
        plane = np.zeros(size, np.uint8)
        copy = small_copy(mask, size)
        plane[copy.window] = copy.inside
        values |= {
            "mask": packed(plane),
            "guess": _guess(cut),
            "chosen": cut.chosen + 1,
            "of": len(cut.answer.masks),
        }
    return values


def _names(bench: Bench, colours: Colours) -> list[dict[str, Any]]:
    """Every name of the data set with its kind, how many masks have it, and its colour; the commonest first."""
    counts: Counter[str] = Counter()
    for line in bench.work.store.journal.pictures().values():
        counts.update(line["names"])
    here = bench.segments or ()
    if bench.record is None:  # they came with the data set
        counts.update(item.name for item in here if item.name)
    known = {**bench.work.store.kinds, **{item.name: item.kind for item in here if item.name}}
    own = colours(known)
    entries = [{"name": name, "kind": kind, "count": counts[name], "colour": own[name]} for name, kind in known.items()]
    return sorted(entries, key=lambda entry: -entry["count"])


def progress_html(work: Work) -> str:
    """How far the data set is."""
    counts, total = work.counts(), len(work.items)
    shown = "".join(
        f'<span class="{state}" style="width:{100 * counts[state] / max(1, total):.3f}%"></span>'
        for state in ("named", "proposed", "cut")
    )
    rest = [f"{counts['proposed']} with proposals"] if counts["proposed"] else []
    rest += [f"{counts['cut']} without names"] if counts["cut"] else []
    return (
        f'<p class="count" data-testid="naming-progress"><b>{counts["named"]} of {total} named</b>'
        f"{''.join(f', {text}' for text in rest)}</p>"
        f'<div class="track" aria-hidden="true">{shown}</div>'
        f'<p class="note" title="{escape(str(work.store.folder))}">Saved as you work, in '
        f"{escape(_short(work.store.folder))}</p>"
    )


def strip_html(bench: Bench) -> str:
    """The pictures around the one in view."""
    work = bench.work
    if not work.items or bench.picture is None:
        return '<p class="note">No pictures yet; drop some in on the Explain tab.</p>'
    ids = list(work.items)
    page = work.places[bench.picture] // SHOWN_AT_ONCE
    first, last = page * SHOWN_AT_ONCE, min((page + 1) * SHOWN_AT_ONCE, len(ids))
    entries = "".join(_thumbnail(work, picture, picture == bench.picture) for picture in ids[first:last])
    pages = ""
    if len(ids) > SHOWN_AT_ONCE:
        pages = (
            f'<p class="pages"><button data-do="page" data-by="-1" {"disabled" if page == 0 else ""} '
            f'aria-label="earlier pictures">&larr;</button> {first + 1} to {last} of {len(ids)} '
            f'<button data-do="page" data-by="1" {"disabled" if last == len(ids) else ""} '
            f'aria-label="later pictures">&rarr;</button></p>'
        )
    return f'<ul class="strip">{entries}</ul>{pages}'


def _thumbnail(work: Work, picture: str, current: bool) -> str:
    state = work.state(picture)
    label = escape(f"{picture}: {STATES[state]}")
    try:
        inside = f'<img alt="" src="{_small(work, picture)}">'
    except UserError:
        inside, label = "?", escape(f"{picture}: cannot be read")
    return (
        f'<li class="{state}"{" aria-current=true" if current else ""}>'
        f'<button data-act="pick" data-do="open" data-id="{escape(picture)}" title="{label}" aria-label="{label}">'
        f"{inside}</button></li>"
    )


def _small(work: Work, picture: str) -> str:

    def draw() -> str:
        image = work.items[picture].picture().image.copy()
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        return jpeg(np.asarray(image))

    return _thumbnails.get_or_make((work.data.source, picture), draw)


def review_html(bench: Bench) -> str:
    """The next questions, each with a picture of its mask."""
    if bench.review is None:
        return ""
    bench.asked = bench.review.questions(QUESTIONS, bench.asked)
    back = '<button data-do="take-back">Take the last answer back</button>' if bench.review.answered else ""
    if not bench.asked:
        done = '<p class="note" data-testid="review-done">Every mask has a name that somebody stands behind.</p>'
        return f'<div class="questions-head">{done}{back}</div>'
    cards = "".join(_question(bench.work, question) for question in bench.asked)
    left = f"{plural(bench.review.left, 'mask')} to answer, the least certain first. Every answer teaches at once."
    return (
        f'<div class="questions-head"><p class="note" data-testid="review-left">{left}</p>{back}</div>'
        f'<ol class="questions">{cards}</ol>'
    )


def _question(work: Work, question: Question) -> str:
    about = f'data-id="{escape(question.picture)}" data-key="{question.key}"'
    name = escape(question.name)
    others = "".join(
        f'<button data-do="answer" data-how="correct" data-name="{escape(other)}" {about}>{escape(other)}</button>'
        for other, _ in question.others[:2]
    )
    return (
        f'<li class="question"><button class="seen" data-do="look" {about} title="open its picture">'
        f'<img alt="a mask in {escape(question.picture)}" src="{_close_up(work, question)}"></button>'
        f'<p><b title="{name}">{name}</b> {100 * question.confidence:.0f} %</p>'
        f'<p class="answers"><button class="yes" data-do="answer" data-how="accept" {about}>Yes</button>{others}'
        f'<button data-do="answer" data-how="reject" {about} title="it is to have no name">None</button>'
        f'<input {about} list="segment-names" placeholder="another name" aria-label="another name, then Enter">'
        "</p></li>"
    )


def _close_up(work: Work, question: Question) -> str:
    """The surroundings of a mask, dimmed outside it."""
    place = (work.data.source, question.picture, question.key)
    known = _close_ups.get(place)
    if known is not None:
        return known
    try:
        picture = work.picture(question.picture)
        _, segments = current(work.items[question.picture], work.store)
    except UserError:
        segments = None
    item = by_key(segments).get(question.key)
    if item is None:  # somebody removed it just now, or it cannot be read any more
        return jpeg(np.zeros((CLOSE_UP, CLOSE_UP, 3), np.uint8))
    return _close_ups.put(place, jpeg(close_up(picture, item.mask, CLOSE_UP), 85))


def close_up(picture: Picture, mask: Mask, side: int) -> np.ndarray:
    """uint8 [side, side, 3]: a square around the mask, twice its size where the picture has room."""
    height, width = picture.size
    left, top, across, down = mask.box
    reach = min(max(across, down) * 2, min(height, width))
    reach = max(reach, across, down, 24)
    x = int(np.clip(left + across / 2 - reach / 2, min(0, width - reach), max(0, width - reach)))
    y = int(np.clip(top + down / 2 - reach / 2, min(0, height - reach), max(0, height - reach)))
    box = (x, y, x + reach, y + reach)
    image = np.asarray(picture.image.crop(box).resize((side, side), Image.Resampling.LANCZOS), np.float32)
    inside = Image.fromarray(mask.decode()).crop(box).convert("L").resize((side, side), Image.Resampling.BILINEAR)
    alpha = np.asarray(inside, np.float32)[..., None] / 255
    edge = (np.abs(alpha - 0.5) < 0.35).astype(np.float32)
    shown = image * (0.42 + 0.58 * alpha)
    return np.clip(shown * (1 - edge) + 255 * edge + 0.5, 0, 255).astype(np.uint8)


def _short(path: Path, most: int = 44) -> str:
    """From the home folder on, and of a long one the end."""
    said = f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)
    return said if len(said) <= most else f"...{said[-most:]}"
