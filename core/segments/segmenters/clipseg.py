"""CLIPSeg: for every word a plane of probabilities. Lueddecke & Ecker, Image Segmentation Using Text and Image Prompts
(CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.images import Picture
from core.parameters import Parameters, parameter
from core.preprocessing import Geometry, Preprocessing
from core.runtime.interrupt import check
from core.segments.registry import register
from core.segments.segmenters.concepts import USUAL, ConceptSegmenter, Reader
from core.segments.segmenters.planes import laid_over, named_pieces
from core.segments.segments import Segment, Segments


@dataclass(frozen=True)
class ClipSegParameters(Parameters):
    """Of CLIPSeg."""

    threshold: float = parameter(0.4, "least probability of a pixel", low=0.0, high=1.0, step=0.01)
    confidence: float = parameter(0.5, "least mean probability of a segment", low=0.0, high=1.0, step=0.01)
    split: bool = parameter(False, "each connected region on its own, instead of one mask a word")


@register
class ClipSeg(ConceptSegmenter):
    """Words are encoded once, a picture once for all words."""

    name = "clipseg"
    title = "CLIPSeg"
    summary = "where the words you give fit the picture, one mask a word"
    parameters = ClipSegParameters
    model_types = ("clipseg",)
    architecture = "CLIPSegForImageSegmentation"
    usual = USUAL

    def prepare(self, reader: Reader) -> None:
        longest = reader.module.config.text_config.max_position_embeddings
        words = reader.tokenizer(
            list(self.concepts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        ).to(reader.device)
        with torch.no_grad():
            self._words = reader.module.get_conditional_embeddings(
                len(self.concepts), words.input_ids, words.attention_mask
            )

    def cut(self, picture: Picture, parameters: ClipSegParameters) -> Segments:
        planes, geometry = self.probabilities(picture)
        items: list[Segment] = []
        for concept, plane in zip(self.concepts, planes):
            laid = laid_over(plane, geometry)
            mask = laid >= parameters.threshold
            items += named_pieces(
                mask, laid, concept, self.source, split=parameters.split, confidence=parameters.confidence
            )
        return Segments(picture.size, tuple(items))

    @torch.no_grad()
    def probabilities(self, picture: Picture) -> tuple[Tensor, Geometry]:
        """[K, H, W] float32 on the CPU, one plane a concept; and the way back to the picture."""
        reader = self.load()
        pixels = reader.image_processor(picture.image, return_tensors="pt").pixel_values.to(reader.device)
        module = reader.module
        with reader.cast():
            seen = module.clip.vision_model(pixels, output_hidden_states=True).hidden_states
            layers = [seen[layer + 1] for layer in module.extract_layers]
            logits = []
            for word in self._words:  # one at a time, so that memory does not grow with them; the decoder is small
                check()
                logits.append(module.decoder(layers, word[None]).logits.reshape(pixels.shape[2:]))
        height, width = pixels.shape[2:]
        return torch.stack(logits).float().sigmoid().cpu(), Preprocessing((height, width), None).geometry(*picture.size)
