"""Effects over independent units: the most careful way of counting decides."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from core.sat.evidence import WAYS, Evidence, combined_p, effect_of, gather
from core.sat.sentences import in_clause
from core.sat.statistics import Mean
from core.sat.verdicts import delta_for, lacking, verdict_of

DELTA = 0.5
QUIET = {"beside": "", "familiar": True, "changed": False, "placebo_changed": 0.0, "scatter": 0.1}


def pastes(effects, recipients=None, donors=None, others=None) -> pd.DataFrame:
    """Transplant records; units without a name of their own are all different."""
    own = [str(i) for i in range(len(effects))]
    return pd.DataFrame(
        {
            "image": own, "donor": own, "other": own, "test": "sufficiency", "fill": "transplant", "effect": effects,
            "effect_probability": 0.0, "group": recipients or own, "donor_group": donors or own,
            "other_group": others or own, **QUIET,
        }
    )  # fmt: skip


def removals(effects, test="necessity", fill="mean", first=0, beside="") -> pd.DataFrame:
    own = [str(first + i) for i in range(len(effects))]
    return pd.DataFrame(
        {
            "image": own, "donor": "", "other": "", "test": test, "fill": fill, "effect": effects,
            "effect_probability": 0.0, "group": own, "donor_group": "", "other_group": "", **QUIET,
            "beside": beside,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("few", "word"), [("group", "pictures"), ("donor_group", "donors"), ("other_group", "placebo donors")]
)
def test_the_scarcest_unit_gives_count_interval_and_p(few, word):
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 10)
    records = pastes(values).assign(**{few: np.repeat(list("abcd"), 10)})
    effect = effect_of(records, "transplant", tuple(WAYS), DELTA, planned=50)
    assert (effect.margin.count, effect.scarce, effect.placed, effect.planned) == (4, word, 40, 50)
    units = Mean([0.0, 1.0, 2.0, 3.0]).interval
    assert (effect.margin.low, effect.margin.high) == (units.low, units.high)
    assert not effect.tells


def test_one_placebo_donor_is_no_evidence():
    effect = effect_of(pastes([2.0, 2.1] * 20, others=["x"] * 40), "transplant", tuple(WAYS), DELTA, 40)
    assert math.isnan(effect.above)
    assert math.isnan(effect.margin.high)
    assert math.isnan(combined_p(Evidence(sufficiency=effect), "above"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "units"),
    [("group", 12), ("donor_group", 12), ("other_group", 12)],
    ids=["recipients", "donors", "placebos"],
)
def test_shared_units_raise_no_false_alarm(way, units):
    """Pairs that share a recipient's group, a donor or a placebo donor are as alike as that; the effect is delta."""
    random, alarms = np.random.default_rng(0), 0
    shared = [str(i % units) for i in range(60)]
    for _ in range(120):
        values = DELTA + random.normal(0, 1, units)[np.arange(60) % units] + random.normal(0, 0.2, 60)
        effect = effect_of(pastes(values).assign(**{way: shared}), "transplant", tuple(WAYS), DELTA, 60)
        alarms += effect.tells and effect.above <= 0.05
    assert alarms / 120 <= 0.1  # 0.05, and what 120 draws may add; counting pairs alone gives over 0.2


def test_removals_after_the_other_context_are_completed_by_those_without_any():
    records = pd.concat(
        [
            removals([0.0] * 20),
            removals([0.0] * 20, fill="inpaint"),
            removals([8.0] * 10, "joint", "inpaint", beside="b"),
        ]
    )
    tests = gather(records, 0.05, DELTA, 20, {})
    assert [effect.fill for effect in tests.necessity] == ["mean", "inpaint"]
    assert tests.joint is not None
    assert (tests.joint.margin.count, tests.joint.margin.estimate) == (20, 4.0)


def judged(tests: Evidence, flagged=False, groups=40) -> tuple[str, list[str]]:
    q = {side: combined_p(tests, side) for side in ("above", "below")}
    lacks = lacking(tests, DELTA)
    verdict = verdict_of(groups=groups, **q, tests=tests, flagged=flagged, lacks=lacks, delta=DELTA)
    return verdict, [in_clause(lack) for lack in lacks]


def quiet(count=30, **changes) -> dict:
    """Both tests made, and nothing found."""
    return {"records": pd.concat([removals([0.0, 0.1] * (count // 2)), pastes([0.0, 0.1] * (count // 2))])} | changes


@pytest.mark.parametrize(
    ("records", "pictures", "pairs", "verdict", "said"),
    [
        (quiet()["records"], 30, {"sufficiency": 30}, "cleared", []),
        (quiet()["records"], 80, {"sufficiency": 30}, "inconclusive", ["removal found a place in 30 of 80 cases"]),
        (quiet()["records"], 30, {"sufficiency": 80}, "inconclusive", ["pasting found a place in 30 of 80 cases"]),
        (removals([0.0, 0.1] * 15), 30, {}, "inconclusive", ["pasting could not be tested"]),
        (pastes([0.0, 0.1] * 15), 30, {}, "inconclusive", ["removal could not be tested"]),
        (
            pd.concat([removals([0.0, 0.1] * 15), pastes([0.0, 0.1] * 6)]), 30, {}, "inconclusive",
            [
                "pasting rests on 12 pictures (20 are needed)",
                "by pasting, none of 12 show an effect above 1, so that up to 22% may carry one (about 30 would tell)",
            ],
        ),
        (
            pd.concat([removals([0.0, 0.1] * 15), pastes([-3.0, 3.0] * 15).assign(scatter=3.0)]), 30, {},
            "inconclusive",
            ["with 30 pictures an effect under 1.9 would go unseen; about 160 would do"],
        ),
        (
            pd.concat([removals([-1.6, 0.4] * 15), pastes([0.0] * 30)]), 30, {}, "inconclusive",
            ["an effect of -0.6 is too large to overlook"],
        ),
        (
            pd.concat([removals([0.0] * 30).assign(changed=[True, *[False] * 29]), pastes([0.0] * 30)]), 30, {},
            "inconclusive", ["removal changes the answer in 1 of 30 cases"],
        ),
        (
            pd.concat([removals([0.0] * 30), pastes([0.0] * 28 + [1.1] * 2)]), 30, {},
            "inconclusive",
            ["by pasting, 2 of 30 show an effect above 1, so that up to 20% may carry one (about 230 would tell)"],
        ),
        (pd.concat([removals([2.0, 2.1] * 15), pastes([0.0] * 30)]), 30, {}, "confirmed", None),
        (pd.concat([removals([0.0] * 30), pastes([-2.0, -2.1] * 15)]), 30, {}, "speaks against", None),
        (pd.concat([removals([2.0, 2.1] * 15), pastes([-17.0, -17.1] * 15)]), 30, {}, "speaks against", None),
    ],
)  # fmt: skip
def test_nothing_is_cleared_that_was_not_tested(records, pictures, pairs, verdict, said):
    found = judged(gather(records.reset_index(drop=True), 0.05, DELTA, pictures, pairs))
    assert found[0] == verdict
    assert said is None or found[1] == said


def test_a_flag_or_too_few_pictures_outweigh_quiet_tests():
    tests = gather(quiet()["records"], 0.05, DELTA, 30, {})
    assert judged(tests, flagged=True)[0] == "suspected"
    assert judged(tests, groups=19)[0] == "too few"


def test_what_matters_is_in_the_models_own_terms():
    assert delta_for([9.0, -8.0, 7.0]) == 0.5
    assert delta_for([0.2, -0.2, math.inf, math.nan]) == pytest.approx(0.02)
    assert delta_for([]) == 0.5
    assert delta_for([0.0, 0.0]) == 1e-3


def test_who_carries_a_rare_effect_is_named_strongest_first():
    """Two of thirty pictures lean on it, and the rest do not."""
    effects = [0.0] * 28 + [4.0, 6.0]
    lines = [
        {"image": str(n), "donor": "", "group": str(n), "donor_group": "", "other_group": "", "other": "",
         "familiar": False, "effect": effect, "effect_probability": 0.0, "changed": False, "placebo_changed": 0.0,
         "scatter": 0.1}
        for n, effect in enumerate(effects)
    ]  # fmt: skip
    found = effect_of(pd.DataFrame(lines), "mean", ("group",), 0.5, 30)
    assert found.strong == (2, 30)
    assert found.carriers == ("29", "28")
