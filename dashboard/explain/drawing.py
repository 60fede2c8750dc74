"""How the Explain tab looks: everything is drawn from the session, the controls and the results."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.attribution import Attribution, get_explainer
from core.errors import UserError
from core.parameters import Parameters
from dashboard.explain.findings import densest, finding_html
from dashboard.explain.panels import map_panel, picture_alone
from dashboard.overlays import LINKED_TOP, scale_of
from dashboard.page import Page
from dashboard.palette import families, ordered
from dashboard.pictures import View
from dashboard.plots import evidence_plot, evidence_rows, prediction_bars, segment_outlines
from dashboard.runs import ResultKey
from dashboard.sessions import Session
from dashboard.words import plural

if TYPE_CHECKING:
    from dashboard.explain.tab import Widgets

NO_CONTRAST = -1
OPACITY = 0.75
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Settings:
    """What the controls say."""

    chosen: tuple[str, ...]
    target: int | None
    contrast: int | None
    seed: float  # as typed
    opacity: float
    linked: bool
    dark: bool
    unfolded: bool
    options: dict[str, dict[str, Any]]  # explainer -> parameter -> value


def chooser(usable: Collection[str], chosen: Sequence[str], unfolded: bool) -> dict[str, dict[str, Any]]:
    """What each family's tick boxes offer: the defaults and the chosen ones, or when unfolded all usable ones."""
    found = {}
    for family, members in families().items():
        offered = [n for n, e in members.items() if n in usable and (unfolded or e.default or n in chosen)]
        found[family] = {
            "choices": [(members[name].title, name) for name in offered],
            "value": [name for name in offered if name in chosen],
            "visible": bool(offered),
        }
    return found


def fold_word(usable: Collection[str], chosen: Sequence[str], unfolded: bool) -> str:
    """What the button says that folds the list."""
    folded = sum(1 for name, e in ordered().items() if name in usable and not e.default and name not in chosen)
    return "Fewer" if unfolded else f"{folded} more"


class Drawing:
    """Turns what is known into updates of the page's components."""

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.w = page, widgets

    def key(self, session: Session, settings: Settings, view: View, name: str) -> ResultKey:
        explainer = get_explainer(name)
        parameters: Parameters = explainer.parameters.parse(settings.options.get(name, {}))
        loaded = self.page.classifiers.get(session.spec)
        classes = len(loaded.classifier.labels)
        target = self._target(settings, view, classes)
        contrast = self._contrast(settings, classes)
        if contrast == target:
            raise UserError("Why and and-not name the same class; choose another class to explain against.")
        if settings.seed < 0 or settings.seed != int(settings.seed):
            raise UserError(f"The seed must be a whole number, 0 or above, got {settings.seed:g}.")
        seed = int(settings.seed) if explainer.random else 0
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
        usable = self._usable(session)
        settings = replace(settings, chosen=tuple(name for name in settings.chosen if name in usable))
        updates |= self.offer(session, settings)
        updates |= {
            self.w.target: gr.update(choices=choices, value=target),
            self.w.contrast: gr.update(
                choices=[("nothing in particular", NO_CONTRAST), *choices],
                value=NO_CONTRAST if contrast is None else contrast,
            ),
            self.w.explain: gr.update(interactive=True),
        }
        return updates | self.maps(session, settings, view)

    def offer(self, session: Session, settings: Settings) -> Updates:
        """The list of explainers to choose from."""
        usable = self._usable(session)
        offered = chooser(usable, settings.chosen, settings.unfolded)
        return {
            self.w.unfolded: settings.unfolded,
            self.w.fold: fold_word(usable, settings.chosen, settings.unfolded),
            **{group: gr.update(**offered[family]) for family, group in self.w.families.items()},
        }

    def _usable(self, session: Session) -> set[str]:
        classifier = self.page.classifiers.get(session.spec).classifier
        return {name for name, explainer in ordered().items() if explainer.supports(classifier) is None}

    def _nothing(self, why: str) -> Updates:
        """No picture or no model: every panel says so, once."""
        empty = {self.w.panels[name]: "" for name in self.w.panels}
        return {
            **empty,
            self.w.prediction: f'<p class="note">{escape(why)}</p>',
            self.w.finding: "", self.w.picture: "", self.w.evidence: "", self.w.scale_note: "", self.w.status: "",
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
        labels = self.page.classifiers.get(session.spec).classifier.labels
        target = self._target(settings, view, len(labels))
        found = densest(rows)
        updates[self.w.finding] = finding_html(view, target, self._contrast(settings, len(labels)), labels, rows, found)
        running = bool(session.runs())
        updates[self.w.status] = self._status(made, running)
        if changed is None:
            outlines = segment_outlines(view.segments, view.segment_geometry.seen_box(), rows, found)
            updates |= {self.w.columns[n]: gr.update(visible=n in settings.chosen) for n in self.w.columns}
            updates |= {
                self.w.prediction: self._prediction(session, settings, view),
                self.w.picture: picture_alone(view, outlines, len(settings.chosen)),
                self.w.scale_note: self._scale_note(settings.linked),
                self.w.stop: gr.update(interactive=running),
            }
        return updates

    @staticmethod
    def _target(settings: Settings, view: View, classes: int) -> int:
        """The class to explain: the likeliest one where none of this model's was chosen."""
        asked = settings.target
        return view.predictions[0].index if asked is None or asked >= classes else asked

    @staticmethod
    def _contrast(settings: Settings, classes: int) -> int | None:
        """The class to explain against; None for nothing in particular."""
        return settings.contrast if settings.contrast is not None and settings.contrast < classes else None

    @staticmethod
    def _done(attribution: Attribution | None) -> bool:
        return attribution is not None and not attribution.partial

    def _prediction(self, session: Session, settings: Settings, view: View) -> str:
        source = view.source
        notes = list(source.notes)
        if source.upload and session.spec.startswith("demo:"):
            labels = self.page.classifiers.get(session.spec).classifier.labels
            notes.append(f"This demo model knows {plural(len(labels), 'bird')} and takes everything for one of them.")
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
        if not made:
            return ""
        if running:
            return f"{done} of {len(made)} maps finished"
        seconds = sum(a.seconds for a in made.values() if a is not None)
        return f"{plural(done, 'map')}, {seconds:.1f} s of computing" if done else ""
