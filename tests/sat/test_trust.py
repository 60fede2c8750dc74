"""Explainers held against what removals do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.choice import Choice
from core.sat.trust import trust

SEGMENTS = ("a", "b", "c", "d")
EXPLAINERS = {text: Choice.parse(text) for text in ("grad-cam", "occlusion:fill=mean", "suppression")}


def tables(target: int, pictures: range) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Effects 1, 2, 3, 4 under "mean", reversed under "blur"; Grad-CAM in their order, occlusion reversed, suppression
    flat."""
    rows, effects = [], []
    for number in pictures:
        for i, segment in enumerate(SEGMENTS):
            for label, mean in zip(EXPLAINERS, (float(i), -float(i), 0.5**i)):
                # two instances whose sums add up; coverage turns means into sums
                rows += [{"image": f"{number}", "segment": segment, "explainer": label, "mean": mean,
                          "coverage": 2.0**i / 32}] * 2  # fmt: skip
            for fill, effect in (("mean", i + 1.0), ("blur", 4.0 - i)):
                effects.append({"image": f"{number}", "group": f"{number % 7}", "segment": segment, "effect": effect,
                                "test": "necessity", "fill": fill})  # fmt: skip
    return pd.DataFrame(rows).assign(target=target), pd.DataFrame(effects).assign(target=target)


def test_each_is_held_against_a_fill_that_it_does_not_use():
    parts = {target: tables(target, range(10 * target, 10 * target + 10)) for target in (1, 2, 4)}
    rows = [(target, parts[target][0]) for target in (1, 2, 4)]
    effects = [(1, parts[1][1]), (3, parts[1][1]), (4, parts[4][1])]  # one target has no effects, another no rows
    cam, occlusion, suppression = trust(rows, effects, EXPLAINERS, ("mean", "blur"))
    assert (cam["explainer"], cam["fill"], cam["pictures"]) == ("grad-cam", "mean", 20)
    assert cam["correlation"] == pytest.approx([1.0, 1.0, 1.0])
    assert occlusion["fill"] == "blur"
    assert occlusion["correlation"][0] == pytest.approx(1.0)  # both reversed
    assert suppression["correlation"] is None  # all sums are alike
    assert suppression["pictures"] == 0


def test_two_segments_say_nothing_of_ranks():
    rows, effects = (part[part["segment"].isin(["a", "b"])] for part in tables(0, range(5)))
    told = trust([(0, rows)], [(0, effects)], EXPLAINERS, ("mean", "blur"))
    assert [entry["correlation"] for entry in told] == [None, None, None]


def test_noise_has_no_rank(toy_report):
    random = np.random.default_rng(0)
    rows, effects = tables(0, range(300))
    effects["effect"] = random.normal(size=len(effects))
    (cam, *_) = trust([(0, rows)], [(0, effects)], EXPLAINERS, ("mean", "blur"))
    assert cam["correlation"][1] < 0 < cam["correlation"][2]
    assert {entry["explainer"] for entry in toy_report.manifest["trust"]} == {
        entry["label"] for entry in toy_report.manifest["explainers"]
    }
