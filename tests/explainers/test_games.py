"""Values of players: known games, other people's implementations, and errors that are honest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch
from captum.attr import KernelShap, ShapleyValues, ShapleyValueSampling
from torch import Tensor

from core.attribution import Attribution
from core.classifier import Classifier
from core.explainer import get_explainer
from core.explainers.games.coalitions import all_coalitions, drawn, permutations, size_weights
from core.explainers.games.fits import Worth, banzhaf_fit, exact_shapley, shapley_fit
from core.explainers.games.orders import Orders
from core.explainers.games.players import patches
from core.fills import fill_plate
from core.regions import laid_out
from tests.explainers.conftest import agree, classifier_of, pictures

Game = Callable[[set[int]], float]
SEEDS = 200


def scores_of(game: Game, players: int) -> Tensor:
    """[2^P], in the order of `all_coalitions`."""
    rows = all_coalitions(players).tolist()
    return torch.tensor([game({i for i, there in enumerate(row) if there}) for row in rows], dtype=torch.float64)


def random_game(players: int, seed: int = 0) -> Tensor:
    """[2^P]: every coalition has a worth of its own, the empty one none."""
    scores = torch.randn(2**players, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scores - scores[0]


def numbers(present: Tensor) -> Tensor:
    return (present.long() * 2 ** torch.arange(present.shape[1])).sum(1)


def banzhaf(scores: Tensor) -> Tensor:
    """By the definition: the mean over coalitions of what a player adds."""
    present = all_coalitions(len(scores).bit_length() - 1)
    return torch.stack([scores[there].mean() - scores[~there].mean() for there in present.T])


def fitted(scores: Tensor, budget: int, seed: int = 0, law: str = "shapley", shrink: bool = False) -> Worth:
    fit = partial(shapley_fit, shrink=shrink) if law == "shapley" else banzhaf_fit
    coalitions = drawn(len(scores).bit_length() - 1, budget, seed, law)
    return fit(coalitions, scores[numbers(coalitions.present)] - scores[0], float(scores[-1] - scores[0]))


def by_orders(scores: Tensor, budget: int, seed: int = 0, interactions: bool = False) -> Worth:
    orders = Orders.of(len(scores).bit_length() - 1, budget, seed, interactions)
    return orders.worth(torch.cat([scores[[-1, 0]], scores[numbers(orders.present)]]))


def close(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> bool:
    return torch.allclose(a, b.to(a.dtype), rtol=0, atol=tolerance)


KNOWN: dict[str, tuple[int, Game, list[float]]] = {
    "additive": (4, lambda s: sum((3.0, -1.0, 0.0, 2.5)[i] for i in s), [3.0, -1.0, 0.0, 2.5]),
    "unanimity of 0 and 2": (4, lambda s: float({0, 2} <= s), [0.5, 0.0, 0.5, 0.0]),
    "gloves, one left and two right": (3, lambda s: float(0 in s and len(s) > 1), [2 / 3, 1 / 6, 1 / 6]),
    "majority": (5, lambda s: float(len(s) >= 3), [0.2] * 5),
    # Littlechild, Owen (1973): a runway of 1, 2 and 4; each shares the parts that it needs
    "airport": (3, lambda s: float(max(((1, 2, 4)[i] for i in s), default=0)), [1 / 3, 5 / 6, 17 / 6]),
    "one player": (1, lambda s: 2.0 * len(s), [2.0]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_games_have_their_known_values(name: str) -> None:
    players, game, expected = KNOWN[name]
    scores, values = scores_of(game, players), torch.tensor(expected, dtype=torch.float64)
    assert close(exact_shapley(scores, interactions=False).values, values)
    assert close(fitted(scores, 2**players).values, values)


def test_what_two_are_worth_together() -> None:
    """Two that need each other, two of which either is enough, and two that have nothing to do with each other."""
    needs, either, nothing = (0, 1), (2, 3), (0, 2)
    scores = scores_of(lambda s: 2.0 * ({0, 1} <= s) - 3.0 * bool(s & {2, 3}) + 5.0 * (4 in s), 5)
    together = exact_shapley(scores, interactions=True).interactions
    assert together is not None
    assert torch.equal(together, together.T)
    assert [float(together[pair]) for pair in (needs, either, nothing, (4, 4))] == pytest.approx([2, 3, 0, 0])
    assert close(exact_shapley(random_game(1), interactions=True).interactions, torch.zeros(1, 1))


def test_values_sum_to_the_worth_of_all() -> None:
    scores = random_game(7)
    exact = exact_shapley(scores, interactions=True).values
    for values in (
        exact,
        fitted(scores, 40).values,
        fitted(scores, 40, shrink=True).values,
        by_orders(scores, 40).values,
    ):
        assert float(values.sum()) == pytest.approx(float(scores[-1]))


def test_an_additive_game_needs_no_more_coalitions_than_tell_its_players_apart() -> None:
    worths = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, 1.5, -1.0, 0.25], dtype=torch.float64)
    scores = all_coalitions(8).double() @ worths + 4
    for law in ("shapley", "uniform"):
        worth = fitted(scores, 60, law=law)
        assert close(worth.values, worths)
        assert worth.error is not None
        assert worth.error.max() < 1e-9
    assert close(by_orders(scores, 2).values, worths)


@pytest.mark.parametrize("players", [2, 3, 6, 9])
def test_with_all_coalitions_the_fits_are_the_definitions(players: int) -> None:
    scores = random_game(players)
    for shrink in (False, True):
        worth = fitted(scores, 2**players, shrink=shrink)
        assert close(worth.values, exact_shapley(scores, interactions=False).values)
        assert worth.error is None
    uniform = fitted(scores, 2**players, law="uniform")
    assert close(uniform.values, banzhaf(scores))
    assert uniform.error is None


METHODS: dict[str, tuple[Callable[[Tensor, int, int], Worth], Callable[[Tensor], Tensor]]] = {
    "kernel-shap": (fitted, lambda scores: exact_shapley(scores, interactions=False).values),
    "banzhaf": (lambda scores, budget, seed: fitted(scores, budget, seed, "uniform"), banzhaf),
    "permutation-shapley": (by_orders, lambda scores: exact_shapley(scores, interactions=False).values),
}


@pytest.mark.slow
@pytest.mark.parametrize("budget", [100, 400])
@pytest.mark.parametrize("name", METHODS)
def test_errors_are_honest(name: str, budget: int) -> None:
    """Over seeds the distance from the truth spreads as the standard error says, and shrinks with more coalitions."""
    method, definition = METHODS[name]
    scores = random_game(10)
    truth, made = definition(scores), [method(scores, budget, seed) for seed in range(SEEDS)]
    known = [one for one in made if one.error is not None]
    assert len(known) > 0.95 * SEEDS
    z = torch.stack([(one.values - truth) / one.error for one in known])
    # a spread guessed from five pairs of orders is Student's, with four degrees of freedom: an SD of 1.41
    assert 0.8 < float(z.std()) < (1.6 if name == "permutation-shapley" and budget == 100 else 1.25)
    away = torch.stack([one.values - truth for one in made])
    # of the mean over seeds; a regression is biased by less than its error
    assert float(away.mean(0).abs().max()) < 5 * float(away.std()) / SEEDS**0.5
    assert float(away.std()) < (0.5 if budget == 100 else 0.25)


def partly_additive(players: int) -> Tensor:
    """[2^P]: mostly what each player adds, and a part that no sum explains."""
    worths = 3 * torch.randn(players, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return random_game(players) + all_coalitions(players).double() @ worths


@pytest.mark.slow
@pytest.mark.parametrize("budget", [60, 100, 400])
@pytest.mark.parametrize("scores", [random_game(10), partly_additive(10)], ids=["random", "partly additive"])
def test_shrunk_values_are_nearer_and_their_errors_are_honest(scores: Tensor, budget: int) -> None:
    truth = exact_shapley(scores, interactions=False).values
    plain, shrunk = ([fitted(scores, budget, seed, shrink=shrink) for seed in range(SEEDS)] for shrink in (False, True))
    away, pulled = (torch.stack([one.values - truth for one in made]) for made in (plain, shrunk))
    error = torch.stack([one.error for one in shrunk])
    assert 0.8 < float((pulled / error).square().mean().sqrt()) < 1.25
    assert float(pulled.square().mean()) < 1.02 * float(away.square().mean())


def test_what_is_certain_is_not_shrunk() -> None:
    """An additive game has no noise, and with nearly all coalitions little is left open."""
    worths = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, 1.5, -1.0, 0.25], dtype=torch.float64)
    worth = fitted(all_coalitions(8).double() @ worths, 60, shrink=True)
    assert close(worth.values, worths)
    assert worth.error is not None
    assert worth.error.max() < 1e-6
    assert fitted(random_game(14), 24, shrink=True).error is None


@pytest.mark.parametrize("seed", range(20))
def test_errors_are_not_known_where_a_value_hangs_on_one_draw(seed: int) -> None:
    """Twelve players and 15 pairs, some of them drawn twice: what leaves no residual is not certain."""
    error = fitted(random_game(12), 30, seed).error
    assert error is None or error.min() > 1e-6
    error = by_orders(random_game(4), 30, seed).error
    assert error is None or error.min() > 1e-6


@pytest.mark.slow
def test_what_two_are_worth_together_by_orders_converges() -> None:
    scores = random_game(6)
    exact = exact_shapley(scores, interactions=True).interactions
    assert exact is not None
    distances = []
    for budget in (400, 20_000):
        worth = by_orders(scores, budget, interactions=True)
        assert worth.interactions is not None
        assert torch.equal(worth.interactions, worth.interactions.T)
        distances.append(float((worth.interactions - exact).abs().mean()))
    assert distances[1] < 0.06
    assert distances[1] < distances[0] / 4


def test_two_that_were_never_looked_at_together_are_not_known() -> None:
    together = by_orders(random_game(10), 2, interactions=True).interactions
    assert together is not None
    assert torch.equal(together.isnan(), together.isnan().T)
    assert 0 < int(together.isnan().sum()) < 90
    assert (together.diagonal() == 0).all()


# -- which coalitions are played


@pytest.mark.parametrize("law", ["shapley", "uniform"])
@pytest.mark.parametrize(("players", "budget"), [(2, 2), (5, 9), (10, 60), (13, 500), (49, 512), (196, 512)])
def test_coalitions_that_are_drawn(law: str, players: int, budget: int) -> None:
    coalitions = drawn(players, budget, 3, law)
    present, known = coalitions.present, coalitions.known
    assert budget - 1 <= len(coalitions) <= budget
    assert float(coalitions.weights.sum()) == pytest.approx(1)
    assert int(present.sum(1).min()) > 0
    assert int(present.sum(1).max()) < players
    whole = present[:known].unique(dim=0)
    assert len(whole) == known
    for size, count in zip(*np.unique(present[:known].sum(1), return_counts=True)):
        assert count == comb(players, size)
    assert torch.equal(present[known::2], ~present[known + 1 :: 2])
    if known < len(present):
        low = next(k for k in range(1, players) if comb(players, k) > (present[:known].sum(1) == k).sum())
        assert int(present[known:].sum(1).min()) >= low
    again, other = drawn(players, budget, 3, law), drawn(players, budget, 4, law)
    assert torch.equal(again.present, present)
    assert known == len(present) or not torch.equal(other.present, present)
    shorter = drawn(players, max(2, budget - 6), 3, law)
    if shorter.known == known:
        assert torch.equal(shorter.present, present[: len(shorter)])


@pytest.mark.parametrize("law", ["shapley", "uniform"])
def test_sizes_follow_the_kernel(law: str) -> None:
    coalitions = drawn(20, 20_000, 0, law)
    sizes, expected = coalitions.present.sum(1).numpy(), size_weights(20, law)
    mass = np.bincount(sizes, coalitions.weights.numpy(), 20)[1:]
    assert np.allclose(mass, expected, atol=0.01)
    of_kernel = np.array([1 / (k * (20 - k)) if law == "shapley" else comb(20, k) for k in range(1, 20)], dtype=float)
    assert np.allclose(expected, of_kernel / of_kernel.sum())
    players = coalitions.present[coalitions.known :].double().mean(0)
    assert torch.allclose(players, torch.full((20,), 0.5, dtype=torch.float64), atol=1e-9)  # by complements


def test_a_part_of_a_draw_stands_for_the_whole() -> None:
    coalitions = drawn(12, 200, 0)
    assert coalitions.known == 24
    some = coalitions.up_to(101)
    assert (len(some), some.known) == (100, 24)
    assert float(some.weights.sum()) == pytest.approx(1)
    assert (len(coalitions.up_to(10)), coalitions.up_to(10).known) == (10, 10)


def test_each_order_comes_with_its_reverse() -> None:
    orders = permutations(7, 5, 1)
    assert (np.sort(orders, 1) == np.arange(7)).all()
    assert (orders[::2] == orders[1::2, ::-1]).all()
    assert (permutations(7, 9, 1)[:10] == orders).all()
    players = Orders.of(7, 100, 0, interactions=False)
    assert len(players.present) == 96  # 16 orders of 6 coalitions between the empty and the full one
    assert players.present.sum(1).tolist() == list(range(1, 7)) * 16


# -- against other implementations, on a real game


def explain(name: str, classifier: Classifier, image: Tensor, **options: object) -> Attribution:
    explainer = get_explainer(name)
    return explainer.bind(classifier).explain(image, [1], explainer.parameters.parse(options))[0]


def by_player(theirs: Tensor, labels: Tensor) -> Tensor:
    """captum's map, which has each player's value at each of its pixels."""
    return torch.stack([theirs[0, 0][labels == n][0] for n in range(int(labels.max()) + 1)])


@pytest.mark.slow
def test_values_are_captums() -> None:
    classifier, image = classifier_of("cnn"), pictures(1, (32, 32))
    asked = {"baselines": fill_plate(image, "mean"), "target": 1}
    four, nine = patches((32, 32), 2), patches((32, 32), 3)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exact = ShapleyValues(classifier.logits).attribute(image, feature_mask=four[None, None], **asked)
        sampled = ShapleyValueSampling(classifier.logits).attribute(
            image, feature_mask=nine[None, None], n_samples=150, **asked
        )
        kernel = KernelShap(classifier.logits).attribute(image, feature_mask=nine[None, None], n_samples=2000, **asked)
    mine = explain("exact-shapley", classifier, image, grid=2).players
    assert mine is not None
    assert agree(mine.values, by_player(exact, four), 1e-4)
    for name in ("exact-shapley", "kernel-shap", "permutation-shapley"):
        options = {} if name == "exact-shapley" else {"samples": 510 if name == "kernel-shap" else 4000}
        one = explain(name, classifier, image, grid=3, **options)
        assert one.players is not None
        assert agree(laid_out(one.players.values, one.players.masks), one.values)
        assert agree(one.players.values, by_player(sampled, nine), 0.15)
        assert agree(one.players.values, by_player(kernel, nine), 0.15)


@pytest.mark.slow
def test_values_and_interactions_are_shapiqs() -> None:
    """Of one real game of eight players, and of a random one of six."""
    from shapiq import ExactComputer  # seconds to import

    classifier, image = classifier_of("cnn"), pictures(1, (32, 32))
    labels, plate = patches((32, 32), 3).clamp(max=7), fill_plate(image, "mean")

    def played(coalitions: np.ndarray) -> np.ndarray:
        kept = torch.from_numpy(coalitions).float()[:, labels]
        with torch.no_grad():
            return classifier.logits(torch.lerp(plate, image, kept[:, None]))[:, 1].double().numpy()

    regions = torch.stack([labels == n for n in range(8)]).float()
    explainer = get_explainer("exact-shapley")
    parameters = explainer.parameters.parse({"regions": "segments"})
    mine = explainer.bind(classifier).explain(image, [1], parameters, regions=regions)[0].players
    assert mine is not None
    assert mine.interactions is not None
    random = exact_shapley(random_game(6), interactions=True)
    looked_up = random_game(6).numpy()
    for game, values, pairs in (
        (played, mine.values, mine.interactions),
        (lambda s: looked_up[(s.astype(int) * 2 ** np.arange(6)).sum(1)], random.values, random.interactions),
    ):
        theirs = ExactComputer(game, n_players=len(values))
        shapley, index = theirs("SV", 1), theirs("SII", 2)
        assert agree(values, torch.tensor([shapley[(i,)] for i in range(len(values))], dtype=values.dtype), 1e-4)
        for i, j in combinations(range(len(values)), 2):
            assert float(pairs[i, j]) == pytest.approx(index[i, j], abs=1e-4 * float(pairs.abs().max()))
