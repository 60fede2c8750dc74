"""COCO's compressed runs: a mask as a short text.

Each run, from the fourth on as the difference to the one before the last, is written in groups of five bits, lowest
first; a sixth bit says that more follow, and 48 is added so that it is a printable character. (pycocotools reads such
texts too, but only into dense masks, and past the end of one that is cut off.)
"""

from __future__ import annotations

import numpy as np

from core.errors import UserError
from core.segments.mask import Mask

BITS, MORE, SIGN, OFFSET = 5, 32, 16, 48
# 35 bits hold every difference of two runs
LONGEST = 7


def to_text(mask: Mask) -> str:
    """The compressed runs of a mask."""
    runs = mask.counts.astype(np.int64)
    runs[3:] -= mask.counts[1:-2].astype(np.int64)
    groups = np.arange(LONGEST)
    shifted = runs[:, None] >> (BITS * groups)
    # as many groups as hold the number and its sign: what is left above must be all sign bits
    rest = shifted >> (BITS - 1)
    needed = ((rest != 0) & (rest != -1)).sum(1) + 1
    codes = shifted & (MORE - 1) | np.where(groups < needed[:, None] - 1, MORE, 0)
    return (codes[groups < needed[:, None]] + OFFSET).astype(np.uint8).tobytes().decode("ascii")


def from_text(text: str | bytes, size: tuple[int, int]) -> Mask:
    """A mask from its compressed runs.

    Raises:
        UserError: cut off, not such a text, or of another size.
    """
    data = text.encode("ascii", "replace") if isinstance(text, str) else text
    codes = np.frombuffer(data, np.uint8).astype(np.int64) - OFFSET
    ends = np.flatnonzero((codes & MORE) == 0)
    if not len(codes) or codes.min() < 0 or codes.max() >= 2 * MORE or ends[-1:].tolist() != [len(codes) - 1]:
        raise UserError("The compressed runs of a mask are cut off or damaged; export them again.")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > LONGEST:
        raise UserError("The compressed runs of a mask are damaged; export them again.")
    place = np.arange(len(codes)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((codes & (MORE - 1)) << (BITS * place), starts)
    runs -= np.where(codes[ends] & SIGN, np.int64(1) << (BITS * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return Mask(runs, size)
