"""What programs may ask of a page, by name: `predict`, `explain` and `report_findings`; docs/api.md shows how.

Each is one function with plain values, which the page's own limits hold for: models, explainers and reports may name
what the text boxes may, the device is shared in turns, and one client may have a few requests in hand at a time.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from core.attribution import Attribution
from core.choice import Choice
from core.classifier import Classifier
from core.errors import UserError
from core.explanation import Explanation
from core.images import Picture, read_picture
from core.preprocessing import Prepared
from dashboard.log import now_serving, shortened, timed
from dashboard.page import Page
from dashboard.report.finished import shipped_reports
from dashboard.report.making import MANIFEST, remembered
from dashboard.runs import ResultKey, Run
from dashboard.subject import SHIPPED, short
from dashboard.temporary import new_folder, offered

log = logging.getLogger("satchel")

CALLS = 4  # in hand at a time; the others wait in the queue
CALLS_EACH = 2  # of one client of a shared page
SECONDS = 600.0  # that one map may take
MOST_CLASSES = 100
File = dict[str, Any]


def build(page: Page) -> None:
    """Add the endpoints to the page; inside its Blocks."""
    calls = Calls(page)
    for endpoint in (calls.predict, calls.explain, calls.report_findings):
        gr.api(endpoint, api_name=endpoint.__name__, concurrency_limit=CALLS, concurrency_id="api")


class Turnstile:
    """So many at a time of each client."""

    def __init__(self, each: int | None) -> None:
        """
        Args:
            each: None for any number.
        """
        self._each, self._inside, self._lock = each, Counter[str](), threading.Lock()

    @contextmanager
    def passed(self, client: str) -> Generator[None]:
        """One more of this client is in hand.

        Raises:
            UserError: there are enough.
        """
        with self._lock:
            if self._each is not None and self._inside[client] >= self._each:
                raise UserError(
                    f"{self._each} requests of yours are being computed; send this one again when one is answered."
                )
            self._inside[client] += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside[client] -= 1
                if not self._inside[client]:
                    del self._inside[client]


class Calls:
    """The endpoints of one page."""

    def __init__(self, page: Page) -> None:
        self.page, self.reports = page, page.reports
        self.turnstile = Turnstile(CALLS_EACH if page.shared else None)

    def predict(
        self, picture: gr.FileData, model: str = "", classes: int = 5, request: gr.Request | None = None
    ) -> dict[str, Any]:
        """What a classifier says of a picture.

        Args:
            picture: a file that was uploaded, as gradio_client's handle_file does.
            model: a spec such as torchvision:mobilenet_v2; empty for the model that the page was started with.
            classes: how many, likeliest first.

        Returns:
            model, fingerprint, classes (label, index, probability in 0 to 1), and notes on how the picture was read.
        """
        with self._call("predict", request):
            if not 1 <= classes <= MOST_CLASSES:
                raise UserError(f"Ask for 1 to {MOST_CLASSES} classes, not {classes}.")
            classifier, read, prepared = self._read(picture, model)
            with self.page.device():
                found = classifier.predict(prepared.tensor[None], k=min(classes, len(classifier.labels)))[0]
            return {
                **_about(classifier),
                "classes": [{"label": one.label, "index": one.index, "probability": one.probability} for one in found],
                "notes": list(read.notes),
            }

    def explain(
        self,
        picture: gr.FileData,
        explainer: str = "suppression",
        target: str = "",
        model: str = "",
        seed: int = 0,
        request: gr.Request | None = None,
    ) -> tuple[dict[str, Any], gr.FileData, gr.FileData]:
        """Which parts of a picture a class leans on, as a map.

        Args:
            picture: a file that was uploaded, as gradio_client's handle_file does.
            explainer: a name with parameters, such as integrated-gradients:samples=32.
            target: a class, by label or number; empty for the likeliest one.
            model: a spec such as torchvision:mobilenet_v2; empty for the model that the page was started with.
            seed: the same one, the same map.

        Returns:
            Numbers as in attribution.json of satchel explain; the map as NPY, float32 in the model's frame; the map
            over the picture as PNG.
        """
        with self._call("explain", request):
            self.page.allowed.check_explainer(explainer)
            classifier, read, prepared = self._read(picture, model)
            choice = Choice.parse(explainer).found(classifier)
            if choice.method.wants_regions(choice.parameters):
                raise UserError(f"{choice.label} removes named segments, which this endpoint does not take.")
            if seed < 0:
                raise UserError(f"The seed must be 0 or above, got {seed}.")
            with self.page.device():
                every = classifier.predict(prepared.tensor[None], k=len(classifier.labels))[0]
            wanted = classifier.class_index(target) if target.strip() else every[0].index
            made = self._made(model, classifier, read, prepared, choice, wanted, seed)
            probability = next(one.probability for one in every if one.index == wanted)
            explanation = Explanation(made, prepared, read, classifier, choice, probability, seed)
            return _taken_along(explanation)

    def report_findings(self, report: str = "", request: gr.Request | None = None) -> dict[str, Any]:
        """The verdicts of a finished report.

        Args:
            report: its folder or its name; empty for the one that the page was started with, else the demo's.

        Returns:
            report, model, fingerprint, pictures, and findings, an entry a class, segment and explainer, strongest
            first, as in findings.json of satchel report.
        """
        with self._call("report_findings", request):
            finished = self.reports.get(self._folder(report.strip()))
            manifest = finished.manifest
            return {
                "report": finished.report.path.name,
                "model": short(str(manifest["model"])),
                "fingerprint": manifest["fingerprint"],
                "pictures": manifest["pictures"],
                "findings": list(finished.report.findings),
            }

    # -- what is asked for

    @contextmanager
    def _call(self, endpoint: str, request: gr.Request | None) -> Generator[None]:
        """A client's call; what goes wrong reaches the caller as one sentence, and the log."""
        address = request.client.host if request is not None and request.client is not None else ""
        now_serving(shortened(address))
        try:
            with timed("request", "answered", endpoint=endpoint), self.turnstile.passed(address):
                if self.page.ending:
                    raise UserError("This page is about to end; ask again when it is back.")
                yield
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:  # a defect must be told as one
            log.exception("%s failed", endpoint)
            raise gr.Error("That failed; the program's log says why.", print_exception=False) from error

    def _read(self, file: File | gr.FileData, model: str) -> tuple[Classifier, Picture, Prepared]:
        classifier = self.page.classifiers.get(model.strip() or self.page.classifiers.start).classifier
        path = uploaded(file)
        with timed("picture", "taken", without=path.name):
            read = read_picture(path)
        return classifier, read, classifier.prepare(read)

    def _folder(self, report: str) -> str:
        named = {name: str(path) for name, path in shipped_reports().items()}
        if not self.page.shared:  # on a shared page they are their makers'
            made = remembered(self.page.brought / "reports")
            named |= {path.name: str(path) for path in made if (path / MANIFEST).is_file()}
        first = named.get(SHIPPED, "")
        if self.page.report is not None:
            first = named[self.page.report.name] = str(self.page.report)
        return named.get(report, report) if report else first

    def _made(
        self,
        model: str,
        classifier: Classifier,
        read: Picture,
        prepared: Prepared,
        choice: Choice,
        target: int,
        seed: int,
    ) -> Attribution:
        """The finished map, made in turns with what others compute, or found where it was made already."""
        loaded = self.page.classifiers.get(model.strip() or self.page.classifiers.start)
        used = seed if choice.method.is_random(choice.parameters) else 0
        key = ResultKey(read.digest, classifier.fingerprint, choice, target, None, used)
        run, until = Run({choice.label: key}), monotonic() + SECONDS
        for _ in self.page.runner.stream(loaded, prepared.tensor, run):
            if monotonic() > until or self.page.ending:
                run.stop()
        if run.failed:
            raise UserError(next(iter(run.failed.values())))
        made = self.page.runner.results.get(key)
        if made is None or made.partial:
            raise UserError(
                f"The map was not finished within {SECONDS / 60:.0f} minutes, or the page ended; ask for fewer samples."
            )
        return made


def uploaded(file: Mapping[str, Any] | gr.FileData) -> Path:
    """Where a file lies that was sent to this page before.

    Raises:
        UserError: it names any other place: a path of the server, or an address elsewhere.
    """
    told = file if isinstance(file, Mapping) else vars(file)
    path = str(told.get("path") or "")
    if path.startswith(("http://", "https://")):  # of an upload to this page, as its address
        path = path.partition("/file=")[2]
    folder = os.path.realpath(get_upload_folder())
    real = os.path.realpath(path) if path and "\0" not in path else ""
    if not real.startswith(os.path.join(folder, "")) or not os.path.isfile(real):
        raise UserError("Upload the picture to this page first, as gradio_client's handle_file does.")
    return Path(real)


def _about(classifier: Classifier) -> dict[str, Any]:
    return {"model": short(classifier.name), "fingerprint": classifier.fingerprint}


def _taken_along(explanation: Explanation) -> tuple[dict[str, Any], Any, Any]:
    from core.export import MapFolder

    with new_folder("api-") as folder:
        maps = MapFolder(folder)
        numbers = maps.add(
            explanation.picture.name, explanation.attribution, explanation.classifier, explanation.probability,
            explanation.choice, explanation.seed, explanation.overlay(), explanation.picture.notes,
        )  # fmt: skip
        values = Path(folder, numbers.pop("values_file")).read_bytes()
        overlay = Path(folder, numbers.pop("overlay_file")).read_bytes()
    for part, key in (("weights", "file"), ("references", "source")):
        if numbers[part] is not None:  # where they lie is the server's own affair
            numbers[part] = {**numbers[part], key: Path(numbers[part][key]).name}
    told = {**numbers, **_about(explanation.classifier)}
    return told, _file(offered("map.npy", values)), _file(offered("overlay.png", overlay))


def _file(path: Path) -> File:
    return {"path": str(path), "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
