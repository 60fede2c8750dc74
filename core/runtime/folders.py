"""Folders that long work is written into: whole files only, taken up again where it was killed, a manifest last."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from core.errors import UserError


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """A file that appears whole or not at all: write to the path that is given, which takes the name at the end.

    Raises:
        UserError: the disk is full, or the place cannot be written to; what stood there before is untouched.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path} cannot be written ({reason}); free some room or choose another place.") from error
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


def read_shards(folder: Path) -> pd.DataFrame:
    """All shards of one kind, in order; empty if there are none.

    Raises:
        UserError: one is damaged.
    """
    parts = []
    for path in sorted(folder.glob("*.parquet")):
        try:
            parts.append(pd.read_parquet(path))
        except (OSError, ValueError) as error:  # Arrow's are of both kinds
            raise UserError(f"{path} is damaged ({error}); remove it, and run the same command again.") from error
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def begin(out: Path, settings: dict[str, Any], what: str = "report") -> bool:
    """Make or take up a folder for a report or an evaluation (`what`).

    Returns:
        True if the same one is finished there already.

    Raises:
        UserError: something else is there.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a new folder for the {what}.")
    known = out / "settings.json"
    if known.is_file():
        try:
            same = json.loads(known.read_text(encoding="utf-8")) == settings
        except (json.JSONDecodeError, UnicodeDecodeError):
            same = False
        if same:
            return (out / "manifest.json").is_file()
        if any(out.rglob("*.parquet")):
            raise UserError(f"{out} holds another {what} or one with other settings; give another folder or remove it.")
    elif out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and holds no {what}; give a new folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(known, settings)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); choose another folder.") from error
    return False


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
    if not folder.is_dir():
        raise UserError(f"There is no {what} folder {folder}; make one with `{command}`.")
    if not (folder / "manifest.json").is_file():
        if (folder / "settings.json").is_file():
            raise UserError(f"The {what} in {folder} is half written; run the same `{command}` again to finish it.")
        raise UserError(f"{folder} holds no {what}; make one with `{command}`.")
    missing = next((name for name in (entries, *files) if not (folder / name).is_file()), None)
    if missing is not None:
        raise UserError(f"The {what} in {folder} is damaged ({missing} is missing); make it again.")
    try:
        manifest, listed = (
            json.loads((folder / name).read_text(encoding="utf-8")) for name in ("manifest.json", entries)
        )
        newer = manifest["format"] > version
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(f"The {what} in {folder} is damaged ({error}); make it again.") from error
    if newer:
        raise UserError(f"The {what} in {folder} was made by a newer Satchel; update Satchel to open it.")
    return manifest, listed
