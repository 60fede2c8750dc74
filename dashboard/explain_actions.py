"""What happens on the Explain tab: everything is drawn from the session, the controls and the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.attribution import Attribution, get_explainer
from core.errors import UserError
from core.parameters import Parameters
from dashboard.overlays import LINKED_TOP, scale_of
from dashboard.page import Page
from dashboard.palette import ordered
from dashboard.panels import map_panel, picture_alone
from dashboard.pictures import View
from dashboard.plots import evidence_plot, evidence_rows, prediction_bars, segment_outlines
from dashboard.runs import ResultKey, Run
from dashboard.sessions import Session

if TYPE_CHECKING:
    from dashboard.explain_tab import Widgets

NO_CONTRAST = -1
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Settings:
    """What the controls say."""

    chosen: tuple[str, ...]
    target: int | None
    contrast: int | None
    seed: int
    opacity: float
    linked: bool
    dark: bool
    options: dict[str, dict[str, Any]]  # explainer -> parameter -> value


class Actions:
    """Handlers of the tab."""

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.w = page, widgets

    # -- events

    def open(self, *values: Any) -> Updates:
        """A page was opened or reloaded: show what the session holds, with the controls as they were left."""
        session, settings = self._read(values, remember=False)
        updates: Updates = {}
        if session.values:
            values = (values[0], values[1], *session.values["rest"])
            _, settings = self._read(values)
            updates = dict(zip(self.w.controls.values(), values[8:]))
            updates |= {
                self.w.seed: settings.seed, self.w.opacity: settings.opacity, self.w.linked: settings.linked,
            }  # fmt: skip
        return updates | self._picture(session, settings)

    def first_run(self, *values: Any) -> Iterator[Updates]:
        """A first-time visitor of the demo sees maps without a click."""
        session, _ = self._read(values, remember=False)
        if self.page.autorun and not session.values and session.spec.startswith("demo:"):
            yield from self.explain(*values)
        else:  # a generator that yields nothing would empty every component
            yield {self.w.stop: gr.skip()}

    def model_changed(self, *values: Any) -> Updates:
        session, settings = self._read(values)
        session.drop()
        return self._picture(session, settings, keep_target=False)

    def upload(self, files: Sequence[str] | None, *values: Any) -> Updates:
        """Keep the good ones; say what is wrong with each of the others."""
        session, settings = self._read(values)
        added = 0
        for file in reversed(files or ()):
            try:
                source = self.page.pictures.read(Path(file))
            except UserError as error:
                gr.Warning(escape(str(error)), title="Not added")
                continue
            session.add(source)
            session.current = source.id
            added += 1
        if not added:
            return {self.w.upload: None}
        session.drop()
        return {self.w.upload: None, **self._picture(session, settings, keep_target=False)}

    def pick(self, event: gr.EventData, *values: Any) -> Updates:
        session, settings = self._read(values)
        if event.id not in session.sources(self.page.examples) or event.id == session.current:
            return {self.w.stop: gr.skip()}
        session.drop()
        session.current = event.id
        return self._picture(session, settings, keep_target=False)

    def remove(self, event: gr.EventData, *values: Any) -> Updates:
        session, settings = self._read(values)
        session.uploads.pop(event.id, None)
        if event.id != session.current:
            return {self.w.strip: self._strip(session)}
        session.drop()
        session.current = None
        return self._picture(session, settings, keep_target=False)

    def redraw(self, *values: Any) -> Updates:
        """Another target, scale, opacity or choice of explainers: nothing is computed."""
        session, settings = self._read(values)
        try:
            view = self.page.view(session)
        except UserError:
            return {self.w.stop: gr.skip()}
        return self._maps(session, settings, view)

    def explain(self, *values: Any) -> Iterator[Updates]:
        """Make all chosen maps, side by side."""
        session, settings = self._read(values)
        if not settings.chosen:
            gr.Warning("No explainer is chosen; tick one first.")
        yield from self._run(session, settings, settings.chosen, retouch=False)

    def retouch(self, name: str) -> Callable[..., Iterator[Updates]]:
        """The handler of one explainer's sliders: make its map again, and no other."""

        def handler(*values: Any) -> Iterator[Updates]:
            session, settings = self._read(values)
            yield from self._run(session, settings, (name,), retouch=True)

        return handler

    def stop(self, key: str) -> Updates:
        """End all that runs for this visitor, after the chunk in hand."""
        self.page.sessions.get(key).stop()
        return {self.w.stop: gr.update(interactive=False)}

    # -- running

    def _run(self, session: Session, settings: Settings, names: Sequence[str], retouch: bool) -> Iterator[Updates]:
        try:
            view = self.page.view(session)
            loaded = self.page.classifiers.get(session.spec)
            keys = {name: self._key(session, settings, view, name) for name in names}
        except UserError as error:
            gr.Warning(escape(str(error)))
            yield {self.w.stop: gr.skip()}
            return
        run = Run(keys)
        session.start(run, retouch)
        steps = self.page.runner.stream(loaded, view.image, run)
        try:
            yield {
                **({} if retouch else self._maps(session, settings, view)),
                self.w.stop: gr.update(interactive=True),
                self.w.status: "Starting",
            }
            for changed in steps:
                if run.dropped:
                    break
                yield self._maps(session, self._now(session, settings), view, changed)
        finally:
            steps.close()  # ty: ignore[unresolved-attribute]
            session.end(run)
        if run.dropped:
            yield {self.w.stop: gr.update(interactive=bool(session.runs()))}
            return
        yield self._maps(session, self._now(session, settings), view)

    def _now(self, session: Session, settings: Settings) -> Settings:
        """The controls as they are now: they may have moved while a run goes on."""
        rest = session.values.get("rest")
        return self._settings((None, settings.dark, *rest)) if rest else settings

    def _key(self, session: Session, settings: Settings, view: View, name: str) -> ResultKey:
        explainer = get_explainer(name)
        parameters: Parameters = explainer.parameters.parse(settings.options.get(name, {}))
        loaded = self.page.classifiers.get(session.spec)
        classes = len(loaded.classifier.labels)
        target = settings.target
        if target is None or target >= classes:
            target = view.predictions[0].index
        contrast = settings.contrast if settings.contrast is not None and settings.contrast < classes else None
        if contrast == target:
            raise UserError("Why and and-not name the same class; choose another class to explain against.")
        seed = settings.seed if explainer.random else 0
        return ResultKey(view.source.id, loaded.classifier.fingerprint, name, parameters, target, contrast, seed)

    # -- reading

    def _read(self, values: Sequence[Any], remember: bool = True) -> tuple[Session, Settings]:
        session = self.page.sessions.get(values[0])
        if remember:
            session.values = {"rest": tuple(values[2:])}
        return session, self._settings(values)

    def _settings(self, values: Sequence[Any]) -> Settings:
        _, dark, chosen, target, contrast, seed, opacity, linked, *rest = values
        options: dict[str, dict[str, Any]] = {}
        for (explainer, parameter), value in zip(self.w.controls, rest):
            options.setdefault(explainer, {})[parameter] = value
        known = [name for name in ordered() if name in (chosen or ())]
        against = None if contrast in (None, NO_CONTRAST) else int(contrast)
        return Settings(
            tuple(known), None if target is None else int(target), against, int(seed or 0),
            float(opacity), bool(linked), bool(dark), options,
        )  # fmt: skip

    # -- drawing

    def _picture(self, session: Session, settings: Settings, keep_target: bool = True) -> Updates:
        """All that depends on the picture or the model."""
        updates: Updates = {self.w.strip: self._strip(session)}
        try:
            loaded = self.page.classifiers.get(session.spec)
            view = self.page.view(session)
        except UserError as error:
            return updates | self._nothing(str(error))
        updates[self.w.strip] = self._strip(session)
        labels = loaded.classifier.labels
        likely = [p.index for p in view.predictions]
        order = [*likely, *(i for i in range(len(labels)) if i not in set(likely))]
        choices = [(labels[i], i) for i in order]
        target = settings.target if keep_target and settings.target in order else likely[0]
        contrast = settings.contrast if keep_target and settings.contrast in order else None
        settings = Settings(**{**vars(settings), "target": target, "contrast": contrast})
        refused = {name: e.supports(loaded.classifier) for name, e in ordered().items()}
        usable = [name for name in refused if refused[name] is None]
        chosen = tuple(name for name in settings.chosen if name in usable)
        settings = Settings(**{**vars(settings), "chosen": chosen})
        updates |= {
            self.w.target: gr.update(choices=choices, value=target),
            self.w.contrast: gr.update(
                choices=[("nothing in particular", NO_CONTRAST), *choices],
                value=NO_CONTRAST if contrast is None else contrast,
            ),
            self.w.chosen: gr.update(choices=[(get_explainer(n).title, n) for n in usable], value=list(chosen)),
            self.w.explain: gr.update(interactive=True),
        }
        return updates | self._maps(session, settings, view)

    def _nothing(self, why: str) -> Updates:
        """No picture or no model: every panel says so, once."""
        empty = {self.w.panels[name]: "" for name in self.w.panels}
        return {
            **empty,
            self.w.prediction: f'<p class="note">{escape(why)}</p>',
            self.w.picture: "", self.w.evidence: "", self.w.scale_note: "", self.w.status: "",
            self.w.explain: gr.update(interactive=False), self.w.stop: gr.update(interactive=False),
        }  # fmt: skip

    def _strip(self, session: Session) -> str:
        cells = []
        for source in session.sources(self.page.examples).values():
            chosen = ' aria-current="true"' if source.id == session.current else ""
            name = escape(source.name)
            remove = (
                f'<button class="remove" data-act="remove" data-id="{source.id}" '
                f'aria-label="Remove {name}">&times;</button>'
                if source.upload
                else ""
            )
            cells.append(
                f'<li{chosen}><button data-act="pick" data-id="{source.id}" title="{name}">'
                f'<img alt="{name}" src="{source.thumbnail}"></button>{remove}</li>'
            )
        return f'<ul class="strip">{"".join(cells)}</ul>' if cells else ""

    def _maps(self, session: Session, settings: Settings, view: View, changed: set[str] | None = None) -> Updates:
        """All that depends on maps; with `changed`, only the panels of these explainers and what follows from them."""
        keys: dict[str, ResultKey] = {}
        failed = dict(session.failed)
        for run in session.runs():
            failed |= {name: why for name, why in run.failed.items() if run.wants(name)}
        for name in settings.chosen:
            try:
                keys[name] = self._key(session, settings, view, name)
            except UserError as error:
                failed[name] = str(error)
        made = {name: self.page.runner.results.get(key) for name, key in keys.items()}
        maps = {name: attribution for name, attribution in made.items() if attribution is not None}
        updates: Updates = {}
        for name in settings.chosen if changed is None else changed.intersection(settings.chosen):
            attribution = made.get(name)
            updates[self.w.panels[name]] = map_panel(
                get_explainer(name),
                view,
                attribution,
                None if attribution is None else scale_of(attribution, settings.linked),
                opacity=settings.opacity,
                dark=settings.dark,
                running=session.making(name, keys.get(name)) and not self._done(attribution),
                failed=failed.get(name),
            )
        rows = evidence_rows(maps, view)
        updates[self.w.evidence] = evidence_plot(rows, view.segments) or self._no_evidence(maps)
        running = bool(session.runs())
        updates[self.w.status] = self._status(made, running)
        if changed is None:
            outlines = segment_outlines(view.segments, view.segment_geometry.seen_box(), rows)
            updates |= {self.w.columns[n]: gr.update(visible=n in settings.chosen) for n in self.w.columns}
            updates |= {
                self.w.prediction: self._prediction(session, settings, view),
                self.w.picture: picture_alone(view, outlines),
                self.w.scale_note: self._scale_note(settings.linked),
                self.w.stop: gr.update(interactive=running),
            }
        return updates

    @staticmethod
    def _done(attribution: Attribution | None) -> bool:
        return attribution is not None and not attribution.partial

    def _prediction(self, session: Session, settings: Settings, view: View) -> str:
        source = view.source
        notes = list(source.notes)
        if view.boxed:
            notes.append("The model sees the bright part only; the rest is cut off before it looks.")
        said = "".join(f"<p class='note'>{escape(note)}</p>" for note in notes)
        size = f"{source.size[1]} x {source.size[0]}"
        target = view.predictions[0].index if settings.target is None else settings.target
        return (
            f"{prediction_bars(view.predictions, target)}"
            f'<p class="note"><span>{escape(source.name)}</span>, {size} pixels</p>{said}'
        )

    @staticmethod
    def _no_evidence(maps: dict[str, Attribution]) -> str:
        text = "No map shows any evidence yet." if maps else "Bars appear here with the first map."
        return f'<p class="note">{text}</p>'

    @staticmethod
    def _scale_note(linked: bool) -> str:
        if linked:
            return (
                "Explainers answer in different units, so each map is divided by its own average. One colour means the "
                f"same multiple of it in every map, up to {LINKED_TOP:g}. Faded: the error is larger than the value."
            )
        return (
            "Each map has its own colours, up to its 99.5th percentile, in its own units; they do not compare. "
            "Faded: the error is larger than the value."
        )

    def _status(self, made: dict[str, Attribution | None], running: bool) -> str:
        done = sum(self._done(attribution) for attribution in made.values())
        if running:
            return f"{done} of {len(made)} maps finished"
        seconds = sum(a.seconds for a in made.values() if a is not None)
        return f"{done} maps, {seconds:.1f} s of computing" if done else ""
