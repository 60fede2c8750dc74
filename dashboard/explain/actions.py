"""What happens on the Explain tab when somebody does something."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.choice import Choice
from core.errors import UserError
from dashboard.explain.asked import Asked
from dashboard.explain.costs import QUICK
from dashboard.explain.drawing import NO_CONTRAST, Drawing, Settings, Updates, class_value
from dashboard.explain.labels import give, refresh
from dashboard.explain.sums import switched
from dashboard.page import Page
from dashboard.palette import families, ordered
from dashboard.pictures import View
from dashboard.runs import Run
from dashboard.sessions import Session

if TYPE_CHECKING:
    from dashboard.explain.tab import Widgets


class Actions:
    """Handlers of the tab."""

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.w, self.draw = page, widgets, Drawing(page, widgets)

    # -- events

    def open(self, *values: Any) -> Updates:
        """A page was opened or reloaded: show what the session holds, with the controls as they were left."""
        session, settings = self.read(values, remember=False)
        session.resume = session.resume or bool(session.runs())  # a reload cut their stream
        session.drop()
        updates: Updates = {}
        asked, session.followed = session.followed, None
        if asked is not None and (asked.named or session.values):
            values = self._followed(session, (values[0], *session.values.get("rest", values[1:])), asked)
            session.values = {"rest": values[1:]}
            session.asked, session.due = session.asked or asked.named, "quick"
        if session.values:
            values = (values[0], *session.values["rest"])
            _, settings = self.read(values)
            updates = dict(zip(self.w.inputs(), values[1:]))
        return updates | self._picture(session, settings) | {self.w.ready: True}

    def first_run(self, *values: Any) -> Iterator[Updates]:
        """A first-time visitor of the demo sees maps without a click, and what an address named is answered; after a
        reload, what was running goes on."""
        session, _ = self.read(values, remember=False)
        first = self.page.autorun and not session.values and session.spec.startswith("demo:")
        if first or session.resume:
            yield from self.explain(*values)
        elif session.due:
            yield from self.answer(*values)
        else:  # a generator that yields nothing would empty every component
            yield {self.w.stop: gr.skip()}

    def model_changed(self, *values: Any) -> Iterator[Updates]:
        session, settings = self.read(values)
        session.drop()
        session.due = session.due or "quick"
        # what was said of the model before goes at once
        yield {self.w.finding: "", self.w.evidence: "", self.w.status: "Asking the model"}
        yield self._picture(session, settings)

    def data_changed(self, *values: Any) -> Updates:
        """Another data set was chosen: its pictures."""
        session, settings = self.read(values)
        session.gallery = None
        session.due = session.due or "quick"
        return {self.w.strip: self.draw.strip(session), **self._picture(session, settings)}

    def upload(self, files: Sequence[str] | None, *values: Any) -> Updates:
        """Keep the good ones; say what is wrong with each of the others."""
        session, settings = self.read(values)
        first, added = not session.uploads, 0
        for file in reversed(files or ()):
            try:
                source = self.page.pictures.read(Path(file))
            except UserError as error:
                gr.Warning(escape(str(error)), title="Not added")
                continue
            same = self.page.sources(session).get(source.id)
            if same is None:
                session.add(source)
            elif same.name != source.name:
                known = escape(same.name)
                gr.Info(f"{escape(source.name)} shows the very same picture as {known}; it stands there once.")
            session.current = source.id
            added += 1
        if not added:
            return {self.w.upload: None}
        session.drop()
        session.due = "always" if first else "quick"
        return {self.w.upload: None, **self._picture(session, settings)}

    def pick(self, event: gr.EventData, *values: Any) -> Updates:
        session, settings = self.read(values)
        if event.id not in self.page.sources(session) or event.id == session.current:
            return {self.w.stop: gr.skip()}
        session.drop()
        session.current = event.id
        session.due = session.due or "quick"
        return self._picture(session, settings)

    def remove(self, event: gr.EventData, *values: Any) -> Updates:
        session, settings = self.read(values)
        session.uploads.pop(event.id, None)
        if event.id != session.current:
            return {self.w.strip: self.draw.strip(session)}
        session.drop()
        session.current = None
        session.due = session.due or "quick"
        return self._picture(session, settings)

    def switch(self, event: gr.EventData, *values: Any) -> Updates:
        """A part of the trained explainer's sum is taken away or put back."""
        players = [text for text in str(event.id).split(",") if text.isdecimal()]
        session, settings = self.read(values, remember=False)
        session.absent = switched(session.absent, map(int, players))
        return self._sum(session, settings)

    def by(self, event: gr.EventData, *values: Any) -> Updates:
        """Another kind of parts."""
        session, settings = self.read(values, remember=False)
        session.players = str(event.id)
        return self._sum(session, settings)

    def _sum(self, session: Session, settings: Settings) -> Updates:
        try:
            return self.draw.sum(session, settings, self.page.view(session))
        except UserError:
            return {self.w.sum: gr.skip()}

    def offer(self, ready: bool, *values: Any) -> Updates:
        """The tab came into view: an explainer may have been trained meanwhile.

        Whoever opened the page with the tab may have sent the controls before they were put as a link or the visit
        before has them: what they say now holds.
        """
        if ready:
            with suppress(UserError):
                session, settings = self.read(values, remember=False)
                return self.draw.offer(session, self._now(session, settings), ticks=False)
        return {self.w.fold: gr.skip()}

    def fold(self, *values: Any) -> Updates:
        """Offer every explainer, or only the defaults and the chosen ones."""
        session, settings = self.read(values)
        return self.draw.offer(session, replace(settings, unfolded=not settings.unfolded))

    def redraw(self, *values: Any) -> Iterator[Updates]:
        """Another scale or choice of explainers: nothing is computed."""
        yield from self._redrawn(*self.read(values))

    def aim(self, *values: Any) -> Iterator[Updates]:
        """Another class to explain, or to explain it against: what runs for the one before is of no use."""
        session, settings = self.read(values)
        session.drop()
        session.due = session.due or "quick"
        yield from self._redrawn(session, settings)

    def label(self, said: str | None, *values: Any) -> Iterator[Updates]:
        """Somebody said what a picture of theirs truly shows."""
        session, settings = self.read(values, remember=False)
        try:
            classifier = self.page.classifiers.get(session.spec).classifier
            give(session, classifier, said)
        except UserError as error:
            gr.Warning(escape(str(error)))
            yield {self.w.stop: gr.skip()}
            return
        refresh(session, classifier)
        yield from self._redrawn(session, self._now(session, settings))

    def why(self, event: gr.EventData, *values: Any) -> Iterator[Updates]:
        """A class among the predictions was pressed: why that one."""
        session, _ = self.read(values, remember=False)
        try:
            wanted = class_value(self.page.view(session), int(event.index))
        except (UserError, ValueError):
            yield {self.w.stop: gr.skip()}
            return
        at = 1 + self.w.inputs().index(self.w.target)
        given = (*values[:at], wanted, *values[at + 1 :])
        yield {self.w.target: wanted}
        yield from self.aim(*given)

    def answer(self, *values: Any) -> Iterator[Updates]:
        """Picture, class or model changed: make the maps without being asked to, where that is quick."""
        session, settings = self.read(values, remember=False)
        due, session.due = session.due, ""
        if due and (due == "always" or session.asked):
            settings = self._now(session, settings)
            with suppress(UserError):  # the page tells it already
                view = self.page.view(session)
                self.draw.time_a_pass(session, view)
                missing, seconds = self.draw.to_make(session, settings, view)
                if missing and (due == "always" or seconds <= QUICK):
                    yield from self._run(session, settings, settings.chosen, retouch=False)
                    return
        yield {self.w.stop: gr.skip()}

    def look(self, ready: bool, *values: Any) -> Iterator[Updates]:
        """The tab came into view.

        Nobody has changed anything: that a first-time visitor clicked here early is no reason to make no maps, and what
        the controls say before they are put back as they were left must not be taken for a choice.
        """
        if ready:
            session, settings = self.read(values, remember=False)
            yield from self._redrawn(session, self._now(session, settings))
        else:  # all of it is on its way
            yield {self.w.stop: gr.skip()}

    def _redrawn(self, session: Session, settings: Settings) -> Iterator[Updates]:
        try:
            view = self.page.view(session)
        except UserError:
            yield {self.w.stop: gr.skip()}
            return
        yield from self._settled(session, settings, view)

    def explain(self, *values: Any) -> Iterator[Updates]:
        """Make all chosen maps, side by side."""
        session, settings = self.read(values)
        if not settings.chosen:
            gr.Warning("No explainer is chosen; tick one first.")
            yield {self.w.stop: gr.skip()}
            return
        yield from self._run(session, settings, settings.chosen, retouch=False)

    def retouch(self, name: str) -> Callable[..., Iterator[Updates]]:
        """The handler of one explainer's sliders: make its map again, and no other."""

        def handler(*values: Any) -> Iterator[Updates]:
            session, settings = self.read(values)
            yield from self._run(session, settings, (name,), retouch=True)

        return handler

    def stop(self, key: str) -> Updates:
        """End all that runs for this visitor, after the chunk in hand."""
        self.page.sessions.get(key).stop()
        return {self.w.stop: gr.update(interactive=False)}

    # -- drawing

    def _picture(self, session: Session, settings: Settings) -> Updates:
        """All that depends on picture and model; again where another came into view while it was drawn.

        Loading a model takes seconds, in which somebody may drop a picture in: whoever ends last must show that one.
        """
        while True:
            before = session.shown
            updates = self.draw.picture(session, settings)
            if session.shown == before:
                return updates

    # -- running

    def _run(self, session: Session, settings: Settings, names: Sequence[str], retouch: bool) -> Iterator[Updates]:
        session.asked = session.asked or not retouch
        try:
            view = self.page.view(session)
            loaded = self.page.classifiers.get(session.spec)
            self.draw.time_a_pass(session, view)
            keys = {name: self.draw.key(session, settings, view, name) for name in names}
        except UserError as error:
            gr.Warning(escape(str(error)))
            yield {self.w.stop: gr.skip()}
            return
        run = Run(keys)
        session.resume = False
        session.start(run, retouch)
        steps = self.page.runner.stream(loaded, view.image, run)
        try:
            yield {
                **({} if retouch else self.draw.maps(session, settings, view)),
                self.w.stop: gr.update(interactive=True),
                self.w.status: "Starting",
            }
            for changed in steps:
                if run.dropped:
                    break
                self.draw.learn(keys, changed, view)
                yield self.draw.maps(session, self._now(session, settings), view, changed)
        except GeneratorExit:  # the page went away; when it comes back the run goes on
            # one that came back before this is told has said so itself, and dropped this run
            session.resume = session.resume or not (run.stopped or run.dropped)
            raise
        finally:
            steps.close()  # ty: ignore[missing-attribute]
            session.end(run)
        if run.dropped:
            yield {self.w.stop: gr.update(interactive=bool(session.runs()))}
            return
        yield from self._settled(session, settings, view)

    def _settled(self, session: Session, settings: Settings, view: View) -> Iterator[Updates]:
        """Draw all maps, and again if anything changed before they had reached the page.

        Handlers run side by side, so an older drawing can arrive after a newer one; whoever comes last is up to date.
        """
        while session.current == view.source.id and self._of_model(session, view):
            version = session.version
            yield self.draw.maps(session, self._now(session, settings), view)
            if session.version == version:
                return
        yield {self.w.stop: gr.skip()}

    def _of_model(self, session: Session, view: View) -> bool:
        """Whether the view is still of the model that is chosen."""
        try:
            return self.page.classifiers.get(session.spec).classifier.fingerprint == view.fingerprint
        except UserError:
            return False

    def _now(self, session: Session, settings: Settings) -> Settings:
        """The controls as they are now: they may have moved while a run goes on."""
        rest = session.values.get("rest")
        return self.draw.usable(session, self._settings((None, *rest)) if rest else settings)

    # -- reading

    def read(self, values: Sequence[Any], remember: bool = True) -> tuple[Session, Settings]:
        """The visitor's session, and what the controls say."""
        session = self.page.sessions.get(values[0])
        if remember:
            session.values = {"rest": tuple(values[1:])}
            session.version += 1
        return session, self._settings(values)

    def _followed(self, session: Session, values: Sequence[Any], asked: Asked) -> tuple[Any, ...]:
        """What the controls say once an address was followed; explainers that it does not name keep theirs."""
        said = dict(zip(self.w.inputs(), values[1:]))
        usual = [Choice(name) for name, explainer in ordered().items() if explainer.default]
        named = {choice.explainer: choice for choice in (usual if asked.choices is None else asked.choices)}
        for family, group in self.w.families.items():
            said[group] = [name for name in families().get(family, ()) if name in named]
        for (explainer, parameter), field in self.w.controls.items():
            if explainer in named:
                said[field] = getattr(named[explainer].parameters, parameter)
        said |= {self.w.target: None, self.w.contrast: NO_CONTRAST, self.w.seed: asked.seed}
        with suppress(UserError):  # the page tells it already
            view = self.page.view(session)
            target = view.predictions[0].index if asked.target is None else asked.target
            said[self.w.target] = class_value(view, target)
            if asked.contrast is not None:
                said[self.w.contrast] = class_value(view, asked.contrast)
        return (values[0], *said.values())

    def _settings(self, values: Sequence[Any]) -> Settings:
        _, unfolded, target, contrast, seed, linked, *rest = values
        families = len(self.w.families)
        chosen = {name for group in rest[:families] for name in group or ()}
        options: dict[str, dict[str, Any]] = {}
        for (explainer, parameter), value in zip(self.w.controls, rest[families:]):
            options.setdefault(explainer, {})[parameter] = "" if value is None else value
        known = [name for name in ordered() if name in chosen]
        return Settings(
            tuple(known), target, contrast, seed or 0, bool(linked), bool(unfolded), options
        )  # fmt: skip
