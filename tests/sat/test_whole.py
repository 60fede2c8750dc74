"""Properties of whole pictures: each is given without anything else, and what a model makes of it is found."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from core.choice import Choice
from core.classifier import Classifier
from core.compression import UNKNOWN, WHOLE
from core.data import Dataset, Item
from core.images import Picture, read_picture
from core.preprocessing import Preprocessing
from core.sat.batch import Scene
from core.sat.pairs import Pair, pair_versions
from core.sat.properties import BORDER, MIRROR, PROPERTIES, measures
from core.sat.report import ReportOptions, build_report
from core.sat.saved_report import open_report
from core.sat.whole import MAY_BE_SAME, UNSEEN, choose_whole_pairs, differing_properties
from core.segments import Segments

SIDE = 48
RING = round(BORDER * SIDE)


def scene(seed: int, place: tuple[int, int] = (18, 18), size: int = 10, stretch: float = 1.0, **changes: Any) -> Scene:
    """Soft noise, and a bright object."""
    random = torch.Generator().manual_seed(seed)
    image = 0.4 + 0.1 * torch.rand(3, SIDE, SIDE, generator=random)
    mask = torch.zeros(SIDE, SIDE)
    mask[place[0] : place[0] + size, place[1] : place[1] + size] = 1
    image[:, mask > 0] = 0.8
    masks, kinds = {"object": mask}, {"object": "object"}
    return Scene(str(seed), str(seed), image, masks, kinds, (1.0, stretch))


def changed(one: Scene, image: Tensor) -> Scene:
    return replace(one, image=image)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("colour cast", lambda x: (x + torch.tensor([0.1, 0.0, -0.1])[:, None, None]).clamp(0, 1)),
        ("brightness", lambda x: 0.2 + 0.7 * (x - 0.2)),
        ("sharpness", lambda x: nn.functional.avg_pool2d(x[None], 3, 1, 1, count_include_pad=False)[0]),
        ("border", lambda x: nn.functional.pad(x[:, RING:-RING, RING:-RING], [RING] * 4, value=0.05)),
    ],
)
def test_a_picture_takes_on_what_it_is_given_and_nothing_else(name, change):
    recipient, plain = scene(1), scene(2)
    donor = changed(plain, change(plain.image))
    given = changed(recipient, PROPERTIES[name].give(recipient, donor))
    before, after, wanted = (measures(one)[name] for one in (recipient, given, donor))
    assert np.abs(np.subtract(after, wanted)).max() < 0.2 * np.abs(np.subtract(before, wanted)).max()
    others = {"colour cast", "brightness", "sharpness"} - {name} if name != "border" else set()
    for other in others - ({"sharpness"} if name == "brightness" else set()):
        was, now, theirs = (np.array(measures(one)[other]) for one in (recipient, given, donor))
        assert np.abs(now - was).max() < 0.02 + 0.3 * np.abs(theirs - was).max()


def test_the_object_is_moved_and_enlarged_to_where_the_donors_stands():
    recipient, donor = scene(1, (6, 10), 8), scene(2, (20, 24), 16)
    moved = PROPERTIES["position"].give(recipient, donor)[0] > 0.7
    rows, columns = torch.nonzero(moved, as_tuple=True)
    assert float(rows.float().mean()) == pytest.approx(20 + 7.5, abs=1)
    assert float(columns.float().mean()) == pytest.approx(24 + 7.5, abs=1)
    assert int(moved.sum()) == pytest.approx(64, abs=12)
    larger = PROPERTIES["size"].give(recipient, donor)[0] > 0.7
    assert int(larger.sum()) == pytest.approx(256, abs=40)


def test_proportions_are_given_by_stretching():
    wide = PROPERTIES["proportions"].give(scene(1, size=12), scene(2, stretch=2.25))[0] > 0.7
    rows, columns = (int(side.sum()) for side in (wide.any(1), wide.any(0)))
    assert (rows, columns) == (pytest.approx(8, abs=1), pytest.approx(18, abs=1))


def squeezed(one: Scene, quality: int | None, pixels: float = 1.0) -> Scene:
    """As a file of that quality says, or one that loses nothing; its pixels are so large in the frame."""
    compression = WHOLE if quality is None else read_picture(as_jpeg(one.image, quality)).compression
    return replace(one, compression=compression, pixels=(pixels, pixels))


def as_jpeg(image: Tensor, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray((image.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def test_a_picture_is_compressed_as_the_donor_was():
    give, recipient = PROPERTIES["compression"].give, squeezed(scene(1), 90)
    written = torch.from_numpy(read_picture(as_jpeg(recipient.image, 10)).array().copy()).permute(2, 0, 1) / 255
    given = give(recipient, squeezed(scene(2), 10))
    assert given is not None
    assert float((given - written).abs().max()) < 1.5 / 255
    assert give(recipient, squeezed(scene(2), 90)) is recipient.image
    assert give(recipient, squeezed(scene(2), None)) is None  # what was lost cannot be given back
    small = give(recipient, squeezed(scene(2), 10, pixels=0.25))  # of a donor that was larger, less is seen
    assert small is not None
    assert float((small - recipient.image).std()) < 0.8 * float((given - recipient.image).std())


def test_pictures_whose_file_does_not_say_how_it_was_compressed_have_none():
    unknown = replace(scene(1), compression=UNKNOWN)
    assert "compression" not in measures(unknown)
    assert measures(squeezed(scene(1), 10))["compression"] > measures(squeezed(scene(1), None))["compression"]


def test_no_object_no_place():
    bare = scene(1)
    bare.masks.clear()
    assert {"position", "size"}.isdisjoint(measures(bare))


def test_orientation_needs_no_donor():
    scenes = {str(n): scene(n) for n in (1, 2, 3)}
    turned = scenes["1"].image.flip(2)
    own = pair_versions(Pair("necessity", 0, MIRROR, "1", "2", (), ("3",), "property"), scenes.__getitem__, 0)
    given = pair_versions(Pair("sufficiency", 0, MIRROR, "1", "2", (), ("3",), "property"), scenes.__getitem__, 0)
    assert own is not None
    assert given is not None
    assert torch.equal(own.changed, scenes["1"].image)
    assert torch.equal(own.placebos[0][1], turned)
    assert torch.equal(given.changed, turned)


class Reading(nn.Module):
    """[B, 3, H, W] -> logits (0, margin)."""

    def __init__(self, margin: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.margin = margin
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        margin = self.margin(x)
        return torch.stack([torch.zeros_like(margin), margin], 1) + self.unused


def warmth(x: Tensor) -> Tensor:
    return 60 * (x[:, 0].mean((1, 2)) - x[:, 2].mean((1, 2)) - 0.05)


def to_the_right(x: Tensor) -> Tensor:
    bright = (x.mean(1) - 0.6).clamp(min=0)
    columns = torch.arange(SIDE, dtype=x.dtype) / SIDE
    return 20 * ((bright.sum(1) @ columns) / bright.sum((1, 2)).clamp(min=1e-3) - 0.5)


def reported(margin: Callable[[Tensor], Tensor], paint: Callable[[int, np.random.Generator], Any], out: Path) -> dict:
    """Manifest of a report on 40 pictures of each class, painted by (class, random numbers) -> (picture, mask)."""
    items = []
    for number in range(80):
        label = number % 2
        picture, mask = paint(label, np.random.default_rng(number))
        whole = picture if isinstance(picture, Picture) else Picture(Image.fromarray((picture * 255).astype(np.uint8)))
        found = Segments.from_masks(np.stack([mask, ~mask]), ("object", "ground"), ("object", "context"), "known")
        items.append(Item(f"{number:02d}", ["cold", "warm"][label], lambda p=whole: p, lambda s=found: s))
    preprocessing = Preprocessing(resize=(SIDE, SIDE), crop=None, mean=(0.0,) * 3, std=(1.0,) * 3)
    classifier = Classifier(
        Reading(margin), labels=["cold", "warm"], preprocessing=preprocessing, device="cpu", precision="float32"
    )
    options = ReportOptions((Choice.parse("integrated-gradients:samples=4"),))
    for _ in build_report(Dataset("world", "known", tuple(items)), classifier, out, options):
        pass
    return open_report(out).manifest


def painted(label: int, random: np.random.Generator, place: int, cast: float) -> tuple[np.ndarray, np.ndarray]:
    picture = random.uniform(0.4, 0.5, (SIDE, SIDE, 3))
    mask = np.zeros((SIDE, SIDE), bool)
    top, left = random.integers(12, 24), place + random.integers(0, 6)
    mask[top : top + 10, left : left + 10] = True
    picture[mask] = 0.8
    return (picture + np.array([cast, 0, -cast])).clip(0, 1), mask


@pytest.mark.slow
def test_a_cast_that_decides_is_found_with_how_it_goes_with_the_labels(tmp_path):
    manifest = reported(
        warmth, lambda label, random: painted(label, random, 18, random.normal(0.1 * label, 0.02)), tmp_path / "r"
    )
    found = {(entry["target"], entry["property"]): entry for entry in manifest["whole"]}
    for target in ("cold", "warm"):
        entry = found[target, "colour cast"]
        assert entry["verdict"] == "confirmed"
        assert entry["relation"]["auc"] > 0.95
        assert entry["sufficiency"][0] == pytest.approx(12, abs=1.5)  # 60 times 0.2
        assert entry["sentence"].startswith(f"The model relies on the colour cast of {target}: given to other pictures")
        for name in ("brightness", "orientation", "size", "position"):
            assert found[target, name]["verdict"] == "cleared", found[target, name]["sentence"]
    assert manifest["blind_spots"] == [*(f"the {name} (all pictures have the same)" for name in MAY_BE_SAME), UNSEEN]


def smoothness(x: Tensor) -> Tensor:
    """What compression takes away: differences of neighbours."""
    return 200 * (0.012 - (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().mean((1, 2, 3)))


@pytest.mark.slow
def test_a_compression_that_decides_is_found(tmp_path):
    def paint(label: int, random: np.random.Generator) -> tuple[Picture, np.ndarray]:
        picture, mask = painted(label, random, 18, 0.0)
        file = as_jpeg(torch.from_numpy(picture).permute(2, 0, 1), int(random.integers(20, 30) if label else 90))
        return read_picture(file), mask

    manifest = reported(smoothness, paint, tmp_path / "r")
    found = {(entry["target"], entry["property"]): entry for entry in manifest["whole"]}
    warm, cold = found["warm", "compression"], found["cold", "compression"]
    assert warm["verdict"] == cold["verdict"] == "confirmed"
    assert warm["necessity"] is None  # its own pictures cannot be made better
    assert warm["relation"]["auc"] == 1
    assert "compression" in warm["sentence"]


@pytest.mark.slow
def test_a_place_that_decides_is_found_and_so_is_orientation(tmp_path):
    manifest = reported(to_the_right, lambda label, random: painted(label, random, 6 + 20 * label, 0.0), tmp_path / "r")
    found = {(entry["target"], entry["property"]): entry["verdict"] for entry in manifest["whole"]}
    assert found["warm", "position"] == found["warm", MIRROR] == "confirmed"
    assert found["warm", "colour cast"] == found["warm", "sharpness"] == "cleared"


def line(number: int, coverage: dict[str, float], properties: dict[str, list[float]]) -> dict[str, Any]:
    return {"id": f"{number:03d}", "prediction": number % 2, "label_index": number % 2, "coverage": coverage,
            "properties": properties}  # fmt: skip


def test_pairs_are_made_of_what_pictures_have_and_differ_in():
    properties = {"colour cast": [0.0, 0.0], "proportions": [1.0]}
    pictures = [line(n, {"mark": 0.05} if n % 2 else {}, properties) for n in range(80)]
    names, why = differing_properties(pictures)
    assert names == ["colour cast", MIRROR]
    assert "the position (too few pictures have an object marked)" in why
    assert "the proportions (all pictures have the same)" in why
    pairs = choose_whole_pairs(pictures, [0, 1], most=20, seed=0, names=["mark"])
    assert {(p.target, p.label, p.test) for p in pairs} == {
        *((t, name, test) for t in (0, 1) for name in names for test in ("necessity", "sufficiency")),
        (0, "absence of mark", "necessity"),  # all of class 1 show it
    }
    shown = {p["id"]: p["prediction"] for p in pictures}
    for pair in pairs:
        assert (shown[pair.recipient] == pair.target) == (pair.test == "necessity")
        assert (shown[pair.donor] == pair.target) == (pair.how == "property")
        assert pair.recipient not in (pair.donor, *pair.strangers)


def test_too_few_pictures_of_a_class_make_no_pairs():
    pictures = [line(n, {}, {"colour cast": [0.0, 0.0]}) for n in range(30)]
    assert choose_whole_pairs(pictures, [0, 1], most=20, seed=0, names=[]) == []
