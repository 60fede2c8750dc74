"""Rows and tables: known answers and identities."""

import numpy as np
import pandas as pd
import pytest
import torch

from core.preprocessing import Preprocessing
from core.sat.rows import rows_from_masks
from core.sat.tables import attribution_table, by_picture
from core.segments import Segments

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
