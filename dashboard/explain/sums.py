"""The trained explainer as a classifier: its prediction as an exact sum of parts, and with some of them clicked off."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import gradio as gr
import numpy as np
from torch import Tensor

from core.errors import UserError
from core.explainers.learned.files import trained_for
from core.explainers.learned.parts import Part, Sum, Total
from core.explainers.learned.salvage import salvage_model
from core.regions import SEGMENTS
from core.runtime.fingerprints import file_state
from core.runtime.recent import Recent
from dashboard.overlays import jpeg
from dashboard.page import Page
from dashboard.pictures import View
from dashboard.plots import probability
from dashboard.sessions import Session
from dashboard.words import number

if TYPE_CHECKING:
    from dashboard.explain.tab import Widgets

log = logging.getLogger("satchel")

KEPT = 16  # sums, and pictures without some parts
EXPLAINER = "salvage"
Updates = dict[Any, Any]


class Sums:
    """The area below the maps; hidden where no explainer is trained for the model."""

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.w = page, widgets
        self._sums: Recent[tuple, Sum] = Recent(KEPT)
        self._asked: Recent[tuple, tuple[str, Tensor]] = Recent(KEPT)

    def hidden(self) -> Updates:
        """There is nothing to add up."""
        return {self.w.sum_area: gr.update(visible=False)}

    def shown(self, session: Session, view: View, target: int) -> Updates:
        """The sum of the picture in view for a class."""
        try:
            classifier = self.page.classifiers.get(session.spec).classifier
            files = trained_for(EXPLAINER, classifier)
            if not files or classifier.fingerprint != view.fingerprint:
                return self.hidden()
            drawn = self._drawn(session, view, target, files)
        except UserError as error:
            drawn = f'<p class="problem" role="alert">{escape(str(error))}</p>'
        except Exception:  # the maps above it are fine
            log.exception("the sum of the parts failed")
            drawn = '<p class="problem" role="alert">This failed; the program\'s log says why.</p>'
        return {self.w.sum_area: gr.update(visible=True), self.w.sum: drawn}

    def _drawn(self, session: Session, view: View, target: int, files: Mapping[str, Path]) -> str:
        players = session.players if session.players in files else SEGMENTS if SEGMENTS in files else next(iter(files))
        classifier = self.page.classifiers.get(session.spec).classifier
        regions = view.regions if players == SEGMENTS else None
        of = (view.source.id, view.fingerprint, players, regions.digest if regions is not None else "")
        if session.absent[0] != of:
            session.absent = (of, frozenset())
        absent = session.absent[1]
        file = files[players]
        key = (*of, str(file), *file_state(file))

        def make() -> Sum:
            with self.page.device():
                return Sum.of(salvage_model(classifier, players, file), view.image, regions)

        def ask() -> tuple[str, Tensor]:
            with self.page.device():
                said = found.asked(classifier, absent).cpu()
            pixels = found.picture(absent).permute(1, 2, 0).mul(255).round().byte().cpu().numpy()
            return jpeg(np.ascontiguousarray(pixels)), said

        found = self._sums.get_or_make(key, make)
        picture, answer = self._asked.get_or_make((*key, absent), ask)
        total = found.total(target)
        own = found.predicted(absent).cpu()
        labels = view.labels
        off = [part.name for part in total.parts if absent.issuperset(part.players)]
        return (
            f'<div class="sum" data-testid="sum">{_headline(total, labels[target], players, files)}<div class="both">'
            f"{waterfall(total, labels[target], absent)}"
            f'<div class="without"><div class="shown"><img alt="{escape(_without(off))}" src="{picture}">'
            f"{outlines(found, total)}</div><div>"
            f"<h3>{escape(_without(off))}</h3>{said('Salvage predicts', own, target, labels)}"
            f"{said('the model says', answer, target, labels)}"
            f'<p class="note">{_note(off)}</p></div></div></div></div>'
        )


def switched(absent: tuple[Any, frozenset[int]], players: Iterable[int]) -> tuple[Any, frozenset[int]]:
    """A part taken away, or put back where all of it is away."""
    of, gone = absent
    part = frozenset(players)
    return of, gone - part if part <= gone else gone | part


def _headline(total: Total, label: str, players: str, files: Mapping[str, Path]) -> str:
    others = ""
    if len(files) > 1:
        others = "".join(
            f'<button data-act="by" data-id="{name}" aria-pressed="{str(name == players).lower()}">{name}</button>'
            for name in files
        )
        others = f'<span class="by">parts: {others}</span>'
    return (
        f'<p class="lead"><span>Salvage, a classifier by itself, gives <b>{escape(label)}</b> '
        f"{probability(total.probability)}: exactly the sum of its parts.</span>{others}</p>"
    )


def waterfall(total: Total, label: str, absent: frozenset[int]) -> str:
    """From the null through the parts to the logit, each beginning where the one before ends."""
    marks = [total.null]
    for part in total.parts:
        marks.append(marks[-1] + part.value)
    low, high = min(0.0, *marks), max(0.0, *marks)
    size = (high - low) or 1.0

    def place(a: float, b: float) -> str:
        return f"left:{(min(a, b) - low) / size * 100:.2f}%;width:{abs(b - a) / size * 100:.2f}%"

    zero = f'<i class="zero" style="left:{-low / size * 100:.2f}%"></i>'
    rows = [_end("nothing there", 0.0, total.null, total.empty, zero, place)]
    rows += [_row(part, start, absent, zero, place) for part, start in zip(total.parts, marks)]
    rows.append(_end(label, 0.0, total.logit, total.probability, zero, place))
    head = '<li class="head"><span>part</span><span></span><span>logit</span><span>probability</span></li>'
    return f'<ol class="waterfall" data-testid="waterfall">{head}{"".join(rows)}</ol>'


def outlines(found: Sum, total: Total) -> str:
    """An SVG over the picture: parts light up under the pointer and are clicked there too; the strongest lie on top."""
    masks = found.players.regions().masks[0].cpu().numpy()
    paths = []
    for part in reversed(total.parts):
        piece = np.ascontiguousarray(masks[list(part.players)].sum(0) > 0.5, np.uint8)
        contours, _ = cv2.findContours(piece, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        line = "".join("M" + "L".join(f"{x} {y}" for x, y in c[:, 0]) + "Z" for c in contours)
        paths.append(
            f'<path data-act="part" data-id="{_id(part)}" d="{line}"><title>{escape(part.name)}: {_signed(part.value)}'
            "</title></path>"
        )
    height, width = masks.shape[1:]
    return f'<svg class="segments" viewBox="0 0 {width} {height}" fill-rule="evenodd">{"".join(paths)}</svg>'


def _end(name: str, start: float, value: float, chance: float, zero: str, place: Any) -> str:
    return (
        f'<li class="end"><span class="name">{escape(name)}</span><span class="track">{zero}'
        f'<i class="length" style="{place(start, value)}"></i></span><span class="number">{number(value, 2)}</span>'
        f'<span class="number">{probability(chance)}</span></li>'
    )


def _row(part: Part, start: float, absent: frozenset[int], zero: str, place: Any) -> str:
    off = absent.issuperset(part.players)
    sign = "up" if part.value >= 0 else "down"
    return (
        f'<li class="{"off" if off else "on"}"><button data-act="part" data-id="{_id(part)}" '
        f'aria-pressed="{str(not off).lower()}" title="{"put it back" if off else "take it away"}">'
        f'<i class="box"></i>{escape(part.name)}</button>'
        f'<span class="track">{zero}<i class="length {sign}" style="{place(start, start + part.value)}"></i></span>'
        f'<span class="number">{_signed(part.value)}</span><span></span></li>'
    )


def _id(part: Part) -> str:
    return ",".join(map(str, part.players))


def _signed(value: float) -> str:
    said = number(value, 2)
    return said if said.startswith("−") else f"+{said}"


def _without(names: list[str]) -> str:
    if not names:
        return "The whole picture"
    if len(names) > 3:
        return f"Without {len(names)} parts"
    return f"Without {', '.join(names)}"


def said(who: str, probabilities: Tensor, target: int, labels: tuple[str, ...]) -> str:
    """The class in question, and the likeliest one where that is another."""
    best = int(probabilities.argmax())
    rather = (
        ""
        if best == target
        else f"<small>rather {escape(labels[best])} {probability(float(probabilities[best]))}</small>"
    )
    value = float(probabilities[target])
    return (
        f'<p class="said-by"><span>{who}</span><b>{probability(value)}</b>'
        f'<i class="track"><i class="length" style="width:{value * 100:.1f}%"></i></i>{rather}</p>'
    )


def _note(off: list[str]) -> str:
    if off:
        return "The model sees that very picture; Salvage only leaves the parts out of its sum."
    return "Click a part to take it away: Salvage leaves it out of its sum, and the model sees the picture without it."
