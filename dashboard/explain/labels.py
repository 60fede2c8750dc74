"""What a dropped picture truly shows, as its owner says: it stays with the picture, so that a wrong answer is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from core.classifier import Classifier
from core.errors import UserError
from dashboard.explain.asked import class_name
from dashboard.pictures import View, truth_of
from dashboard.sessions import Session

UNSAID = ""


def layout() -> gr.Dropdown:
    """The list under the prediction; it is there for pictures that were dropped."""
    return gr.Dropdown(
        [], label="It truly shows", elem_id="label", elem_classes="line", visible=False, interactive=True,
    )  # fmt: skip


def offered(view: View, classifier: Classifier) -> Any:
    """The update of the list for the picture in view: the model's classes, and what was said."""
    if not view.source.upload:
        return gr.update(visible=False)
    names = [class_name(classifier, index) for index in range(len(classifier.labels))]
    choices = [("not said", UNSAID), *zip(classifier.labels, names)]
    return gr.update(choices=choices, value=UNSAID if view.truth is None else names[view.truth], visible=True)


def give(session: Session, classifier: Classifier, said: str | None) -> None:
    """Keep what the picture in view truly shows.

    Raises:
        UserError: it is not one that was dropped, or there is no such class.
    """
    source = session.uploads.get(session.current or "")
    if source is None:
        raise UserError("Only pictures that were dropped on the page can be labelled here.")
    label = class_name(classifier, classifier.class_index(said)) if said else None
    session.uploads[source.id] = replace(source, label=label)
    session.version += 1


def refresh(session: Session, classifier: Classifier) -> None:
    """The rows of all pictures, once something else is known of one."""
    for entry in session.gallery.entries if session.gallery is not None else ():
        known = session.uploads.get(entry.source.id)
        if known is not None and entry.says is not None and known != entry.source:
            truth = truth_of(known, classifier)
            entry.source = known
            entry.instead = None if truth in (None, entry.says.index) else classifier.labels[truth]
