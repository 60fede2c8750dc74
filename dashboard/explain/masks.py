"""What masks keep and what they leave out, as pictures that the model is asked about, and the box around each mask."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
import torch
from torch import Tensor

from core.attribution import Attribution
from core.boxes import Box, box_of
from core.choice import Choice
from core.errors import UserError
from core.explainer import get_explainer
from core.explainers.learned.files import about_trained
from core.explainers.masking_objective import masked
from core.fills import fill_plate
from core.runtime.recent import Recent
from dashboard.explain.sums import said
from dashboard.overlays import jpeg
from dashboard.page import Page
from dashboard.pictures import View
from dashboard.runs import ResultKey
from dashboard.sessions import Session

if TYPE_CHECKING:
    from dashboard.explain.tab import Widgets

log = logging.getLogger("satchel")

KEPT = 16  # masks, drawn
NOTE = " It explains the copy that learned along, not the model itself; here the model itself is asked."
Updates = dict[Any, Any]


class Masks:
    """The area below the maps; hidden where no finished map is a mask."""

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.w = page, widgets
        self._drawn: Recent[tuple, str] = Recent(KEPT)

    def hidden(self) -> Updates:
        """There is no mask."""
        return {self.w.masks_area: gr.update(visible=False)}

    def shown(
        self, session: Session, view: View, keys: Mapping[str, ResultKey], maps: Mapping[str, Attribution]
    ) -> Updates:
        """Of the finished maps those that are masks."""
        masks = {name: made for name, made in maps.items() if made.unit == "mask" and not made.partial}
        if not masks:
            return self.hidden()
        try:
            drawn = "".join(self._row(session, view, keys[name], made) for name, made in masks.items())
        except UserError as error:
            drawn = f'<p class="problem" role="alert">{escape(str(error))}</p>'
        except Exception:  # the maps above it are fine
            log.exception("what the masks keep could not be shown")
            drawn = '<p class="problem" role="alert">This failed; the program\'s log says why.</p>'
        return {self.w.masks_area: gr.update(visible=True), self.w.masks: drawn}

    def _row(self, session: Session, view: View, key: ResultKey, made: Attribution) -> str:
        classifier = self.page.classifiers.get(session.spec).classifier
        fill, joint = _trained_with(key.choice)

        def draw() -> str:
            image, mask = view.image[None], made.values[None]
            plate = fill_plate(image, fill)
            inside, outside = masked(image, plate, mask), masked(image, plate, 1 - mask)
            with self.page.device(), torch.no_grad():
                both = torch.cat([inside, outside]).to(classifier.device)
                kept, lost = classifier.probabilities(classifier.logits(both)).cpu()
            title = get_explainer(key.choice.explainer).title
            label = view.labels[made.target]
            told = [said("the model says", answer, made.target, view.labels) for answer in (kept, lost)]
            cells = (
                _cell("The box around it", _boxed(view.image, box_of(made.values)), _area(made.values)),
                _cell("What it keeps", _picture(inside[0]), told[0]),
                _cell("What it leaves out", _picture(outside[0]), told[1]),
            )
            lead = f"<b>{escape(title)}</b>, a mask for <b>{escape(label)}</b>.{NOTE if joint else ''}"
            return (
                f'<div class="masked" data-testid="masked"><p class="lead">{lead}</p>'
                f'<div class="three">{"".join(cells)}</div></div>'
            )

        return self._drawn.get_or_make((view.source.id, view.fingerprint, key), draw)


def _trained_with(choice: Choice) -> tuple[str, bool]:
    """What stands where such a mask takes away, and whether it explains a copy of the model."""
    if choice.weights is None:
        return getattr(choice.parameters, "fill", "grey"), False
    options = about_trained(choice.weights.file).settings["training"]
    return options["fill"], options.get("regime") == "joint"


def _cell(title: str, picture: str, below: str) -> str:
    return f'<figure><figcaption>{title}</figcaption><img alt="{title}" src="{picture}">{below}</figure>'


def _area(values: Tensor) -> str:
    return f'<p class="said-by"><span>mean of the mask</span><b>{float(values.mean()):.0%}</b></p>'


def _picture(image: Tensor) -> str:
    return jpeg(np.ascontiguousarray(image.permute(1, 2, 0).mul(255).round().byte().cpu().numpy()))


def _boxed(image: Tensor, box: Box | None) -> str:
    """The picture, dark outside of the box."""
    inside = torch.zeros(image.shape[1:]) if box is None else box.mask((image.shape[1], image.shape[2])).float()
    return _picture(image * (0.35 + 0.65 * inside.to(image.device)))
