"""Tiny untrained models that read words, with tokenizers of single letters, as folders that `save_pretrained` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

LETTERS = [chr(code) for code in range(33, 127)]
SIDE = 32


def clip_tokenizer(longest: int = 77) -> Any:
    """Byte pairs without any pair: a token a letter, one more for the last of a word."""
    from transformers import CLIPTokenizer

    tokens = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=longest)


def clip_text(tokenizer: Any, longest: int = 77) -> dict[str, Any]:
    return {
        **small(layers=1),
        "vocab_size": len(tokenizer),
        "max_position_embeddings": longest,
        "projection_dim": 16,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def small(layers: int) -> dict[str, int]:
    return {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2}


def vision(layers: int) -> dict[str, int]:
    return {**small(layers), "image_size": SIDE, "patch_size": 8, "projection_dim": 16}


def square() -> dict[str, int]:
    return {"height": SIDE, "width": SIDE}


def seeded(make: Any, folder: Path, spread: float = 0.3) -> Any:
    """A model from random numbers, all larger than fresh ones are, so that words and pictures make a difference."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make().eval()
        for value in module.parameters():
            torch.nn.init.normal_(value, std=spread)
    module.save_pretrained(folder)
    return module


def write_clip(folder: Path) -> Path:
    import transformers as hf

    tokenizer = clip_tokenizer()
    config = hf.CLIPConfig(text_config=clip_text(tokenizer), vision_config=vision(2), projection_dim=16)
    seeded(lambda: hf.CLIPModel(config), folder)
    crop = {"size": {"shortest_edge": SIDE}, "crop_size": square()}
    hf.CLIPProcessor(hf.CLIPImageProcessor(**crop), tokenizer).save_pretrained(folder)
    return folder


def write_clipseg(folder: Path) -> Path:
    import transformers as hf

    tokenizer = clip_tokenizer()
    config = hf.CLIPSegConfig(
        text_config=clip_text(tokenizer),
        vision_config=vision(3),
        projection_dim=16,
        reduce_dim=8,
        extract_layers=[0, 1, 2],
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    seeded(lambda: hf.CLIPSegForImageSegmentation(config), folder)
    hf.CLIPSegProcessor(hf.ViTImageProcessor(size=square()), tokenizer).save_pretrained(folder)
    return folder


def write_grounding_dino(folder: Path) -> Path:
    import transformers as hf

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "."]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*special, *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = hf.BertTokenizer(vocab={token: i for i, token in enumerate(tokens)}, model_max_length=256)
    backbone = hf.SwinConfig(
        image_size=SIDE, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4, out_indices=[1, 2]
    )
    words = hf.BertConfig(vocab_size=len(tokens), max_position_embeddings=256, **small(1))
    config = hf.GroundingDinoConfig(
        backbone_config=backbone,
        text_config=words,
        num_queries=12,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        d_model=32,
        num_feature_levels=3,
    )
    seeded(lambda: hf.GroundingDinoForObjectDetection(config), folder, spread=0.2)
    pictures = hf.GroundingDinoImageProcessor(size={"shortest_edge": SIDE, "longest_edge": 4 * SIDE})
    hf.GroundingDinoProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder


def write_sam3(folder: Path) -> Path:
    import transformers as hf

    tokenizer = clip_tokenizer(32)
    side, patch = 56, 14
    grid = side // patch
    backbone = hf.Sam3ViTConfig(
        **small(2), image_size=side, patch_size=patch, window_size=2, global_attn_indexes=[1], pretrain_image_size=side
    )
    width = {"hidden_size": 16, "num_attention_heads": 2}
    deep = {**width, "num_layers": 1, "intermediate_size": 16}
    config = hf.Sam3Config(
        vision_config=hf.Sam3VisionConfig(
            backbone_config=backbone,
            fpn_hidden_size=16,
            backbone_feature_sizes=[[4 * grid, 4 * grid], [2 * grid, 2 * grid], [grid, grid]],
        ),
        text_config=clip_text(tokenizer, 32),
        geometry_encoder_config=deep,
        detr_encoder_config=deep,
        detr_decoder_config={**deep, "num_queries": 6},
        mask_decoder_config=width,
    )
    seeded(lambda: hf.Sam3Model(config), folder, spread=0.2)
    hf.Sam3Processor(hf.Sam3ImageProcessor(size={"height": side, "width": side}), tokenizer).save_pretrained(folder)
    return folder


WRITERS = {"clipseg": write_clipseg, "grounding-dino": write_grounding_dino, "sam3": write_sam3}
