"""Folders that Hugging Face transformers writes: read without running anything, or fetched from the hub first."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.errors import UserError
from core.fetching.hub import hub_folder
from core.paths import kind_at, user_path
from core.runtime.progress import OnProgress

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
CONFIG = "config.json"
WEIGHTS = "model*.safetensors"
# what is fetched: no pickles, and no code
WANTED = ("*.json", "*.txt", "*.model", WEIGHTS)
SAFELY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def transformers_for(what: str) -> Any:
    """The library.

    Raises:
        UserError: it is not installed; `what` needs it.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"{what} need the extra `text` (transformers); install it with `pip install 'satchel[text]'`."
        ) from error
    return transformers


def model_folder(spec: str, progress: OnProgress | None = None) -> Path:
    """The folder of a model: a local one, or one of the hub's, fetched into the hub's own cache at first use.

    Args:
        spec: a folder, or OWNER/NAME on the hub.
        progress: called with (fraction in [0, 1], text).

    Raises:
        UserError: nothing there, it cannot be fetched, or it holds no weights that are safe to read.
    """
    folder = user_path(spec)
    if kind_at(folder, "model folder") != "folder":
        if not HUB_NAME.fullmatch(spec):
            raise UserError(
                f"There is no folder {spec}; give one that save_pretrained wrote, or a name on the Hugging Face hub "
                "(OWNER/NAME)."
            )
        transformers_for(f"Models of the hub such as {spec}")
        folder = hub_folder(spec, WANTED, _is_whole, progress)
    if _is_whole(folder):
        return folder
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} has no {CONFIG}; give the folder that save_pretrained wrote.")
    raise UserError(f"{folder} holds no .safetensors weights, and no others are read; save the model anew "
                    "(save_pretrained).")  # fmt: skip


def _is_whole(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and any(folder.glob(WEIGHTS))


def model_type(folder: Path) -> str:
    """What kind of model the folder says it holds, such as "clip".

    Raises:
        UserError: it does not say.
    """
    try:
        kind = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / CONFIG} does not say what model it is ({error}); save the model anew.") from error
    return str(kind)


def load_module(kind: Any, folder: Path, what: str, **options: Any) -> nn.Module:
    """A model out of a folder, on the CPU, in float32 and eval mode.

    Args:
        kind: one of transformers' classes with `from_pretrained`.
        what: what it should be, for messages ("an image classifier").
        options: of `from_pretrained`; by default only safetensors are read.

    Raises:
        UserError: damaged, of another kind, or without some of its weights.
    """
    # tensors of another shape are told below, together with those that are missing
    fixed = {"output_loading_info": True, "dtype": "float32", "ignore_mismatched_sizes": True, **SAFELY}
    with told(folder, what):
        module, loaded = kind.from_pretrained(folder, **{"use_safetensors": True, **options}, **fixed)
    lacking = [*loaded["missing_keys"], *(key for key, *_ in loaded["mismatched_keys"])]
    if lacking:
        example = min(map(str, lacking))
        raise UserError(
            f"The weights in {folder} lack {len(lacking)} of the model's tensors (such as {example!r}); "
            "save the fine-tuned model again."
        )
    broken = next((name for name, value in module.named_parameters() if not torch.isfinite(value).all()), None)
    if broken is not None:
        raise UserError(
            f"The weights in {folder} hold NaN or infinity (first in {broken!r}); train or save them again."
        )
    return module.eval().requires_grad_(False)


def load_processor(folder: Path, what: str) -> Any:
    """What goes before a model: its tokenizer and its image processor, as `AutoProcessor` finds them.

    Raises:
        UserError: they are not in the folder, or damaged.
    """
    transformers = transformers_for(what)
    with told(folder, what):
        processor = transformers.AutoProcessor.from_pretrained(folder, **SAFELY)
    for part in ("tokenizer", "image_processor"):
        if not hasattr(processor, part):
            raise UserError(f"{folder} has no {part.replace('_', ' ')}; save the processor beside the model.")
    return processor


@contextmanager
def quiet() -> Generator[None]:
    """Without transformers' own bars and remarks; what matters of them is an error here."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def told(folder: Path, what: str) -> Generator[None]:
    """Read from a folder: without transformers' own bars, and whatever it raises for a broken one as a UserError."""
    try:
        with quiet():
            yield
    except Exception as error:  # transformers raises many kinds for a broken folder
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} cannot be loaded as {what} ({reason}).") from error
