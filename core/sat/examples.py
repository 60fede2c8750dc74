"""The pictures behind a report's cells: as they are, their maps, without the segment, and with it pasted elsewhere."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from core.attribution import Attribution
from core.errors import UserError
from core.images import read_picture
from core.runtime.streams import selected
from core.sat.batch import Scene
from core.sat.effects import removal
from core.sat.interventions import removed
from core.sat.pairs import Pair, pair_versions
from core.storage.pack import Packer

PICTURES_A_TARGET, PASTES_A_CELL = 6, 3  # at most
PICTURES, PASTES = 1000, 6000  # of a report with many classes; one of each is kept in any case
RARE_A_TARGET = 3
TOLD = (
    "image", "target", "segment", "test", "fill", "donor", "other", "effect", "effect_probability", "before", "after",
    "placebo", "before_probability", "after_probability", "placebo_probability",
)  # fmt: skip


def encode_picture(image: Tensor) -> bytes:
    """[3, H, W] in [0, 1] -> JPEG."""
    array = (image.clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).cpu().numpy()
    encoded = io.BytesIO()
    Image.fromarray(array).save(encoded, format="JPEG", quality=70, optimize=True)  # a report has over a thousand
    return encoded.getvalue()


def encode_map(values: Tensor) -> tuple[bytes, float]:
    """[H, W] -> 8-bit grey PNG, zero at 128, and the value that 255 stands for."""
    scale = float(values.abs().max())
    levels = values / scale * 127 if scale > 0 else torch.zeros_like(values)
    encoded = io.BytesIO()
    Image.fromarray((levels + 128).round().byte().numpy()).save(encoded, format="PNG")
    return encoded.getvalue(), scale


def decode_map(data: bytes, scale: float) -> np.ndarray:
    """[H, W] float32, undoing `encode_map` (to within a 127th of the largest value).

    Raises:
        UserError: it is no picture.
    """
    return (read_picture(data).array()[..., 0].astype(np.float32) - 128) / 127 * scale


def a_target(targets: int) -> int:
    """How many pictures of each class a report of so many keeps."""
    return max(1, min(PICTURES_A_TARGET, PICTURES // max(1, targets)))


def a_cell(cells: int) -> int:
    """How many pastes of each pair of class and segment (and test) a report of so many keeps."""
    return max(1, min(PASTES_A_CELL, PASTES // max(1, cells)))


def choose_examples(pictures: pd.DataFrame, carriers: Mapping[int, Sequence[str]]) -> dict[int, list[str]]:
    """Per target a few pictures, from the surest to the least sure, and a few of those that carry a rare effect."""
    chosen = {}
    most = a_target(pictures["target"].nunique())
    for target in sorted(pictures["target"].unique()):
        part = pictures[pictures["target"] == target]
        ranked = part.sort_values("probability", ascending=False)["image"].tolist()
        at = np.unique(np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int))
        rare = [image for image in carriers.get(int(target), ()) if image in ranked][:RARE_A_TARGET]
        chosen[int(target)] = list(dict.fromkeys([*(ranked[i] for i in at), *rare]))
    return chosen


def rare_carriers(findings: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    """By target, the pictures with a strong effect of a segment that is neither confirmed nor cleared."""
    found: dict[int, list[str]] = {}
    for entry in findings:
        if entry["verdict"] in ("suspected", "inconclusive"):
            own = found.setdefault(entry["target_index"], [])
            own += [image for images in entry["carriers"].values() for image in images[:1] if image not in own]
    return found


@dataclass(frozen=True)
class Measured:
    """What was measured of the pictures that are shown.

    Attributes:
        removals: by (image, target). pasted: pastes and swaps, by `_key`.
    """

    removals: dict[tuple, list[dict]]
    pasted: dict[tuple, dict]


def measured_in(out: Path, chosen: dict[int, list[str]]) -> Measured:
    """From a report's shards.

    Raises:
        UserError: one is damaged.
    """
    images = sorted({image for several in chosen.values() for image in several})
    try:
        removed_ones = selected(out / "effects", {"image": images, "test": ["necessity"]})
        pasted_ones = selected(out / "pairs", {})
    except ValueError as error:
        raise UserError(f"A shard in {out} is damaged ({error}); begin again in another folder.") from error
    removals: dict[tuple, list[dict]] = {}
    for record in removed_ones.to_dict("records"):
        removals.setdefault((record["image"], record["target"]), []).append(record)
    return Measured(removals, {_key(record): record for record in pasted_ones.to_dict("records")})


def write_examples(
    pack: Packer,
    measured: Measured,
    chosen: dict[int, list[str]],
    pairs: Sequence[Pair],
    scene_of: Callable[[str], Scene],
    explain: Callable[[Scene, int], dict[str, Attribution]],
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Write pictures into a pack and yield the running index (see `store`: examples.json) after each one.

    Numbers beside the pictures are those that were measured, not computed again.

    Raises:
        UserError: the disk is full, or the place cannot be written to.
    """
    index: dict[str, Any] = {"pictures": {}, "removals": [], "pastes": []}
    names: dict[str, str] = {}

    def stem(image: str) -> str:
        return names.setdefault(image, f"{len(names):04d}")

    def picture(image: str) -> str:
        name = f"{stem(image)}.jpg"
        if name not in pack:
            pack.add(name, encode_picture(scene_of(image).image))
        return name

    for target, images in chosen.items():
        for image in images:
            scene = scene_of(image)
            entry = {"file": picture(image), "target": target, "maps": {}}
            for place, (name, attribution) in enumerate(explain(scene, target).items()):
                file = f"{stem(image)}-map{place}.png"  # a label may hold anything
                data, scale = encode_map(attribution.values)
                about = {"scale": scale, "signed": attribution.signed, "unit": attribution.unit}
                entry["maps"][name] = {"file": pack.add(file, data), **about}
            index["pictures"][image] = entry
            for record in measured.removals.get((image, target), ()):
                file = f"{stem(image)}-without-{_slug(record['segment'])}-{record['fill']}.jpg"
                masks = removal(scene, record["segment"], seed)
                if masks is not None:
                    file = pack.add(file, encode_picture(removed(scene.image, masks.gone, record["fill"])))
                    index["removals"].append({"file": file, **_numbers(record)})
            yield index
    count: dict[tuple, int] = {}
    most = a_cell(len({(pair.target, pair.segment, pair.test) for pair in pairs}))
    for pair in pairs:
        cell = (pair.target, pair.segment, pair.test)
        if count.get(cell, 0) >= most:
            continue
        record = measured.pasted.get((pair.recipient, pair.target, pair.segment, pair.test, pair.donor))
        versions = pair_versions(pair, scene_of, seed) if record else None
        if versions is None or record is None:
            continue
        count[cell] = count.get(cell, 0) + 1
        file = f"{stem(pair.recipient)}-{pair.target}-{_slug(pair.segment)}-{pair.test}.jpg"
        # for necessity the donor shares the target, so what is shown is the stranger's context
        shown = versions.placebos[0][1] if pair.test == "necessity" else versions.changed
        file = pack.add(file, encode_picture(shown))
        index["pastes"].append({"file": file, "picture": picture(pair.recipient), **_numbers(record)})
        yield index


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)[:40]


def _key(record: dict[str, Any]) -> tuple:
    return tuple(record[k] for k in ("image", "target", "segment", "test", "donor"))


def _numbers(record: dict[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in TOLD}
