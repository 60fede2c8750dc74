"""Files of `torch.save`, distrusted: read with `weights_only=True`, and nothing that they name is ever run."""

from __future__ import annotations

import pickle
import re
import sys
import threading
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from core.errors import UserError

INSTEAD = "save a plain state_dict or a safetensors file instead"
WHOLE_MODELS = ("torch.nn.", "torchvision.", "timm.", "transformers.", "torch.fx.")
# What training scripts put beside the weights. None of it is wanted, so a stand-in takes its place, and the class
# itself is never made.
BESIDE = (
    *("argparse.Namespace", "types.SimpleNamespace", "uuid.UUID", "decimal.Decimal", "fractions.Fraction"),
    *(f"pathlib.{kind}" for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
    *(f"pathlib._local.{kind}" for kind in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
    *(f"datetime.{kind}" for kind in ("datetime", "date", "time", "timedelta", "timezone")),
    *(f"numpy.{core}.multiarray.{maker}" for core in ("core", "_core") for maker in ("scalar", "_reconstruct")),
    *("numpy.ndarray", "numpy.dtype"),
    *(f"builtins.{kind}" for kind in ("list", "dict", "tuple", "int", "float", "str", "bool", "object", "slice")),
)
MAPPINGS = ("collections.defaultdict", "easydict.EasyDict", "addict.addict.Dict", "ml_collections.ConfigDict")
MOST_CLASSES = 30  # of other libraries that stand beside weights

_reading = threading.Lock()  # what stands in is the whole process's to see while a file is read


class Aside:
    """Stands for an object beside the weights: takes whatever it is made of, and keeps none of it."""

    def __new__(cls, *_: object, **__: object) -> Aside:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class AsideMapping:
    """Stands for a dictionary of another kind, which may hold weights: a plain one is made."""

    def __new__(cls, *_: object) -> Any:
        return OrderedDict()


def read_torch(path: Path, head: bytes) -> object:
    """What `torch.save` wrote, on the CPU.

    Args:
        head: its first bytes.

    Raises:
        UserError: cut off, packed, holding code, or no such file.
    """
    _check_zip(path, head)
    stand_ins: list[Any] = [*((Aside, name) for name in BESIDE), *((AsideMapping, name) for name in MAPPINGS)]
    for _ in range(MOST_CLASSES):
        try:
            return _read(path, stand_ins)
        except pickle.UnpicklingError as error:
            other = _class_beside(str(error))
            if other is None:
                raise _refusal(path, head, str(error)) from error
            stand_ins.append((Aside, other))
        except RuntimeError as error:
            if "TorchScript" in str(error):
                raise UserError(f"{path} is a TorchScript program, which is code; {INSTEAD}.") from error
            raise UserError(f"{path} is damaged or cut off; download or save it again.") from error
        except (EOFError, OSError) as error:
            raise UserError(f"{path} is damaged or cut off; download or save it again.") from error
        except Exception as error:  # the restricted reader meets arbitrary bytes: KeyError, IndexError, ...
            raise UserError(f"{path} is no weights file; give a .safetensors, .pth or .pt file.") from error
    raise UserError(f"{path} holds objects of more than {MOST_CLASSES} kinds beside the weights; {INSTEAD}.")


def _read(path: Path, stand_ins: list[Any]) -> object:
    with _reading, warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
        warnings.simplefilter("ignore")  # about odd pickles; the errors say what matters
        return torch.load(path, map_location="cpu", weights_only=True)


def _check_zip(path: Path, head: bytes) -> None:
    """PyTorch stores tensors as they are: a file whose parts are larger than itself unpacks to more than it holds.

    Raises:
        UserError: it is such a file.
    """
    if head[:2] != b"PK":
        return
    try:
        with zipfile.ZipFile(path) as file:
            inside = sum(entry.file_size for entry in file.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path} is damaged or cut off; download or save it again.") from error
    if inside > path.stat().st_size:
        raise UserError(
            f"{path} is {path.stat().st_size:,} bytes and would unpack to {inside:,}, as no file that torch.save wrote "
            f"does; {INSTEAD}."
        )


def _class_beside(message: str) -> str | None:
    """The class that is in the way, where it is one of somebody's own code; by its name, for it is never looked up."""
    found = re.search(r"Unsupported global: GLOBAL ([\w.]+) ", message)
    if not found or "." not in found[1]:
        return None
    package, name = found[1].split(".")[0], found[1].rpartition(".")[2]
    own = {*sys.stdlib_module_names, *IMPORT_MAPPING}  # Python's, by today's names and by Python 2's
    known = package in own or found[1].startswith(WHOLE_MODELS)
    return found[1] if not known and name[:1].isupper() else None


def _refusal(path: Path, head: bytes, message: str) -> UserError:
    found = re.search(r"(?:GLOBAL|class) ([\w.]+)", message)
    if found and found[1].startswith(WHOLE_MODELS):
        return UserError(
            f"{path} holds a whole pickled model ({found[1]}), which is code that Satchel never runs; {INSTEAD} "
            "(torch.save(model.state_dict(), ...))."
        )
    if found:
        return UserError(f"{path} holds code ({found[1]}), which Satchel never runs; {INSTEAD}.")
    if head[:1] == b"\x80":
        return UserError(f"{path} is a pickle that may hold code, which Satchel never runs; {INSTEAD}.")
    return UserError(f"{path} is no weights file; give a .safetensors, .pth or .pt file.")
