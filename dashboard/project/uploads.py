"""Pictures that people brought to the page, as a data set: a zip, or files dropped one by one."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from core.errors import UserError
from core.runtime.whole_files import writing
from core.segments.saved.store import plain_name
from core.walking import is_picture

MOST_FILES = 200_000
MOST_BYTES = 20 * 2**30  # of what a zip unpacks to
MOST_TIMES = 200  # what it may unpack to, for its size: pictures hardly shrink
ABOUT = (".csv", ".json", ".xml", ".txt", ".jsonl", ".tsv")  # manifests, names and annotations


@dataclass(frozen=True)
class Share:
    """What one visitor may keep on a page that others use too: so many data sets, and bytes of all of them."""

    sets: int = 8
    bytes: int = 4 * 2**30


def unpacked(files: Sequence[Path], folder: Path, name: str = "", share: Share | None = None) -> Path:
    """A folder of pictures out of what was uploaded.

    Args:
        files: one zip, or pictures (with a manifest and annotations, perhaps).
        folder: where data sets are kept. name: what to call it; "" for the zip's own name.
        share: what all in that folder may take; None for no bound but that of one zip.

    Returns:
        The folder of the data set: a new one, or that of the same name with what it had and this besides.

    Raises:
        UserError: no picture is there, a zip is damaged, too large, or would write elsewhere; the share is used up; or
            the disk is full.
    """
    zips = [path for path in files if path.suffix.lower() == ".zip"]
    if not files:
        raise UserError("No file was given; choose a zip of pictures, or pictures.")
    if len(zips) > 1 or (zips and len(files) > 1):
        raise UserError("Give one zip, or pictures; not several zips, nor both.")
    called = name.strip() or (zips[0].stem if zips else "pictures")
    place = folder / (plain_name(called) or "pictures")
    part = place.with_name(f".{place.name}.part")
    room = MOST_BYTES if share is None else _room(share, folder, place)
    shutil.rmtree(part, ignore_errors=True)
    try:
        with writing(place):
            part.mkdir(parents=True)
            if zips:
                _unzip(zips[0], part, room)
            else:
                _copy(files, part, room)
            inner = _inner(part)
            if place.exists():
                shutil.copytree(inner, place, dirs_exist_ok=True)
            else:
                shutil.move(inner, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def _room(share: Share, folder: Path, place: Path) -> int:
    """Bytes that are left of a share.

    Raises:
        UserError: there are as many data sets as there may be, and this would be a further one.
    """
    there = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    if place not in there and len(there) >= share.sets:
        raise UserError(
            f"You have brought {share.sets} data sets, as many as one visitor may here; give these the name of one of "
            "them, to which they are added, or start Satchel on your own machine."
        )
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if there else 0
    return min(MOST_BYTES, max(0, share.bytes - used))


def _too_much(total: int, room: int) -> UserError:
    return UserError(
        f"These are {total / 2**20:,.0f} MB, and {room / 2**20:,.0f} MB are left of what one visitor may keep here; "
        "bring fewer pictures, or start Satchel on your own machine."
    )


def _unzip(path: Path, out: Path, room: int) -> None:
    """What a data set is made of, and nothing else, whatever the archive calls it.

    Raises:
        UserError: as of `unpacked`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = list(_wanted(archive.infolist()))
            total = sum(entry.file_size for entry, _ in entries)
            if len(entries) > MOST_FILES or total > MOST_BYTES:
                raise UserError(
                    f"{path.name} holds {len(entries):,} files of {total / 2**30:.1f} GB together, more than a page "
                    "takes; put the folder on the server and name it with --data or --data-root."
                )
            if total > room:
                raise _too_much(total, room)
            if total > MOST_TIMES * max(1, path.stat().st_size):
                raise UserError(f"{path.name} would unpack to {MOST_TIMES} times its size, as no pictures do.")
            if not any(is_picture(target.name) for _, target in entries):
                raise UserError(f"{path.name} holds no pictures; zip a folder with one folder a class.")
            for entry, target in entries:
                place = out / target
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, place.open("wb") as file:
                    shutil.copyfileobj(source, file)  # no more than it says of itself
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        why = "it asks for a password" if "password" in str(error) else "it is damaged or of an unknown kind"
        raise UserError(f"{path.name} cannot be unpacked ({why}); zip the folder again.") from error


def _wanted(entries: Iterable[zipfile.ZipInfo]) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    for entry in entries:
        target = PurePosixPath(entry.filename.replace("\\", "/"))
        parts = [part for part in target.parts if part not in ("", ".", "/")]
        if entry.is_dir() or not parts or any(part == ".." or ":" in part for part in parts) or target.is_absolute():
            continue
        if any(part.startswith((".", "__MACOSX")) for part in parts):
            continue
        if (entry.external_attr >> 16) & 0o170000 == 0o120000:  # a link, which may lead anywhere
            continue
        if is_picture(parts[-1]) or parts[-1].lower().endswith(ABOUT):
            yield entry, PurePosixPath(*parts)


def _copy(files: Sequence[Path], out: Path, room: int) -> None:
    good = [path for path in files if is_picture(path.name) or path.suffix.lower() in ABOUT]
    if not any(is_picture(path.name) for path in good):
        raise UserError(f"{files[0].name} is no picture and no zip; give a zip of pictures, or pictures.")
    total = sum(path.stat().st_size for path in good)
    if total > room:
        raise _too_much(total, room)
    for path in good:
        name = re.sub(r"[\\/]", "-", path.name)
        place, number = out / name, 2
        while place.exists():
            place, number = out / f"{Path(name).stem} ({number}){Path(name).suffix}", number + 1
        shutil.copyfile(path, place)


def _inner(folder: Path) -> Path:
    """The one folder in it that holds everything, if there is nothing beside: archives often have one around.

    A folder of pictures alone is a class, and stays.
    """
    while True:
        entries = list(folder.iterdir())
        only = entries[0] if len(entries) == 1 and entries[0].is_dir() else None
        if only is None or not any(child.is_dir() or child.suffix.lower() in ABOUT for child in only.iterdir()):
            return folder
        folder = only
