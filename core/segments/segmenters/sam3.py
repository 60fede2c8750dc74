"""SAM 3: every instance of a concept, as masks. Carion et al., SAM 3: Segment Anything with Concepts (2025)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from core.images import Picture
from core.parameters import Parameters, parameter
from core.preprocessing import Preprocessing
from core.runtime.interrupt import check
from core.segments.mask import Mask
from core.segments.registry import register
from core.segments.segmenters.concepts import ConceptSegmenter, Reader
from core.segments.segmenters.planes import laid_over
from core.segments.segments import Segment, Segments, default_kind


@dataclass(frozen=True)
class Sam3Parameters(Parameters):
    """Of SAM 3."""

    confidence: float = parameter(0.5, "least score of a mask", low=0.0, high=1.0, step=0.01)
    threshold: float = parameter(0.5, "least probability of a pixel", low=0.0, high=1.0, step=0.01)


@register
class Sam3(ConceptSegmenter):
    """A picture is encoded once for all words; masks come the likeliest first, word by word."""

    name = "sam3"
    title = "SAM 3"
    summary = "every instance of the words you give, one mask each"
    parameters = Sam3Parameters
    # facebook/sam3 holds the video model, whose detector is this one
    model_types = ("sam3", "sam3_video")
    architecture = "Sam3Model"
    usual = "facebook/sam3"

    def prepare(self, reader: Reader) -> None:
        longest = reader.module.config.text_config.max_position_embeddings
        self._words = [
            reader.tokenizer(
                concept,
                padding="max_length",
                truncation=True,
                max_length=longest,
                return_tensors="pt",
            ).to(reader.device)
            for concept in self.concepts
        ]

    @torch.no_grad()
    def cut(self, picture: Picture, parameters: Sam3Parameters) -> Segments:
        reader = self.load()
        pixels = reader.image_processor(picture.image, return_tensors="pt").pixel_values.to(reader.device)
        items: list[Segment] = []
        with reader.cast():
            seen = reader.module.get_vision_features(pixels)
        for concept, words in zip(self.concepts, self._words):
            check()
            with reader.cast():
                found = reader.module(
                    vision_embeds=seen, input_ids=words.input_ids, attention_mask=words.attention_mask
                )
            scores = found.pred_logits[0].float().sigmoid()
            if found.presence_logits is not None:
                scores = scores * found.presence_logits[0].float().sigmoid()
            scores = scores.cpu()
            order = scores.argsort(descending=True, stable=True)
            for index in order[scores[order] >= parameters.confidence].tolist():
                plane = found.pred_masks[0, index].float().sigmoid().cpu()
                geometry = Preprocessing((plane.shape[0], plane.shape[1]), None).geometry(*picture.size)
                mask = Mask.from_dense(laid_over(plane, geometry) > parameters.threshold)
                if mask.area:
                    score = float(scores[index])
                    items.append(Segment(mask, concept, default_kind(concept), score, self.source, "model"))
        return Segments(picture.size, tuple(items))
