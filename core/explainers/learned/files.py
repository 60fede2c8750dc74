"""Trained explainers as files: weights, and whom they explain, in one safetensors file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from core.classifier import Classifier
from core.errors import UserError
from core.learning import VARIABLE
from core.paths import assets_dir, data_dir, existing_file, user_path
from core.runtime.fingerprints import file_state
from core.runtime.recent import Recent
from core.runtime.software import satchel_version
from core.runtime.whole_files import whole_file

FORMAT = 1
KEY = "satchel_explainer"
FOLDER = "explainers"


@dataclass(frozen=True)
class About:
    """What a trained explainer's file says of itself.

    Attributes:
        explainer: which kind ("salvage"). players: "patches" or "segments".
        fingerprint: of the classifier that it explains; classifier: its name, for people.
        labels: of that classifier.
        settings: how it was trained and how it is built.
        card: how it did on held-out pictures.
    """

    explainer: str
    players: str
    fingerprint: str
    classifier: str
    labels: tuple[str, ...]
    settings: Mapping[str, Any]
    card: Mapping[str, Any]


def save_trained(path: Path, about: About, tensors: Mapping[str, Tensor]) -> None:
    """Whole or not at all.

    Raises:
        UserError: the disk is full, or the place cannot be written to; what stood there is untouched.
    """
    told = {
        "format": FORMAT,
        "satchel": satchel_version(),
        "explainer": about.explainer,
        "players": about.players,
        "fingerprint": about.fingerprint,
        "classifier": about.classifier,
        "labels": list(about.labels),
        "settings": dict(about.settings),
        "card": dict(about.card),
    }
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as part:
        # written here and not by the library, whose files nobody else may read
        part.write_bytes(save(own, {KEY: json.dumps(told, allow_nan=False)}))


def about_trained(path: Path) -> About:
    """What a file says of itself, without its weights.

    Raises:
        UserError: it cannot be read, is no trained explainer, or one of another version.
    """
    existing_file(path, "file of a trained explainer")
    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {}).get(KEY, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{path} is no trained explainer, or it is damaged ({str(error).splitlines()[0]}); train one with "
            "satchel train."
        ) from error
    if not isinstance(told, dict):
        raise UserError(f"{path} holds weights, but no trained explainer; train one with satchel train.")
    if told.get("format") != FORMAT:
        raise UserError(
            f"{path} was written by Satchel {told.get('satchel', 'of another version')} in another form; train it "
            "again, or use that version."
        )
    try:
        return About(
            told["explainer"], told["players"], told["fingerprint"], told["classifier"], tuple(told["labels"]),
            told["settings"], told["card"],
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} does not say what it explains; train it again with satchel train.") from error


def load_trained(path: Path, classifier: Classifier, explainer: str) -> tuple[About, dict[str, Tensor]]:
    """What a file says, and its weights, on the CPU. A twin with shuffled weights counts as its original.

    Raises:
        UserError: as of `about_trained`, or it was trained for another explainer or another classifier.
    """
    about = about_trained(path)
    if about.explainer != explainer:
        raise UserError(f"{path} was trained for {about.explainer}, not for {explainer}; write {about.explainer}@FILE.")
    if about.fingerprint != (classifier.shuffled_from or classifier.fingerprint):
        raise UserError(
            f"{path.name} explains {about.classifier} (fingerprint {about.fingerprint[:12]}), and this is "
            f"{classifier.name} ({classifier.fingerprint[:12]}): an explainer tells nothing of another classifier. "
            f"Train one for it: satchel train {explainer}."
        )
    try:
        with safe_open(path, "pt") as file:
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}); train it again.") from error


def usual_file(explainer: str, players: str, classifier: Classifier) -> Path:
    """Where a trained explainer is kept if nothing else is said."""
    return data_dir() / FOLDER / f"{explainer}-{players}-{classifier.fingerprint[:16]}.safetensors"


def folders() -> list[Path]:
    """Where trained explainers are looked for: named folders first, then the user's own, then what comes along."""
    named = [user_path(one) for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one]
    try:
        shipped = [assets_dir() / FOLDER]
    except UserError:
        shipped = []
    return [*named, data_dir() / FOLDER, *shipped]


_known: Recent[tuple, About | None] = Recent(1024)


def trained_for(explainer: str, classifier: Classifier) -> dict[str, Path]:
    """Players -> file, of those that explain this classifier; a file that cannot be read is none."""
    fingerprint = classifier.shuffled_from or classifier.fingerprint
    found: dict[str, Path] = {}
    for folder in folders():
        try:
            files = sorted(folder.glob("*.safetensors"))
        except OSError:
            continue
        for path in files:
            about = _about(path)
            if about is not None and (about.explainer, about.fingerprint) == (explainer, fingerprint):
                found.setdefault(about.players, path)
    return found


def _about(path: Path) -> About | None:
    def read() -> About | None:
        try:
            return about_trained(path)
        except UserError:
            return None

    try:
        return _known.get_or_make((str(path), *file_state(path)), read)
    except OSError:
        return None
