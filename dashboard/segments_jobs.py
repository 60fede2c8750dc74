"""What takes long on the Segments tab: cutting, proposing names, gathering questions. All of it can be stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from functools import partial
from html import escape
from time import monotonic
from typing import Any

import gradio as gr

from core.errors import UserError
from core.parameters import Parameters
from core.runtime.interrupt import Interrupted, interruptible
from core.runtime.progress import Progress
from core.segments.edits import replace_unnamed
from core.segments.registry import Segmenter, get_segmenter
from core.segments.review import Review
from core.segments.segments import Segments
from core.segments.spread import name_dataset, segment_dataset
from dashboard.report_words import plural
from dashboard.runs import FRAME_SECONDS
from dashboard.segments_actions import FAILED, WHOLE, Shows, Updates, bench_of
from dashboard.segments_work import Bench

log = logging.getLogger("satchel")

Steps = Generator[Progress, None, str]
"""Work in steps; what it came to, in words, is its return value."""


class Jobs(Shows):
    """Generators; each step of the work is done in a turn on the device."""

    def cut(self, key: str, on: str, sam: str, name: str, whole: str, *values: Any) -> Iterator[Updates]:
        """Cut the picture in view, or all that nobody has named masks of."""

        def work(bench: Bench) -> Steps:
            segmenter = self._segmenter(name, sam)
            given = dict(zip(self.w.controls, values))
            parameters = segmenter.parameters(**{p: v for (owner, p), v in given.items() if owner == name})
            if whole == WHOLE[0]:
                return (yield from self._cut_one(bench, segmenter, parameters))
            signature = segmenter.signature(parameters)
            cutter = partial(segmenter.segment, parameters=parameters)
            yield from segment_dataset(bench.work.data, bench.work.store, cutter, signature)
            return "Every picture is cut; those with names that somebody stands behind stayed as they were."

        yield from self._run(key, on, work)

    def propose(self, key: str, on: str) -> Iterator[Updates]:
        """Propose a name for every mask that has none."""

        def work(bench: Bench) -> Steps:
            yield from name_dataset(bench.work.data, bench.work.store)
            waiting = plural(bench.work.counts()["proposed"], "picture")
            return f"{waiting} with proposed names. Review asks about the least certain ones."

        yield from self._run(key, on, work)

    def review(self, key: str, on: str) -> Iterator[Updates]:
        """Gather all masks, and ask about the least certain ones."""

        def work(bench: Bench) -> Steps:
            review = Review(bench.work.data, bench.work.store)
            yield from review.gather()
            bench.review = review
            return ""

        yield from self._run(key, on, work)

    def load(self, spec: str) -> Iterator[Updates]:
        """Another SAM was chosen: have it ready, which may take a download."""
        yield {self.w.status: f'<span class="busy">Loading {escape(spec or "")}</span>'}
        bar = gr.Progress()
        try:
            self.page.sams.segmenter(spec, lambda fraction, text: bar(fraction, desc=text))
        except UserError as error:
            yield {self.w.status: f'<span class="problem" role="alert">{escape(str(error))}</span>'}
            return
        yield {self.w.status: ""}

    def stop(self, key: str, on: str) -> Updates:
        """End what runs, after the picture in hand."""
        bench_of(self.page, key, on).stop()
        return {self.w.stop: gr.update(interactive=False), self.w.status: '<span class="busy">Stopping</span>'}

    def _segmenter(self, name: str, sam: str) -> Segmenter:
        return self.page.sams.segmenter(sam) if name == "sam" else get_segmenter(name)

    @staticmethod
    def _cut_one(bench: Bench, segmenter: Segmenter, parameters: Parameters) -> Steps:
        if bench.picture is None:
            raise UserError("There is no picture yet; drop one in on the Explain tab.")
        picture = bench.picture
        found: Segments = segmenter.segment(bench.work.picture(picture), parameters)
        yield Progress("segmenting", 1, 1)
        if picture != bench.picture:
            return "Another picture came into view meanwhile, so its masks stayed as they were."
        return bench.apply(replace_unnamed(found)).action.capitalize()

    def _run(self, key: str, on: str, work: Callable[[Bench], Steps]) -> Iterator[Updates]:
        try:
            bench = bench_of(self.page, key, on)
        except UserError as error:
            gr.Warning(escape(str(error)))
            yield {self.w.stop: gr.skip()}
            return
        stopped = bench.begin()
        yield {self.w.stop: gr.update(interactive=True), self.w.status: '<span class="busy">Starting</span>'}
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
                    yield {self.w.status: f'<span class="busy">{step.stage}, {step.done} of {step.total}</span>'}
                    told = monotonic()
        except UserError as error:
            ending = f'<span class="problem" role="alert">{escape(str(error))}</span>'
        except Exception:  # a defect must leave a page that says so
            log.exception("a job of the Segments tab failed")
            ending = f'<span class="problem" role="alert">{FAILED}</span>'
        bench.newer()
        yield {**self.show(bench), self.w.stop: gr.update(interactive=False), self.w.status: ending}
