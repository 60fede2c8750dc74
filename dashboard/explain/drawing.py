"""How the Explain tab looks: everything is drawn from the session, the controls and the results."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from time import perf_counter
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.attribution import Attribution
from core.choice import Choice
from core.errors import UserError
from core.explainer import Explainer, get_explainer
from core.overlays import LINKED_TOP, scale_of
from dashboard.address import mark
from dashboard.explain.asked import choice_of, written
from dashboard.explain.costs import QUICK, Costs, about
from dashboard.explain.findings import densest, finding_html
from dashboard.explain.labels import offered
from dashboard.explain.masks import Masks
from dashboard.explain.panels import map_panel, picture_alone
from dashboard.explain.sums import Sums
from dashboard.page import Page
from dashboard.palette import families, ordered
from dashboard.pictures import View
from dashboard.plots import evidence_plot, evidence_rows, prediction_bars, segment_outlines
from dashboard.runs import ResultKey
from dashboard.sessions import Session
from dashboard.words import plural

if TYPE_CHECKING:
    from dashboard.explain.tab import Widgets

NO_CONTRAST = "none"
PASSES_TIMED = 4  # the quickest of them counts: a busy machine holds up single ones
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Settings:
    """What the controls say."""

    chosen: tuple[str, ...]
    target: str | None  # as `class_value`
    contrast: str | None
    seed: float  # as typed
    linked: bool
    unfolded: bool
    options: dict[str, dict[str, Any]]  # explainer -> parameter -> value


def class_value(view: View, index: int) -> str:
    """A class as the drop-downs hold it: with the picture and the model that it was offered for.

    The page may still hold what it was told of another one; what is explained must not hang on when it is told.
    """
    return f"{view.source.id[:12]}/{view.fingerprint[:12]}/{index}"


def class_of(value: str | None, view: View) -> int | None:
    """The class that such a value means; None if it was offered for another picture or model, or is none."""
    index = (value or "").rpartition("/")[2]
    return int(index) if index.isdecimal() and value == class_value(view, int(index)) else None


def in_front(explainer: Explainer) -> bool:
    """Offered without unfolding: the defaults, and what somebody has trained for this very model."""
    return explainer.default or explainer.needs_weights


def chooser(usable: Collection[str], chosen: Sequence[str], unfolded: bool) -> dict[str, dict[str, Any]]:
    """What each family's tick boxes offer: the defaults and the chosen ones, or when unfolded all usable ones."""
    found = {}
    for family, members in families().items():
        offered = [n for n, e in members.items() if n in usable and (unfolded or in_front(e) or n in chosen)]
        found[family] = {
            "choices": [(members[name].title, name) for name in offered],
            "value": [name for name in offered if name in chosen],
            "visible": bool(offered),
        }
    return found


def fold_word(usable: Collection[str], chosen: Sequence[str], unfolded: bool) -> str:
    """What the button says that folds the list."""
    folded = sum(1 for name, e in ordered().items() if name in usable and not in_front(e) and name not in chosen)
    return "Fewer" if unfolded else f"{folded} more"


class Drawing:
    """Turns what is known into updates of the page's components."""

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.w, self.sums, self.masks = page, widgets, Sums(page, widgets), Masks(page, widgets)
        self.costs = Costs()

    def key(self, session: Session, settings: Settings, view: View, name: str) -> ResultKey:
        choice = Choice(name, get_explainer(name).parameters.parse(settings.options.get(name, {})))
        choice = choice.found(self.page.classifiers.get(session.spec).classifier)
        target, contrast = self._asked(settings, view)
        if settings.seed < 0 or settings.seed != int(settings.seed):
            raise UserError(f"The seed must be a whole number, 0 or above, got {settings.seed:g}.")
        seed = int(settings.seed) if choice.method.is_random(choice.parameters) else 0
        regions = view.regions if choice.method.wants_regions(choice.parameters) else None
        return ResultKey(view.source.id, view.fingerprint, choice, target, contrast, seed, regions)

    def picture(self, session: Session, settings: Settings) -> Updates:
        """All that depends on the picture or the model."""
        updates: Updates = {self.w.strip: self.strip(session)}
        try:
            view = self.page.view(session)
        except UserError as error:
            return updates | self._nothing(str(error)) | {self.page.explained: self.told(session, settings)}
        updates[self.w.strip] = self.strip(session)
        settings = self.usable(session, settings)
        updates |= self.offer(session, settings)
        updates[self.w.explain] = gr.update(interactive=True)
        updates[self.w.label] = offered(view, self.page.classifiers.get(session.spec).classifier)
        return updates | self.maps(session, settings, view) | self._classes(session, settings, view)

    def offer(self, session: Session, settings: Settings, ticks: bool = True) -> Updates:
        """The list of explainers to choose from.

        Args:
            ticks: say as well which are chosen; without it the browser's own ticks stay, one set meanwhile too.
        """
        usable = self._usable(session)
        offered = chooser(usable, settings.chosen, settings.unfolded)
        if not ticks:
            offered = {family: {what: said for what, said in group.items() if what != "value"}
                       for family, group in offered.items()}  # fmt: skip
        return {
            self.w.unfolded: settings.unfolded,
            self.w.fold: fold_word(usable, settings.chosen, settings.unfolded),
            **{group: gr.update(**offered[family]) for family, group in self.w.families.items()},
        }

    def usable(self, session: Session, settings: Settings) -> Settings:
        """Without explainers that cannot explain the model that is chosen now."""
        able = self._usable(session)
        return replace(settings, chosen=tuple(name for name in settings.chosen if name in able))

    def to_make(self, session: Session, settings: Settings, view: View) -> tuple[int, float]:
        """(how many of the chosen maps are not there yet, seconds that they will take)."""
        keys = [self.key(session, settings, view, name) for name in settings.chosen]
        missing = [key for key in keys if not self._done(self.page.runner.results.get(key))]
        return len(missing), self.costs.seconds(missing, view.seconds)

    def time_a_pass(self, session: Session, view: View) -> None:
        """Once for each model, so that what its maps will take can be told."""
        if self.costs.knows(view.fingerprint):
            return
        classifier = self.page.classifiers.get(session.spec).classifier
        for _ in range(PASSES_TIMED):
            with self.page.device():
                began = perf_counter()
                classifier.predict(view.image[None])
                self.costs.measured(view.fingerprint, perf_counter() - began)

    def learn(self, keys: Mapping[str, ResultKey], names: Iterable[str], view: View) -> None:
        """What these maps of a run cost."""
        for name in names:
            self.costs.learn(keys[name], self.page.runner.results.get(keys[name]), view.seconds)

    def _usable(self, session: Session) -> set[str]:
        classifier = self.page.classifiers.get(session.spec).classifier
        return {name for name, explainer in ordered().items() if explainer.supports(classifier) is None}

    def _nothing(self, why: str) -> Updates:
        """No picture or no model: every panel says so, once."""
        empty = {self.w.panels[name]: "" for name in self.w.panels}
        return {
            **empty,
            **self.sums.hidden(),
            **self.masks.hidden(),
            self.w.prediction: f'<p class="note">{escape(why)}</p>',
            self.w.finding: "", self.w.picture: "", self.w.evidence: "", self.w.scale_note: "", self.w.status: "",
            self.w.explain: gr.update(interactive=False), self.w.stop: gr.update(interactive=False),
            self.w.label: gr.update(visible=False),
        }  # fmt: skip

    def strip(self, session: Session) -> str:
        sources = self.page.sources(session)
        stop = session.current if session.current in sources else next(iter(sources), None)
        cells = []
        for source in sources.values():
            chosen = ' aria-current="true"' if source.id == session.current else ""
            name = escape(source.name)
            remove = (
                f'<button class="remove" data-act="remove" data-id="{source.id}" '
                f'tabindex="-1" aria-label="Remove {name}">&times;</button>'
                if source.upload
                else ""
            )
            cells.append(
                f'<li{chosen}><button data-act="pick" data-id="{source.id}" title="{name}" '
                f'tabindex="{0 if source.id == stop else -1}">'  # arrow keys go on from there
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
                running=session.making(name, keys.get(name)) and not self._done(attribution),
                failed=failed.get(name),
            )
        rows = evidence_rows(maps, view)
        updates[self.w.evidence] = evidence_plot(
            rows, view.segments, self._colours(session, view)
        ) or self._no_evidence(maps)
        found = densest(rows)
        updates[self.w.finding] = finding_html(view, *self._asked(settings, view), rows, found)
        running = bool(session.runs())
        updates[self.w.status] = self._status(session, settings, view, made, running)
        if changed is None:
            outlines = segment_outlines(view.segments, view.segment_geometry.seen_box(), rows, found)
            updates |= {self.w.columns[n]: gr.update(visible=n in settings.chosen) for n in self.w.columns}
            updates |= {
                self.w.prediction: self._prediction(session, settings, view),
                self.w.picture: picture_alone(view, outlines, len(settings.chosen)),
                self.w.scale_note: self._scale_note(settings.linked),
                self.w.stop: gr.update(interactive=running),
            }
            updates[self.page.explained] = self.told(session, settings, view)
            updates |= self._classes(session, settings, view, unless_offered=True)
            updates |= self.masks.shown(session, view, keys, maps)
            updates |= self.sum(session, settings, view)
        return updates

    def told(self, session: Session, settings: Settings, view: View | None = None) -> str:
        """What is explained, and how, for the address."""
        try:
            classifier = self.page.classifiers.get(session.spec).classifier
        except UserError:
            return mark({})
        choices = [choice_of(n, settings.options.get(n, {})) for n in self.usable(session, settings).chosen]
        target, contrast = (None, None) if view is None else self._asked(settings, view)
        usual = view is not None and target == view.predictions[0].index
        return mark(written(choices, classifier, None if usual else target, contrast, settings.seed))

    def sum(self, session: Session, settings: Settings, view: View) -> Updates:
        """The trained explainer's prediction of the class explained, as a sum."""
        return self.sums.shown(session, view, self._asked(settings, view)[0])

    @staticmethod
    def _asked(settings: Settings, view: View) -> tuple[int, int | None]:
        """(the class to explain, the one to explain it against or None): what everything on the tab goes by.

        Without a choice among the classes of this very picture and model, the likeliest one and none.
        """
        target, contrast = class_of(settings.target, view), class_of(settings.contrast, view)
        if target is None:
            return view.predictions[0].index, None
        return target, None if contrast == target else contrast

    def _classes(self, session: Session, settings: Settings, view: View, unless_offered: bool = False) -> Updates:
        """The drop-downs: what is explained, and the classes to choose from, `unless_offered` already.

        No class is offered to be explained against itself.
        """
        target, contrast = self._asked(settings, view)
        value = partial(class_value, view)
        why, against = value(target), NO_CONTRAST if contrast is None else value(contrast)
        offered = unless_offered and settings.target == why
        if offered and session.excluded == why:
            return {self.w.target: why, self.w.contrast: against}
        session.excluded = why
        likely = [p.index for p in view.predictions]
        order = [*likely, *sorted(set(range(len(view.labels))).difference(likely))]
        choices = [(view.labels[i], value(i)) for i in order]
        others = [("nothing in particular", NO_CONTRAST), *(choice for choice in choices if choice[1] != why)]
        return {
            self.w.target: why if offered else gr.update(choices=choices, value=why),
            self.w.contrast: gr.update(choices=others, value=against),
        }

    def _colours(self, session: Session, view: View) -> Mapping[str, int]:
        """Of the names of the picture's segments."""
        source = None if view.source.upload else session.data
        return self.page.colours(source, filter(None, view.segments.names))

    @staticmethod
    def _done(attribution: Attribution | None) -> bool:
        return attribution is not None and not attribution.partial

    def _prediction(self, session: Session, settings: Settings, view: View) -> str:
        source = view.source
        notes = list(source.notes)
        if source.upload and session.spec.startswith("demo:"):
            notes.append(
                f"This demo model knows {plural(len(view.labels), 'bird')} and takes everything for one of them."
            )
        if view.boxed:
            notes.append("The model sees the bright part only; the rest is cut off before it looks.")
        said = "".join(f"<p class='note'>{escape(note)}</p>" for note in notes)
        size = f"{source.size[1]} x {source.size[0]}"
        target, _ = self._asked(settings, view)
        return (
            f"{prediction_bars(view.predictions, target, view.instead)}"
            f'<p class="note"><span>{escape(source.name)}</span>, {size} pixels{self._label(view)}</p>{said}'
        )

    @staticmethod
    def _label(view: View) -> str:
        """What the picture is known to show."""
        label = view.source.label
        if label is None:
            return ""
        if view.truth is None:
            return f", labelled {escape(label)}, which this model does not know"
        return f", labelled {escape(view.labels[view.truth])}"

    @staticmethod
    def _no_evidence(maps: dict[str, Attribution]) -> str:
        text = "No map shows any evidence yet." if maps else "Bars appear here with the first map."
        return f'<p class="note">{text}</p>'

    @staticmethod
    def _scale_note(linked: bool) -> str:
        if linked:
            return (
                "Explainers answer in different units, so each map is divided by its own average. One colour means the "
                f"same multiple of it in every map, up to {LINKED_TOP:g}; zero is clear. "
                "Faded: the error is larger than the value."
            )
        return (
            "Each map has its own colours, up to its 98th percentile, in its own units; they do not compare; zero is "
            "clear. Faded: the error is larger than the value."
        )

    def _status(
        self, session: Session, settings: Settings, view: View, made: dict[str, Attribution | None], running: bool
    ) -> str:
        done = sum(self._done(attribution) for attribution in made.values())
        if not made:
            return ""
        if running:
            return f"{done} of {len(made)} maps finished"
        with suppress(UserError):
            missing, seconds = self.to_make(session, settings, view)
            if missing:
                waits = session.asked and seconds > QUICK
                long = ", so it waits for Explain" if waits else ""
                return f"{plural(missing, 'map')} to make, {about(seconds)}{long}"
        seconds = sum(a.seconds for a in made.values() if a is not None)
        return f"{plural(done, 'map')}, {seconds:.1f} s of computing" if done else ""
