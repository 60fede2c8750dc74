"""What people type or give as a path: specs, labels, parameters, options. A sentence each, and never a hang."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from core.choice import Choice
from core.data import open_dataset
from core.evaluation.saved_evaluation import open_evaluation
from core.explainer import explainers
from core.images import read_picture
from core.loading import load_classifier
from core.loading.checkpoints import read_checkpoint
from core.loading.labels import read_labels
from core.parameters import separated
from core.sat.report import ReportOptions
from core.sat.saved_report import open_report
from core.segments.files import open_segments
from core.segments.saved.store import Store

from .damage import ODD_VALUES, damaged, damaged_document
from .harness import Case, Family

# What is imported only where it is used, so that no input pays for it.
METHODS = explainers()
for library in ("timm", "transformers", "captum.attr", "torchvision.models"):
    with suppress(ImportError):
        import_module(library)

#: Every way in that takes a path.
ENTRANCES: dict[str, Callable[[str], Any]] = {
    "picture": read_picture,
    "labels": read_labels,
    "data set": open_dataset,
    "masks": open_segments,
    "checkpoint": read_checkpoint,
    "report": open_report,
    "evaluation": open_evaluation,
    "store": Store,
    "torchvision": lambda path: load_classifier(f"torchvision:squeezenet1_1@{path}"),
    "timm": lambda path: load_classifier(f"timm:mobilenetv3_small_050@{path}"),
    "hf": lambda path: load_classifier(f"hf:{path}"),
    "model labels": lambda path: load_classifier("demo:biased", labels=path),
    "masks of a data set": lambda path: open_dataset("demo:birds", segments=path),
}
PIECES = (
    "a", "é", "e\u0301", "背", "\x00", "\n", "\t", " ", ".", "..", "/", "~", "~nosuchuser/x", "*", "?", "%00", "@", ":",
    "\udcff", "\u202e", "🦜", "'", '"', "\\", "C:\\x", "-", "--help", "http://localhost/x", "$HOME", "x" * 300,
)  # fmt: skip
EXPLAINERS = ("suppression", "grad-cam", "smoothgrad", "captum:Occlusion", "integrated-gradients", "", "occlusion")


def text_of(case: Case) -> str:
    text = "".join(case.pick(PIECES) for _ in range(case.number(0, 5)))
    return text * 60 if case.chance(0.04) else text


def path_of(case: Case) -> str:
    """A path that people would not think of."""
    how = case.pick(("text", "text", "text", "text", "device", "pipe", "socket", "locked", "loop", "below a file",
                     "folder", "long", "empty file", "junk", "link to device"))  # fmt: skip
    case.kind = f"a path: {how}"
    place = case.folder / case.pick(("x", "é.png", "x.json", "x.pth", "x.safetensors", "x.csv"))
    if how == "text":
        return case.pick(("", f"{case.folder}/")) + text_of(case)
    if how == "device":
        return case.pick(("/dev/zero", "/dev/null", "/dev/tty", "/dev/random", "/proc/self/mem", "/proc/kmsg"))
    if how == "pipe":
        os.mkfifo(place)
    elif how == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place))
    elif how == "locked":
        place.mkdir()
        place.chmod(0)
    elif how == "loop":
        place.symlink_to(place)
    elif how == "below a file":
        place.write_bytes(b"x")
        return f"{place}/y"
    elif how == "folder":
        place.mkdir()
    elif how == "long":
        return str(case.folder / ("x/" * 2500 if case.chance(0.5) else "x" * 5000))
    elif how == "empty file":
        place.touch()
    elif how == "junk":
        place.write_bytes(case.rng.bytes(case.number(1, 500)))
    else:
        place.symlink_to(case.pick(("/dev/zero", "/dev/stdin", "/nonexistent")))
    return str(place)


def _path(case: Case) -> None:
    entrance = case.pick(list(ENTRANCES))
    path = path_of(case)
    case.kind = f"{entrance}, {case.kind}"
    ENTRANCES[entrance](path)


def _spec(case: Case) -> None:
    case.kind = "a model spec"
    source = case.pick(("torchvision", "timm", "hf", "demo", "python", "", "TORCHVISION", "x"))
    rest = case.pick((text_of(case), f"resnet18@{text_of(case)}", "nosuch", f"os:{text_of(case)}", "a.b:c", ":", "@"))
    if source in ("torchvision", "timm") and "@" not in rest:
        rest = f"no such {rest}"  # published weights would be fetched
    load_classifier(f"{source}:{rest}" if case.chance(0.9) else text_of(case), allow_python=case.chance(0.5))


def _labels(case: Case) -> None:
    """Sound ones come back; damaged ones are refused or read."""
    labels = [f"label {place} {case.pick(('é', '', '背', '<b>'))}".strip() for place in range(case.number(1, 5))]
    form = case.pick(("list", "object", "lines"))
    case.kind = f"labels as {form}"
    path = case.folder / case.pick(("labels.txt", "labels.json", "x"))
    numbered = {str(place): label for place, label in enumerate(labels)}
    text = json.dumps(labels if form == "list" else numbered)
    if form == "lines":
        text, path = case.pick(("\n", "\r\n", "\n\n")).join(labels), path.with_suffix(".txt")
    if case.chance(0.4):
        path.write_bytes((b"\xef\xbb\xbf" if case.chance(0.3) else b"") + text.encode())
        case.expect(case.sound(lambda: read_labels(path)[0]) == labels, "other labels")
        return
    case.kind = f"damaged {case.kind}"
    data = damaged_document(case, json.loads(text)).encode() if form != "lines" and case.chance(0.5) else text.encode()
    path.write_bytes(damaged(case, data) if case.chance(0.6) else data)
    got, _ = read_labels(path)
    case.expect(all(isinstance(label, str) for label in got) and got, "labels that are no text")


def _parameters(case: Case) -> None:
    case.kind = "an explainer with parameters"
    values = (
        "64",
        "0.2",
        "nan",
        "inf",
        "-1",
        "1e400",
        "true",
        "gaussian",
        "٣",
        "1_000",
        "0x10",
        " 5 ",
        "",
        text_of(case),
    )
    known = [spec.name for method in METHODS.values() for spec in method.parameters.specs()]
    parts = [f"{case.pick((*known, 'samples', 'x', ''))}{case.pick(('=', '=', '', '=='))}{case.pick(values)}"
             for _ in range(case.number(0, 3))]  # fmt: skip
    name = case.pick((*EXPLAINERS, *METHODS, text_of(case)))
    text = f"{name}{case.pick((':', ':', '', '::'))}{','.join(parts)}"
    separated([text])
    choice = Choice.parse(text)
    case.expect(Choice.parse(choice.text) == choice, "its own text is another choice")
    for spec in choice.method.parameters.specs():
        value = getattr(choice.parameters, spec.name)
        within = isinstance(value, str | bool) or not (spec.low is not None and not spec.low <= value)
        case.expect(within, f"{spec.name} is {value}, below {spec.low}")


def _options(case: Case) -> None:
    case.kind = "a report's options"
    numbers = (0, -1, 1, 0.5, float("nan"), float("inf"), 2**70)
    ReportOptions(
        explainers=(Choice("suppression"),) * case.number(0, 2),
        delta=case.pick(numbers),
        fills=tuple(case.pick(("inpaint", "mean", "blur", "x", "")) for _ in range(case.number(0, 3))),
    )
    open_dataset("demo:birds", limit=case.pick((0, -1, 1, 2, 10**12)))
    open_dataset(case.pick(("demo:", "demo:x", "demo:birds", "", " ", text_of(case))))


def _parameter_values(case: Case) -> None:
    """What the page's sliders hand over."""
    case.kind = "parameters by value"
    method = case.pick(list(METHODS.values()))
    specs = method.parameters.specs()
    names = [spec.name for spec in specs] or ["x"]
    method.parameters.parse({case.pick(names): case.pick(ODD_VALUES) for _ in range(case.number(1, 2))})


def attempt(case: Case) -> None:
    case.pick((_path, _path, _path, _path, _spec, _labels, _labels, _parameters, _options, _parameter_values))(case)


FAMILY = Family("texts", 0.05, attempt)
