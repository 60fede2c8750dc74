"""How a picture's file was compressed, and the same done to another picture."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image, JpegImagePlugin

KEPT_WHOLE = ("PNG", "BMP", "GIF")  # formats that lose nothing of what they can hold
FINEST_STEP, COARSEST_STEP = 1, 255  # of a baseline JPEG
COLOUR_HALVED = 2  # in both directions, as nearly all JPEG files have it


@dataclass(frozen=True)
class Compression:
    """What a file lost.

    Attributes:
        tables: JPEG's steps of quantisation, of brightness first; empty for files that lose nothing.
        sampling: JPEG's code for how much coarser colours are kept: 0, 1 or 2.
        known: whether the file says it; of lossy WebP and of most TIFF it is not known, and `tables` is empty.
    """

    tables: tuple[tuple[int, ...], ...] = ()
    sampling: int = COLOUR_HALVED
    known: bool = True

    @property
    def step(self) -> float:
        """Mean step of brightness, 1 to 255; 1 where nothing is lost."""
        return sum(self.tables[0]) / len(self.tables[0]) if self.tables else float(FINEST_STEP)

    def of(self, image: Image.Image) -> Image.Image:
        """An RGB picture after it was written so and read again."""
        if not self.tables:
            return image
        file = io.BytesIO()
        image.save(file, "JPEG", qtables=[list(table) for table in self.tables], subsampling=self.sampling)
        return Image.open(file, formats=("JPEG",)).convert("RGB")


WHOLE, UNKNOWN = Compression(), Compression(known=False)


def compression_of(image: Image.Image, data: bytes) -> Compression:
    """Of a picture that Pillow has opened, and its file."""
    found = getattr(image, "quantization", None)
    if isinstance(image, JpegImagePlugin.JpegImageFile) and found:
        tables = [tuple(min(COARSEST_STEP, max(FINEST_STEP, int(v))) for v in found[key]) for key in sorted(found)]
        sampling = JpegImagePlugin.get_sampling(image)
        if all(len(table) == 64 for table in tables):
            return Compression(tuple(tables), sampling if sampling in (0, 1, 2) else COLOUR_HALVED)
    whole = image.format in KEPT_WHOLE or (image.format == "WEBP" and data[12:16] == b"VP8L")
    return WHOLE if whole else UNKNOWN
