"""Build the page and serve it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from threading import Event, current_thread, main_thread
from time import monotonic
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported

import gradio as gr
from starlette.middleware import Middleware

from core.data import open_dataset
from core.errors import UserError
from core.evaluation.saved_evaluation import open_evaluation
from core.paths import existing_folder, kind_at, user_path
from core.runtime.software import satchel_version
from core.sat.saved_report import open_report
from dashboard import api, header, log
from dashboard.classifiers import Classifiers
from dashboard.evaluate import tab as evaluate_tab
from dashboard.explain import tab as explain_tab
from dashboard.health import Health
from dashboard.memory import keep_level, keep_visitors_lean
from dashboard.network import UPLOAD_BYTES, Guard, Names
from dashboard.packing import Packing
from dashboard.page import Page
from dashboard.report import tab as report_tab
from dashboard.segments import tab as segments_tab
from dashboard.sessions import Sessions
from dashboard.temporary import free_bytes, keep_files_here
from dashboard.theme import script, style_sheet, theme
from dashboard.train import tab as train_tab

# (title, module with `build(page)`), in the order they stand
TABS = (
    ("Explain", explain_tab),
    ("Segments", segments_tab),
    ("Report", report_tab),
    ("Evaluate", evaluate_tab),
    ("Train", train_tab),
)
PATIENCE = 30.0  # seconds that a report or a training has to write down what it has

OPEN = (
    "satchel: Everyone who reaches port {port} of this machine can use this page, its models and its pictures; "
    "ask for a password with --auth USER:PASSWORD, or with the variable SATCHEL_AUTH."
)


def build(page: Page) -> gr.Blocks:
    """The whole page."""
    keep_files_here()
    keep_visitors_lean()
    with gr.Blocks(title="Satchel", delete_cache=(3600, 86400), fill_width=True) as blocks:
        api.build(page)  # first, so that no handler of the page has one of its names
        header.build(page, blocks)
        # with a finished report at hand, the answer first
        if page.evaluation and not page.report:
            first = "evaluate"
        else:
            first = "report" if page.report or page.sessions.spec.startswith("demo:") else "explain"
        with gr.Tabs(elem_id="tabs", selected=first):
            for title, module in TABS:
                with gr.Tab(title, id=title.lower()) as page.tabs[title]:
                    module.build(page)
    show_progress_nowhere(blocks, page.address)
    return blocks


def show_progress_nowhere(blocks: gr.Blocks, unseen: gr.HTML) -> None:
    """Of events that show none. The browser tells how each event goes to the outputs of all that ever ran, and looks
    for each of them in the whole page: most of a fresh page's computing, and of every later click's."""
    for event in blocks.fns.values():
        if event.show_progress == "hidden":
            event.show_progress_on = [unseen]


def make_page(
    model_spec: str = "demo:biased",
    labels: Path | None = None,
    report: Path | None = None,
    evaluation: Path | None = None,
    autorun: bool = True,
    data: str | None = None,
    segments: Path | None = None,
    stated: Mapping[str, Any] | None = None,
    allow: Sequence[Path] = (),
    roots: Sequence[Path] = (),
    shared: bool = False,
    model_memory: int | None = None,
) -> Page:
    """The stores behind a page, with its classifier loaded.

    Args:
        roots: folders whose folders are offered as data sets. shared: others than who starts it may use it.
        model_memory: bytes that loaded models may take together; None for a part of the machine's.

    Raises:
        UserError: the spec or its labels do not fit, or there is no such data set, report or evaluation.
    """
    if report is not None:
        report = open_report(report).path
    if evaluation is not None:
        evaluation = open_evaluation(evaluation).path
    if segments is not None:
        segments = user_path(segments)
        kind_at(segments, "folder of segments")
    opened = open_dataset(data) if data else None
    allowed = tuple(existing_folder(user_path(folder), "folder to allow") for folder in allow)
    offered = tuple(existing_folder(user_path(folder), "folder of data sets") for folder in roots)
    classifiers = Classifiers(model_spec, labels, stated, memory=model_memory)
    sessions = Sessions(model_spec)
    page = Page(
        classifiers, sessions, report, evaluation, opened, segments, allow=allowed, roots=offered, shared=shared,
        autorun=autorun,
    )  # fmt: skip
    page.classifiers.get(model_spec)
    page.read_examples()
    return page


def launch(
    model_spec: str = "demo:biased",
    report: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    open_browser: bool = True,
    share: bool = False,
    labels: Path | None = None,
    evaluation: Path | None = None,
    data: str | None = None,
    segments: Path | None = None,
    stated: Mapping[str, Any] | None = None,
    allow: Sequence[Path] = (),
    roots: Sequence[Path] = (),
    auth: str | None = None,
    allow_hosts: Sequence[str] = (),
    root_path: str | None = None,
    max_upload: int = UPLOAD_BYTES,
    model_memory: int | None = None,
    mcp: bool = False,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        model_spec: the classifier under study; others can be chosen on the page, except Python factories.
        report: a finished report to show; without it the demo's.
        host, port: where to listen.
        open_browser: open the page in a browser.
        share: make a public link.
        labels: label file for `model_spec`.
        evaluation: a finished evaluation to show.
        data: the data set to begin with; segments: the folder where its segments are kept.
        stated: what else is said of `model_spec`: `output` and `preprocessing` of `load_classifier`.
        allow: folders whose models and reports may be named on the page, besides all that is given here.
        roots: folders whose folders are offered as data sets.
        auth: "USER:PASSWORD" that the page asks for; else what `$SATCHEL_AUTH` says, which other users of the machine
            cannot see.
        allow_hosts: names besides this machine's own that the page answers to, as a proxy's.
        root_path: the path, or the whole address, that a proxy shows the page under.
        max_upload: bytes that one upload may have.
        model_memory: bytes that loaded models may take together; None for a part of the machine's.
        mcp: offer what programs may ask of the page to agents as well, by the Model Context Protocol.

    Raises:
        UserError: the package for that is not there, the model does not load, the port is taken, or a name or password
            is not one.
    """
    began = monotonic()
    login = _login(auth or os.environ.get("SATCHEL_AUTH"))
    if mcp:
        _check_mcp(login)
    public = [root_path] if root_path and "://" in root_path else []
    names = Names(host, [*allow_hosts, *public])
    page = make_page(
        model_spec, labels, report, evaluation, data=data, segments=segments, stated=stated, allow=allow, roots=roots,
        shared=share or names.shared, model_memory=model_memory,
    )  # fmt: skip
    notes = page.classifiers.get(model_spec).classifier.notes
    for note in (*notes, *(page.given.notes if page.given is not None else ())):
        print(note, flush=True)
    blocks = build(page)
    try:
        with redirect_stdout(StringIO()):  # some of its own words Gradio says even when it is quiet
            _, local, public = blocks.launch(
                server_name=host, server_port=port, inbrowser=open_browser, share=share, prevent_thread_lock=True,
                auth=login, root_path=root_path, mcp_server=mcp, **launch_options(names, page, max_upload),
            )  # fmt: skip
    except OSError as error:
        raise UserError(f"Port {port} on {host} cannot be used; choose another with --port.") from error
    if share and public:
        names.allow(public)
    print(f"Satchel is at {local.rstrip('/')} - Ctrl-C ends it.", flush=True)
    if share:
        told = f"Everybody else finds it for a week at {public}" if public else "A public link could not be made."
        print(told, flush=True)
    if mcp:
        print(f"Agents find it at {local.rstrip('/')}/gradio_api/mcp/", flush=True)
    if login is None and (share or names.open):
        print(OPEN.format(port=port), file=sys.stderr, flush=True)
    log.told(
        "page started", version=satchel_version(), host=host, port=port, shared=page.shared, login=login is not None,
        max_upload=max_upload, seconds=round(monotonic() - began, 3),
    )  # fmt: skip
    keep_level()
    try:
        with _ended_by_sigterm():
            Event().wait()
    finally:
        log.told("page ending")
        page.end(PATIENCE)
        blocks.close(verbose=False)
        log.told("page ended", seconds=round(monotonic() - began, 3))


def _check_mcp(login: tuple[str, str] | None) -> None:
    if find_spec("mcp") is None:
        raise UserError('Agents need the package mcp; install it with `pip install "satchel[mcp]"`.')
    if login is not None:  # Gradio lets its agents in without asking, and then cannot do as they say
        raise UserError("--mcp knows no password; leave one of --mcp and --auth out, or have a proxy ask for it.")


def _login(text: str | None) -> tuple[str, str] | None:
    """ "USER:PASSWORD" -> both."""
    if text is None or not text:
        return None
    user, _, password = text.partition(":")
    if not user or not password:  # what was given is not repeated
        raise UserError("--auth (or SATCHEL_AUTH) takes USER:PASSWORD; neither may be empty.")
    return user, password


@contextmanager
def _ended_by_sigterm() -> Generator[None]:
    """Let a service manager's way of ending a program clean up as Ctrl-C does."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def launch_options(
    names: Names | None = None, page: Page | None = None, max_upload: int = UPLOAD_BYTES
) -> dict[str, Any]:
    """What every way of serving the page has in common.

    Args:
        names: what the page answers to; only this machine's loopback names if there are none.
        page: whose health is told; without it nobody's is.
        max_upload: bytes that one upload may have.
    """
    guard = Middleware(Guard, names=names or Names("127.0.0.1"), upload_bytes=max_upload, room=free_bytes)
    return {
        "app_kwargs": {"middleware": [guard, Middleware(Packing), *([Middleware(Health, page=page)] if page else [])]},
        "theme": theme(),
        "css": style_sheet(),
        "head": script(),
        "footer_links": [],
        "max_file_size": max_upload,
        "ssr_mode": False,
        "show_error": True,
        "quiet": True,
        # no request to itself, which a proxy's variable leads astray and the first visitors may hold up for its 3 s
        "_frontend": False,
    }
