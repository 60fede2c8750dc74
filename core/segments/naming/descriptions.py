"""Masks of a data set as numbers, kept on disk: every picture is looked at once, whatever is named how often."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from torch import Tensor

from core.images import Picture
from core.runtime.versions import write_error
from core.segments.naming.describing import describe
from core.segments.saved.records import mask_key
from core.segments.saved.store import file_name
from core.segments.segments import Segments

if TYPE_CHECKING:
    from core.data import Item
    from core.segments.sam.model import Sam

# grows whenever `describe` changes
FORMAT = 1
# masks that were changed since are kept, so that undo costs nothing
KEPT = 1000


@dataclass(frozen=True)
class Encoder:
    """Where features come from.

    Attributes:
        name: tells its features from all others.
        encode: picture -> [C, h, w] over the whole picture; None for none.
    """

    name: str = "none"
    encode: Callable[[Picture], Tensor] | None = None

    def describe(self, picture: Picture, segments: Segments) -> np.ndarray:
        """float32 [P, D], of `core.segments.naming.describing.describe`."""
        return describe(picture, segments, self.encode(picture) if self.encode else None)


class Describer(Protocol):
    """What makes rows: an `Encoder`, or a model that looks at masks in its own way.

    Attributes:
        name: tells its rows from all others.
    """

    @property
    def name(self) -> str: ...

    def describe(self, picture: Picture, segments: Segments) -> np.ndarray:
        """float32 [P, D]; other masks of the picture do not change a row."""
        ...


def sam_encoder(sam: Sam) -> Encoder:
    """The embedding of a SAM's image encoder, without what pads the picture to a square."""

    def encode(picture: Picture) -> Tensor:
        embedding = sam.embedding(picture)
        rows, columns = (
            max(1, round(grid * side / max(picture.size))) for grid, side in zip(embedding.shape[1:], picture.size)
        )
        return embedding[:, :rows, :columns]

    return Encoder(f"sam {sam.fingerprint}", encode)


class Descriptions:
    """A folder with one file a picture: its rows by mask, in half precision."""

    def __init__(self, folder: Path, describer: Describer) -> None:
        self.describer = describer
        self.folder = folder / f"{FORMAT}-{file_name(describer.name)}"

    def of(self, item: Item, segments: Segments) -> np.ndarray:
        """float32 [P, D], the same whether it was kept or is made now.

        Raises:
            UserError: the picture cannot be read, is of another size, or the disk is full.
        """
        path = self.folder / f"{file_name(item.id)}.npz"
        keys = [mask_key(segment.mask) for segment in segments]
        known = _read(path)
        if keys and not all(key in known for key in keys):
            rows = self.describer.describe(item.picture(), segments).astype(np.float16)
            rest = {key: row for key, row in known.items() if key not in keys and len(row) == rows.shape[1]}
            known = dict(list(rest.items())[-KEPT:]) | dict(zip(keys, rows))
            self._write(path, known)
        return np.stack([known[key] for key in keys]).astype(np.float32) if keys else np.zeros((0, 0), np.float32)

    def _write(self, path: Path, known: dict[str, np.ndarray]) -> None:
        data = io.BytesIO()
        np.savez(data, keys=np.array(list(known)), rows=np.stack(list(known.values())))
        part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data.getvalue())
            os.replace(part, path)
        except OSError as error:
            raise write_error(self.folder, error) from error
        finally:
            with suppress(OSError):
                part.unlink()


def _read(path: Path) -> dict[str, np.ndarray]:
    """Key -> float16 [D]; nothing where the file is missing or damaged, since it can be made again."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            return dict(zip(kept["keys"].tolist(), kept["rows"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
