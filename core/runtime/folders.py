"""Folders that long work is written into: whole files only, taken up again where it was killed, a manifest last."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from core.beforehand import finished_folder
from core.errors import UserError
from core.paths import existing_folder, kind_at
from core.runtime.json_files import read_json, regular
from core.runtime.schema import Shape, Wrong, check_columns, fit
from core.runtime.software import satchel_version
from core.runtime.whole_files import whole_file, write_json, writing


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


def read_table(
    path: Path,
    cure: str = "remove it",
    columns: Mapping[str, str] | None = None,
    only: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One Parquet file.

    Args:
        only: columns to read; None for all.
        cure: what to do about a damaged one before the same command is run again.
        columns: what it must hold, as of `check_columns`.

    Raises:
        UserError: it is damaged.
    """
    import pyarrow.parquet

    try:
        regular(path)
        # not as `pandas.read_parquet` does, which brings what reads whole folders, from anywhere
        with pyarrow.parquet.ParquetFile(path) as file:
            frame = file.read(None if only is None else list(only)).to_pandas()
        check_columns(frame, columns or {})
    except Exception as error:  # Arrow's errors are of every kind, and a file may claim to be anything
        raise UserError(f"{path} is damaged ({error}); {cure}, and run the same command again.") from error
    return frame


def read_shards(folder: Path, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """All shards of one kind, in order; empty if there are none. Arguments as of `read_table`.

    Raises:
        UserError: one is damaged.
    """
    parts = []
    for path in sorted(folder.glob("*.parquet")):
        # the last kind's file stands for all of them, so that one alone would not come back
        part = read_table(path, f"remove every {path.name} in the folders of {folder.parent}", columns)
        if len(part):
            parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def shard_size(pictures: int) -> int:
    """Pictures a shard: what is lost when a run is stopped, against how many files there are in the end."""
    return 8 if pictures <= 2000 else 32


def begin(
    out: Path,
    settings: dict[str, Any],
    opens: Callable[[Path], object],
    what: str = "report",
    traces: str = "*.parquet",
) -> bool:
    """Make or take up a folder for a report, an evaluation or a repair (`what`).

    Args:
        opens: opens a finished one; one that it refuses is written anew from what is there of it.
        traces: files that say that some of it is there.

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
        if isinstance(before, dict) and {**before, "satchel": None} == {**settings, "satchel": None}:
            with suppress(UserError):
                opens(out)
                return True
            return False
        if any(out.rglob(traces)):
            if before is None:
                raise UserError(
                    f"{known} is damaged, so that nothing can go on there; remove {out} or give another folder."
                )
            raise UserError(f"{out} holds another {what} or one with other settings; give another folder or remove it.")
    elif kind == "folder" and any(out.iterdir()):
        raise UserError(f"{out} is not empty and holds no {what}; give a new folder.")
    write_json(known, {"satchel": satchel_version(), **settings})
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
    folder: Path,
    what: str,
    command: str,
    version: int,
    shapes: Mapping[str, Shape],
    agree: Callable[[dict[str, Any]], None] = lambda contents: None,
    oldest: int = 1,
    read: Callable[[Path], Any] = read_json,
) -> dict[str, Any]:
    """The JSON files of a finished report or evaluation (`what`, made by `command`), seen to be what they should be.

    Args:
        version: the newest format that is understood.
        shapes: by file name, what must be there and what it must hold; manifest.json is one of them.
        agree: raises `Wrong` where the files, each as it should be, do not fit together.
        oldest: the oldest format that is understood.
        read: a file; it may raise `Wrong` as well.

    Returns:
        Contents by file name.

    Raises:
        UserError: there is none, it is half written, damaged, or of another format.
    """
    finished_folder(folder, what, command)
    again = f"run the same `{command}` again to write it anew"
    if not (folder / "settings.json").is_file():
        again = f"make it again with `{command}`, in another folder"
    contents: dict[str, Any] = {}
    name, doing = "manifest.json", "cannot be read"
    try:
        for name in ("manifest.json", *(name for name in shapes if name != "manifest.json")):
            doing = "cannot be read"
            contents[name] = read(folder / name)
            doing = "does not hold what it should"
            if name == "manifest.json" and contents[name]["format"] > version:
                raise UserError(f"The {what} in {folder} was made by a newer Satchel; update Satchel to open it.")
            if name == "manifest.json" and contents[name]["format"] < oldest:
                raise UserError(
                    f"The {what} in {folder} was made by an older Satchel, which says less; make it again with "
                    f"`{command}`, in another folder."
                )
            fit(shapes[name], contents[name])
        name, doing = "its files", "do not fit together"
        agree(contents)
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, Wrong) and doing == "cannot be read":
            doing = "does not hold what it should"
        told = f"it lacks {error}" if isinstance(error, KeyError) else error
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"{doing}: {told}"
        raise UserError(f"The {what} in {folder} is damaged ({name} {reason}); {again}.") from error
    return contents
