"""Above the report, folded: make one of the chosen model on the chosen pictures, and watch it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from core.choice import reported_choices
from core.data import Dataset, limited
from core.errors import UserError
from core.runtime.interrupt import Interrupted
from dashboard.controls import problem
from dashboard.page import Page
from dashboard.palette import ordered
from dashboard.report.making import (
    FAILED,
    FINISHED,
    MANIFEST,
    READING,
    STOPPED,
    WAITING,
    Asked,
    LiveReport,
    kept_stamps,
    place_of,
    remember,
    remembered,
    seconds_for,
)
from dashboard.sessions import Session
from dashboard.turns import Turn
from dashboard.words import duration, number, plural

log = logging.getLogger("satchel")

EVERY = 1.5  # seconds between two looks at what is made
USUAL = 200  # pictures
ESTIMATES = 6
LOOKED_INTO = 12  # pictures for the names of their segments
STAGES = {
    "explaining": "explaining and removing", "transplanting": "pasting segments elsewhere",
    "whole pictures": "whole pictures", "controls": "controls", "stamping": "stamps", "judging": "judging",
    "examples": "drawing pictures",
}  # fmt: skip
Updates = dict[Any, Any]


@dataclass
class Widgets:
    """The components that handlers read and write."""

    fold: gr.Accordion
    about: gr.HTML
    count: gr.Number
    explainers: gr.Dropdown
    context: gr.Dropdown
    stamps: gr.File
    time: gr.HTML
    make: gr.Button
    stop: gr.Button
    status: gr.HTML
    live: gr.HTML
    timer: gr.Timer
    seen: gr.State  # which state of the making is on the page
    made: gr.State  # the folder of the report that was finished last; its `change` fires

    def all(self) -> list[Any]:
        return list(vars(self).values())

    @property
    def asked(self) -> list[Any]:
        return [self.count, self.explainers, self.context, self.stamps]


def layout() -> Widgets:
    """Lay it out; `wire` makes it work."""
    with gr.Accordion("Make a report", open=False, elem_id="make") as fold, gr.Row(elem_classes="sheet"):
        with gr.Column(scale=6, min_width=300, elem_classes="area"):
            about = gr.HTML(elem_id="make-about")
            with gr.Row(elem_classes="fields"):
                count = gr.Number(
                    USUAL, label="Pictures", info="At most, spread over all", minimum=2, step=1, elem_id="make-count",
                    min_width=110, scale=1, interactive=True,
                )  # fmt: skip
                explainers = gr.Dropdown(
                    [], multiselect=True, label="Explainers", info="Whose maps are cut by segment", min_width=220,
                    elem_id="make-explainers", scale=3, interactive=True,
                )  # fmt: skip
            with gr.Row(elem_classes="fields"):
                context = gr.Dropdown(
                    [], multiselect=True, allow_custom_value=True, label="Context", min_width=220,
                    info="Segments that should not matter; relying on one is called a shortcut",
                    elem_id="make-context", scale=3, interactive=True,
                )  # fmt: skip
                stamps = gr.File(
                    label="Stamps", file_count="multiple", file_types=["image"], show_label=False, height=72,
                    elem_id="make-stamps", elem_classes="drop stamps", scale=2, min_width=180,
                )  # fmt: skip
            time = gr.HTML(elem_id="make-time", elem_classes="note")
            with gr.Row(elem_classes="buttons"):
                make = gr.Button("Make", variant="primary", size="md", elem_id="make-start", min_width=100, scale=0)
                stop = gr.Button("Stop", size="md", elem_id="make-stop", interactive=False, min_width=80, scale=0)
                status = gr.HTML(elem_id="make-status", elem_classes="job-status")
        with gr.Column(scale=6, min_width=300, elem_classes="area"):
            live = gr.HTML(elem_id="make-live")
    return Widgets(
        fold, about, count, explainers, context, stamps, time, make, stop, status, live,
        gr.Timer(EVERY, active=False), gr.State(""), gr.State(""),
    )  # fmt: skip


def wire(page: Page, w: Widgets, known: Callable[[str], bool]) -> None:
    """Connect it; the tab itself listens to `w.made`.

    Args:
        known: whether there is a report of a visitor's model, by the visitor's key.
    """
    act = Actions(page, w, known)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    page.opened.change(act.enter, page.key, w.all(), **quiet)
    for chosen in (page.model, page.data):
        chosen.change(act.enter, page.key, w.all(), **quiet)
    w.fold.expand(act.measure, [page.key, *w.asked], w.time, **quiet)
    for control in (w.count, w.explainers):
        control.input(act.measure, [page.key, *w.asked], w.time, **quiet, trigger_mode="always_last")
    w.make.click(act.make, [page.key, *w.asked], w.all(), **quiet)
    w.stop.click(act.stop, page.key, [w.stop, w.status], show_progress="hidden", api_visibility="private", queue=False)
    w.timer.tick(act.tick, [page.key, w.seen], w.all(), **quiet)


class Actions:
    """What happens on each event; every answer is a dictionary of components."""

    def __init__(self, page: Page, widgets: Widgets, known: Callable[[str], bool]) -> None:
        self.page, self.w, self.known = page, widgets, known

    def enter(self, key: str) -> Updates:
        """A page was opened, or another model or data set was chosen: what a report of these would be, and whether one
        is being made."""
        session = self.page.sessions.get(key)
        try:
            data = self.page.data_sets.named(session.data)
            classifier = self.page.classifiers.get(session.spec).classifier
        except UserError as error:
            return {self.w.about: problem(error)}
        able = [
            (method.title, name)
            for name, method in ordered().items()
            if method.family != "control" and method.supports(classifier) is None
        ]
        usual = [choice.label for choice in reported_choices(classifier)]
        names = _names_in(data)
        count = min(USUAL, len(data))
        return {
            self.w.about: _about(self.page.classifiers.title(session.spec), data, bool(names)),
            self.w.count: gr.update(value=count, maximum=len(data)),
            self.w.explainers: gr.update(choices=able, value=[name for _, name in able if name in usual]),
            self.w.context: gr.update(
                choices=list(names), value=[name for name, kind in names.items() if kind == "context"]
            ),
            self.w.time: "", self.w.fold: gr.update(open=not self.known(key)), **self._state(session),
        }  # fmt: skip

    def measure(self, key: str, *values: Any) -> Iterator[Updates]:
        """About how long it would take."""
        yield {self.w.time: '<span class="busy">Measuring how long it takes</span>'}
        session = self.page.sessions.get(key)
        try:
            asked = self._asked(session, *values)
            data, classifier = self._opened(asked)
            seconds = seconds_for(data, classifier, asked.options(), Turn(self.page.runner.lock, lambda: False))
        except (UserError, Interrupted) as error:
            yield {self.w.time: problem(error) if isinstance(error, UserError) else ""}
            return
        said = "within a minute" if seconds < 45 else f"about {duration(max(60.0, seconds))}"
        yield {self.w.time: f"Done {said} here, when nobody else computes; findings sharpen while it runs."}

    def make(self, key: str, *values: Any) -> Updates:
        """Begin, or go on where it was stopped; or wait for others."""
        session = self.page.sessions.get(key)
        try:
            asked = self._asked(session, *values)
            classifier = self.page.classifiers.get(asked.spec).classifier
            folder = self.page.reports_folder(session)
            count = plural(min(asked.limit, len(self.page.data_sets.get(asked.data))), "picture")
            title = f"{self.page.data_sets.title(asked.data)}, {self.page.classifiers.title(asked.spec)}, {count}"
            out = place_of(folder, asked, title, classifier.fingerprint)
            remember(out, asked, title)
            live = LiveReport(asked, out, title, lambda: self._opened(asked), self.page.runner.lock)
            session.report = self.page.maker.add(live)
        except UserError as error:
            return {self.w.status: problem(error)}
        return self._state(session)

    def stop(self, key: str) -> Updates:
        """End this visitor's report after the step in hand."""
        live = self._live(self.page.sessions.get(key))
        if live is None:
            return {self.w.stop: gr.update(interactive=False)}
        live.stop()
        return {self.w.stop: gr.update(interactive=False), self.w.status: '<span class="busy">Stopping</span>'}

    def tick(self, key: str, seen: str) -> Updates:
        """Time has passed."""
        session = self.page.sessions.get(key)
        live = self._live(session)
        if live is None or (seen == self._mark(live) and live.running):
            return {self.w.seen: gr.skip()}
        return self._state(session)

    # -- what is asked for

    def _asked(self, session: Session, *values: Any) -> Asked:
        count, explainers, context, stamps = values
        if not explainers:
            raise UserError("No explainer is chosen; choose one.")
        if count is None or count < 2:
            raise UserError("A report needs at least 2 pictures; ask for more.")
        return Asked(
            session.spec, session.data, int(count), tuple(explainers), tuple(context or ()),
            kept_stamps(self.page.brought, stamps or ()),
        )  # fmt: skip

    def _opened(self, asked: Asked) -> tuple[Dataset, Any]:
        data = self.page.data_sets.named(asked.data, asked.limit)
        return data.with_context(asked.context), self.page.classifiers.get(asked.spec).classifier

    def _live(self, session: Session) -> LiveReport | None:
        """This visitor's, or one that runs and may be seen by everybody."""
        if session.report is not None or self.page.shared:
            return session.report
        return self.page.maker.current

    # -- what is shown

    def _state(self, session: Session) -> Updates:
        live = self._live(session)
        if live is None:
            return {
                self.w.live: self._unfinished(session), self.w.status: "", self.w.timer: gr.Timer(active=False),
                self.w.stop: gr.update(interactive=False),
            }  # fmt: skip
        updates: Updates = {
            self.w.seen: self._mark(live), self.w.timer: gr.Timer(active=live.running),
            self.w.stop: gr.update(interactive=live.running and not live.stopping), self.w.status: self._status(live),
            self.w.live: live_html(live),
        }  # fmt: skip
        if live.running:
            updates[self.w.fold] = gr.update(open=True)
        elif live.seen.phase == FINISHED:
            updates[self.w.made] = str(live.out)
        return updates

    def _mark(self, live: LiveReport) -> str:
        return f"{id(live)}/{live.version}/{live.stopping}/{self.page.maker.ahead(live)}"

    def _status(self, live: LiveReport) -> str:
        seen = live.seen
        if live.stopping:
            return '<span class="busy">Stopping</span>'
        if seen.phase == WAITING:
            ahead = self.page.maker.ahead(live)
            return f'<span class="busy">Waiting for {plural(ahead, "other report")}</span>'
        if seen.phase == READING:
            return '<span class="busy">Reading the data</span>'
        if seen.phase == FAILED:
            return problem(seen.problem)
        if seen.phase == STOPPED:
            return "Stopped; Make goes on from there."
        if seen.phase == FINISHED:
            return "Finished; it is shown below."
        step = seen.progress
        if step is None:
            return '<span class="busy">Beginning</span>'
        left = "" if seen.left is None else f", {duration(seen.left)} left of this"
        what = STAGES.get(step.stage, step.stage)
        return f'<span class="busy">{escape(what.capitalize())}, {step.done:,} of {step.total:,}{left}</span>'

    def _unfinished(self, session: Session) -> str:
        """What was stopped before, by this visitor or on this machine."""
        folder = self.page.reports_folder(session)
        half = [title for out, (title, _) in remembered(folder).items()
                if not (out / MANIFEST).is_file() and (out / "settings.json").is_file()]  # fmt: skip
        if not half:
            return WHAT
        listed = "; ".join(escape(title) for title in half[:3])
        return f'{WHAT}<p class="note">Half made: {listed}. The same settings go on where it was stopped.</p>'


WHAT = (
    '<p class="note">Each segment is removed from the pictures and pasted on others, under several fills and beside '
    "placebos of the same size; what the model says then decides what it leans on. Findings show here as they "
    "sharpen. It goes on when this page is closed.</p>"
)


def live_html(live: LiveReport) -> str:
    """How far it is, and what stands out so far."""
    seen, parts = live.seen, [f'<p class="what"><b>{escape(live.title)}</b></p>']
    step = seen.progress
    if step is not None and live.running:
        share = step.done / max(1, step.total)
        names = list(STAGES)
        at = names.index(step.stage) if step.stage in names else -1
        done = " &rsaquo; ".join(
            f"<b>{STAGES[name]}</b>" if place == at else f"<span>{STAGES[name]}</span>"
            for place, name in enumerate(names[: max(at, 0) + 2])
        )
        parts.append(f'<p class="stages">{done}</p><div class="track"><span style="width:{share:.1%}"></span></div>')
    if seen.estimates and seen.phase != FINISHED:
        rows = "".join(_estimate_row(one) for one in seen.estimates[:ESTIMATES])
        parts.append(
            f'<table class="so-far" data-testid="so-far"><caption>So far, from {plural(seen.pictures, "picture")}: '
            "effect on the log-odds beyond placebos, with 95 % intervals; verdicts come with all tests</caption>"
            "<thead><tr><th>class</th><th>segment</th><th>removed</th><th>pasted</th><th>pictures</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
    return "".join(parts)


def _estimate_row(one: Any) -> str:
    cells = (
        "" if size is None else f"{number(size.estimate)} [{number(size.low)}, {number(size.high)}]"
        for size in (one.necessity, one.sufficiency)
    )
    shown = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<tr><th>{escape(one.target)}</th><td>{escape(one.segment)}</td>{shown}<td>{one.pictures}</td></tr>"


def _names_in(data: Dataset) -> dict[str, str]:
    """Names of segments and their kinds, of some pictures."""
    names: dict[str, str] = {}
    for item in limited(data, LOOKED_INTO).items if len(data) else ():
        with suppress(UserError):
            segments = item.segments()
            for name, kind in zip(segments.names, segments.kinds) if segments is not None else ():
                if name:
                    names.setdefault(name, kind)
    return names


def _about(model: str, data: Dataset, named: bool) -> str:
    what = "by named segment" if named else "of whole pictures, which have no masks: name some on the Segments tab"
    return f'<p class="what">A report of <b>{escape(model)}</b> on <b>{escape(data.name)}</b>, {what}.</p>'


def choices_of(page: Page, session: Session) -> Sequence[tuple[str, str]]:
    """(title, folder) of the reports that were finished on the page."""
    found = remembered(page.reports_folder(session))
    return [(title, str(out)) for out, (title, _) in found.items() if (out / MANIFEST).is_file()]
