"""What is known to be wrong before anything heavy is imported: what is not there is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from core.errors import UserError, closest
from core.paths import existing_folder, kind_at, user_path

#: The data sets demo:NAME, each with the recipe that its pictures follow (`core.demo.plants.RECIPES`).
DATA_SETS = {"birds": "biased", "birds-clean": "clean", "birds-swapped": "swapped"}
DEMO = "demo:"
PREFIXES = ("captum:",)  # of explainers' names


def picture_file(path: Path) -> Path:
    """The path, once a file is found there.

    Raises:
        UserError: nothing there, or something else.
    """
    kind = kind_at(path, "picture")
    if kind is None:
        raise UserError(f"There is no file {path}; check the path.")
    if kind == "folder":
        raise UserError(f"{path} is a folder, not a picture; name the pictures in it.")
    return path


def data_folder(source: str | Path) -> Path | None:
    """The folder of a data set; None for one that is rendered.

    Raises:
        UserError: nothing there, or no rendered one of that name.
    """
    text = str(source)
    if not text.startswith(DEMO):
        return existing_folder(user_path(source), "folder", "give a folder of class folders, or one with manifest.csv")
    name = text.removeprefix(DEMO)
    if name not in DATA_SETS:
        raise UserError(f"There is no data set demo:{name}; {closest(name, list(DATA_SETS))}")
    return None


def masks_place(path: str | Path) -> tuple[Path, Literal["file", "folder"]]:
    """Where masks lie, and what is there.

    Raises:
        UserError: nothing there, or it may not be looked at.
    """
    path, what = user_path(path), "folder of masks or annotation file"
    kind = kind_at(path, what)
    if kind is None:
        raise UserError(f"There is no {what} {path}; check its path.")
    if kind == "folder":
        existing_folder(path, what)
    return path, kind


def finished_folder(folder: Path, what: str, command: str) -> Path:
    """The folder of a finished report or evaluation (`what`, made by `command`).

    Raises:
        UserError: there is none, or it is half written.
    """
    existing_folder(folder, f"{what} folder", f"make one with `{command}`")
    if not (folder / "manifest.json").is_file():
        if (folder / "settings.json").is_file():
            raise UserError(f"The {what} in {folder} is half written; run the same `{command}` again to finish it.")
        raise UserError(f"{folder} holds no {what}; make one with `{command}`.")
    return folder
