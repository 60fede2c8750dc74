"""A folder of maps that other programs can read: raw values, overlays, and one list of what they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.attribution import Attribution, PlayerValues
from core.choice import Choice
from core.classifier import Classifier
from core.errors import UserError
from core.paths import kind_at, user_path
from core.runtime.software import satchel_version
from core.runtime.whole_files import whole_file, writing
from core.walking import LIST


class MapFolder:
    """Writes maps as they are made, and their list last: a folder without the list is unfinished.

    Per map: `NAME.EXPLAINER.npy` (float32 [H, W], raw, in the model's frame) and, where a drawing is given,
    `NAME.EXPLAINER.png`. Pictures or explainers that share a name get a number instead of overwriting each other; the
    next run into the same folder starts over.
    """

    def __init__(self, folder: str | Path) -> None:
        """Nothing is made or changed before the first map is there.

        Raises:
            UserError: what has that name is no folder.
        """
        self.folder = user_path(folder)
        self.records: list[dict[str, Any]] = []
        self._taken: set[str] = set()
        self._stems: dict[str, str] = {}
        if kind_at(self.folder, "folder for the results") == "file":
            raise UserError(f"{self.folder} is a file; name a folder for the results.")

    def add(
        self,
        picture: str,
        attribution: Attribution,
        classifier: Classifier,
        probability: float,
        choice: Choice,
        seed: int,
        overlay: Image.Image | None = None,
        notes: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Write one map.

        Args:
            picture: the picture as it was named, put in the list as it is; the same text is the same picture.
            classifier: whose labels the indices mean.
            probability: of the target on this picture, in [0, 1].
            choice: what made it; seed: as it was asked for.
            overlay: the drawing to keep beside the values.
            notes: what was changed of the picture as it was read.

        Returns:
            Its entry in the list.

        Raises:
            UserError: the folder cannot be written to.
        """
        if not self.records:
            self._begin()
        name = self._free(f"{self._stem(picture)}.{attribution.method}")
        values_file, overlay_file = self.folder / f"{name}.npy", self.folder / f"{name}.png"
        made_by = choice.record()
        record: dict[str, Any] = {
            "picture": picture,
            "model": classifier.name,
            "explainer": made_by.pop("name"),
            "parameters": made_by.pop("parameters"),
            **made_by,
            "target": attribution.target,
            "target_label": classifier.labels[attribution.target],
            "probability": probability,
            "contrast": attribution.contrast,
            "contrast_label": None if attribution.contrast is None else classifier.labels[attribution.contrast],
            "seed": seed,
            "seconds": attribution.seconds,
            "forward_passes": attribution.forward_passes,
            "backward_passes": attribution.backward_passes,
            "unit": attribution.unit,
            "condition": attribution.condition,
            "relative_error": attribution.relative_error,
            "saturated": attribution.saturated,
            "converged": attribution.converged,
            "convergence": [list(point) for point in attribution.convergence],
            "players": None if attribution.players is None else _player_list(attribution.players),
            "values_file": values_file.name,
            "overlay_file": None if overlay is None else overlay_file.name,
            "notes": list(notes),
            "satchel": satchel_version(),
        }
        with whole_file(values_file) as part, part.open("wb") as file:
            np.save(file, attribution.values.numpy().astype(np.float32))
        if overlay is not None:
            with whole_file(overlay_file) as part:
                overlay.save(part, format="PNG")
        self.records.append(record)
        return record

    def finish(self) -> Path:
        """Write the list, whole or not at all.

        Raises:
            UserError: the folder cannot be written to.
        """
        path = self.folder / LIST
        with whole_file(path) as part:
            part.write_text(json.dumps(self.records, indent=2) + "\n", encoding="utf-8")
        return path

    def _begin(self) -> None:
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / LIST).unlink(missing_ok=True)

    def _stem(self, picture: str) -> str:
        if picture not in self._stems:
            taken = {stem.casefold() for stem in self._stems.values()}
            self._stems[picture] = _numbered(Path(picture).stem or "picture", taken)
        return self._stems[picture]

    def _free(self, name: str) -> str:
        free = _numbered(name, self._taken)
        self._taken.add(free.casefold())
        return free


def _player_list(players: PlayerValues) -> list[dict[str, Any]]:
    """One entry a player."""
    errors = [None] * len(players.names) if players.standard_error is None else players.standard_error.tolist()
    entries = zip(players.names, players.values.tolist(), errors, players.masks.float().mean((1, 2)).tolist())
    return [
        {"name": name, "value": value, "standard_error": error, "coverage": coverage}
        for name, value, error, coverage in entries
    ]


def _numbered(name: str, taken: set[str]) -> str:
    """The name, or the name with the first number that makes it new; file systems may ignore case."""
    free, number = name, 1
    while free.casefold() in taken:
        number += 1
        free = f"{name}-{number}"
    return free
