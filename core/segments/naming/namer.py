"""From a few named masks, names for all others: with a confidence, and "unsure" for what resembles none of them.

A mask is described as numbers (describing.py beside this). Names are told apart by a discriminant analysis whose
within-name covariance is shrunk hard, because three pictures say little of it: Friedman, Regularized Discriminant
Analysis (JASA 1989). Masks without a name then teach it how masks of one name differ, as far as it is sure of them
(self-training: Scudder, IEEE Trans. Information Theory 1965). What it is worth is in docs/naming.md.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.errors import UserError
from core.segments.naming.describing import HAND

#: Below this confidence a mask is called unsure.
UNSURE = 0.5
# how a name's masks differ in one number before anything is seen, and how many masks that is worth
PRIOR_VARIANCE, PRIOR_WEIGHT = 0.25, 30.0
# how likely a mask is to have one of the names before it is looked at, at most; and how many masks that is worth beside
# those of the example pictures, with a name and without
KNOWN, KNOWN_WEIGHT = 0.8, 2.0
# encoder features are reduced to so many directions, those in which about so many of the masks at hand differ most
DIRECTIONS, REDUCED_FROM = 32, 1000
# in logarithms: how much less likely a name is a second time if it never occurred twice in an example picture, and how
# much more likely if no other mask has it though it was in all of them; and how often masks are judged anew
ONCE, PRESENT, TURNS = 4.0, 3.0, 15
# masks without a name that are believed this much teach in so many rounds; at most so many of them are used
BELIEVED, ROUNDS, POOL = 0.8, 2, 4000
# without two example pictures to learn them from: temperature, and the usual distance of masks of one name and of two
TEMPERATURE, SAME, OTHER = 0.2, 0.7, 1.6
FOLDS = 6


@dataclass(frozen=True)
class Described:
    """Masks as numbers.

    Attributes:
        rows: float32 [N, D], from `describe`.
        names: one each; "" = none (among examples: to be left without a name).
        pictures: one each: which picture it lies in.
    """

    rows: np.ndarray
    names: tuple[str, ...]
    pictures: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or not len(self.rows) == len(self.names) == len(self.pictures):
            raise ValueError(f"{len(self.names)} names, {len(self.pictures)} pictures for rows {self.rows.shape}")


@dataclass(frozen=True)
class Beliefs:
    """What a namer holds of N masks.

    Attributes:
        names: K, sorted.
        each: float64 [N, K] in [0, 1]: that the mask has this name; what is missing to 1 says "none of them".
        nameless: float64 [N] in [0, 1]: that it is like masks that were left without a name on purpose.
    """

    names: tuple[str, ...]
    each: np.ndarray
    nameless: np.ndarray

    @property
    def best(self) -> tuple[str, ...]:
        """The likeliest name of each mask, however unlikely."""
        return tuple(self.names[index] for index in self.each.argmax(1))

    @property
    def confidence(self) -> np.ndarray:
        """[N] in [0, 1]: of the likeliest name."""
        return self.each.max(1)

    @property
    def proposed(self) -> tuple[str, ...]:
        """The likeliest name where its confidence is at least UNSURE, else ""."""
        return tuple(name if sure else "" for name, sure in zip(self.best, self.confidence >= UNSURE))


class Namer:
    """Fitted once, it names any number of masks; the same examples give the same names.

    Attributes:
        names: those it knows, sorted.
        fingerprint: changes with anything it was fitted to.
    """

    def __init__(self, examples: Described, pool: Described | None = None) -> None:
        """Fit it: milliseconds for examples alone, tenths of a second with a full pool.

        Args:
            examples: a few named masks; those named "" stand for what is to stay without a name.
            pool: masks without a name, of the same pictures or others, whole pictures at a time; names are not read.

        Raises:
            UserError: no example has a name, or examples and pool were described with different encoders.
        """
        self.names = tuple(sorted(set(examples.names) - {""}))
        if not self.names:
            raise UserError("No example has a name yet; name a few masks first.")
        known = np.array([bool(name) for name in examples.names])
        pictures = np.array(examples.pictures)[known]
        labels = np.searchsorted(self.names, np.array(examples.names)[known])
        self._reduction = _Reduction(examples.rows, pool.rows if pool is not None else examples.rows[:0])
        rows = self._reduction(examples.rows)
        weights = np.eye(len(self.names))[labels]
        self._habits = _Habits.of(labels, pictures, len(self.names))
        self._scale = replace(_calibrate(rows[known], weights, pictures), known=_share_named(pictures, pool))
        self._near = self._space = _Space(rows[known], weights)
        self._nameless = rows[~known]
        digest = hashlib.blake2b(repr((examples.names, examples.pictures)).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(examples.rows, np.float32).tobytes())
        if pool is not None and len(pool.rows):
            digest.update(np.ascontiguousarray(pool.rows, np.float32).tobytes())
            free = self._reduction(pool.rows[:POOL])
            for _ in range(ROUNDS):
                each = self._believe(free, pool.pictures[:POOL]).each
                taught = np.where(each >= BELIEVED * each.sum(1, keepdims=True), each, 0.0)
                self._space = _Space(np.concatenate([rows[known], free]), np.concatenate([weights, taught]))
        self.fingerprint = digest.hexdigest()

    def beliefs(self, rows: np.ndarray, pictures: Sequence[str], given: Sequence[str] | None = None) -> Beliefs:
        """Name masks; those of one picture must come in one call, because names compete for masks.

        Args:
            rows: float32 [N, D], described as the examples were.
            pictures: [N]: which picture each lies in.
            given: [N]: names that are certain already and take part in the competition; "" = to be named.

        Raises:
            UserError: described with another encoder.
        """
        return self._believe(self._reduction(rows), pictures, given)

    def embed(self, rows: np.ndarray) -> np.ndarray:
        """float64 [N, R]: where masks of one name lie close together; squared distances are about 1 there."""
        reduced = self._reduction(rows)
        return reduced @ self._near.axes / np.sqrt(reduced.shape[1])

    def _believe(self, rows: np.ndarray, pictures: Sequence[str], given: Sequence[str] | None = None) -> Beliefs:
        logits = -self._space.distances(rows) / (2 * self._scale.temperature)
        near = self._near.nearest(rows)
        familiar, nameless = self._scale.familiar(near), self._like_nameless(rows, near)
        if given is not None:
            says = np.array(given, str)[:, None] == np.array(self.names)
            certain = np.array([bool(name) for name in given], bool)
            logits = np.where(certain[:, None], np.where(says, 0.0, -1e9), logits)
            # a name that no example has takes no other's place
            familiar = np.where(certain, says.any(1), familiar)
            nameless = np.where(certain, 0.0, nameless)
        groups = np.unique(np.array(list(pictures), str), return_inverse=True)[1]
        each = _compete(logits, familiar, self._habits, groups)
        return Beliefs(self.names, each * (familiar * (1 - nameless))[:, None], nameless)

    def _like_nameless(self, rows: np.ndarray, near: np.ndarray) -> np.ndarray:
        """[N]: whether the nearest mask left without a name is nearer than the nearest name."""
        if not len(self._nameless):
            return np.zeros(len(rows))
        nearest = self._near.distances(rows, self._nameless).min(1) / 2
        gap = np.clip((nearest - near) / (2 * self._scale.temperature), -50, 50)
        return self._scale.familiar(nearest) / (1 + np.exp(gap))


@dataclass(frozen=True)
class _Scale:
    """From distances to probabilities.

    Attributes:
        temperature: of the softmax over names.
        centre, slope: of the logistic curve over log distance; what lies at the centre speaks neither for nor against.
        known: how likely a mask is to have one of the names, before it is looked at.
    """

    temperature: float
    centre: float
    slope: float
    known: float = KNOWN

    def familiar(self, nearest: np.ndarray) -> np.ndarray:
        """[N] in [0, 1]: that a mask at this distance from the nearest name has one of the names."""
        against = self.slope * (np.log(nearest + 1e-9) - self.centre) - math.log(self.known / (1 - self.known))
        return 1 / (1 + np.exp(np.clip(against, -50, 50)))


def _share_named(named: np.ndarray, pool: Described | None) -> float:
    """Of the masks of the example picture that is named most completely: whoever names one of twenty does not expect
    nineteen more of it elsewhere. Single answers in a review, in pictures without names, say nothing of that.

    Args:
        named: the picture of each mask with a name.
    """
    shares = [KNOWN] if pool is None else []
    there = Counter(pool.pictures if pool is not None else ())
    for picture, count in Counter(named.tolist()).items():
        if picture in there:
            shares.append((count + KNOWN * KNOWN_WEIGHT) / (there[picture] + KNOWN_WEIGHT))
    return min(KNOWN, max(shares, default=KNOWN))


class _Reduction:
    """The numbers every mask has, and the principal directions of its encoder features."""

    def __init__(self, rows: np.ndarray, more: np.ndarray) -> None:
        if len(more) and rows.shape[1] != more.shape[1]:
            raise _other_encoder()
        self.width = rows.shape[1]
        features = np.concatenate([rows[:, HAND:], more[:POOL, HAND:]])
        features = features[:: 1 + len(features) // REDUCED_FROM].astype(np.float64)
        self.centre = features.mean(0) if len(features) else np.zeros(features.shape[1])
        self.axes = np.zeros((features.shape[1], 0))
        if features.size:
            centred = features - self.centre
            few = min(centred.shape) == len(centred)
            # the smaller of the two square matrices has the same directions
            sizes, vectors = np.linalg.eigh(centred @ centred.T if few else centred.T @ centred)
            kept = np.flatnonzero(sizes > 1e-9 * sizes[-1])[::-1][:DIRECTIONS]
            self.axes = centred.T @ vectors[:, kept] / np.sqrt(sizes[kept]) if few else vectors[:, kept]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """float64 [N, HAND + up to DIRECTIONS]"""
        if rows.shape[1] != self.width:
            raise _other_encoder()
        rows = rows.astype(np.float64)
        return np.concatenate([rows[:, :HAND], (rows[:, HAND:] - self.centre) @ self.axes], 1)


class _Space:
    """Numbers turned and stretched until masks of one name lie round about their mean, about 1 away."""

    def __init__(self, rows: np.ndarray, weights: np.ndarray) -> None:
        """From rows [N, D] and how much each counts for each name, [N, K]."""
        counts = weights.sum(0)
        means = weights.T @ rows / counts[:, None]
        self.uncertain = 1 + 1 / counts
        free = max(0.0, weights.sum() - len(means))
        total = weights.sum(1)
        scatter = (rows * total[:, None]).T @ rows - (means * counts[:, None]).T @ means
        strength = free + PRIOR_WEIGHT
        variance = (np.maximum(np.diag(scatter), 0) + PRIOR_WEIGHT * PRIOR_VARIANCE) / strength
        stretch = 1 / np.sqrt(variance)
        correlation = (scatter * np.outer(stretch, stretch) + PRIOR_WEIGHT * np.eye(len(stretch))) / strength
        # the fewer masks, the less their correlations are believed
        doubt = 20 / (40 + free)
        sizes, vectors = np.linalg.eigh((1 - doubt) * correlation + doubt * np.eye(len(stretch)))
        self.axes = stretch[:, None] * vectors / np.sqrt(sizes)
        self.means = means

    def distances(self, rows: np.ndarray, to: np.ndarray | None = None) -> np.ndarray:
        """[N, K]: squared, over the number of dimensions, to the means of the names or to other rows."""
        own, others = rows @ self.axes, (self.means if to is None else to) @ self.axes
        squares = (own**2).sum(1)[:, None] + (others**2).sum(1) - 2 * own @ others.T
        return np.maximum(squares, 0) / rows.shape[1]

    def nearest(self, rows: np.ndarray) -> np.ndarray:
        """[N]: distance to the nearest name, less where its mean is of few masks and therefore uncertain itself."""
        return (self.distances(rows) / self.uncertain).min(1, initial=np.inf)


@dataclass(frozen=True)
class _Habits:
    """How names go together in a picture, as far as two example pictures or more show it.

    Attributes:
        once: float64 [K]: 1 for names that are in none of them twice.
        always: float64 [K]: 1 for names that are in all of them.
    """

    once: np.ndarray
    always: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, pictures: np.ndarray, count: int) -> _Habits:
        """From the names (0 ... count - 1) and pictures of all examples."""
        times = [[] for _ in range(count)]
        for (name, _), often in Counter(zip(labels.tolist(), pictures.tolist())).items():
            times[name].append(often)
        shown = len(set(pictures.tolist()))
        once = [len(often) >= 2 and max(often) == 1 for often in times]
        return cls(np.array(once, float), np.array([len(often) == shown >= 2 for often in times], float))


def _compete(logits: np.ndarray, familiar: np.ndarray, habits: _Habits, groups: np.ndarray) -> np.ndarray:
    """[N, K]: probabilities of names, given the other masks of the same picture.

    A name that another mask has is less likely where it occurs once; one that no other mask has is more likely where it
    always occurs. Mean field: each mask is judged with the others' probabilities held, in turns. The number of turns is
    fixed, so that a picture's names do not hang on which others are named with it.
    """
    each = _softmax(logits)
    for _ in range(TURNS):
        weighted = each * familiar[:, None]
        totals = np.stack([np.bincount(groups, column) for column in weighted.T], 1)
        taken = np.maximum(totals[groups] - weighted, 0) if len(groups) else weighted
        wanted = PRESENT * habits.always * np.maximum(1 - taken, 0)
        each = (each + _softmax(logits + wanted - ONCE * habits.once * taken)) / 2
    return each


def _calibrate(rows: np.ndarray, weights: np.ndarray, pictures: np.ndarray) -> _Scale:
    """Leave out example pictures in turn: how far masks fall from their own name, and from the nearest other one.

    With their own name among the names they should be found; without it they are masks of a part never named.
    """
    own, other, found = [], [], []
    kept = list(dict.fromkeys(pictures.tolist()))
    for fold in range(min(FOLDS, len(kept))):
        out = np.isin(pictures, kept[fold::FOLDS])
        there = weights[~out].sum(0) > 0
        if not there.any():
            continue
        distances = np.full((int(out.sum()), len(there)), np.inf)
        space = _Space(rows[~out], weights[~out][:, there])
        distances[:, there] = space.distances(rows[out])
        mine = weights[out].astype(bool)
        known = mine[:, there].any(1)
        found += [(distances[known], mine[known])]
        distances[:, there] /= space.uncertain
        own += distances[known][mine[known]].tolist()
        other += np.where(mine, np.inf, distances).min(1)[known & (there.sum() > 1)].tolist()
    same, apart = (
        (np.log(np.array(seen) + 1e-9).sum() + 6 * np.log(usual)) / (len(seen) + 6)
        for seen, usual in ((own, SAME), (other, OTHER))
    )
    spread = [*(np.log(np.array(own) + 1e-9) - same), *(np.log(np.array(other) + 1e-9) - apart)]
    variance = (float(np.sum(np.square(spread))) + 6 * 0.16) / (len(spread) + 6)
    slope = float(np.clip((apart - same) / variance, 1.0, 20.0))
    return _Scale(_temperature(found), float(same + apart) / 2, slope)


def _temperature(found: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Where the left out masks are likeliest to have their own names; drawn to TEMPERATURE while they are few."""

    def loss(temperature: float) -> float:
        wrong = sum(-np.log(_softmax(-d / (2 * temperature))[mine] + 1e-9).sum() for d, mine in found if len(d))
        return float(wrong + 2 * np.log(temperature / TEMPERATURE) ** 2)

    return min(TEMPERATURE * np.exp(np.linspace(-2, 3, 41)), key=loss)


def _softmax(logits: np.ndarray) -> np.ndarray:
    values = np.exp(logits - logits.max(1, keepdims=True, initial=-np.inf))
    return values / values.sum(1, keepdims=True)


def _other_encoder() -> UserError:
    return UserError("Masks were described with different encoders; describe them all with the same one.")
