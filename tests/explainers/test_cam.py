"""Grad-CAM: the layer that is found, known answers, captum, and hooks that leave nothing."""

from __future__ import annotations

import threading

import pytest
import timm
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import Tensor, nn
from transformers import SwinConfig, SwinForImageClassification, ViTConfig, ViTForImageClassification

from core.classifier import Classifier
from core.errors import UserError
from core.explainer import get_explainer
from core.explainers.layers import find_last_map
from core.preprocessing import Preprocessing
from core.runtime.capture import captured, tensors_in
from tests.explainers.conftest import KINDS, agree, classifier_of, pictures

NEUTRAL = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def classifier_from(module: nn.Module, frame: tuple[int, int]) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
        nn.init.normal_(head.weight)
    return Classifier(module, preprocessing=Preprocessing(resize=frame, crop=frame, **NEUTRAL), device="cpu")


def found(module: nn.Module, frame: tuple[int, int]) -> tuple[object, ...]:
    layer = find_last_map(classifier_from(module, frame))
    assert layer is not None
    return layer.name, layer.layout, layer.grid, layer.extra


class Answers(nn.Module):
    """Answers with a tuple whose second part is the map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 8, stride=8)

    def forward(self, x: Tensor) -> tuple[None, dict[str, Tensor]]:
        return None, {"map": self.conv(x)}


class UsesAnswers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = Answers(), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[1]["map"].mean((2, 3)))


def hf_vit() -> nn.Module:
    size = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    return ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, **size))


def hf_swin() -> nn.Module:
    return SwinForImageClassification(
        SwinConfig(image_size=32, patch_size=4, embed_dim=24, depths=[1, 1], num_heads=[2, 2], window_size=4)
    )


def timm_vit(frame: tuple[int, int], **options: object) -> nn.Module:
    return timm.models.VisionTransformer(frame, 8, num_classes=4, embed_dim=24, depth=2, num_heads=2, **options)


def unpadded() -> nn.Module:
    layers = [nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 5, stride=2), nn.ReLU()]
    return nn.Sequential(nn.Sequential(*layers), nn.AdaptiveAvgPool2d((3, 3)), nn.Flatten(), nn.Linear(72, 4))


LAYERS = {
    "timm vit, mean of patches": (
        lambda: timm_vit((32, 32), global_pool="avg", fc_norm=False), (32, 32), ("norm", "tokens", (4, 4), 1),
    ),
    "timm vit, registers, wide": (
        lambda: timm_vit((32, 96), reg_tokens=4), (32, 96), ("blocks.1.norm1", "tokens", (4, 12), 5),
    ),
    "hugging face vit": (hf_vit, (32, 32), ("vit.layers.1.layernorm_before", "tokens", (4, 4), 1)),
    "hugging face swin": (hf_swin, (32, 32), ("swin", "tokens", (4, 4), 0)),
    "timm swin": (
        lambda: timm.models.SwinTransformer(
            32, 4, embed_dim=24, depths=(1, 1), num_heads=(2, 2), window_size=4, num_classes=4
        ),
        (32, 32), ("norm", "channels last", (4, 4), 0),
    ),
    "tuple and dictionary": (UsesAnswers, (32, 96), ("body", "channels first", (4, 12), 0)),
    "no padding, pooling head": (unpadded, (32, 96), ("0", "channels first", (5, 21), 0)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", LAYERS)
def test_the_last_map_is_found(case: str) -> None:
    make, frame, wanted = LAYERS[case]
    assert found(make(), frame) == wanted


def test_the_last_map_of_the_small_models() -> None:
    names = {kind: (find_last_map(classifier_of(kind)).name, find_last_map(classifier_of(kind)).grid) for kind in KINDS}
    assert names == {
        "cnn": ("relu", (8, 8)),
        "vit": ("encoder.layers.encoder_layer_1.ln_1", (4, 4)),
        "swin": ("permute", (4, 4)),
    }


def explain(classifier: Classifier, images: Tensor, targets: list[int], relu: bool = True) -> list[Tensor]:
    explainer = get_explainer("grad-cam")
    maps = explainer.bind(classifier).explain(images, targets, explainer.parameters(relu=relu))
    return [one.values for one in maps]


def upsampled(coarse: Tensor, frame: tuple[int, int]) -> Tensor:
    return F.interpolate(coarse.detach(), frame, mode="bilinear", align_corners=False)[:, 0]


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("which", ["swin", "sequential"])
def test_grad_cam_is_captums(which: str, relu: bool) -> None:
    classifier = classifier_of("swin") if which == "swin" else classifier_from(unpadded(), (32, 32))
    layer, images = find_last_map(classifier), pictures(2, (32, 32))
    theirs = LayerGradCam(classifier.logits, classifier.module.get_submodule(layer.name)).attribute(
        images.clone().requires_grad_(), target=[1, 2], relu_attributions=relu
    )
    for mine, reference in zip(explain(classifier, images, [1, 2], relu), upsampled(theirs, (32, 32))):
        assert agree(mine, reference)


def test_grad_cam_of_a_vit_is_the_formula_over_its_patch_tokens(small_vit: Classifier) -> None:
    image, kept = pictures(1, (32, 32)), []
    handle = small_vit.module.encoder.layers[-1].ln_1.register_forward_hook(lambda m, i, out: kept.append(out))
    score = small_vit.logits(image.requires_grad_())[0, 1]
    handle.remove()
    gradient = torch.autograd.grad(score, kept[0])[0][0, 1:]  # 16 patches, 24 features
    coarse = (kept[0][0, 1:] @ gradient.mean(0)).view(1, 1, 4, 4)
    assert agree(explain(small_vit, image.detach(), [1], relu=False)[0], upsampled(coarse, (32, 32))[0])


def colour_counter() -> Classifier:
    """Logits: 3 * mean red, 2 * mean green, -1 * mean blue, over a 4 x 4 map."""
    head = nn.Linear(3, 3, bias=False)
    module = nn.Sequential(nn.AvgPool2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    classifier = classifier_from(module, (16, 16))
    classifier.module[-1].weight.data = torch.diag(torch.tensor([3.0, 2.0, -1.0]))
    return classifier


def test_a_known_answer() -> None:
    classifier, image = colour_counter(), pictures(1, (16, 16))
    coarse = F.avg_pool2d(image, 4)
    for target, weight in enumerate((3.0, 2.0, -1.0)):
        wanted = upsampled(weight / 16 * coarse[:, target : target + 1], (16, 16))[0]
        assert agree(explain(classifier, image, [target], relu=False)[0], wanted)
        assert agree(explain(classifier, image, [target])[0], wanted.clamp(min=0))


def test_the_last_call_of_a_module_used_twice_counts(small_cnn: Classifier) -> None:
    image, module = pictures(1, (32, 32)), small_cnn.module
    with torch.no_grad():
        x = (image - small_cnn._mean) / small_cnn._std
        last = module.second(module.norm(module.first(x)).relu()).relu()
    coarse = (last * module.head.weight[1].view(1, -1, 1, 1) / 64).sum(1, keepdim=True)
    assert agree(explain(small_cnn, image, [1], relu=False)[0], upsampled(coarse, (32, 32))[0], 1e-4)


def test_tokens_of_pictures_of_another_size_are_refused(small_vit: Classifier) -> None:
    with pytest.raises(UserError, match="input size"):
        find_last_map(small_vit).as_channels_first(torch.zeros(1, 26, 24))


def test_a_failing_pass_leaves_no_hook(small_cnn: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    bound = get_explainer("grad-cam").bind(small_cnn)
    monkeypatch.setattr(small_cnn, "score", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bound.explain(pictures(1, (32, 32)), [1])
    assert not any(part._forward_hooks for part in small_cnn.module.modules())


def test_another_threads_call_is_not_captured(small_cnn: Classifier) -> None:
    with captured([("first", small_cnn.module.first)]) as answers, torch.no_grad():
        thread = threading.Thread(target=small_cnn.predict, args=(pictures(5, (32, 32)),))
        thread.start()
        thread.join()
        assert answers == {}
        small_cnn.logits(pictures(2, (32, 32)))
    assert tensors_in(answers["first"])[0].shape[0] == 2
