"""Rows and tables: known answers and identities."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from core.explain import explain
from core.preprocessing import Preprocessing
from core.sat.rows import rows_from_masks, segment_rows
from core.sat.tables import attribution_table, by_picture
from core.segments import Segments
from tests.explainers.conftest import plain

SIDE = 20
GEOMETRY = Preprocessing(resize=(SIDE, SIDE), crop=None).geometry(SIDE, SIDE)


def halves() -> Segments:
    left = np.zeros((SIDE, SIDE), bool)
    left[:, : SIDE // 2] = True
    return Segments.from_masks(np.stack([left, ~left]), ("left", "right"), ("object", "context"), "files")


def rows(values: torch.Tensor, segments: Segments) -> dict[str, dict]:
    cut = rows_from_masks(values, segments.to_model(GEOMETRY), segments, GEOMETRY)
    return {row["segment"]: row for row in cut}


def test_a_constant_map_has_density_one_everywhere_and_disjoint_shares_sum_to_one():
    cut = rows(torch.full((SIDE, SIDE), 3.0), halves())
    assert [row["density"] for row in cut.values()] == pytest.approx([1.0, 1.0])
    assert sum(row["share"] for row in cut.values()) == pytest.approx(1.0)
    assert cut["left"]["mean"] == pytest.approx(3.0)
    assert cut["left"]["scaled_mean"] == pytest.approx(1.0)


def test_the_papers_value_by_hand_with_signs():
    values = torch.zeros(SIDE, SIDE)
    values[:, 0] = 4.0  # left: 20 pixels of 4
    values[:, -1] = -2.0  # right: 20 pixels of -2
    cut = rows(values, halves())
    assert cut["left"]["mean"] == pytest.approx(80 / 200)
    assert cut["right"]["mean"] == pytest.approx(-40 / 200)
    assert cut["right"]["share"] == pytest.approx(40 / 120)
    assert cut["right"]["positive_share"] == 0.0
    assert (cut["left"]["rank"], cut["right"]["rank"]) == (1, 2)


def test_equal_players_have_equal_shares_whatever_their_sizes():
    """A game of two regions that are worth the same, one three times as large as the other."""
    narrow = np.zeros((SIDE, SIDE), bool)
    narrow[:, : SIDE // 4] = True
    segments = Segments.from_masks(np.stack([narrow, ~narrow]), ("narrow", "wide"), ("object", "context"), "files")

    class Game(nn.Module):
        """A logit of 2 for each region as far as it is there: white, where the plate is black."""

        def forward(self, x: Tensor) -> Tensor:
            worth = 2 * x[:, 0, :, : SIDE // 4].mean((1, 2)) + 2 * x[:, 0, :, SIDE // 4 :].mean((1, 2))
            return torch.stack([torch.zeros_like(worth), worth], 1)

    classifier = plain(Game(), SIDE)
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    options = {"regions": "segments", "fill": "black"}
    one, prepared = explain(classifier, picture, "occlusion", 1, parameters=options, segments=segments)
    cut = {row["segment"]: row for row in segment_rows(one, segments, prepared.geometry)}
    assert [cut[name]["share"] for name in ("narrow", "wide")] == pytest.approx([0.5, 0.5])
    assert [cut[name]["sum"] for name in ("narrow", "wide")] == pytest.approx([2.0, 2.0], rel=1e-4)
    assert cut["narrow"]["density"] == pytest.approx(2.0)
    assert one.players.names == ("narrow", "wide")
    assert one.players.values.tolist() == pytest.approx([2.0, 2.0], rel=1e-4)
    assert float(one.values.sum()) == pytest.approx(4.0, rel=1e-4)


def test_only_a_density_has_a_sum():
    segments, values = halves(), torch.full((SIDE, SIDE), 0.5)
    masks = segments.to_model(GEOMETRY)
    for unit, wanted in (("density", 100.0), ("intensity", None)):
        for row in rows_from_masks(values, masks, segments, GEOMETRY, unit):
            assert (row["unit"], row["sum"]) == (unit, wanted)


def test_a_flat_map_shares_nothing_and_a_tiny_segment_is_left_out():
    segments = halves()
    tiny = np.zeros((1, SIDE, SIDE), bool)
    tiny[0, 0, :3] = True
    segments = Segments.from_masks(
        np.concatenate([segments.masks, tiny]), ("left", "right", "tiny"), ("unset",) * 3, "files"
    )
    cut = rows(torch.zeros(SIDE, SIDE), segments)
    assert set(cut) == {"left", "right"}
    assert cut["left"]["share"] is None
    assert cut["left"]["density"] is None


def test_a_segment_cut_by_the_crop_says_how_much_is_visible():
    geometry = Preprocessing(resize=None, crop=(10, 10)).geometry(10, 20)
    left = np.zeros((1, 10, 20), bool)
    left[:, :, :10] = True
    segments = Segments.from_masks(left, ("left",), ("unset",), "files")
    (row,) = rows_from_masks(torch.ones(10, 10), segments.to_model(geometry), segments, geometry)
    assert row["visible"] == pytest.approx(0.5)
    assert row["coverage"] == pytest.approx(0.5)
    assert row["pixels"] == 100


def _row(image: str, segment: str, share: float, coverage: float = 0.1, instance: int = 0) -> dict:
    return {
        "image": image, "group": image, "target": 0, "segment": segment, "instance": instance, "explainer": "x",
        "kind": "unset", "correct": True, "coverage": coverage, "mean": 1.0, "scaled_mean": share / coverage,
        "share": share, "positive_share": share, "density": share / coverage, "rank": 1,
    }  # fmt: skip


def test_instances_of_one_name_are_joined_within_a_picture():
    joined = by_picture(pd.DataFrame([_row("a", "leg", 0.1), _row("a", "leg", 0.3, instance=1)]))
    assert len(joined) == 1
    assert joined["share"].iloc[0] == pytest.approx(0.4)
    assert joined["density"].iloc[0] == pytest.approx(0.4 / 0.2)


def test_the_table_counts_pictures_and_presence():
    frame = pd.DataFrame([_row(str(i), "leg", 0.1 + 0.01 * i) for i in range(11)])
    pictures = pd.DataFrame({"image": [str(i) for i in range(22)], "target": 0})
    (line,) = attribution_table(frame, pictures).to_dict("records")
    assert line["pictures"] == 11
    assert line["presence"] == pytest.approx(0.5)
    assert line["density"] == pytest.approx(1.5)
    assert line["density_low"] <= line["density"] <= line["density_high"]
    assert np.isnan(line["density_wrong"])
