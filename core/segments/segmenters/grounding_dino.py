"""Grounding DINO finds boxes for words, and a SAM cuts out what is in them. Liu et al., Grounding DINO (ECCV 2024); Ren
et al., Grounded SAM (2024)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.errors import UserError
from core.images import Picture
from core.parameters import Parameters, parameter
from core.runtime.interrupt import check
from core.segments.mask import Mask
from core.segments.registry import register
from core.segments.sam.checkpoints import COMPACT
from core.segments.segmenters.concepts import ConceptSegmenter, Reader
from core.segments.segmenters.unnamed import SamSegmenter
from core.segments.segments import Segment, Segments, default_kind


@dataclass(frozen=True)
class GroundingDinoParameters(Parameters):
    """Of Grounding DINO."""

    confidence: float = parameter(0.3, "least score of a box", low=0.0, high=1.0, step=0.01)
    duplicates: float = parameter(
        0.7, "box IoU above which the lesser of two with one word goes", low=0.1, high=1.0, step=0.01
    )
    most: int = parameter(50, "at most so many boxes a picture", low=1, high=900, step=1)


@register
class GroundingDino(ConceptSegmenter):
    """All words are looked for at once. A box has the word whose tokens it fits best on average, as in its authors' own
    evaluation on COCO."""

    name = "grounding-dino"
    title = "Grounding DINO"
    summary = "boxes for the words you give, and what a SAM cuts out of each, one mask a thing"
    parameters = GroundingDinoParameters
    model_types = ("grounding-dino",)
    architecture = "GroundingDinoForObjectDetection"
    usual = "IDEA-Research/grounding-dino-tiny"

    def __init__(self, spec: str = "", **options: Any) -> None:
        """As of `ConceptSegmenter`; `sam` in the options is the spec of the SAM, `cache` goes to it."""
        super().__init__(spec, **options)
        self._sam = SamSegmenter(options.get("sam") or COMPACT, **options)

    @property
    def source(self) -> str:
        """Whose boxes, and which SAM cut out what is in them."""
        return f"{super().source}+{self._sam.source}"

    def settings(self) -> dict[str, str]:
        of_sam = {f"sam_{key}": value for key, value in self._sam.settings().items()}
        return {**super().settings(), "sam": self._sam.spec, **of_sam}

    def prepare(self, reader: Reader) -> None:
        self._sam.load()
        text, spans = "", []
        for concept in self.concepts:
            words = prompt(concept)
            spans.append((len(text), len(text) + len(words)))
            text += f"{words}. "
        found = reader.tokenizer(text.strip(), return_offsets_mapping=True, return_tensors="pt")
        starts, ends = found.pop("offset_mapping")[0].T
        config = reader.module.config
        most = min(config.max_text_len, config.text_config.max_position_embeddings)
        if len(starts) > most:
            raise UserError(f"These concepts are {len(starts)} tokens together, the model takes {most}; give fewer.")
        # [K, T]: which tokens are whose
        self._tokens = torch.stack([(starts >= a) & (ends <= b) & (ends > starts) for a, b in spans]).float()
        empty = next((c for c, own in zip(self.concepts, self._tokens) if not own.any()), None)
        if empty is not None:
            raise UserError(f"{self.title} knows no word in the concept {empty!r}; describe it with letters.")
        self._words = found.to(reader.device)

    def cut(self, picture: Picture, parameters: GroundingDinoParameters) -> Segments:
        items: list[Segment] = []
        for index, box, score in self.boxes(picture, parameters):
            check()
            answer = self._sam.sam.predict(picture, box=box)
            mask, concept = Mask.from_dense(answer.masks[0]), self.concepts[index]
            if mask.area:
                items.append(Segment(mask, concept, default_kind(concept), score, self.source, "model"))
        return Segments(picture.size, tuple(items))

    @torch.no_grad()
    def boxes(
        self, picture: Picture, parameters: GroundingDinoParameters
    ) -> list[tuple[int, tuple[float, float, float, float], float]]:
        """(which concept, (left, top, right, bottom) in pixels, score in [0, 1]), the likeliest first."""
        from torchvision.ops import batched_nms, box_convert

        reader = self.load()
        images = reader.image_processor(picture.image, return_tensors="pt").to(reader.device)
        with reader.cast():
            found = reader.module(**images, **self._words)
        scores, owner = self.scores(found.logits[0].float().cpu()).max(1)
        height, width = picture.size
        frame = torch.tensor([width, height, width, height])
        corners = box_convert(found.pred_boxes[0].float().cpu(), "cxcywh", "xyxy").clamp(0, 1) * frame
        # a SAM is asked for nothing smaller than a pixel
        sides = corners[:, 2:] - corners[:, :2]
        kept = torch.nonzero((scores >= parameters.confidence) & (sides >= 1).all(1))[:, 0]
        kept = kept[batched_nms(corners[kept], scores[kept], owner[kept], parameters.duplicates)][: parameters.most]
        return [
            (int(owner[i]), (float(a), float(b), float(c), float(d)), float(scores[i]))
            for i, (a, b, c, d) in zip(kept.tolist(), corners[kept].tolist())
        ]

    def scores(self, logits: Tensor) -> Tensor:
        """[Q, K] in [0, 1]: how well each of Q boxes fits each word, from logits [Q, T or more]."""
        own = self._tokens
        return logits[:, : own.shape[1]].sigmoid() @ (own / own.sum(1, keepdim=True)).T


def prompt(concept: str) -> str:
    """A concept as the model was taught to read it: small letters, and no full stop, which ends one."""
    return re.sub(r"[\s.]+", " ", concept.lower()).strip()
