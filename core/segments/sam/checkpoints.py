"""The checkpoints of Segment Anything: the published ones by name, anyone's by file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from core.errors import UserError, closest
from core.fetching.download import download
from core.loading.checkpoints import load_weights, read_checkpoint
from core.paths import assets_dir, user_path
from core.runtime.progress import OnProgress
from core.segments.sam.compact import restore

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

COMPACT = "compact"
COMPACT_FILE = "compact_sam.safetensors"
PUBLISHED_AT = "https://dl.fbaipublicfiles.com/segment_anything/"


@dataclass(frozen=True)
class Published:
    """A checkpoint that Meta published. (The digits in its file name are of its MD5, which proves nothing.)"""

    file: str
    sha256: str
    gigabytes: float

    @property
    def url(self) -> str:
        return PUBLISHED_AT + self.file


PUBLISHED = {
    "vit_b": Published("sam_vit_b_01ec64.pth", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", 0.4),
    "vit_l": Published("sam_vit_l_0b3195.pth", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", 1.2),
    "vit_h": Published("sam_vit_h_4b8939.pth", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", 2.6),
}
NAMES = (COMPACT, *PUBLISHED)


def load_sam(spec: str, progress: OnProgress | None = None) -> Sam:
    """A SAM on the CPU, in float32 and eval mode.

    Args:
        spec: `compact` (comes with Satchel), `vit_b`, `vit_l` or `vit_h` (downloaded once), or any of them with
            `@FILE`: your own weights of that architecture.
        progress: called with (fraction in [0, 1], text) while weights are fetched.

    Raises:
        UserError: no such checkpoint, it cannot be had, or its file is damaged, holds code or is of another SAM.
    """
    name, at, file = spec.partition("@")
    if name not in NAMES:
        raise UserError(f"There is no SAM {name!r}; {closest(name, list(NAMES))}")
    if at and not file:
        raise UserError(f"{spec!r} ends after the @; name the checkpoint there, or leave the @ out.")
    if name == COMPACT:
        return _compact(user_path(file) if file else None)
    path = user_path(file) if file else _fetched(name, progress)
    state, _ = read_checkpoint(path)
    sam = empty(name)
    load_weights(sam, state, spec if file else path.name)
    return sam.eval()


def empty(name: str) -> Sam:
    """The architecture of a published checkpoint, its weights still random; the global random state is left alone."""
    from segment_anything import sam_model_registry

    with torch.random.fork_rng(devices=[]):
        return sam_model_registry[name]()


def compact_file() -> Path:
    """Where the weights of the compact SAM lie.

    Raises:
        UserError: they are missing.
    """
    path = assets_dir() / COMPACT_FILE
    if not path.is_file():
        raise UserError(
            f"The weights of the compact SAM ({COMPACT_FILE}) are missing; install Satchel again, or take vit_b."
        )
    return path


def _compact(file: Path | None) -> Sam:
    path = file or compact_file()
    state, metadata = read_checkpoint(path)
    return restore(state, metadata, path.name)


def _fetched(name: str, progress: OnProgress | None) -> Path:
    published = PUBLISHED[name]
    return download(published.url, f"SAM {name}", progress, published.sha256)
