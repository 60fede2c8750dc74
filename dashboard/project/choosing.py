"""What happens when somebody chooses or brings a model or pictures, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import torch

from core.data import Dataset, limited, no_segments
from core.errors import UserError
from core.loading.torchvision_names import classifiers
from core.sat.batch import label_index
from dashboard.controls import problem
from dashboard.log import timed
from dashboard.page import Page
from dashboard.project import trial
from dashboard.project.data_sets import is_demo
from dashboard.project.own_models import OWN, OwnModels, Stated
from dashboard.project.uploads import Share, unpacked
from dashboard.sessions import Session
from dashboard.stated import stated
from dashboard.words import plural

CHECKED = 40  # pictures of the first check
FEW_RIGHT = 0.3
FIELDS = ("Mean", "Standard deviation", "Size", "Crop")


def model_note(page: Page, spec: str) -> str:
    """Under the model's box."""
    try:
        classifier = page.classifiers.get(spec).classifier
    except UserError as error:
        return problem(error)
    height, width = classifier.input_size
    return (
        f'<span title="{escape(classifier.fingerprint)}">{len(classifier.labels)} classes, {width} x {height}, '
        f"{classifier.device.type}</span>"
    )


def data_note(page: Page, source: str) -> str:
    """Under the data set's box."""
    try:
        data = page.data_sets.get(source)
    except UserError as error:
        return problem(error)
    masks = "with masks" if data.first_without_masks is None else "masks for some" if _any_masks(data) else "no masks"
    classes = f"{plural(len(data.labels), 'class', 'classes')}, " if data.labels else "no labels, "
    notes = escape("\n".join(data.notes))
    return f'<span title="{notes}">{plural(len(data), "picture")}, {classes}{masks}</span>'


def _any_masks(data: Dataset) -> bool:
    return any(item.segments is not no_segments for item in data.items)


def move_to(page: Page, session: Session, source: str | None) -> None:
    """Work on another data set; what was in view goes with the one before.

    Raises:
        UserError: it does not open.
    """
    source = page.data_sets.asked(source)
    page.data_sets.get(source)
    if not is_demo(source):
        page.data_sets.shown(source, page.pictures)
    session.data, session.current = source, None
    session.drop()


def bring_model(
    page: Page,
    session: Session,
    weights: Path | None,
    architecture: str | None,
    labels: str,
    preprocessing: Sequence[str | None],
) -> str:
    """A model of somebody's own: a file of weights, or the chosen model with something said otherwise of it.

    Args:
        labels: one a line; "" for what the file says.
        preprocessing: mean, std, size, crop and interpolation in words, "" for the model's own.

    Returns:
        The spec by which it can be chosen.

    Raises:
        UserError: it does not load.
    """
    if page.shared:
        raise UserError(
            "This page is open to others, so it takes no weights; start Satchel on your own machine for that."
        )
    own = page.classifiers.own
    assert own is not None
    mean, std, size, crop, interpolation = (text or "" for text in preprocessing)
    asked = stated(mean, std, size, crop, interpolation, FIELDS)
    named = tuple(line.strip() for line in (labels or "").splitlines() if line.strip())
    if weights is None:
        before = own.get(session.spec) if session.spec.startswith(OWN) else Stated(session.spec, session.spec)
        if not asked and not named:
            raise UserError("Choose a file of weights, or say what is to be different about the model that is chosen.")
        if session.spec.startswith("python:"):
            raise UserError("What prepares pictures for a Python factory is its own; say it with --mean and --size.")
        title = before.title if session.spec.startswith(OWN) else f"{before.spec}, changed"
        kept = {**before.preprocessing, **asked}
        spec = own.add(Stated(title, before.spec, named or before.labels, kept, before.output))
    else:
        if not (architecture or "").strip():
            raise UserError("Choose the architecture that these weights are of, such as torchvision:resnet50.")
        spec = own.add(Stated(weights.name, str(architecture).strip(), named, asked), weights)
    try:
        with timed("own model", "brought", weights=weights is not None):
            if weights is not None:
                _tried(own, spec)
            page.classifiers.get(spec)
    except UserError:
        own.remove(spec)
        raise
    return spec


def _tried(own: OwnModels, spec: str) -> None:
    found = own.get(spec)
    trial.check({
        "spec": found.spec, "labels": str(own.labels_file(spec)) if found.labels else None,
        "preprocessing": dict(found.preprocessing), "output": found.output,
    })  # fmt: skip


def bring_pictures(page: Page, session: Session, files: Sequence[Path], name: str, folder: str) -> str:
    """Pictures of somebody's own: uploaded files, or a folder on the server.

    Returns:
        The source of the data set.

    Raises:
        UserError: there are none, they are more than a visitor may bring, or the folder may not be opened.
    """
    with timed("pictures", "brought", files=len(files)) as about:
        source = _brought(page, session, files, name, folder)
        about["pictures"] = len(page.data_sets.get(source))
        return source


def _brought(page: Page, session: Session, files: Sequence[Path], name: str, folder: str) -> str:
    if folder.strip():
        if files:
            raise UserError("Give files, or a folder on this machine; not both.")
        source = folder.strip()
    else:
        with session.bringing:
            source = str(unpacked(files, page.data_folder(session), name, Share() if page.shared else None))
    move_to(page, session, source)
    session.brought[source] = Path(source).name
    return source


def architecture_of(file_name: str) -> str | None:
    """What a file of weights is called after, of torchvision's names; None if that tells nothing."""
    plain = file_name.lower().replace("-", "_")
    found = [name for name in classifiers() if name in plain]
    return f"torchvision:{max(found, key=len)}" if found else None


def first_check(page: Page, session: Session) -> str:
    """How often the model is right on some pictures that have labels, as a sentence; "" where none has.

    Raises:
        UserError: a picture or the model's answer cannot be used.
    """
    classifier, data = page.classifiers.get(session.spec).classifier, page.data_sets.get(session.data)
    labelled = [item for item in limited(data, 4 * CHECKED).items if item.label is not None][:CHECKED]
    known = [(item, index) for item in labelled if (index := label_index(classifier, item.label)) is not None]
    if not labelled:
        return ""
    if not known:
        ours, theirs = ", ".join(data.labels[:3]), ", ".join(classifier.labels[:3])
        return (
            f"No label of {data.name} ({ours}, ...) is a class of this model ({theirs}, ...), so nothing is known "
            "of right and wrong; give the model's class names if they are others."
        )
    right = 0
    for start in range(0, len(known), 8):
        some = known[start : start + 8]
        images = torch.stack([classifier.prepare(item.picture()).tensor for item, _ in some])
        with page.device():
            said = classifier.finite_logits(images).argmax(1).tolist()
        right += sum(a == b for a, (_, b) in zip(said, some))
    among = "" if len(known) == len(labelled) else " whose label is one of its classes"
    told = f"Right on {right} of {plural(len(known), 'picture')} of {data.name}{among}."
    if right < FEW_RIGHT * len(known):
        told += " Few: check the class names and their order, and how pictures are prepared."
    return told
