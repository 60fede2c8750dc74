"""Handlers of the Evaluate tab."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import pandas as pd

from core.choice import Choice
from core.errors import UserError
from core.evaluation.evaluate import EvaluationOptions, Yardstick
from core.evaluation.saved_evaluation import open_evaluation
from core.parameters import separated
from core.paths import assets_dir
from dashboard.controls import problem
from dashboard.evaluate.drawing import answer_html, leaderboard_html, sanity_html, scatter_html, warnings_html
from dashboard.evaluate.live import LiveEvaluation, dataset_of
from dashboard.evaluate.standing import Standing
from dashboard.page import Page
from dashboard.palette import ordered
from dashboard.report.views import state_html
from dashboard.sessions import Session
from dashboard.subject import SHIPPED, is_about, stranger_html
from dashboard.temporary import download, offered

if TYPE_CHECKING:
    from dashboard.evaluate.tab import Widgets

log = logging.getLogger("satchel")

RUN = "run here"
HINT = "Choose one, or type the folder of an evaluation on this machine."
EXAMPLES, UPLOADS = "pictures of the data set", "pictures I added"
NOTHING = (
    '<div class="answer" data-testid="state"><h2>Which explainer can be trusted on these pictures?</h2>'
    "<p>Press Evaluate: explainers are scored by metrics, beside controls that never look at the model. "
    "For a whole data set there is <code>satchel evaluate</code>.</p></div>"
)
Updates = dict[Any, Any]


class Actions:
    """What happens on each event; every answer is a dictionary of components."""

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.w = page, widgets

    def open(self, key: str) -> Updates:
        """A page was opened or reloaded: the visitor's own results, else the given evaluation, else the demo's."""
        session = self.page.sessions.get(key)
        if session.evaluation is not None:  # a reload cut its stream
            session.evaluation.stop()
        updates = {**self._offer(session), self.w.stop: gr.update(interactive=False), self.w.status: ""}
        try:
            standing = session.standing or self._finished()
        except UserError as error:
            return {**updates, self.w.answer: state_html(str(error), "problem")}
        return {**updates, **(self._show(standing, session) if standing else {self.w.answer: NOTHING})}

    def model_changed(self, key: str) -> Updates:
        """Offer the explainers that can explain the model, and show its own evaluation where there is one."""
        session = self.page.sessions.get(key)
        updates = self._offer(session)
        with suppress(UserError):
            known = [standing for standing in (session.standing, self._finished()) if standing is not None]
            own = [standing for standing in known if not self._subject(standing, session)]
            if own or (known and session.spec.startswith("demo:")):
                updates |= self._show((own or known)[0], session)
            else:  # of the demo's, somebody with a model of their own has no use
                name = self.page.classifiers.title(session.spec)
                updates |= {
                    self.w.subject: "", self.w.rest: gr.update(visible=False), self.w.chooser: gr.update(value=None),
                    self.w.answer: state_html(f"There is no evaluation of {name} yet; press Evaluate."),
                }  # fmt: skip
        return updates

    def _offer(self, session: Session) -> Updates:
        """The explainers that can explain the model."""
        try:
            classifier = self.page.classifiers.get(session.spec).classifier
        except UserError:
            return {self.w.explainers: gr.update(choices=[], value=[])}
        able = {
            name: e for name, e in ordered().items()
            if e.family != "control" and e.supports(classifier) is None
        }  # fmt: skip
        choices = [(e.title, name) for name, e in able.items()]
        return {self.w.explainers: gr.update(choices=choices, value=[name for name, e in able.items() if e.default])}

    def run(
        self, key: str, pictures: str, chosen: Sequence[str], asked: Sequence[str], explainers: str, metrics: str
    ) -> Iterator[Updates]:
        """Evaluate what is ticked and what is typed besides; results are drawn anew after every picture."""
        session = self.page.sessions.get(key)
        if session.evaluation is not None:
            session.evaluation.stop()
        live = session.evaluation = LiveEvaluation()
        done, ending = 0, "Stopped"
        try:
            sources = list((session.uploads if pictures == UPLOADS else self.page.examples_of(session)).values())
            if not sources:
                raise UserError(
                    "You have not added pictures yet; drop some in on the Explain tab."
                    if pictures == UPLOADS
                    else "There are no pictures here; choose a data set, or add pictures on the Explain tab."
                )
            for text in separated([explainers]):
                self.page.allowed.check_explainer(text)
            options = _options(chosen, asked, explainers, metrics)
            data = dataset_of(sources, pictures)
            classifier = self.page.classifiers.get(session.spec).classifier
            yield {self.w.stop: gr.update(interactive=True), self.w.status: "Starting"}
            for step in live.stream(self.page.runner.lock, data, classifier, options):
                if live is not session.evaluation:  # a newer run has the page
                    yield {self.w.stop: gr.skip()}
                    return
                updates: Updates = {self.w.status: f'<span class="busy">{escape(step.text)}</span>'}
                if step.standing is not None:
                    session.standing, done = step.standing, step.standing.pictures
                    updates |= self._show(step.standing, session)
                    if step.standing.planned is None:
                        ending = f"Finished {done} of {len(data)}"
                yield updates
            if ending == "Stopped":
                ending = f"Stopped after {done} of {len(data)} pictures"
                if session.standing is not None and done:
                    session.standing = Standing(session.standing.evaluation)
            else:
                ending += " pictures"
        except UserError as error:
            ending = problem(error)
        except Exception:  # a defect must leave a page that says so
            log.exception("the evaluation failed")
            ending = problem("The evaluation failed; the program's log says why.")
        finally:
            live.stop()
            if session.evaluation is live:
                session.evaluation = None
        shown = self._show(session.standing, session) if session.standing is not None and done else {}
        yield {self.w.stop: gr.update(interactive=False), self.w.status: ending, **shown}

    def choose(self, key: str, wanted: str | None) -> Updates:
        """Another evaluation was chosen or typed; if it does not open, the one in view stays."""
        session = self.page.sessions.get(key)
        if wanted == RUN and session.standing is not None:
            return {self.w.message: HINT, **self._show(session.standing, session)}
        if not (wanted or "").strip():
            return {self.w.message: HINT}
        try:
            self.page.allowed.check(str(wanted))
            standing = Standing(open_evaluation(str(wanted)))
        except UserError as error:
            return {self.w.message: problem(error)}
        return {self.w.message: HINT, **self._show(standing, session)}

    def stop(self, key: str) -> Updates:
        """End what runs, after the step in hand."""
        live = self.page.sessions.get(key).evaluation
        if live is None:
            return {self.w.stop: gr.update(interactive=False)}
        live.stop()
        return {self.w.stop: gr.update(interactive=False), self.w.status: '<span class="busy">Stopping</span>'}

    def _finished(self) -> Standing | None:
        """The evaluation given on the command line, else the demo's."""
        path = next(iter(self._known()), None)
        return None if path is None else Standing(open_evaluation(path))

    def _known(self) -> list[Path]:
        """The folders of finished evaluations: the one given on the command line, and the demo's."""
        shipped = assets_dir() / "evaluations" / SHIPPED
        at_hand = [shipped] if (shipped / "manifest.json").is_file() else []
        return list(dict.fromkeys([*([self.page.evaluation] if self.page.evaluation else []), *at_hand]))

    def _choices(self, standing: Standing, session: Session) -> Any:
        """What can be looked at; a run here takes nothing away."""
        choices = [(path.name or str(path), str(path)) for path in self._known()]
        own = [(RUN, RUN)] if session.standing is not None else []
        value = RUN if standing is session.standing else str(standing.evaluation.path)
        return gr.update(choices=[*own, *choices], value=value)

    def _subject(self, standing: Standing, session: Session) -> str:
        """Says so where an evaluation is not about the visitor's model; else nothing."""
        with suppress(UserError):  # no such model: the header says so
            classifier = self.page.classifiers.get(session.spec).classifier
            if not is_about(standing.manifest, classifier):
                name = self.page.classifiers.title(session.spec)
                return stranger_html("evaluation", standing.manifest, name, "", "press Evaluate.")
        return ""

    def _show(self, standing: Standing, session: Session) -> Updates:
        return {
            self.w.chooser: self._choices(standing, session),
            self.w.subject: self._subject(standing, session),
            self.w.answer: answer_html(standing),
            self.w.rest: gr.update(visible=True),
            self.w.board: leaderboard_html(standing),
            self.w.table: _table_file(standing),
            self.w.scatter: scatter_html(standing),
            self.w.sanity: sanity_html(standing),
            self.w.warnings: warnings_html(standing),
        }


def _table_file(standing: Standing) -> Any:
    """The finished leaderboard to take along; nothing while it still grows."""
    if standing.planned is not None:
        return gr.update(visible=False)
    about = {name: standing.manifest[name] for name in ("model", "scorer", "data")}
    table = pd.DataFrame(standing.evaluation.leaderboard).assign(**about)
    return download(lambda: offered("leaderboard.csv", table.to_csv(index=False).encode()))


def _options(
    chosen: Sequence[str], asked: Sequence[str], more_explainers: str = "", more_metrics: str = ""
) -> EvaluationOptions:
    """One picture a step, so that others get their turn between."""
    contenders = [*chosen, *separated([more_explainers])]
    yardsticks = [*asked, *separated([more_metrics])]
    if not contenders:
        raise UserError("No explainer is chosen; tick one.")
    if not yardsticks:
        raise UserError("No metric is chosen; tick one.")
    return EvaluationOptions(
        contenders=tuple(map(Choice.parse, contenders)),
        yardsticks=tuple(map(Yardstick.parse, yardsticks)),
        shard=1,
        batch=1,
    )
