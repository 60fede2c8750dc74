"""How often verdicts are right on simulated effects, whose truth is known: `uv run python benchmarks/verdict_rates.py`.

A report has 40 pairs of class and segment. A removal has four placebos under each of two fills, a paste has two; what
is drawn for a picture is the change of the margin when the segment goes (or comes) and when each placebo does, with one
spread, such that effects have the spread that is named. Results: benchmarks/results/verdict_rates.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from kept import ROOT

from core.runtime.randomness import derived_seed
from core.runtime.whole_files import write_json
from core.sat import DELTA
from core.sat.evidence import Evidence, combined_p, gather
from core.sat.statistics import Mean, benjamini_hochberg
from core.sat.verdicts import lacking, verdict_of

RESULT = ROOT / "benchmarks" / "results" / "verdict_rates.json"
PAIRS = 40
FILLS = ("inpaint", "mean")
Draw = Callable[[np.random.Generator, int], np.ndarray]


def _skewed(random: np.random.Generator, count: int) -> np.ndarray:
    """Mean 0, spread 1, a long tail to the left."""
    spread = np.sqrt((np.e - 1) * np.e)
    return -(np.exp(random.normal(0, 1, count)) - np.sqrt(np.e)) / spread


SHAPES: dict[str, Draw] = {
    "normal": lambda random, count: random.normal(0, 1, count),
    "t3": lambda random, count: random.standard_t(3, count) / np.sqrt(3),
    "left skew": _skewed,
}


@dataclass(frozen=True)
class World:
    """What effects are drawn from.

    Attributes:
        mean, spread: of an effect. shape: of its distribution. count: pictures, and pairs.
        recipients, donors, lenders: how many independent ones take part in the pastes; 0: as many as there are pairs.
        shared: the part of the variance that they bring, of those that are few.
        alike: pairs of the report that have this effect; the others have none.
        carriers: part of the pictures, and of the donors, that bring the whole mean; the others bring none.
    """

    mean: float = 0.0
    spread: float = 1.0
    shape: str = "normal"
    count: int = 60
    recipients: int = 0
    donors: int = 0
    lenders: int = 0
    shared: float = 1.0
    carriers: float = 1.0
    alike: int = PAIRS


def changes(
    world: World, carries: np.ndarray, placebos: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(the segment's change, [count], the placebos', [count, placebos])."""
    draw, count = SHAPES[world.shape], world.count
    spread = world.spread / np.sqrt(1 + 1 / placebos)
    own = carries * world.mean / world.carriers + spread * draw(random, count)
    return own, spread * draw(random, count * placebos).reshape(count, placebos)


def report_of(world: World, random: np.random.Generator) -> list[Evidence]:
    """The evidence of all pairs."""
    found = []
    for number in range(PAIRS):
        own = world if number < world.alike else replace(world, mean=0.0)
        carry = random.random((2, world.count)) < world.carriers  # of the pictures, of the donors
        removals = [_removals(own, fill, carry[0], random) for fill in FILLS]
        records = pd.concat([*removals, _pastes(own, carry[1], random)])
        found.append(gather(records.reset_index(drop=True), 0.05, DELTA, world.count, {"sufficiency": world.count}))
    return found


COMMON = {"beside": "", "familiar": True, "effect_probability": 0.0, "changed": False, "placebo_changed": 0.0}


def _removals(world: World, fill: str, carry: np.ndarray, random: np.random.Generator) -> pd.DataFrame:
    own, others = changes(world, carry, 4, random)
    image = [f"picture {i}" for i in range(world.count)]
    return pd.DataFrame(
        {
            "image": image, "group": image, "donor": "", "donor_group": "", "other": "", "other_group": "",
            "test": "necessity", "fill": fill, "effect": own - others.mean(1), "scatter": others.std(1, ddof=1),
            **COMMON,
        }
    )  # fmt: skip


def _pastes(world: World, carry: np.ndarray, random: np.random.Generator) -> pd.DataFrame:
    own, others = changes(world, carry, 2, random)
    numbers = np.arange(world.count)

    def units(few: int) -> np.ndarray:
        return numbers % few if few else numbers

    own = own.copy()
    for few in (world.recipients, world.donors):
        if few:
            own += np.sqrt(world.shared) * world.spread * random.normal(0, 1, few)[units(few)]
    lenders = np.stack([(2 * numbers + k) % (world.lenders or 2 * world.count) for k in (0, 1)], 1)
    if world.lenders:
        others = others + np.sqrt(world.shared) * world.spread * random.normal(0, 1, world.lenders)[lenders]
    parts = [
        pd.DataFrame(
            {
                "image": [f"recipient {i}" for i in numbers],
                "group": [f"patient {i}" for i in units(world.recipients)],
                "donor": [f"donor {i}" for i in numbers], "donor_group": [f"donor {i}" for i in units(world.donors)],
                "other": [f"lender {i}" for i in lenders[:, k]],
                "other_group": [f"lender {i}" for i in lenders[:, k]],
                "test": "sufficiency", "fill": "transplant", "effect": own - others[:, k],
                "scatter": others.std(1, ddof=1), **COMMON,
            }
        )
        for k in (0, 1)
    ]  # fmt: skip
    return pd.concat(parts)


def verdicts(found: Sequence[Evidence], count: int) -> list[str]:
    """As a report would give them."""
    p = [combined_p(tests, side) for side in ("above", "below") for tests in found]
    q = benjamini_hochberg(p)
    return [
        verdict_of(
            groups=count, above=q[i], below=q[i + len(found)], tests=tests, flagged=False,
            lacks=lacking(tests, DELTA), delta=DELTA,
        )
        for i, tests in enumerate(found)
    ]  # fmt: skip


def rates(world: World, reports: int) -> dict[str, Any]:
    """Parts of the pairs with that effect by verdict, and of their 95 % intervals that hold the truth."""
    random = np.random.default_rng(derived_seed(0, str(asdict(world))))
    said: list[str] = []
    covered: dict[str, list[bool]] = {"removal": [], "pasting": []}
    alarmed = 0
    for _ in range(reports):
        found = report_of(world, random)
        own = verdicts(found, world.count)[: world.alike]
        said += own
        alarmed += "confirmed" in own
        for tests in found[: world.alike]:
            for name, effect in (("removal", tests.necessity[0]), ("pasting", tests.sufficiency)):
                assert effect is not None
                covered[name].append(effect.margin.low <= world.mean <= effect.margin.high)
    return {
        "world": asdict(world),
        "verdicts": {name: round(said.count(name) / len(said), 4) for name in sorted(set(said))},
        "reports with a confirmed one": alarmed / reports,
        "coverage": {name: round(float(np.mean(hits)), 4) for name, hits in covered.items()},
    }


@dataclass(frozen=True)
class Question:
    """A rate that is asked for.

    Attributes:
        verdict: whose rate; or "removal" or "pasting", whose intervals should hold the truth.
        least, most: what it should be.
    """

    world: World
    verdict: str
    least: float = 0.0
    most: float = 1.0


def questions() -> dict[str, Question]:
    asked: dict[str, Question] = {}
    for spread in (0.5, 1.0, 2.0, 5.0):
        asked[f"null, spread {spread}"] = Question(World(0, spread), "confirmed", most=0.02)
    asked["null, heavy tails, n = 20"] = Question(World(0, 2, "t3", 20), "confirmed", most=0.02)
    asked["null, left skew, n = 20"] = Question(World(0, 2, "left skew", 20), "confirmed", most=0.02)
    for spread in (0.5, 1.0, 2.0):
        asked[f"null, 3 placebo donors, spread {spread}"] = Question(
            World(0, spread, lenders=3), "confirmed", most=0.02
        )
        asked[f"null, 6 patients, spread {spread}"] = Question(World(0, spread, recipients=6), "confirmed", most=0.02)
        asked[f"null, 12 donors, spread {spread}"] = Question(World(0, spread, donors=12), "confirmed", most=0.02)
    for count in (20, 60):
        asked[f"at delta, left skew, n = {count}"] = Question(World(DELTA, 1, "left skew", count), "confirmed")
        asked[f"at delta, normal, n = {count}"] = Question(World(DELTA, 1, count=count), "confirmed")
    for spread in (0.5, 1.0, 2.0):
        for count in (20, 40, 60):
            world = World(2 * DELTA, spread, count=count, alike=4)
            aim = 0.9 if (spread, count) == (1.0, 60) else 0.0
            asked[f"2 delta, spread {spread}, n = {count}: power"] = Question(world, "confirmed", least=aim)
            asked[f"2 delta, spread {spread}, n = {count}: cleared"] = Question(world, "cleared", most=0.01)
    for count in (20, 60, 120, 240):
        world = World(2 * DELTA, 0.3, count=count, carriers=0.02)
        asked[f"2 % carry a mean of 2 delta, n = {count}"] = Question(world, "cleared", most=0.01)
        for part in (0.05, 0.02):
            world = World(5 * part, 0.3, count=count, carriers=part)
            asked[f"{part:.0%} carry 5 log-odds, n = {count}"] = Question(world, "cleared")
    for spread in (0.2, 0.5, 1.0):
        for count in (30, 60, 120):
            asked[f"innocent, spread {spread}, n = {count}"] = Question(World(0, spread, count=count), "cleared")
    for name, shape in (("normal", "normal"), ("heavy tails", "t3")):
        asked[f"coverage, {name}"] = Question(World(1, 1, shape), "removal", 0.93, 0.97)
    for name, world in (("6 patients", World(1, 1, recipients=6)), ("3 placebo donors", World(1, 1, lenders=3))):
        asked[f"coverage, {name}"] = Question(world, "pasting", 0.93)
    return asked


def lognormal_coverage(count: int, draws: int) -> float:
    random = np.random.default_rng(count)
    intervals = [Mean(random.lognormal(0, 1, count)).interval for _ in range(draws)]
    return float(np.mean([one.low <= np.exp(0.5) <= one.high for one in intervals]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=25, help="of 40 pairs, for each question")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="questions with this in their name")
    asked = parser.parse_args()
    chosen = {name: question for name, question in questions().items() if asked.only in name}
    worlds = list(dict.fromkeys(question.world for question in chosen.values()))
    with ProcessPoolExecutor(asked.workers) as pool:
        found = dict(zip(worlds, pool.map(rates, worlds, [asked.reports] * len(worlds))))
    rows, missed = {}, []
    for name, question in chosen.items():
        told = found[question.world]
        value = told["coverage"].get(question.verdict, told["verdicts"].get(question.verdict, 0.0))
        rows[name] = {"asked": question.verdict, "rate": value, "least": question.least, "most": question.most, **told}
        good = question.least <= value <= question.most
        missed += [] if good else [name]
        print(f"{name:<48}{question.verdict:<12}{value:.4f}{'' if good else '   missed'}")
    for count in (10, 20, 60):
        rows[f"coverage, lognormal, n = {count}"] = {"rate": lognormal_coverage(count, 40 * asked.reports)}
        print(f"coverage, lognormal, n = {count}: {rows[f'coverage, lognormal, n = {count}']['rate']:.3f}")
    if not asked.only:
        write_json(RESULT, {"pairs": PAIRS, "reports": asked.reports, "missed": missed, "questions": rows})


if __name__ == "__main__":
    main()
