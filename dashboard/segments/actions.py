"""Handlers of the Segments tab: clicks, names, edits, answers; what takes long is in segments_jobs."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.errors import UserError
from core.segments import edits
from core.segments.files import write_segments
from core.segments.naming.spread import current
from core.segments.saved.store import Store
from core.segments.segments import Segments
from dashboard.controls import problem
from dashboard.page import Page
from dashboard.project.data_sets import is_demo
from dashboard.segments.cut import Cut
from dashboard.segments.drawing import (
    SHOWN_AT_ONCE,
    holder,
    masks_data,
    picture_data,
    progress_html,
    review_html,
    state_data,
    strip_html,
)
from dashboard.segments.of_page import page_data
from dashboard.segments.work import Bench, Work

if TYPE_CHECKING:
    from dashboard.segments.tab import Widgets

log = logging.getLogger("satchel")

OWN, PAGE = "the data set", "pictures on this page"
WHOLE = ("this picture", "all pictures")
FORMS = {
    "COCO JSON": "coco",
    "COCO JSON, polygons": "coco-polygons",
    "label maps": "label-maps",
    "a folder of masks a name": "folders",
}
Updates = dict[Any, Any]
FAILED = "That failed; the program's log says why. What was saved is whole."


def bench_of(page: Page, key: str, on: str) -> Bench:
    """Where a visitor works; made at the first use.

    Raises:
        UserError: the folder of the segments cannot be used.
    """
    session = page.sessions.get(key)
    source = session.data if on == OWN else None
    data = page_data(page.sources(session).values()) if source is None else page.data_sets.get(source)
    with session.lock:
        bench = session.benches.get(source)
        if bench is None:
            store = Store(page.segments_folder(source), f"browser {key[:4]}", data.source)
            bench = session.benches[source] = Bench(Work(data, store))
    bench.use(data)
    return bench


class Shows:
    """What all handlers of the tab share: from a bench to the components."""

    def __init__(self, page: Page, widgets: Widgets) -> None:
        self.page, self.w = page, widgets

    def show(self, bench: Bench, chosen: Sequence[str] = (), say: str = "", problem: bool = False) -> Updates:
        """The masks in view, and whatever else has changed since it was shown last."""
        with bench.lock:
            bench.turn += 1
            parts = {
                self.w.progress: progress_html(bench.work),
                self.w.strip: strip_html(bench),
                self.w.questions: review_html(bench),
            }
            if not say:
                say = bench.trouble
                problem = bool(say)
            shown: dict[str, str | None] = {str(component.elem_id): text for component, text in parts.items()}
            updates: Updates = {c: text for c, text in parts.items() if bench.shown.get(str(c.elem_id)) != text}
            other = bench.shown.get("picture", "") != bench.picture
            if other:
                shown["picture"] = bench.picture
                updates[self.w.picture] = holder("picture", picture_data(bench) | {"turn": bench.turn})
            masks = bench.shown.get("masks")
            # the masks are large: a click that only asks the SAM does not send them again
            if other or masks is None or bench.drawn is not bench.segments:
                masks = shown["masks"] = str(bench.turn)
                updates[self.w.masks] = holder("masks", masks_data(bench) | {"turn": bench.turn})
            colours = partial(self.page.segment_colours.of, bench.work.store.folder)
            state = state_data(bench, colours, chosen, say, problem) | {"turn": bench.turn, "masks": masks}
            # only now, when nothing can fail any more: what is held for shown is not sent again
            bench.shown, bench.drawn = bench.shown | shown, bench.segments
            return updates | {self.w.state: holder("state", state)}


class Actions(Shows):
    """What happens on each event."""

    def enter(self, key: str) -> Updates:
        """A page was opened or reloaded, or another data set was chosen: that one, where it is not the demo's, whose
        pictures are on the page anyhow."""
        own = not is_demo(self.page.sessions.get(key).data)
        on = OWN if own else PAGE
        return {self.w.on: gr.update(visible=own, value=on), **self._opened(key, on, anew=True)}

    def open(self, key: str, on: str) -> Updates:
        """The page's pictures, or again the data set."""
        return self._opened(key, on, anew=True)

    def refresh(self, key: str, on: str) -> Updates:
        """The tab was opened: pictures may have been added, or masks changed in another browser."""
        return self._opened(key, on, anew=False)

    def _opened(self, key: str, on: str, anew: bool) -> Updates:
        try:
            bench = bench_of(self.page, key, on)
            said = bench.newer() or ""
        except UserError as error:
            return {self.w.progress: f'<p class="problem" role="alert">{escape(str(error))}</p>'}
        if not anew:
            return self.show(bench, say=said)
        bench.stop()  # a reload cut its stream; what it did is saved
        bench.shown = {}
        idle: Updates = {}
        for line in (self.w.cutting, self.w.naming):
            idle |= {line.stop: gr.update(interactive=False), line.status: ""}
        return {**self.show(bench, say=said), **idle}

    def act(self, event: gr.EventData, key: str, on: str, sam: str) -> Updates:
        """Anything on the picture, its panel, the strip or the questions."""
        given: dict[str, Any] = dict(event._data or {})
        try:
            bench = bench_of(self.page, key, on)
        except UserError as error:
            gr.Warning(escape(str(error)))
            return {self.w.state: gr.skip()}
        with bench.lock:
            news = ""
            try:
                if given.get("picture") not in (None, bench.picture):
                    raise UserError("Another picture came into view meanwhile; do that again here.")
                if given.get("do") not in ("undo", "redo"):  # they look themselves
                    news = bench.newer() or ""
                chosen, said = self._do(bench, given, sam)
                return self.show(bench, chosen, _together(said, news))
            except UserError as error:
                return self.show(bench, say=_together(str(error), news), problem=True)
            except Exception:  # a defect must leave a page that says so
                log.exception("an action of the Segments tab failed")
                return self.show(bench, say=FAILED, problem=True)

    def choose_cutter(self, name: str) -> Updates:
        """Show the parameters of what cuts."""
        return {box: gr.update(visible=cutter == name) for cutter, box in self.w.boxes.items()}

    def export(self, key: str, on: str, form: str) -> Updates:
        """All masks of the data set as an archive."""
        try:
            bench = bench_of(self.page, key, on)
            folder = bench.archive_folder()
            archive, told = _archive(bench.work, folder, form)
        except UserError as error:
            return {self.w.export_status: problem(error)}
        return {
            self.w.file: gr.update(value=archive, visible=True, label="Download segments.zip"),
            self.w.export_status: problem(told) if told else "",
        }

    # -- one each

    def _do(self, bench: Bench, given: dict[str, Any], sam: str) -> tuple[Sequence[str], str]:
        """Do what was asked; returns keys to choose, and what to say."""
        what, keys = str(given.get("do")), [str(key) for key in given.get("keys") or ()]
        if what in ("open", "step", "page"):
            self._move(bench, what, given)
            return (), " ".join(bench.segments.notes if bench.segments else ())
        if what == "answer":
            return self._answer(bench, given)
        if what == "take-back":
            return self._take_back(bench)
        if what == "look":
            bench.open(str(given["id"]))
            return [str(given["key"])], ""
        if what in ("click", "box", "other", "drop", "keep"):
            return self._cut(bench, what, given, sam)
        if what in ("undo", "redo"):
            return (), (bench.undo() if what == "undo" else bench.redo())
        if what == "kind":
            bench.set_kind(str(given["name"]), str(given["kind"]))
            return keys, ""
        if what == "name":
            done = bench.apply(edits.rename(keys, str(given["name"])))
            return _next_unnamed(bench.segments, done.touched), done.action
        made = {"accept": edits.accept, "merge": edits.merge, "split": edits.split, "delete": edits.delete}
        if what not in made:
            raise UserError("This page is older than the program; reload it.")
        done = bench.apply(made[what](keys))
        return done.touched, done.action

    @staticmethod
    def _move(bench: Bench, what: str, given: dict[str, Any]) -> None:
        if what == "open":
            bench.open(str(given["id"]))
        else:
            by = 1 if int(given["by"]) > 0 else -1
            bench.step(by * SHOWN_AT_ONCE if what == "page" else by)

    def _cut(self, bench: Bench, what: str, given: dict[str, Any], spec: str) -> tuple[Sequence[str], str]:
        cut = bench.cut
        if what == "drop":
            bench.cut = Cut()
        elif what == "other":
            if cut.answer is not None:
                cut.chosen = (cut.chosen + 1) % len(cut.answer.masks)
        elif what == "keep":
            done = bench.keep(self.page.segmenters.sam(spec).source)
            name = str(given.get("name") or "").strip()
            if name:
                done = bench.apply(edits.rename(done.touched, name))
            return done.touched, done.action
        else:
            self._ask(bench, what, given, spec)
        return (), ""

    def _ask(self, bench: Bench, what: str, given: dict[str, Any], spec: str) -> None:
        if bench.picture is None:
            raise UserError("There is no picture yet; drop one in on the Explain tab.")
        picture = bench.work.picture(bench.picture)
        height, width = picture.size
        asked = Cut() if what == "box" else bench.cut.copy()
        if what == "box":
            left, top, right, bottom = (float(value) for value in given["box"])
            asked.box = (left * width, top * height, right * width, bottom * height)
        else:
            asked.points.append((float(given["x"]) * width, float(given["y"]) * height))
            asked.labels.append(int(given["label"]))
        sam = self.page.segmenters.sam(spec)
        with self.page.device():
            asked.ask(sam, picture)
        bench.cut = asked

    @staticmethod
    def _answer(bench: Bench, given: dict[str, Any]) -> tuple[Sequence[str], str]:
        review = bench.review
        questions = {question.key: question for question in bench.asked if question.picture == str(given["id"])}
        question = questions.get(str(given["key"]))
        if review is None or question is None:
            raise UserError("That question is not open any more; go on with the next one.")
        how, name = str(given["how"]), str(given.get("name") or "")
        answers = {
            "accept": lambda: review.accept(question),
            "correct": lambda: review.correct(question, name),
            "reject": lambda: review.reject(question),
        }
        record = answers[how]()
        if record.picture == bench.picture:
            bench.open(record.picture)
        return (), f"{record.action} in {record.picture}"

    @staticmethod
    def _take_back(bench: Bench) -> tuple[Sequence[str], str]:
        record = bench.review.take_back() if bench.review is not None else None
        if record is None:
            raise UserError("There is no answer to take back.")
        if record.picture == bench.picture:
            bench.open(record.picture)
        return (), f"{record.action} in {record.picture}"


def _together(said: str, news: str) -> str:
    """What was done and what somebody else did, as two sentences."""
    if not said or not news:
        return said or news
    return f"{said}{'' if said.endswith('.') else '.'} {news}"


def _archive(work: Work, folder: Path, form: str) -> tuple[str, str]:
    """Write all masks of the data set into an archive, and nothing else, in the folder.

    Returns:
        The archive's path; and what to say of pictures whose masks cannot be read, which are left out.

    Raises:
        UserError: there are no masks, they cannot be written in that form, or the disk is full.
    """
    problems: list[str] = []
    pictures = _pictures(work, problems)
    first = next(pictures, None)
    if first is None:
        raise UserError(problems[0] if problems else "Nothing to export yet: cut or draw a mask first.")
    written = folder / "segments"
    try:
        write_segments(
            written / "annotations.json" if form.startswith("COCO") else written, FORMS[form], chain([first], pictures)
        )
        if not written.is_dir():
            raise UserError(f"Nothing to export as {form} yet: name a mask first.")
        archive = shutil.make_archive(str(written), "zip", written)
        shutil.rmtree(written)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(
            f"The archive could not be written to {folder.parent} ({error.strerror or error}); "
            "free some room there and export again."
        ) from error
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return archive, f"Left out: {problems[0]}{more}" if problems else ""


def _pictures(work: Work, problems: list[str]) -> Iterator[tuple[str, Segments]]:
    for item in work.data.items:
        try:
            _, segments = current(item, work.store)
        except UserError as error:  # costs no other picture
            problems.append(f"{item.id}: {error}")
            continue
        if segments is not None and len(segments):
            yield item.id, segments


def _next_unnamed(segments: Segments | None, touched: Sequence[str]) -> list[str]:
    """After a name, the largest mask that has none yet; where all have one, what was named stays chosen."""
    open_ = {key: item for key, item in edits.by_key(segments).items() if not item.name}
    return [max(open_, key=lambda key: open_[key].mask.area)] if open_ else list(touched)
