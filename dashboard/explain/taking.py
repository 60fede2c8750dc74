"""Taking along what the Explain tab shows: the maps as files, and the command or the Python that makes them again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import gradio as gr
from PIL import Image

from core.errors import UserError
from core.export import MapFolder
from core.images import Picture
from core.overlays import drawing
from dashboard.explain.drawing import Drawing, Settings
from dashboard.page import Page
from dashboard.pictures import View
from dashboard.project.own_models import OWN, Stated
from dashboard.runs import ResultKey
from dashboard.sessions import Session
from dashboard.temporary import new_folder, offered

ZIP = "maps.zip"
FETCH = "() => setTimeout(() => document.querySelector('#maps-file').click(), 100)"
COPY = """
element.addEventListener('click', async (event) => {
  const button = event.target.closest('button[data-copy]');
  if (!button) return;
  await navigator.clipboard.writeText(button.previousElementSibling.textContent);
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
});
"""
Read = Callable[..., tuple[Session, Settings]]


@dataclass
class Widgets:
    """The components that handlers read and write."""

    fold: gr.Accordion
    make: gr.Button
    file: gr.DownloadButton
    words: gr.HTML


def layout() -> Widgets:
    """Lay it out; `wire` makes it work."""
    with gr.Accordion("Take along", open=False, elem_id="taking") as fold:
        with gr.Row(elem_classes="buttons"):
            make = gr.Button(ZIP, size="sm", elem_id="make-maps", min_width=110, scale=0)
            gr.HTML("<p>Values as NPY, drawings as PNG, and attribution.json, which says what they are.</p>",
                    elem_classes="note")  # fmt: skip
            file = gr.DownloadButton(ZIP, elem_id="maps-file", elem_classes="unseen")
        words = gr.HTML(js_on_load=COPY, elem_id="again")
    return Widgets(fold, make, file, words)


def wire(page: Page, w: Widgets, settings: Sequence[Any], draw: Drawing, read: Read) -> None:
    """Connect it.

    Args:
        settings: what every handler of the tab is told. read: as of the tab's actions.
    """
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}

    def asked(values: Sequence[Any]) -> tuple[Session, View, list[ResultKey]]:
        session, said = read(values, remember=False)
        view = page.view(session)
        return session, view, [draw.key(session, said, view, name) for name in said.chosen]

    def show(*values: Any) -> Any:
        try:
            session, view, keys = asked(values)
        except UserError as error:
            return f'<p class="note">{escape(str(error))}</p>'
        return again_html(page, session, view, keys)

    def make(*values: Any) -> Any:
        try:
            session, view, keys = asked(values)
            return gr.update(value=str(maps_file(page, session, view, keys)))
        except UserError as error:
            raise gr.Error(escape(str(error)), duration=None, print_exception=False) from error

    w.fold.expand(show, list(settings), w.words, **quiet)
    w.make.click(make, list(settings), w.file, **quiet).success(None, None, None, js=FETCH, **quiet)


def maps_file(page: Page, session: Session, view: View, keys: Sequence[ResultKey]) -> Path:
    """A zip of the chosen maps that are finished.

    Raises:
        UserError: none is, or it cannot be written.
    """
    classifier = page.classifiers.get(session.spec).classifier
    picture = Picture(Image.fromarray(view.shown), view.source.name)
    packed = BytesIO()
    with new_folder("maps-") as place:
        folder = MapFolder(Path(place) / "maps")
        for key in keys:
            made = page.runner.results.get(key)
            if made is None or made.partial:
                continue
            probability = float(classifier.probabilities(classifier.logits(view.image[None]))[0, key.target])
            drawn = drawing(picture, made, view.geometry)
            folder.add(view.source.name, made, classifier, probability, key.choice, key.seed, drawn, view.source.notes)
        if not folder.records:
            raise UserError("No chosen map is finished; press Explain, and take them along after that.")
        folder.finish()
        with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
            for path in sorted(folder.folder.iterdir()):
                archive.write(path, path.name)
    return offered(ZIP, packed.getvalue())


def again_html(page: Page, session: Session, view: View, keys: Sequence[ResultKey]) -> str:
    """A command and a few lines of Python that make the same maps."""
    parts = (
        ("On the command line", command(page, session, view, keys)),
        ("In Python", python(page, session, view, keys)),
    )
    return "".join(
        f'<h3>{title}</h3><div class="again"><pre>{escape(text)}</pre>'
        f'<button type="button" data-copy aria-label="Copy: {title.lower()}">Copy</button></div>'
        for title, text in parts
    )


def command(page: Page, session: Session, view: View, keys: Sequence[ResultKey]) -> str:
    """`satchel explain ...` for the chosen maps of the picture in view."""
    said, labels = _stated(page, session.spec), page.classifiers.own
    words = ["satchel", "explain", _file(page, view), "--model", said.spec]
    if said.labels and labels is not None:
        words += ["--labels", str(labels.labels_file(session.spec))]
    for name, value in said.preprocessing.items():
        words += [f"--{name}", _typed(name, value)]
    if said.output:
        words += ["--output", said.output]
    for key in keys:
        words += ["--explainer", key.choice.text]
    if keys:
        words += ["--target", view.labels[keys[0].target]]
        if keys[0].contrast is not None:
            words += ["--contrast", view.labels[keys[0].contrast]]
        if seed := max(key.seed for key in keys):
            words += ["--seed", str(seed)]
    return shlex.join([*words, "--out", "maps"])


def python(page: Page, session: Session, view: View, keys: Sequence[ResultKey]) -> str:
    """The same from a program or a notebook."""
    said, own = _stated(page, session.spec), page.classifiers.own
    given = [repr(said.spec)]
    if said.labels and own is not None:
        given.append(f"labels={str(own.labels_file(session.spec))!r}")
    if said.preprocessing:
        given.append(f"preprocessing={dict(said.preprocessing)!r}")
    if said.output:
        given.append(f"output={said.output!r}")
    lines = ["import satchel", "", f"classifier = satchel.load_classifier({', '.join(given)})"]
    for key in keys:
        options = dict(key.choice.options)
        call = [repr(_file(page, view)), repr(key.choice.explainer), f"target={view.labels[key.target]!r}"]
        if key.contrast is not None:
            call.append(f"contrast={view.labels[key.contrast]!r}")
        if options:
            call.append(f"parameters={options!r}")
        if key.seed:
            call.append(f"seed={key.seed}")
        name = key.choice.explainer.replace("-", "_").replace(":", "_")
        lines.append(f"{name} = satchel.explain(classifier, {', '.join(call)})")
    if keys:
        last = lines[-1].partition(" ")[0]
        lines.append(f"{last}.overlay().save('{last}.png')")
    return "\n".join(lines)


def _file(page: Page, view: View) -> str:
    """What to call the picture: an upload by the name that its owner knows, another one by where it lies."""
    source = view.source
    return source.name if source.upload or page.shared else str(source.path)


def _stated(page: Page, spec: str) -> Stated:
    own = page.classifiers.own
    return own.get(spec) if spec.startswith(OWN) and own is not None else Stated(spec, spec)


def _typed(name: str, value: Any) -> str:
    if name in ("size", "crop"):
        return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return ",".join(f"{one:g}" for one in value) if isinstance(value, (list, tuple)) else str(value)
