"""A SAM of a few megabytes: segment-anything's own classes at small size, and its file.

Kirillov et al.: Segment Anything (ICCV 2023), the package segment-anything. Prompt encoder, mask decoder and the class
that holds them are the package's, so that `SamPredictor` and `SamAutomaticMaskGenerator` drive it as they drive the
published checkpoints. Only the image encoder is another one, for the reason that core/segments/sam/compact_encoder.py
gives.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from core.errors import UserError
from core.loading.checkpoints import State, load_weights
from core.segments.sam.compact_encoder import GRID, GROUP, ConvEncoder

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

MASK_OUTPUTS = 3
# Cycles over half the input, from wide waves to one a place of the grid, which tells where in its place a click is.
# The published models draw frequencies of about one cycle, which says little about parts of a few pixels.
CYCLES = (0.5, 16.0)
NEARNESS = 2.0  # how steeply attention falls with distance before any training


@dataclass(frozen=True)
class Shape:
    """The size of a SAM.

    Attributes:
        side: of the input in pixels.
        widths, blocks, way_back: of the image encoder, as of `ConvEncoder`.
        embedding: channels of the picture's embedding and width of the mask decoder.
        decoder_hidden: hidden width of the decoder's token layers.
    """

    side: int = 256
    widths: tuple[int, ...] = (48, 96, 144, 192)
    blocks: tuple[int, ...] = (1, 2, 2, 2)
    way_back: tuple[int, ...] = (48, 96, 96, 96)
    embedding: int = 128
    decoder_hidden: int = 512

    def __post_init__(self) -> None:
        levels = (self.widths, self.blocks, self.way_back)
        if {len(level) for level in levels} != {4} or min(*self.widths, *self.way_back, self.decoder_hidden) < 1:
            raise ValueError(f"expected four levels of positive sizes, got {self}")
        if self.side < 32 or self.side % 32 or any(width % GROUP for width in (*self.widths, *self.way_back)):
            raise ValueError(f"expected a side divisible by 32 and widths divisible by {GROUP}, got {self}")
        if self.embedding < 32 or self.embedding % 32:
            raise ValueError(f"expected an embedding divisible by 32, got {self}")

    @property
    def grid(self) -> int:
        """Places a side of the embedding; masks come out four times as fine."""
        return self.side // GRID


def build(shape: Shape = Shape(), seed: int = 0) -> Sam:
    """A SAM of that size with random weights, on the CPU; the global random state is left as it was."""
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    grid = (shape.grid, shape.grid)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ConvEncoder(shape.side, shape.widths, shape.blocks, shape.way_back, shape.embedding)
        prompts = PromptEncoder(
            embed_dim=shape.embedding,
            image_embedding_size=grid,
            input_image_size=(shape.side, shape.side),
            mask_in_chans=16,
        )
        prompts.pe_layer.get_buffer("positional_encoding_gaussian_matrix").copy_(_waves(shape.embedding // 2))
        decoder = MaskDecoder(
            transformer_dim=shape.embedding,
            transformer=TwoWayTransformer(
                depth=2,
                embedding_dim=shape.embedding,
                num_heads=shape.embedding // 32,
                mlp_dim=shape.decoder_hidden,
            ),
            num_multimask_outputs=MASK_OUTPUTS,
            iou_head_depth=3,
            iou_head_hidden_dim=shape.embedding,
        )
        _look_where_it_is_pointed(decoder)
        # the package's class names its own encoder's type, and asks it for nothing but `img_size`
        return Sam(cast(Any, encoder), prompts, decoder).eval()


def _waves(count: int) -> torch.Tensor:
    """[2, count]: directions at random, frequencies evenly spread over CYCLES in octaves."""
    low, high = (math.log(cycles) for cycles in CYCLES)
    frequencies = torch.linspace(low, high, count).exp()
    angles = torch.rand(count) * (2 * math.pi)
    return torch.stack([angles.cos(), angles.sin()]) * frequencies


@torch.no_grad()
def _look_where_it_is_pointed(decoder: nn.Module) -> None:
    """Let prompts and the picture attend to each other by nearness from the start.

    With equal weights for queries and keys, the attention between two positions falls with their distance, as their
    encodings' product does. From independent weights a training first has to find that out.
    """
    for name, module in decoder.named_modules():
        if name.endswith(("cross_attn_token_to_image", "cross_attn_image_to_token", "final_attn_token_to_image")):
            queries, keys = module.get_submodule("q_proj"), module.get_submodule("k_proj")
            weight = queries.get_parameter("weight").mul_(NEARNESS)
            keys.get_parameter("weight").copy_(weight)


def save(sam: Sam, shape: Shape, path: Path, record: Mapping[str, object]) -> None:
    """Write the weights as float16 safetensors, whole or not at all.

    Args:
        record: how it was trained and what it reached; kept as JSON beside the shape.
    """
    from safetensors.torch import save_file

    tensors = {key: value.detach().cpu().half().contiguous() for key, value in sam.state_dict().items()}
    metadata = {"architecture": "segment-anything", "shape": json.dumps(asdict(shape)), "training": json.dumps(record)}
    temporary = path.with_name(path.name + ".part")
    save_file(tensors, temporary, metadata)
    temporary.chmod(0o644)  # the library writes files that only their owner can read
    temporary.replace(path)


def restore(state: State, metadata: Mapping[str, str], what: str) -> Sam:
    """The SAM that `save` wrote, in float32.

    Raises:
        UserError: the metadata states no shape, or the weights are of another one.
    """
    try:
        stated: dict[str, Any] = json.loads(metadata["shape"])
        for name in {"widths", "blocks", "way_back"} & set(stated):
            stated[name] = tuple(stated[name])
        shape = Shape(**stated)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{what} does not state the size of its SAM; give the file of a compact SAM.") from error
    sam = build(shape)
    load_weights(sam, {key: value.float() for key, value in state.items()}, what)
    return sam.eval()
