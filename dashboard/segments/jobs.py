"""What takes long on the Segments tab: cutting, proposing names, gathering questions. All of it can be stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from html import escape
from time import monotonic
from typing import TYPE_CHECKING, Any

import gradio as gr

from core.errors import UserError
from core.parameters import Parameters
from core.runtime.interrupt import Interrupted, interruptible
from core.runtime.progress import Progress
from core.segments.edits import recut
from core.segments.naming.review import Review
from core.segments.naming.spread import name_dataset, segment_dataset
from core.segments.registry import Cutting, Segmenter, get_segmenter
from core.segments.segments import Segments
from dashboard.controls import problem
from dashboard.runs import FRAME_SECONDS
from dashboard.segments.actions import FAILED, WHOLE, Shows, Updates, bench_of
from dashboard.segments.work import Bench
from dashboard.words import plural

if TYPE_CHECKING:
    from dashboard.segments.tab import JobLine

log = logging.getLogger("satchel")

# the controls of a segmenter besides its parameters: which model, and what to look for
SPEC, WORDS = "(model)", "(words)"
Steps = Generator[Progress, None, str]
"""Work in steps; what it came to, in words, is its return value."""


class Jobs(Shows):
    """Generators; each step of the work is done in a turn on the device."""

    def cut(self, key: str, on: str, sam: str, name: str, whole: str, *values: Any) -> Iterator[Updates]:
        """Cut the picture in view, or all that nobody has named masks of."""
        given = {owner: value for owner, value in zip(self.w.controls, values) if owner[0] == name}
        spec = sam if name == "sam" else str(given.pop((name, SPEC), "") or "")
        words = [word.strip() for word in str(given.pop((name, WORDS), "") or "").split(",")]
        if (name, WORDS) in self.w.controls and not any(words):
            yield {self.w.cutting.status: problem("Say what to look for: words, with commas between them.")}
            return
        if whole != WHOLE[0] and (told := self._not_agreed(key, on, (name, spec, sam, words, given))):
            yield {self.w.cutting.status: told}
            return
        yield {self.w.cutting.status: '<span class="busy">Loading</span>'}
        bar = gr.Progress()
        try:
            segmenter = self.page.segmenters.get(
                name, spec, words if any(words) else (), sam, lambda fraction, text: bar(fraction, desc=text)
            )
            parameters = segmenter.parameters(**{parameter: value for (_, parameter), value in given.items()})
            signature = segmenter.signature(parameters)
        except UserError as error:
            yield {self.w.cutting.status: problem(error)}
            return

        def work(bench: Bench) -> Steps:
            if whole == WHOLE[0]:
                return (yield from self._cut_one(bench, segmenter, parameters))
            cutting = Cutting(segmenter, parameters)
            yield from segment_dataset(bench.work.data, bench.work.store, cutting, signature)
            stayed = "Every picture is cut; names that people gave or that came from files stayed."
            return " ".join([stayed, *cutting.notes])

        yield from self._run(key, on, work, self.w.cutting)

    def _not_agreed(self, key: str, on: str, asked: Any) -> str:
        """What cutting all pictures would do, the first time it is asked for; "" the second time."""
        try:
            bench = bench_of(self.page, key, on)
        except UserError as error:
            return problem(error)
        if bench.agreed == asked:
            bench.agreed = None
            return ""
        bench.agreed = asked
        counts = bench.work.counts()
        others = counts["bare"] + counts["cut"] + counts["proposed"]
        kept = f" {counts['named']:,} with names stay as they are." if counts["named"] else ""
        return f"This cuts {plural(others, 'picture')} anew.{kept} Press Cut again to begin."

    def propose(self, key: str, on: str) -> Iterator[Updates]:
        """Propose a name for every mask that has none."""

        def work(bench: Bench) -> Steps:
            yield from name_dataset(bench.work.data, bench.work.store)
            waiting = plural(bench.work.counts()["proposed"], "picture")
            return f"{waiting} with proposed names. Review asks about the least certain ones."

        yield from self._run(key, on, work, self.w.naming)

    def review(self, key: str, on: str) -> Iterator[Updates]:
        """Gather all masks, and ask about the least certain ones."""

        def work(bench: Bench) -> Steps:
            review = Review(bench.work.data, bench.work.store)
            yield from review.gather()
            if bench.work.data is not review.data:
                return "Pictures were added meanwhile; press Review again."
            bench.review = review
            return ""

        yield from self._run(key, on, work, self.w.naming)

    def load(self, spec: str) -> Iterator[Updates]:
        """Another SAM was chosen: have it ready, which may take a download, and set the sliders to what fits it."""
        yield {self.w.cutting.status: f'<span class="busy">Loading {escape(spec or "")}</span>'}
        bar = gr.Progress()
        try:
            self.page.segmenters.sam(spec, lambda fraction, text: bar(fraction, desc=text))
        except UserError as error:
            yield {self.w.cutting.status: problem(error)}
            return
        usual = get_segmenter(f"sam:{spec}").parameters().to_dict()
        yield {self.w.cutting.status: "", **{self.w.controls["sam", name]: value for name, value in usual.items()}}

    def stop(self, line: JobLine) -> Callable[[str, str], Updates]:
        """The handler of a stop button: end what runs, after the step in hand."""

        def handler(key: str, on: str) -> Updates:
            bench_of(self.page, key, on).stop()
            return {line.stop: gr.update(interactive=False), line.status: '<span class="busy">Stopping</span>'}

        return handler

    @staticmethod
    def _cut_one(bench: Bench, segmenter: Segmenter, parameters: Parameters) -> Steps:
        if bench.picture is None:
            raise UserError("There is no picture yet; drop one in on the Explain tab.")
        picture = bench.picture
        found: Segments = segmenter.segment(bench.work.picture(picture), parameters)
        yield Progress("segmenting", 1, 1)
        if picture != bench.picture:
            return "Another picture came into view meanwhile, so its masks stayed as they were."
        return ". ".join([bench.apply(recut(found)).action.capitalize(), *found.notes])

    def _run(self, key: str, on: str, work: Callable[[Bench], Steps], line: JobLine) -> Iterator[Updates]:
        try:
            bench = bench_of(self.page, key, on)
        except UserError as error:
            gr.Warning(escape(str(error)))
            yield {self.w.state: gr.skip()}
            return
        stopped = bench.begin()
        yield {line.stop: gr.update(interactive=True), line.status: '<span class="busy">Starting</span>'}
        ending, told = "Stopped; what was done is saved, and the same button goes on from here.", monotonic()
        try:
            steps = work(bench)
            while not stopped.is_set():
                with self.page.runner.lock.turn(stopped.is_set) as mine:
                    if not mine:
                        break
                    try:
                        with interruptible(stopped.is_set):
                            step = next(steps)
                    except StopIteration as end:
                        ending = end.value
                        break
                    except Interrupted:
                        break
                if monotonic() - told > FRAME_SECONDS:
                    yield {line.status: f'<span class="busy">{step.stage}, {step.done} of {step.total}</span>'}
                    told = monotonic()
        except UserError as error:
            ending = problem(error)
        except Exception:  # a defect must leave a page that says so
            log.exception("a job of the Segments tab failed")
            ending = problem(FAILED)
        bench.newer()
        yield {**self.show(bench), line.stop: gr.update(interactive=False), line.status: ending}
