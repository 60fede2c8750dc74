"""How the Explain tab looks: everything is drawn from the session, the controls and the results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
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
from dashboard.runs import ResultKey
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


class Drawing:
    """Turns what is known into updates of the page's components."""

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.w = page, widgets

    def key(self, session: Session, settings: Settings, view: View, name: str) -> ResultKey:
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

    def picture(self, session: Session, settings: Settings, keep_target: bool = True) -> Updates:
        """All that depends on the picture or the model."""
        updates: Updates = {self.w.strip: self.strip(session)}
        try:
            loaded = self.page.classifiers.get(session.spec)
            view = self.page.view(session)
        except UserError as error:
            return updates | self._nothing(str(error))
        updates[self.w.strip] = self.strip(session)
        labels = loaded.classifier.labels
        likely = [p.index for p in view.predictions]
        order = [*likely, *(i for i in range(len(labels)) if i not in set(likely))]
        choices = [(labels[i], i) for i in order]
        target = settings.target if keep_target and settings.target in order else likely[0]
        contrast = settings.contrast if keep_target and settings.contrast in order else None
        settings = replace(settings, target=target, contrast=contrast)
        refused = {name: e.supports(loaded.classifier) for name, e in ordered().items()}
        usable = [name for name in refused if refused[name] is None]
        chosen = tuple(name for name in settings.chosen if name in usable)
        settings = replace(settings, chosen=chosen)
        updates |= {
            self.w.target: gr.update(choices=choices, value=target),
            self.w.contrast: gr.update(
                choices=[("nothing in particular", NO_CONTRAST), *choices],
                value=NO_CONTRAST if contrast is None else contrast,
            ),
            self.w.chosen: gr.update(choices=[(get_explainer(n).title, n) for n in usable], value=list(chosen)),
            self.w.explain: gr.update(interactive=True),
        }
        return updates | self.maps(session, settings, view)

    def _nothing(self, why: str) -> Updates:
        """No picture or no model: every panel says so, once."""
        empty = {self.w.panels[name]: "" for name in self.w.panels}
        return {
            **empty,
            self.w.prediction: f'<p class="note">{escape(why)}</p>',
            self.w.picture: "", self.w.evidence: "", self.w.scale_note: "", self.w.status: "",
            self.w.explain: gr.update(interactive=False), self.w.stop: gr.update(interactive=False),
        }  # fmt: skip

    def strip(self, session: Session) -> str:
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

    def maps(self, session: Session, settings: Settings, view: View, changed: set[str] | None = None) -> Updates:
        """All that depends on maps; with `changed`, only the panels of these explainers and what follows from them."""
        keys: dict[str, ResultKey] = {}
        failed = dict(session.failed)
        for run in session.runs():
            failed |= {name: why for name, why in run.failed.items() if run.wants(name)}
        for name in settings.chosen:
            try:
                keys[name] = self.key(session, settings, view, name)
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
