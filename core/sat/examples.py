"""The pictures behind a report's cells: as they are, their maps, without the segment, and with it pasted elsewhere."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from core.attribution import Attribution
from core.images import read_picture
from core.runtime.folders import whole_file, writing
from core.sat.batch import Scene
from core.sat.effects import SWAP, TRANSPLANT, removal
from core.sat.interventions import removed
from core.sat.pairs import Pair, pair_versions

PICTURES_A_TARGET = 6
PASTES_A_CELL = 3


def save_picture(path: Path, image: Tensor) -> None:
    """[3, H, W] in [0, 1] -> JPEG."""
    array = (image.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).cpu().numpy()
    # in memory first: on a full disk Pillow's encoder ends in half a file without a word
    encoded = io.BytesIO()
    Image.fromarray(array).save(encoded, format="JPEG", quality=70, optimize=True)  # a report has over a thousand
    with whole_file(path) as part:
        part.write_bytes(encoded.getvalue())


def save_map(path: Path, values: Tensor) -> float:
    """[H, W] -> 8-bit grey PNG, zero at 128; returns the value that 255 stands for."""
    scale = float(values.abs().max())
    levels = values / scale * 127 if scale > 0 else torch.zeros_like(values)
    with whole_file(path) as part:
        Image.fromarray((levels + 128).round().byte().numpy()).save(part, format="PNG")
    return scale


def load_map(path: Path, scale: float) -> np.ndarray:
    """[H, W] float32, undoing `save_map` (to within a 127th of the largest value).

    Raises:
        UserError: it is no picture.
    """
    return (read_picture(path).array()[..., 0].astype(np.float32) - 128) / 127 * scale


def choose_examples(pictures: pd.DataFrame) -> dict[int, list[str]]:
    """Per target a few pictures, from the surest to the least sure."""
    chosen = {}
    for target in sorted(pictures["target"].unique()):
        part = pictures[pictures["target"] == target]
        ranked = part.sort_values("probability", ascending=False)["image"].tolist()
        at = np.unique(np.linspace(0, len(ranked) - 1, min(PICTURES_A_TARGET, len(ranked))).round().astype(int))
        chosen[int(target)] = [ranked[i] for i in at]
    return chosen


def write_examples(
    folder: Path,
    chosen: dict[int, list[str]],
    effects: pd.DataFrame,
    pairs: Sequence[Pair],
    scene_of: Callable[[str], Scene],
    explain: Callable[[Scene, int], dict[str, Attribution]],
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Write pictures under `folder` and yield the running index (see `store`: examples.json) after each picture.

    Numbers beside the pictures are those of the effect records, not computed again.

    Raises:
        UserError: the disk is full, or the folder cannot be written to.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {"pictures": {}, "removals": [], "pastes": []}
    names: dict[str, str] = {}
    alone = (effects["test"] == "necessity") & ~effects["fill"].isin([SWAP, TRANSPLANT]) if len(effects) else []
    removals = effects[alone] if len(effects) else effects

    def stem(image: str) -> str:
        return names.setdefault(image, f"{len(names):04d}")

    def picture(image: str) -> str:
        name = f"{stem(image)}.jpg"
        if not (folder / name).exists():
            save_picture(folder / name, scene_of(image).image)
        return name

    for target, images in chosen.items():
        for image in images:
            scene = scene_of(image)
            entry = {"file": picture(image), "target": target, "maps": {}}
            for name, attribution in explain(scene, target).items():
                file = f"{stem(image)}-{name}.png"
                scale = save_map(folder / file, attribution.values)
                entry["maps"][name] = {
                    "file": file, "scale": scale, "signed": attribution.signed, "unit": attribution.unit,
                }  # fmt: skip
            index["pictures"][image] = entry
            own = removals[(removals["image"] == image) & (removals["target"] == target)] if len(removals) else removals
            for record in own.to_dict("records"):
                file = f"{stem(image)}-without-{_slug(record['segment'])}-{record['fill']}.jpg"
                masks = removal(scene, record["segment"], seed)
                if masks is not None:
                    save_picture(folder / file, removed(scene.image, masks.gone, record["fill"]))
                    index["removals"].append({"file": file, **_numbers(record)})
            yield index
    records = {_key(r): r for r in effects.to_dict("records")} if len(effects) else {}
    count: dict[tuple, int] = {}
    for pair in pairs:
        cell = (pair.target, pair.segment, pair.test)
        if count.get(cell, 0) >= PASTES_A_CELL:
            continue
        record = records.get((pair.recipient, pair.target, pair.segment, pair.test, pair.donor))
        versions = pair_versions(pair, scene_of, seed) if record else None
        if versions is None or record is None:
            continue
        count[cell] = count.get(cell, 0) + 1
        file = f"{stem(pair.recipient)}-{pair.target}-{_slug(pair.segment)}-{pair.test}.jpg"
        # for necessity the donor shares the target, so what is shown is the stranger's context
        save_picture(folder / file, versions.placebo if pair.test == "necessity" else versions.changed)
        index["pastes"].append({"file": file, "picture": picture(pair.recipient), **_numbers(record)})
        yield index


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)[:40]


def _key(record: dict[str, Any]) -> tuple:
    return tuple(record[k] for k in ("image", "target", "segment", "test", "donor"))


def _numbers(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "group"}
