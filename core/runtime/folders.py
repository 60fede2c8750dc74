"""Folders that long work is written into: whole files only, taken up again where it was killed, a manifest last."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import UserError
from core.paths import existing_folder, kind_at
from core.runtime.versions import FULL


@contextmanager
def writing(place: Path) -> Generator[None]:
    """What the system says when something is written there, as one sentence.

    Raises:
        UserError: the disk is full, or the place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            cure = "nothing that was there is lost, so free some room and do the same again"
        else:
            cure = "change its permissions or choose another place"
        raise UserError(f"{place} cannot be written ({error.strerror or error}); {cure}.") from error


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """A file that appears whole or not at all: write to the path that is given, which takes the name at the end.

    Raises:
        UserError: the disk is full, or the place cannot be written to; what stood there before is untouched.
    """
    part = path.with_name(path.name + ".part")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink()


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all. What is no Unicode in a file name becomes an escape, which JSON reads back."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_table(path: Path, records: Sequence[dict[str, Any]] | pd.DataFrame) -> None:
    """Parquet, whole or not at all; no records give a file without columns."""
    with whole_file(path) as part:
        pd.DataFrame(records).to_parquet(part, index=False)


def write_shard(out: Path, name: str, records: dict[str, list[dict[str, Any]]]) -> None:
    """One Parquet file in each kind's folder; the last kind's comes last and thereby says that all are whole."""
    last = list(records)[-1]
    for kind, entries in records.items():
        if entries or kind == last:  # a Parquet file without columns cannot be queried
            write_table(out / kind / name, entries)


def read_table(path: Path, cure: str = "remove it") -> pd.DataFrame:
    """One Parquet file.

    Args:
        cure: what to do about a damaged one before the same command is run again.

    Raises:
        UserError: it is damaged.
    """
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # Arrow's are of both kinds
        raise UserError(f"{path} is damaged ({error}); {cure}, and run the same command again.") from error


def read_shards(folder: Path) -> pd.DataFrame:
    """All shards of one kind, in order; empty if there are none.

    Raises:
        UserError: one is damaged.
    """
    parts = []
    for path in sorted(folder.glob("*.parquet")):
        # the last kind's file stands for all of them, so that one alone would not come back
        part = read_table(path, f"remove every {path.name} in the folders of {folder.parent}")
        if len(part):
            parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def shard_size(pictures: int) -> int:
    """Pictures a shard: what is lost when a run is stopped, against how many files there are in the end."""
    return 8 if pictures <= 2000 else 32


def begin(out: Path, settings: dict[str, Any], opens: Callable[[Path], object], what: str = "report") -> bool:
    """Make or take up a folder for a report or an evaluation (`what`).

    Args:
        opens: opens a finished one; one that it refuses is written anew from its shards.

    Returns:
        True if the same one is finished there already.

    Raises:
        UserError: something else is there.
    """
    kind = kind_at(out, f"folder for the {what}")
    if kind == "file":
        raise UserError(f"{out} is a file; give a new folder for the {what}.")
    if kind == "folder":
        existing_folder(out, f"folder for the {what}")
    known = out / "settings.json"
    if known.is_file():
        try:
            before = json.loads(known.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        if before == settings:
            with suppress(UserError):
                opens(out)
                return True
            return False
        if any(out.rglob("*.parquet")):
            if before is None:
                raise UserError(
                    f"{known} is damaged, so that nothing can go on there; remove {out} or give another folder."
                )
            raise UserError(f"{out} holds another {what} or one with other settings; give another folder or remove it.")
    elif kind == "folder" and any(out.iterdir()):
        raise UserError(f"{out} is not empty and holds no {what}; give a new folder.")
    write_json(known, settings)
    return False


def abandon(out: Path) -> None:
    """Take back what a run that comes to nothing has written, so that another may begin there."""
    with writing(out):
        for shard in out.glob(f"*/{'[0-9]' * 6}.parquet"):
            shard.unlink(missing_ok=True)
            with suppress(OSError):  # others are left
                shard.parent.rmdir()
        (out / "settings.json").unlink(missing_ok=True)


def open_finished(
    folder: Path, what: str, command: str, version: int, entries: str, files: Sequence[str] = ()
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The manifest of a finished report or evaluation (`what`, made by `command`), and its main list.

    Args:
        version: the newest format that is understood.
        entries: the JSON file that holds the list; files: what else must be there.

    Raises:
        UserError: there is none, it is half written, damaged, or of a newer format.
    """
    existing_folder(folder, f"{what} folder", f"make one with `{command}`")
    if not (folder / "manifest.json").is_file():
        if (folder / "settings.json").is_file():
            raise UserError(f"The {what} in {folder} is half written; run the same `{command}` again to finish it.")
        raise UserError(f"{folder} holds no {what}; make one with `{command}`.")
    again = f"run the same `{command}` again to write it anew"
    if not (folder / "settings.json").is_file():
        again = f"make it again with `{command}`, in another folder"
    name = "manifest.json"
    try:
        manifest = _contents(folder / name)
        if manifest["format"] > version:
            raise UserError(f"The {what} in {folder} was made by a newer Satchel; update Satchel to open it.")
        name = entries
        listed = _contents(folder / name)
        for name in files:
            _contents(folder / name)
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise UserError(f"The {what} in {folder} is damaged ({name} {reason}); {again}.") from error
    return manifest, listed


def _contents(path: Path) -> Any:
    """Of a JSON file; of a Parquet file only what it says of itself, by which it is seen to be whole."""
    kind_at(path, "part of it")  # a pipe would be waited for
    if path.suffix == ".parquet":
        return pd.read_parquet(path, columns=[])
    return json.loads(path.read_text(encoding="utf-8"))
