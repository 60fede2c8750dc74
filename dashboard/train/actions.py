"""Handlers of the Train tab: they start and stop, and draw what the server's one training says of itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.classifier import Classifier
from core.data import Dataset, limited
from core.errors import UserError
from core.explainers.learned.files import About, about_trained, trained_for
from core.learning import OPTIONS
from dashboard.controls import problem
from dashboard.page import Page
from dashboard.project.data_sets import mine
from dashboard.report.views import state_html
from dashboard.train.cards import cards_html
from dashboard.train.drawing import answer_html, notes_html, progress_html, status_html
from dashboard.train.live import Asked, LiveTraining

if TYPE_CHECKING:
    from dashboard.train.tab import Widgets

log = logging.getLogger("satchel")

Updates = dict[Any, Any]


class Actions:
    """What happens on each event; every answer is a dictionary of components."""

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.w = page, widgets

    def open(self, key: str, dark: bool) -> Updates:
        """A page was opened or reloaded: what runs here, with the controls as they were for it."""
        live = self.page.trainer.live
        updates = self._shown(key, dark)
        if live is not None and live.asked.values:
            updates |= dict(zip(self.w.inputs(), live.asked.values)) | self.choose(live.asked.values[0])
        return updates

    def choose(self, kind: str) -> Updates:
        """Show the options of one kind of explainer."""
        return {group: gr.update(visible=name == kind) for name, group in self.w.groups.items()}

    def offer(self, key: str) -> Any:
        """The data sets to choose from, that of the page first."""
        session = self.page.sessions.get(key)
        return gr.update(choices=self.page.data_sets.choices(mine(session)), value=session.data)

    def look(self, key: str, dark: bool) -> Updates:
        """The tab came into view, or another model was chosen."""
        return self._shown(key, dark)

    def tick(self, key: str, dark: bool, seen: str) -> Updates:
        """Time has passed."""
        live = self.page.trainer.live
        if live is None or (seen == _mark(live) and live.running):
            return {self.w.seen: gr.skip()}
        return self._shown(key, dark) if not live.running else self._moving(live, dark)

    def start(self, key: str, dark: bool, *values: Any, fresh: bool = False) -> Updates:
        """Begin, or go on where a training of the same settings was stopped."""
        try:
            kind, source, count, *given = values
            names = [(kind, name) for kind, controls in self.w.options.items() for name in controls]
            options = {name: value for (of, name), value in zip(names, given) if of == kind}
            chosen = OPTIONS[kind].parse(options)
            chosen.check()
            data = self._data(source, count, options.get("players") == "segments")
            loaded = self.page.classifiers.get(self.page.sessions.get(key).spec)
            live = self.page.trainer.start(Asked(loaded, data, chosen, values, fresh))
        except UserError as error:
            return {self.w.status: problem(error)}
        return {**self._shown(key, dark), **self._moving(live, dark)}

    def anew(self, key: str, dark: bool, *values: Any) -> Updates:
        """Begin, whatever was trained before."""
        return self.start(key, dark, *values, fresh=True)

    def stop(self) -> Updates:
        """End what runs, after the step in hand."""
        self.page.trainer.stop()
        return {self.w.stop: gr.update(interactive=False), self.w.status: '<span class="busy">Stopping</span>'}

    # -- what is asked for

    def _data(self, source: str | None, count: float | None, segments: bool) -> Callable[[], Dataset]:
        """What opens the pictures; that they may be opened is looked at at once.

        Raises:
            UserError: it may not be.
        """
        source = self.page.data_sets.asked(source)
        if count is None or count < 2:
            raise UserError("An explainer learns from some pictures and is judged on others; ask for 2 at least.")
        return partial(self._opened, source, int(count), segments)

    def _opened(self, source: str, count: int, segments: bool) -> Dataset:
        sets = self.page.data_sets
        return sets.named(source, count) if segments else limited(sets.get(source), count)

    # -- what is shown

    def _shown(self, key: str, dark: bool) -> Updates:
        """All of the tab but the controls."""
        live = self.page.trainer.live
        running = live is not None and live.running
        updates: Updates = {} if live is None else self._moving(live, dark)
        updates[self.w.timer] = gr.Timer(active=running)
        try:
            classifier = self.page.classifiers.get(self.page.sessions.get(key).spec).classifier
        except UserError as error:
            return {
                **updates,
                self.w.answer: state_html(str(error), "problem"),
                self.w.trained: gr.update(visible=False),
            }
        found = trained(classifier)
        return {
            **updates,
            self.w.answer: answer_html(classifier, found, live),
            self.w.trained: gr.update(visible=bool(found)),
            self.w.cards: cards_html(found),
        }

    def _moving(self, live: LiveTraining, dark: bool) -> Updates:
        """What changes while it runs."""
        from dashboard.train.plots import balance_figure, loss_figure, masks_figure

        mark, seen = _mark(live), live.seen
        told = seen.training
        updates: Updates = {
            self.w.seen: mark,
            self.w.status: status_html(live),
            self.w.timer: gr.Timer(active=live.running),
            self.w.start: gr.update(interactive=not live.running),
            self.w.stop: gr.update(interactive=live.running and not live.stopping),
            self.w.anew: gr.update(visible=seen.refused and not live.running),
            self.w.course: gr.update(visible=told is not None),
        }
        if told is None:
            return updates
        return {
            **updates,
            self.w.progress: progress_html(live),
            self.w.surrogate: gr.update(value=loss_figure(told, "surrogate", dark), visible="surrogate" in told.stages),
            self.w.explainer: loss_figure(told, told.stages[-1], dark),
            self.w.balance: masks_figure(told, dark) if "masker" in told.stages else balance_figure(told, dark),
            self.w.notes: notes_html(told.notes),
        }


def trained(classifier: Classifier) -> list[About]:
    """What the explainers of this model say of themselves; one that cannot be read is left out."""
    found = []
    for path in (path for kind in OPTIONS for path in trained_for(kind, classifier).values()):
        try:
            found.append(about_trained(path))
        except UserError:  # gone meanwhile
            log.info("an explainer cannot be read: %s", path)
    return found


def _mark(live: LiveTraining) -> str:
    """Tells one state of one training from every other."""
    return f"{id(live)}/{live.version}/{live.stopping}"
