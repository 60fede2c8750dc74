"""Attention: weights that are really the model's, known rollouts, gradients, and three libraries' transformers."""

from __future__ import annotations

import threading
from functools import partial

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification

from core.classifier import Classifier
from core.explainer import get_explainer
from core.explainers.attention import (
    attention_weights,
    find_token_map,
    follow_back,
    gradient_attention,
    gradient_layer,
    rollout_layer,
)
from core.preprocessing import Preprocessing
from core.runtime.attention import RecordedAttention
from tests.explainers.conftest import agree, classifier_of, pictures

FRAME = (32, 32)


def classifier_from(module: nn.Module) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for part in module.modules():
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=0.3)
    return Classifier(module, preprocessing=Preprocessing(resize=FRAME, crop=FRAME), name="tiny", device="cpu")


def timm_vit(**options: object) -> nn.Module:
    return timm.models.VisionTransformer(FRAME, 8, num_classes=4, embed_dim=24, depth=2, num_heads=2, **options)


def unfused() -> nn.Module:
    module = timm_vit()
    for block in module.blocks:
        block.attn.fused_attn = False
    return module


def hf_vit(attention: str) -> nn.Module:
    size = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}
    config = ViTConfig(image_size=32, patch_size=8, num_labels=4, attn_implementation=attention, **size)
    return ViTForImageClassification(config)


MODELS = {
    "torchvision": lambda: classifier_of("vit").module,
    "timm, fused": timm_vit,
    "timm, written out": unfused,
    "timm, mean of patches": lambda: timm_vit(global_pool="avg"),
    "timm, registers": lambda: timm_vit(reg_tokens=3),
    "hugging face, sdpa": lambda: hf_vit("sdpa"),
    "hugging face, eager": lambda: hf_vit("eager"),
}
every_model = pytest.mark.parametrize("which", MODELS)


@pytest.mark.slow
@pytest.mark.parametrize("grad", [True, False])
@every_model
def test_logits_stay_and_weights_are_seen(which: str, grad: bool) -> None:
    classifier, images = classifier_from(MODELS[which]()), pictures(3, FRAME)
    with torch.set_grad_enabled(grad):
        plain = classifier.logits(images)
        weights, logits = attention_weights(classifier, images)
    assert torch.allclose(plain, logits, atol=1e-5, rtol=1e-5)
    tokens = 16 + (4 if "registers" in which else 1)
    assert [tuple(one.shape) for one in weights] == [(3, 2, tokens, tokens)] * 2
    assert all(torch.allclose(one.sum(-1), torch.ones(()), atol=1e-5) for one in weights)


@pytest.mark.slow
@every_model
def test_the_tokens_that_are_read_are_found(which: str) -> None:
    found = find_token_map(classifier_from(MODELS[which]()))
    assert (found.grid, found.extra) == ((4, 4), 4 if "registers" in which else 1)
    wanted = torch.zeros(len(found.read))
    if "mean" in which:
        wanted[1:] = 1 / 16
    else:
        wanted[0] = 1
    assert torch.allclose(found.read, wanted)


def test_two_libraries_transformers_with_the_same_numbers_get_the_same_maps() -> None:
    theirs = classifier_from(hf_vit("eager")).module
    mine = timm_vit(norm_layer=partial(nn.LayerNorm, eps=1e-12))
    copy_numbers(theirs, mine)
    preprocessing = Preprocessing(resize=FRAME, crop=FRAME)
    pair = [Classifier(module, preprocessing=preprocessing, device="cpu") for module in (theirs, mine)]
    images = pictures(2, FRAME)
    assert agree(*(classifier.logits(images).detach() for classifier in pair))
    for name in ("attention-rollout", "gradient-attention"):
        maps = [get_explainer(name).bind(classifier).explain(images, [1, 2]) for classifier in pair]
        assert all(agree(a.values, b.values, 1e-4) for a, b in zip(*maps))


def copy_numbers(theirs: nn.Module, mine: nn.Module) -> None:
    """From Hugging Face's names to timm's."""
    mine.cls_token.data, mine.pos_embed.data = (
        theirs.vit.embeddings.cls_token,
        theirs.vit.embeddings.position_embeddings,
    )
    mine.patch_embed.proj.load_state_dict(theirs.vit.embeddings.patch_embeddings.projection.state_dict())
    mine.norm.load_state_dict(theirs.vit.layernorm.state_dict())
    mine.head.load_state_dict(theirs.classifier.state_dict())
    layers = [part for part in theirs.modules() if type(part).__name__ == "ViTLayer"]
    assert len(layers) == len(mine.blocks) == 2
    for block, layer in zip(mine.blocks, layers):
        linear = [part for part in layer.modules() if isinstance(part, nn.Linear)]
        norms = [part for part in layer.modules() if isinstance(part, nn.LayerNorm)]
        for key in ("weight", "bias"):
            getattr(block.attn.qkv, key).data = torch.cat([getattr(part, key) for part in linear[:3]])
        for to, source in zip((block.attn.proj, block.mlp.fc1, block.mlp.fc2), linear[3:]):
            to.load_state_dict(source.state_dict())
        for to, source in zip((block.norm1, block.norm2), norms):
            to.load_state_dict(source.state_dict())


def test_a_rollout_by_hand() -> None:
    """Two layers of two tokens, one head: every layer is half the attention and half the token itself."""
    first, second = torch.tensor([[0.2, 0.8], [0.6, 0.4]]), torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    layers = [rollout_layer(one.view(1, 1, 2, 2), "mean", 0.0) for one in (first, second)]
    assert torch.allclose(layers[0][0], torch.tensor([[0.6, 0.4], [0.3, 0.7]]))
    # token 0 at the end: [0.75, 0.25] of what is [0.6, 0.4] and [0.3, 0.7] of the start
    row = follow_back(torch.tensor([1.0, 0.0]), layers)
    assert torch.allclose(row, torch.tensor([[0.525, 0.475]]))


def test_heads_and_discarded_weights_by_hand() -> None:
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]).view(1, 2, 1, 4).expand(1, 2, 4, 4)
    fused = {"mean": [0.25] * 4, "max": [2 / 7, 1.5 / 7, 1.5 / 7, 2 / 7], "min": [1 / 6, 2 / 6, 2 / 6, 1 / 6]}
    for heads, row in fused.items():
        wanted = (torch.tensor(row).expand(4, 4) + torch.eye(4)) / 2
        assert torch.allclose(rollout_layer(weights, heads, 0.0)[0], wanted)
    kept = rollout_layer(weights[:, :1], "mean", 0.5)[0]
    assert torch.allclose(kept, (torch.tensor([0, 0, 3 / 7, 4 / 7]).expand(4, 4) + torch.eye(4)) / 2)


@pytest.mark.parametrize("discard", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("heads", ["mean", "max", "min"])
def test_rows_of_a_rollout_sum_to_one(heads: str, discard: float) -> None:
    weights, _ = attention_weights(classifier_of("vit"), pictures(2, FRAME))
    layers = [rollout_layer(one, heads, discard) for one in weights]
    assert torch.allclose(follow_back(torch.eye(17)[3], layers).sum(-1), torch.ones(2), atol=1e-5)


class ReadsOneAttention(nn.Module):
    """Logits that are linear in the weights of one attention, for a closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 4, 8, stride=8)
        self.value = nn.Parameter(torch.randn(16, 3, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2).unsqueeze(1)
        value = self.value.expand(len(x), 1, -1, -1)
        return F.scaled_dot_product_attention(tokens, tokens, value).mean((1, 2))


def test_gradient_attention_by_hand() -> None:
    """score = mean over tokens of A v, so dA = v / 16, and every token is read: the map is the mean row of I + A+."""
    classifier = classifier_from(ReadsOneAttention())
    images, state = pictures(2, FRAME), find_token_map(classifier)
    assert torch.allclose(state.read, torch.full((16,), 1 / 16))
    weights, wanted_logits = attention_weights(classifier, images)
    coarse, logits = gradient_attention(classifier, images, torch.tensor([1, 2]), None, state)
    for k, target in enumerate((1, 2)):
        raising = (weights[0][k, 0] * classifier.module.value[:, target] / 16).relu()
        assert agree(coarse[k].flatten(), (raising.mean(0) + 1 / 16).detach())
    assert torch.allclose(logits, wanted_logits)
    assert not coarse.requires_grad


def test_gradients_in_the_weights_are_finite_differences() -> None:
    """Change one weight by hand on its way through the model, and see the score follow."""
    classifier, image = classifier_of("vit"), pictures(1, FRAME)

    class Nudged(RecordedAttention):
        def __init__(self, layer: int, change: Tensor) -> None:
            super().__init__()
            self.layer, self.change = layer, change

        def _attend(self, query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
            out = super()._attend(query, key, value, **options)
            return out + self.change @ value if len(self.weights) - 1 == self.layer else out

    def score(layer: int, change: Tensor) -> float:
        with Nudged(layer, change), torch.no_grad():
            return float(classifier.logits(image)[0, 1])

    weights, logits = attention_weights(classifier, image.clone().requires_grad_())
    gradients = torch.autograd.grad(logits[0, 1], weights)
    for layer, gradient in enumerate(gradients):
        for head, row, column in ((0, 0, 5), (1, 0, 16), *(((0, 3, 7),) if layer == 0 else ())):
            change = torch.zeros(1, 2, 17, 17)
            change[0, head, row, column] = 0.01
            difference = (score(layer, change) - score(layer, -change)) / 0.02
            assert difference == pytest.approx(float(gradient[0, head, row, column]), rel=0.02, abs=1e-3)


def test_only_what_raises_the_score_counts() -> None:
    weights = torch.tensor([[0.5, 0.5], [0.2, 0.8]]).view(1, 1, 2, 2)
    gradient = torch.tensor([[2.0, -1.0], [-3.0, 1.0]]).view(1, 1, 2, 2)
    assert torch.allclose(gradient_layer(weights, gradient)[0], torch.tensor([[2.0, 0.0], [0.0, 1.8]]))


def test_masks_and_grouped_heads_are_attended_as_pytorch_does() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 4, 5, 8, generator=generator) for _ in range(3))
    mask = torch.rand(5, 5, generator=generator) > 0.3
    mask.fill_diagonal_(True)
    cases = [{}, {"attn_mask": mask}, {"attn_mask": mask * 0.7}, {"is_causal": True}, {"scale": 0.1}]
    for options in cases:
        with RecordedAttention() as recorded:
            mine = F.scaled_dot_product_attention(q, k, v, **options)
        assert torch.allclose(mine, F.scaled_dot_product_attention(q, k, v, **options), atol=1e-5)
        assert len(recorded.weights) == 1
    with RecordedAttention():
        mine = F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True)
    assert torch.allclose(mine, F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True), atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"kdim": 6, "vdim": 6}, {"bias": False}])
def test_multi_head_attention_answers_as_without_the_mode(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True, **options).eval()
    query, other = torch.randn(3, 5, 8), torch.randn(3, 5, 6 if "kdim" in options else 8)
    for wish in ({"need_weights": False}, {}, {"average_attn_weights": False}):
        plain = layer(query, other, other, **wish)
        with RecordedAttention() as recorded:
            mine = layer(query, other, other, **wish)
        assert torch.allclose(plain[0], mine[0], atol=1e-5)
        assert (mine[1] is None) == (plain[1] is None)
        assert mine[1] is None or torch.allclose(plain[1], mine[1], atol=1e-5)
        assert len(recorded.weights) == 1


def test_another_thread_is_not_watched() -> None:
    classifier = classifier_of("vit")
    with RecordedAttention() as recorded:
        thread = threading.Thread(target=classifier.predict, args=(pictures(1, FRAME),))
        thread.start()
        thread.join()
    assert recorded.weights == []


@pytest.mark.parametrize("kind", ["cnn", "swin"])
def test_other_architectures_are_refused(kind: str) -> None:
    for name in ("attention-rollout", "gradient-attention"):
        assert "every patch attends to all patches" in get_explainer(name).supports(classifier_of(kind))
