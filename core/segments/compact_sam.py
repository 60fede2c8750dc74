"""A SAM of a few megabytes: segment-anything's own classes at small size, and its file.

Kirillov et al.: Segment Anything (ICCV 2023), the package segment-anything. Nothing of the architecture is changed, so
that `SamPredictor` and `SamAutomaticMaskGenerator` drive it as they drive the published checkpoints. Relative positions
are left out, since they slow attention down on a CPU.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from core.errors import UserError
from core.loading.checkpoints import State, load_weights

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

MASK_OUTPUTS = 3
# The published models use random frequencies of scale 1 on a grid of 64; here small parts are a few pixels wide.
POSITION_SCALE = 2.0
NEARNESS = 2.0  # how steeply attention falls with distance before any training


@dataclass(frozen=True)
class Shape:
    """The size of a SAM.

    Attributes:
        side: of the input in pixels; patch: side of a patch, which becomes one token.
        width, depth, heads: of the image encoder; `full` are the blocks whose attention spans the picture, in the
            others it spans windows of `window` tokens a side.
        embedding: channels of the picture's embedding and width of the mask decoder.
        decoder_hidden: hidden width of the decoder's token layers.
    """

    side: int = 256
    patch: int = 8
    width: int = 160
    depth: int = 6
    heads: int = 5
    window: int = 8
    full: tuple[int, ...] = (2, 5)
    embedding: int = 128
    decoder_hidden: int = 512

    def __post_init__(self) -> None:
        sizes = (self.side, self.patch, self.width, self.depth, self.heads, self.window, self.embedding)
        if min(*sizes, self.decoder_hidden) < 1 or self.side % self.patch:
            raise ValueError(f"expected positive sizes and a side of whole patches, got {self}")
        if self.width % self.heads or self.embedding % 32:
            raise ValueError(f"expected a width of whole heads and an embedding divisible by 32, got {self}")

    @property
    def grid(self) -> int:
        """Tokens a side; masks come out four times as fine."""
        return self.side // self.patch


def build(shape: Shape = Shape(), seed: int = 0) -> Sam:
    """A SAM of that size with random weights, on the CPU; the global random state is left as it was."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    grid = (shape.grid, shape.grid)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ImageEncoderViT(
            img_size=shape.side,
            patch_size=shape.patch,
            embed_dim=shape.width,
            depth=shape.depth,
            num_heads=shape.heads,
            out_chans=shape.embedding,
            use_rel_pos=False,
            window_size=shape.window,
            global_attn_indexes=shape.full,
        )
        if encoder.pos_embed is not None:
            nn.init.trunc_normal_(encoder.pos_embed, std=0.02)
        prompts = PromptEncoder(
            embed_dim=shape.embedding,
            image_embedding_size=grid,
            input_image_size=(shape.side, shape.side),
            mask_in_chans=16,
        )
        prompts.pe_layer.get_buffer("positional_encoding_gaussian_matrix").mul_(POSITION_SCALE)
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
        return Sam(encoder, prompts, decoder).eval()


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
        stated["full"] = tuple(stated["full"])
        shape = Shape(**stated)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{what} does not state the size of its SAM; give a file that core.demo.train_sam wrote."
        ) from error
    sam = build(shape)
    load_weights(sam, {key: value.float() for key, value in state.items()}, what)
    return sam.eval()
