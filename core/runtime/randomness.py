"""Random numbers that depend on (seed, picture, sample) only: never on the chunk, never on global state."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def derived_seed(*parts: object) -> int:
    """A 63-bit seed from any parts (a run's seed, a picture's name, ...), the same on every machine."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def picture_seeds(seed: int, images: Tensor) -> tuple[int, ...]:
    """[B, 3, H, W] in [0, 1] -> one a picture, from its pixels: the same wherever and beside whatever it is explained.

    Pictures of one run thereby draw numbers of their own.
    """
    pixels = (images.detach() * 255).round().to("cpu", torch.uint8)
    return tuple(derived_seed(seed, hashlib.blake2b(one.numpy().tobytes()).hexdigest()) for one in pixels)


def _generators(seeds: Sequence[int], indices: Sequence[int], device: torch.device, salt: str) -> list[torch.Generator]:
    return [torch.Generator(device).manual_seed(derived_seed(seed, index, salt)) for seed, index in zip(seeds, indices)]


def uniform(
    shape: Sequence[int], seeds: Sequence[int], indices: Sequence[int], device: torch.device, salt: str = ""
) -> Tensor:
    """[K, *shape] in [0, 1): row k from (seeds[k], indices[k]) alone. `salt` separates uses within one sample."""
    rows = torch.empty(len(indices), *shape, device=device)
    for row, generator in zip(rows, _generators(seeds, indices, device, salt)):
        row.uniform_(generator=generator)
    return rows


def normal(
    shape: Sequence[int], seeds: Sequence[int], indices: Sequence[int], device: torch.device, salt: str = ""
) -> Tensor:
    """[K, *shape], standard normal: row k from (seeds[k], indices[k]) alone."""
    rows = torch.empty(len(indices), *shape, device=device)
    for row, generator in zip(rows, _generators(seeds, indices, device, salt)):
        row.normal_(generator=generator)
    return rows


def spread_order(count: int) -> list[int]:
    """0 .. count-1 in bit-reversed order: every prefix covers the range evenly, so partial sums are useful early."""
    bits = max(1, (count - 1).bit_length())
    reversed_ = (int(f"{i:0{bits}b}"[::-1], 2) for i in range(1 << bits))
    return [i for i in reversed_ if i < count]


def generator(*parts: object) -> torch.Generator:
    """Random numbers of these parts alone, as `derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(*parts))
