"""Models that people brought to the page: a file of weights, an architecture, labels, and how pictures are prepared."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from core.classifier import Classifier
from core.errors import UserError
from core.loading import load_classifier
from core.loading.specs import check_model, taken_apart
from core.runtime.progress import OnProgress
from core.runtime.whole_files import whole_file, write_json, writing
from core.segments.saved.store import plain_name

OWN = "own:"
ABOUT, LABELS = "model.json", "labels.txt"
SUFFIXES = (".pth", ".pt", ".safetensors", ".bin", ".ckpt", ".tar")


@dataclass(frozen=True)
class Stated:
    """A model with all that was said of it.

    Attributes:
        title: for people. spec: as `load_classifier` takes it.
        labels: class names in the model's order; none for what the file or the architecture says.
        preprocessing: what differs from the model's own, as `load_classifier` takes it.
        output: "softmax" or "sigmoid"; None to find out.
    """

    title: str
    spec: str
    labels: tuple[str, ...] = ()
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    output: str | None = None


def from_json(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """As `load_classifier` takes it, from what JSON holds of it."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in preprocessing.items()}


class OwnModels:
    """A folder of them, one folder each, named `own:NAME` on the page."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        """
        Args:
            folder: where they are kept; asked for when it is needed.
        """
        self._folder = folder

    def add(self, stated: Stated, weights: Path | None = None) -> str:
        """Keep a model; the same one again takes no further room.

        Args:
            stated: its spec is an architecture (`torchvision:resnet50`) where there are weights.
            weights: a file, which is copied.

        Returns:
            What to choose it by, `own:NAME`.

        Raises:
            UserError: it is no architecture, its file is not one of weights, or the disk is full.
        """
        source, rest = taken_apart(stated.spec)
        if weights is not None:
            if "@" in rest or source not in ("torchvision", "timm"):
                raise UserError("Name the architecture as torchvision:NAME or timm:NAME, such as torchvision:resnet50.")
            if weights.suffix.lower() not in SUFFIXES:
                raise UserError(f"{weights.name} is no file of weights; give one of {', '.join(SUFFIXES)}.")
        check_model(stated.spec)
        digest = hashlib.sha256(json.dumps(asdict(stated), sort_keys=True).encode())
        if weights is not None:
            with weights.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        name = f"{plain_name(stated.title) or 'model'}-{digest.hexdigest()[:8]}"
        place = self._folder() / name
        if weights is not None:
            kept = place / f"{plain_name(weights.stem) or 'weights'}{weights.suffix.lower()}"
            if not kept.is_file():
                with whole_file(kept) as part:
                    shutil.copyfile(weights, part)
            stated = replace(stated, spec=f"{stated.spec}@{kept}")
        if stated.labels:
            with whole_file(place / LABELS) as part:
                part.write_text("\n".join(stated.labels) + "\n", encoding="utf-8")
        write_json(place / ABOUT, asdict(stated))
        return f"{OWN}{name}"

    def labels_file(self, spec: str) -> Path:
        """Where its labels lie, if any were given."""
        return self._place(spec) / LABELS

    def remove(self, spec: str) -> None:
        """Forget one that turned out not to load."""
        with writing(self._place(spec)):
            shutil.rmtree(self._place(spec), ignore_errors=True)

    def get(self, spec: str) -> Stated:
        """What was said of one.

        Raises:
            UserError: there is none of that name.
        """
        about = self._place(spec) / ABOUT
        try:
            found: dict[str, Any] = json.loads(about.read_text(encoding="utf-8"))
            found["labels"] = tuple(found["labels"])
            return Stated(**found)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"There is no model {spec!r} of yours here; give its file again under Your own model and pictures."
            ) from error

    def load(self, spec: str, progress: OnProgress | None = None) -> Classifier:
        """Load one, with all that was said of it.

        Raises:
            UserError: as of `load_classifier`.
        """
        stated = self.get(spec)
        classifier = load_classifier(
            stated.spec, labels=self.labels_file(spec) if stated.labels else None,
            preprocessing=from_json(stated.preprocessing), output=stated.output, progress=progress,
        )  # fmt: skip
        classifier.name = stated.title
        return classifier

    def choices(self) -> Sequence[tuple[str, str]]:
        """(title, spec) of all of them, the newest first."""
        folder = self._folder()
        found = sorted(folder.glob(f"*/{ABOUT}"), key=lambda path: -path.stat().st_mtime) if folder.is_dir() else []
        named = []
        for path in found:
            spec = f"{OWN}{path.parent.name}"
            try:
                named.append((f"{self.get(spec).title}  (yours)", spec))
            except UserError:  # half written
                continue
        return named

    def _place(self, spec: str) -> Path:
        name = spec.removeprefix(OWN)
        if not name or Path(name).name != name or name.startswith("."):
            raise UserError(f"There is no model {spec!r} of yours here; choose one from the list.")
        return self._folder() / name
