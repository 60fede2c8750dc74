"""The runs of Label Studio's brush: bits of an RGBA picture, whose alpha is the mask.

A header of 32 bits (how many values), 5 (bits a value, less one) and four times 4 (bits a count, less one) is followed
by groups of 1 bit (one value again and again, or all of them), 2 (which of the four count widths), the count less one,
and the value or values. The scheme is thi.ng's rle-pack.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.errors import UserError
from core.segments.mask import Mask

CHANNELS, ALPHA, BYTE = 4, 3, 8


def brushed(numbers: Any, size: tuple[int, int]) -> Mask:
    """A mask from the bytes that Label Studio writes as `rle`.

    Args:
        numbers: a list of 0 to 255.

    Raises:
        UserError: cut off, or of another size than the picture.
    """
    try:
        bits = _Bits(bytes(numbers))
        count, width = bits.take(32), bits.take(5) + 1
        widths = [bits.take(4) + 1 for _ in range(4)]
        if count != size[0] * size[1] * CHANNELS or width != BYTE:
            raise UserError(
                f"A brushed mask holds {count} values of {width} bits, where a picture of {size[0]}x{size[1]} pixels "
                f"(height x width) needs {size[0] * size[1] * CHANNELS} of {BYTE}; export it again."
            )
        values = np.empty(count, np.uint8)
        done = 0
        while done < count:
            repeated = bits.take(1)
            run = bits.take(widths[bits.take(2)]) + 1
            if run > count - done:
                raise UserError("A brushed mask has runs that are longer than its picture; export it again.")
            values[done : done + run] = bits.take(BYTE) if repeated else bits.take_bytes(run)
            done += run
    except (EOFError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError("A brushed mask is cut off or damaged; export it again.") from error
    return Mask.from_dense(values.reshape(*size, CHANNELS)[..., ALPHA] > 0)


class _Bits:
    """Bytes, read bit by bit from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, count: int) -> int:
        """The next `count` bits as a number."""
        end = self.place + count
        if end > len(self.data) * BYTE:
            raise EOFError
        piece = int.from_bytes(self.data[self.place // BYTE : (end + BYTE - 1) // BYTE], "big")
        self.place = end
        return piece >> (-end % BYTE) & ((1 << count) - 1)

    def take_bytes(self, count: int) -> np.ndarray:
        """The next `count` numbers of 8 bits, uint8."""
        return np.frombuffer(self.take(count * BYTE).to_bytes(count, "big"), np.uint8)
