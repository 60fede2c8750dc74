"""Watch the attention weights of one call of a model, whichever library the model comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

SOFTMAXES = frozenset((F.softmax, torch.softmax, Tensor.softmax))


class RecordedAttention(TorchFunctionMode):
    """While it is active, attention is computed step by step, and its weights are kept.

    PyTorch's fused kernels never form the weights. This mode answers `F.scaled_dot_product_attention` and
    `F.multi_head_attention_forward` (torch.nn.MultiheadAttention, whose fast path an active mode switches off) with the
    same sums written out, and notes explicit softmaxes over the last of four axes on their way. It acts on this thread
    only and changes nothing of the model.

    Attributes:
        weights: one [B, heads, queries, keys] an attention, in order of execution; the tensors that the model went on
            with, so that gradients reach them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        # in here the mode is off, so what is called below is not watched a second time
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._attend_with_heads(*args, **kwargs)
        out = func(*args, **kwargs)
        if func in SOFTMAXES and out.dim() == 4 and _axis(args, kwargs) in (-1, 3):
            self.weights.append(out)
        return out

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """[..., heads, queries, width] x [..., heads, keys, width] -> [..., heads, queries, width]."""
        if enable_gqa:
            repeats = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(ahead, float("-inf"))
        if attn_mask is not None:
            # a boolean mask says what may be looked at, a number is added
            allowed = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, float("-inf")) if allowed else scores + attn_mask
        weights = scores.softmax(-1)
        if weights.dim() == 4:
            self.weights.append(weights)
        return (F.dropout(weights, dropout_p) if dropout_p else weights).to(value.dtype) @ value

    def _attend_with_heads(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """As `F.multi_head_attention_forward`; what is rare in pictures (masks, extra keys) is left to it, unseen."""
        given = {**dict(zip(MULTI_HEAD_ARGUMENTS, args)), **kwargs}
        query, key, value = given["query"], given["key"], given["value"]
        if query.dim() != 3 or _is_rare(given):
            return F.multi_head_attention_forward(*args, **kwargs)
        heads, dropout = given["num_heads"], given["dropout_p"] if given.get("training", True) else 0.0
        if given.get("use_separate_proj_weight"):
            matrices = [given[f"{which}_proj_weight"] for which in "qkv"]
        else:
            matrices = given["in_proj_weight"].chunk(3)
        biases = (None,) * 3 if given["in_proj_bias"] is None else given["in_proj_bias"].chunk(3)

        def split(tokens: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
            """[tokens, B, width] -> [B, heads, tokens, width / heads]."""
            return F.linear(tokens, matrix, bias).unflatten(-1, (heads, -1)).permute(1, 2, 0, 3)

        q, k, v = (split(*parts) for parts in zip((query, key, value), matrices, biases))
        joined = self._attend(q, k, v, dropout_p=dropout).permute(2, 0, 1, 3).flatten(2)
        out = F.linear(joined, given["out_proj_weight"], given["out_proj_bias"])
        if not given.get("need_weights", True):
            return out, None
        weights = self.weights[-1]
        return out, weights.mean(1) if given.get("average_attn_weights", True) else weights


MULTI_HEAD_ARGUMENTS = (
    *("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v"),
    *("add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training", "key_padding_mask", "need_weights"),
    *("attn_mask", "use_separate_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "static_k"),
    *("static_v", "average_attn_weights", "is_causal"),
)


def _is_rare(given: Mapping[str, Any]) -> bool:
    tensors = ("bias_k", "bias_v", "key_padding_mask", "attn_mask", "static_k", "static_v")
    return bool(given.get("add_zero_attn")) or any(given.get(name) is not None for name in tensors)


def _axis(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The axis that a softmax was called with."""
    return args[1] if len(args) > 1 else kwargs.get("dim")
