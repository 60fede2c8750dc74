"""Who plays: patches, superpixels, segments, and tokens that leave the sequence."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from core.attribution import Attribution
from core.classifier import Classifier
from core.errors import UserError
from core.explainer import get_explainer
from core.explainers.games.dropped_tokens import TokenGate, token_gate
from core.explainers.games.players import patches, players_of
from core.job import Job
from core.regions import Regions
from tests.conftest import small_module
from tests.explainers.conftest import agree, classifier_of, pictures, plain, thirds
from tests.explainers.test_contract import additive
from tests.explainers.test_removal import colour_counter

SIDE, PATCH = 32, 8  # of the small transformers: 4 x 4 tokens


def explain(
    name: str,
    classifier: Classifier,
    images: Tensor,
    targets: list[int],
    masks: Tensor | Regions | None = None,
    **options: object,
) -> list[Attribution]:
    explainer = get_explainer(name)
    return explainer.bind(classifier).explain(images, targets, explainer.parameters.parse(options), regions=masks)


# -- patches, superpixels and segments


@pytest.mark.parametrize("frame", [(224, 224), (32, 96), (96, 32), (37, 23), (16, 16), (8, 120), (1, 400), (5, 1)])
@pytest.mark.parametrize("grid", [2, 3, 7, 16])
def test_patches_are_no_more_than_were_asked_for_and_cover_every_pixel_once(frame: tuple[int, int], grid: int) -> None:
    if grid * grid > frame[0] * frame[1]:
        return
    labels = patches(frame, grid)
    count = int(labels.max()) + 1
    assert labels.shape == frame
    assert labels.unique().tolist() == list(range(count))
    assert count <= grid * grid
    areas = labels.flatten().bincount()
    assert areas.max() <= 4 * areas.min()
    for n in (0, count // 2, count - 1):  # each is a rectangle
        rows, columns = (labels == n).nonzero(as_tuple=True)
        assert (int(rows.max() - rows.min()) + 1) * (int(columns.max() - columns.min()) + 1) == areas[n]


def test_a_square_picture_is_cut_into_its_grid() -> None:
    labels = patches((224, 224), 7)
    assert labels[:32, :32].unique().tolist() == [0]
    assert labels[32:64, 192:].unique().tolist() == [13]


def job_of(images: Tensor, **options: object) -> Job:
    return Job(images, torch.zeros(len(images), dtype=torch.long), None, None, (0,) * len(images), None)


@pytest.mark.parametrize("frame", [(32, 32), (96, 32), (37, 23)])
@pytest.mark.parametrize("grid", [2, 3, 4])
def test_superpixels_are_each_pictures_own_and_no_more_than_were_asked_for(frame: tuple[int, int], grid: int) -> None:
    images = torch.cat([pictures(4, frame), torch.full((1, 3, *frame), 0.5)])
    players = players_of(job_of(images), "superpixels", grid)
    masks = players.regions().masks
    assert torch.equal(masks.sum(1), torch.ones(5, *frame, dtype=torch.long))
    for own, count in zip(masks, players.counts):
        assert 1 <= count <= grid * grid
        assert own[:count].flatten(1).any(1).all()
        assert not own[count:].any()
    assert not torch.equal(masks[0], masks[1])


def test_what_segments_leave_over_is_never_absent() -> None:
    """Two soft segments of a model that counts red: each is worth its red, what neither covers is worth nothing."""
    image = pictures(1, (16, 16))
    soft = torch.zeros(2, 16, 16)
    soft[0, :6], soft[1, 6:10] = 0.25, 0.75
    for name in ("exact-shapley", "kernel-shap", "permutation-shapley", "banzhaf"):
        (one,) = explain(name, colour_counter(), image, [0], soft, regions="segments", fill="black")
        assert one.players is not None
        assert agree(one.players.values, 3 * (soft * image[0, 0]).sum((1, 2)) / 256, 1e-4)
        assert (one.values[10:] == 0).all()


def test_each_picture_has_its_own_players_with_names_and_without_padding() -> None:
    images, classifier = pictures(3, (32, 32)), classifier_of("cnn")
    own = [thirds((32, 32)), torch.ones(1, 32, 32), thirds((32, 32))[:2]]
    names = (("strip", None, "rest"), ("all",), ("strip", "top"))
    together = explain("exact-shapley", classifier, images, [1, 2, 0], Regions.of(own, names), regions="segments")
    for b, one in enumerate(together):
        (alone,) = explain(
            "exact-shapley", classifier, images[b : b + 1], [[1, 2, 0][b]], own[b], regions="segments"
        )  # fmt: skip
        for attribution in (one, alone):
            assert attribution.players is not None
            assert attribution.players.interactions is not None
            assert attribution.forward_passes == 2 ** len(own[b])
        assert one.players.names == names[b]
        assert torch.equal(one.players.masks, own[b])
        assert agree(one.players.values, alone.players.values)
        assert agree(one.players.interactions, alone.players.interactions, 1e-4)
        assert agree(one.values, alone.values)


def test_one_player_is_worth_everything() -> None:
    """A segment that covers the picture: its value is the change of the score, in two passes."""
    classifier, image = additive(), pictures(1, (16, 16))
    with torch.no_grad():
        change = classifier.logits(image)[0, 1] - classifier.logits(torch.zeros_like(image))[0, 1]
    for name in ("exact-shapley", "kernel-shap", "permutation-shapley", "banzhaf"):
        (one,) = explain(name, classifier, image, [1], torch.ones(1, 16, 16), regions="segments", fill="black")
        assert one.forward_passes == 2
        assert float(one.players.values) == pytest.approx(float(change), rel=1e-4)


@pytest.mark.parametrize("regions", ["patches", "superpixels"])
def test_more_players_than_pixels_are_one_sentence(regions: str) -> None:
    with pytest.raises(UserError, match="8 x 8 pixels cannot be cut into 100 players; choose a coarser grid"):
        explain("kernel-shap", plain(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), 8), torch.rand(1, 3, 8, 8), [1],
                regions=regions, grid=10)  # fmt: skip


def test_too_many_players_for_all_coalitions_are_one_sentence() -> None:
    rows = torch.eye(17)[:, :, None].expand(17, 17, 17)
    classifier = plain(nn.Sequential(nn.Flatten(), nn.Linear(3 * 17 * 17, 2)), 17)
    with pytest.raises(UserError, match=r"17 players have 131,072 coalitions.*choose 16 players or fewer"):
        explain("exact-shapley", classifier, pictures(1, (17, 17)), [1], rows, regions="segments")


# -- tokens


def timm_vit(**options: object) -> Classifier:
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(4)
    size = {"patch_size": PATCH, "num_classes": 4, "embed_dim": 24, "depth": 2, "num_heads": 2, **options}
    return plain(VisionTransformer(SIDE, **size).eval(), SIDE)


def huggingface_vit(distilled: bool = False) -> Classifier:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(4)
    size = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    size |= {"image_size": SIDE, "patch_size": PATCH, "num_labels": 4}
    if distilled:
        return plain(transformers.DeiTForImageClassification(transformers.DeiTConfig(**size)).eval(), SIDE)
    return plain(transformers.ViTForImageClassification(transformers.ViTConfig(**size)).eval(), SIDE)


PLAIN: dict[str, tuple[Callable[[], Classifier], int]] = {  # and the tokens that stand for no patch
    "torchvision": (lambda: classifier_of("vit"), 1),
    "timm": (timm_vit, 1),
    "timm, registers": (lambda: timm_vit(reg_tokens=4), 5),
    "transformers": (huggingface_vit, 1),
    "transformers, distilled": (lambda: huggingface_vit(distilled=True), 2),
}


def gate_of(classifier: Classifier) -> TokenGate:
    found = token_gate(classifier)
    assert found is not None
    return found


def squares(there: list[bool]) -> Tensor:
    """[1, H, W]: these of the 16 patches."""
    cells = torch.tensor(there, dtype=torch.float32).view(1, 4, 4)
    return cells.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLAIN)
def test_tokens_leave_and_the_others_stay_as_they_are(kind: str) -> None:
    """All of them: the plain answer. Some: what those that left show makes no difference, what is there does."""
    make, prefix = PLAIN[kind]
    classifier, image = make(), pictures(1, (SIDE, SIDE))
    gate = gate_of(classifier)
    assert (gate.prefix, gate.grid) == (prefix, (4, 4))
    with torch.no_grad():
        whole = classifier.logits(image)
        assert agree(gate.logits(classifier, image, squares([True] * 16)), whole)
        there = [n in (0, 5, 6, 15) for n in range(16)]
        some = gate.logits(classifier, image, squares(there))
        assert not agree(some, whole, 1e-3)
        for n in range(16):
            changed = torch.where(squares([m == n for m in range(16)]) > 0, 1 - image, image)
            assert agree(gate.logits(classifier, changed, squares(there)), some) != there[n]
        none = gate.logits(classifier, image, squares([False] * 16))
        assert agree(gate.logits(classifier, 1 - image, squares([False] * 16)), none)
        # sequences of several lengths in one batch are what they are alone
        kept = torch.cat([squares(there), squares([False] * 16), squares([True] * 16), squares(there[::-1])])
        batch = gate.logits(classifier, image.expand(4, -1, -1, -1), kept)
    assert agree(batch[:3], torch.cat([some, none, whole]))
    assert not gate.module._forward_hooks


def test_a_coalition_is_the_forward_pass_of_its_tokens() -> None:
    """By hand: embed, add positions, take some out, and go on."""
    module = small_module("vit").eval()
    classifier, image = plain(module, SIDE), pictures(1, (SIDE, SIDE))
    chosen = [1, 4, 11]
    with torch.no_grad():
        tokens = module.conv_proj(image).flatten(2).transpose(1, 2)
        tokens = torch.cat([module.class_token, tokens], 1) + module.encoder.pos_embedding
        tokens = tokens[:, [0, *(n + 1 for n in chosen)]]
        expected = module.heads(module.encoder.ln(module.encoder.layers(tokens))[:, 0])
        got = gate_of(classifier).logits(classifier, image, squares([n in chosen for n in range(16)]))
    assert agree(got, expected)


class Watcher(nn.Module):
    """Answers with the redness of one patch's token, as long as it is there."""

    def __init__(self, token: int) -> None:
        super().__init__()
        self.token, self.encoder = token, nn.ModuleDict({"dropout": nn.Dropout()})

    def forward(self, x: Tensor) -> Tensor:
        patches = nn.functional.avg_pool2d(x, PATCH).flatten(2).transpose(1, 2)
        place = torch.arange(patches.shape[1]).view(1, -1, 1).expand(len(x), -1, 1)
        tokens = torch.cat([torch.zeros(len(x), 1, 4), torch.cat([patches + 0.1, place], 2)], 1)
        tokens = self.encoder["dropout"](tokens)
        own = (tokens[:, :, 3] == self.token) & (tokens[:, :, 0] > 0)
        seen = (tokens[:, :, 0] * own).sum(1)
        return torch.stack([seen, -seen], 1)


@pytest.mark.parametrize("token", [2, 7, 12])
def test_players_are_the_tokens_in_their_order(token: int) -> None:
    classifier, image = plain(Watcher(token), SIDE), pictures(1, (SIDE, SIDE))
    (one,) = explain("kernel-shap", classifier, image, [0], grid=4, fill="tokens", samples=64, shrink=False)
    expected = torch.zeros(16)
    expected[token] = nn.functional.avg_pool2d(image, PATCH)[0, 0].flatten()[token] + 0.1
    assert one.players is not None
    assert torch.allclose(one.players.values, expected, atol=1e-4)
    assert (one.values[squares([n == token for n in range(16)])[0] == 0].abs() < 1e-5).all()


@pytest.mark.parametrize("name", ["exact-shapley", "permutation-shapley", "banzhaf"])
def test_all_games_are_played_with_tokens(name: str) -> None:
    classifier, images = classifier_of("vit"), pictures(2, (SIDE, SIDE))
    options = {} if name == "exact-shapley" else {"samples": 12}
    for one in explain(name, classifier, images, [1, 2], grid=2, fill="tokens", **options):
        assert one.players is not None
        gate = gate_of(classifier)
        if one.unit == "density":
            with torch.no_grad():
                image = images[one.target - 1 : one.target]
                whole, none = (gate.logits(classifier, image, squares([there] * 16)) for there in (True, False))
            assert float(one.values.sum()) == pytest.approx(float((whole - none)[0, one.target]), abs=1e-4)


REFUSED: dict[str, Callable[[], Classifier]] = {
    "cnn": lambda: classifier_of("cnn"),
    "swin": lambda: classifier_of("swin"),
    "mean of the patches": lambda: timm_vit(global_pool="avg"),
    "no class token": lambda: timm_vit(global_pool="avg", class_token=False),
    "only registers": lambda: timm_vit(global_pool="avg", class_token=False, reg_tokens=4),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_others_are_refused_in_one_sentence(kind: str) -> None:
    with pytest.raises(UserError, match=r"cannot leave out tokens: .*; choose another fill \(mean, .*\)\.$"):
        explain("kernel-shap", REFUSED[kind](), pictures(1, (SIDE, SIDE)), [1], fill="tokens")


def test_threads_do_not_see_each_others_tokens_leave() -> None:
    """While one thread's pass is in the middle, with its hook in place, another's goes through whole."""
    classifier, images = classifier_of("vit"), pictures(2, (SIDE, SIDE))
    gate, there = gate_of(classifier), squares([n < 5 for n in range(16)])
    with torch.no_grad():
        expected = [gate.logits(classifier, images[:1], there), classifier.logits(images[1:])]
        alone = gate.logits(classifier, images[1:], 1 - there)
    found: list[Tensor] = []

    def other() -> None:
        with torch.no_grad():
            found.append(classifier.logits(images[1:]))
            found.append(gate.logits(classifier, images[1:], 1 - there))

    def between(module: nn.Module, inputs: object, output: Tensor) -> None:
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()

    handle = gate.module.register_forward_hook(between)
    try:
        with torch.no_grad():
            mine = gate.logits(classifier, images[:1], there)
    finally:
        handle.remove()
    assert agree(mine, expected[0])
    assert agree(found[0], expected[1])
    assert agree(found[1], alone)
