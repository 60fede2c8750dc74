"""Names out of a list of words, by a CLIP: no example is needed. Radford et al., Learning Transferable Visual Models
From Natural Language Supervision (ICML 2021).

Each mask is shown to the model in a square of its own, its surroundings faded, and compared with each word in several
sentences. What fits none of the words better than "something" does stays unsure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core.images import Picture
from core.runtime.fingerprints import add_weights
from core.runtime.interrupt import check
from core.runtime.progress import OnProgress
from core.segments.naming.namer import Beliefs
from core.segments.segmenters.concepts import Reader, checked, open_reader
from core.segments.segments import Segment, Segments

SENTENCES = (
    "{}",
    "a photo of a {}.",
    "a close-up photo of the {}.",
    "a cropped photo of the {} of something.",
    "there is a {} in the middle of the picture.",
)
#: What competes with the words, so that one of them has to fit better than nothing in particular.
OTHERS = ("something", "an unknown thing", "a texture", "part of the background")
# of the longer side of a mask's box, on each side of it; and how much of what is around the mask still shows
MARGIN, SHOWN = 0.15, 0.2
# pixels a side of a crop before the model's own resizing; crops that go through it together
LARGEST, TOGETHER = 448, 16


class Crops:
    """Describes masks as a CLIP sees them, for `Descriptions`.

    Attributes:
        name: tells its rows from all others; a sha256 over the weights is in it.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        digest = hashlib.sha256()
        add_weights(digest, reader.module)
        self.name = f"clip {digest.hexdigest()}"

    @torch.no_grad()
    def describe(self, picture: Picture, segments: Segments) -> np.ndarray:
        """float32 [P, D], each row of length 1."""
        reader = self.reader
        rows = [torch.zeros((0, reader.module.config.projection_dim))]
        for first in range(0, len(segments), TOGETHER):
            check()
            crops = [crop(picture, segment) for segment in segments.items[first : first + TOGETHER]]
            pixels = reader.image_processor(crops, return_tensors="pt").pixel_values.to(reader.device)
            with reader.cast():
                found = reader.module.get_image_features(pixels).pooler_output
            rows.append(F.normalize(found.float().cpu(), dim=1))
        return torch.cat(rows).numpy()


class Vocabulary:
    """Proposes names for masks that `Crops` described; the same words give the same names.

    Attributes:
        names: the words, sorted.
        crops: what describes masks for it.
        fingerprint: changes with the words and with the model.
    """

    def __init__(self, reader: Reader, words: Sequence[str]) -> None:
        """Encode the words once.

        Raises:
            UserError: no words, one that is empty or not legal as a name, or one given twice.
        """
        self.names = tuple(sorted(checked(words, "--vocabulary")))
        self.crops = Crops(reader)
        self._texts = torch.stack([_text(reader, word) for word in (*self.names, *OTHERS)])
        self._scale = float(reader.module.logit_scale.exp())
        said = repr((self.names, OTHERS, SENTENCES, MARGIN, SHOWN, self.crops.name))
        self.fingerprint = hashlib.blake2b(said.encode(), digest_size=16).hexdigest()

    def beliefs(self, rows: np.ndarray, pictures: Sequence[str], given: Sequence[str] | None = None) -> Beliefs:
        """Name masks, each on its own; `pictures` and `given` are what other namers need as well.

        Args:
            rows: float32 [N, D], of `Crops`.
        """
        logits = (
            self._scale * torch.from_numpy(rows.reshape(-1, self._texts.shape[1])).double() @ self._texts.T.double()
        )
        each = logits.softmax(1)[:, : len(self.names)].numpy()
        return Beliefs(self.names, each, np.zeros(len(each)))


def open_vocabulary(
    spec: str,
    words: Sequence[str],
    *,
    device: str | torch.device = "auto",
    precision: str = "auto",
    progress: OnProgress | None = None,
) -> Vocabulary:
    """A vocabulary over the CLIP at `spec`, a folder or OWNER/NAME on the hub.

    Raises:
        UserError: as of `Vocabulary` and `open_reader`.
    """
    checked(words, "--vocabulary")
    options: dict[str, Any] = {"device": device, "precision": precision, "progress": progress}
    return Vocabulary(open_reader(spec, "CLIP", "CLIPModel", ("clip",), **options), words)


def crop(picture: Picture, segment: Segment) -> Image.Image:
    """A mask in a square around it: as in the picture where it is, faded to grey elsewhere, grey beyond the border."""
    left, top, width, height = segment.mask.box
    side = max(1, round(max(width, height) * (1 + 2 * MARGIN)))
    x, y = left + (width - side) // 2, top + (height - side) // 2
    grey = (128, 128, 128)
    square = Image.new("RGB", (side, side), grey)
    seen = (max(0, x), max(0, y), min(picture.image.width, x + side), min(picture.image.height, y + side))
    square.paste(picture.image.crop(seen), (seen[0] - x, seen[1] - y))
    mask = Image.new("L", (side, side), round(255 * SHOWN))
    mask.paste(255, (left - x, top - y), Image.fromarray(segment.mask.crop()))
    if side > LARGEST:
        square, mask = (image.resize((LARGEST, LARGEST), Image.Resampling.BILINEAR) for image in (square, mask))
    return Image.composite(square, Image.new("RGB", square.size, grey), mask)


@torch.no_grad()
def _text(reader: Reader, word: str) -> Tensor:
    """[D] of length 1: the mean over the sentences."""
    longest = reader.module.config.text_config.max_position_embeddings
    sentences = [sentence.format(word) for sentence in SENTENCES]
    tokens = reader.tokenizer(sentences, padding=True, truncation=True, max_length=longest, return_tensors="pt")
    tokens = tokens.to(reader.device)
    found = reader.module.get_text_features(tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
    return F.normalize(F.normalize(found.float().cpu(), dim=1).mean(0), dim=0)
