"""What counts as a picture: the one walk through a folder that decides it, and says what it passed over."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.images import PICTURE_SUFFIXES
from core.segments.files import holds_store
from core.segments.files.label_maps import VOC_FOLDER
from core.segments.files.names import NAMES_FILE

# Pictures, but of formats that are not read.
NOT_READ = frozenset((
    ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpx", ".jpf", ".jxr", ".svg", ".svgz", ".psd", ".psb",
    ".raw", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw", ".x3f",
    ".tga", ".pcx", ".ppm", ".pgm", ".pbm", ".pnm", ".exr", ".hdr", ".ico", ".icns", ".xcf", ".eps", ".ai", ".dds",
    ".dcm", ".dicom", ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".qoi", ".xbm", ".xpm",
))  # fmt: skip
# Where other programs keep copies and what was thrown away; beside all names that begin with a dot.
OTHERS = frozenset((
    "__macosx", "@eadir", "#recycle", "@recycle", "#snapshot", "@recently-snapshot", "$recycle.bin", "recycler",
    "system volume information", "lost+found", "__pycache__", "found.000",
))  # fmt: skip
VOC_OBJECTS = "SegmentationObject"
# What every report's and evaluation's settings say.
RUN_KEYS = {"format", "data", "items", "fingerprint", "explainers", "seed"}
FINISHED = {"manifest.json", "findings.json", "table.parquet"}
LARGEST_SETTINGS = 1 << 20  # bytes
# `satchel explain` lists its maps there, and names one PICTURE.EXPLAINER.png, with its values beside it.
LIST = "attribution.json"
OVERLAY = re.compile(r".+\.[a-z][a-z0-9-]*\.png")


@dataclass(frozen=True)
class Found:
    """The pictures of a folder.

    Attributes:
        files: as they are named below the folder that was given, sorted.
        notes: what was passed over, one sentence each.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def is_picture(name: str) -> bool:
    """Whether a file name is one of a picture that is read."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def pictures_in(root: Path, results: Iterable[Path] = (), masks: Iterable[Path] = ()) -> Found:
    """All pictures below a folder; links are followed, and what is reached twice counts once.

    Left out, and told where there are pictures: hidden files and folders, what other programs keep for themselves, what
    Satchel wrote, and folders of masks.

    Args:
        results: where results go. masks: folders where the pictures' masks lie.

    Raises:
        UserError: the folder itself cannot be listed, or Satchel wrote it.
    """
    walk = _Walk(root, {os.path.realpath(path) for path in results}, {os.path.realpath(path) for path in masks})
    walk.all()
    return Found(tuple(sorted(walk.found)), tuple(walk.notes()))


class _Walk:
    """One walk. Folders and files that are no links come first, so that theirs is the name that counts."""

    def __init__(self, root: Path, results: set[str], masks: set[str]) -> None:
        self.root, self.results, self.masks = root, results, masks
        self.found: list[Path] = []
        self.real: set[str] = set()  # of the files found
        self.visited: set[str] = set()  # folders
        self.folders: deque[tuple[Path, str]] = deque([(root, os.path.realpath(root))])
        self.linked_folders: deque[Path] = deque()
        self.linked_files: list[Path] = []
        self.left_out: dict[str, list[tuple[Path, int]]] = {}
        self.unread: Counter[str] = Counter()

    def all(self) -> None:
        while self.folders or self.linked_folders:
            if self.folders:
                self.folder(*self.folders.popleft())
            else:
                self.linked_folder(self.linked_folders.popleft())
        for path in self.linked_files:
            self.file(path, os.path.realpath(path))

    def folder(self, path: Path, real: str) -> None:
        self.visited.add(real)
        try:
            with os.scandir(path) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            if path == self.root:
                raise UserError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
            self.leave_out("closed", path)
            return
        names = {entry.name for entry in entries}
        if (why := self.why_not(path, names)) is not None:
            if path == self.root:
                raise UserError(f"{path} is a folder that Satchel wrote; give the folder that holds the pictures.")
            self.leave_out(why, path)
            return
        own, masks = _overlays(path, names), self.folders_of_masks(path, names)
        for entry in entries:
            below, real_below = path / entry.name, os.path.join(real, entry.name)
            if entry.name.startswith(".") or entry.name.lower() in OTHERS:
                self.leave_out("hidden", below)
            elif entry.name in masks:
                self.leave_out("masks", below)
            elif entry.name in own:
                self.leave_out("own", below)
            else:
                self.entry(entry, below, real_below)

    def entry(self, entry: os.DirEntry[str], path: Path, real: str) -> None:
        try:
            is_link, is_folder, is_file = entry.is_symlink(), entry.is_dir(), entry.is_file()
        except OSError:  # links in a circle
            is_link, is_folder, is_file = True, False, False
        if is_folder and is_link:
            self.linked_folders.append(path)
        elif is_folder:
            self.enter(path, real)
        elif is_file and is_link:
            self.linked_files.append(path)
        elif is_file:
            self.file(path, real)
        elif is_picture(entry.name) or (is_link and not path.suffix):
            self.leave_out("odd", path, 1)

    def linked_folder(self, path: Path) -> None:
        real = os.path.realpath(path)
        held_by = os.path.realpath(path.parent)
        if any(_is_within(place, real) for place in (held_by, os.path.realpath(self.root))):
            self.leave_out("loop", path, 1)
        elif real in self.visited:
            self.leave_out("twice", path)
        else:
            self.enter(path, real)

    def enter(self, path: Path, real: str) -> None:
        if real in self.results:
            self.leave_out("own", path)
        elif real in self.masks and not (path / VOC_FOLDER).is_dir():  # VOC has the pictures in the same place
            self.leave_out("masks", path)
        else:
            self.folders.append((path, real))

    def file(self, path: Path, real: str) -> None:
        if is_picture(path.name):
            if real in self.real:
                self.leave_out("twice", path)
            else:
                self.real.add(real)
                self.found.append(path)
        elif path.suffix.lower() in NOT_READ:
            self.unread[path.suffix.lower()] += 1

    def why_not(self, path: Path, names: set[str]) -> str | None:
        """Why a whole folder holds no data, or None."""
        if ("settings.json" in names and _is_run(path / "settings.json")) or names >= FINISHED:
            return "own"
        return "own" if "names" in names and holds_store(path) else None

    def folders_of_masks(self, path: Path, names: set[str]) -> set[str]:
        """What in this folder is masks: VOC's folders, and what a `segments.json` here is about.

        That is the folders that it names, or the folder `masks` beside it, or all that lies here; but the folder that
        was given is not without pictures.
        """
        found = {VOC_FOLDER, VOC_OBJECTS} & names
        if NAMES_FILE in names:
            keys = _json(path / NAMES_FILE)
            named = {key for key in keys if not key.isdecimal()} if isinstance(keys, dict) else set()
            found |= (named or {"masks"}) & names or (names if path != self.root else set())
        return found

    def leave_out(self, why: str, path: Path, count: int | None = None) -> None:
        """Note what is passed over, if it holds pictures; what cannot be looked at may hold some."""
        if count is None:
            count = 1 if why == "closed" else sum(map(is_picture, _files(path)))
        if count:
            self.left_out.setdefault(why, []).append((path.relative_to(self.root), count))

    def notes(self) -> Iterator[str]:
        if self.unread:
            kinds = sorted(self.unread, key=lambda suffix: (-self.unread[suffix], suffix))
            said = ", ".join(f"{self.unread[suffix]:,} {suffix}" for suffix in kinds)
            alone = sum(self.unread.values()) == 1
            yield f"{said} {'file is not read; save it' if alone else 'files are not read; save them'} as JPEG."
        for why, sentence in LEFT_OUT.items():
            if why in self.left_out:
                left = self.left_out[why]
                number = sum(count for _, count in left)
                yield sentence[number > 1].format(
                    f"{number:,}", ", ".join(sorted({str(place) for place, _ in left})[:3])
                )


# Why -> the note on one, and on several; with how many, and the first places.
LEFT_OUT = {
    "hidden": (
        "1 picture among hidden files and in what other programs keep for themselves was left out ({1}).",
        "{0} pictures among hidden files and in what other programs keep for themselves were left out ({1}).",
    ),
    "own": ("1 picture that Satchel wrote was left out ({1}).", "{0} pictures that Satchel wrote were left out ({1})."),
    "masks": ("1 picture that is a mask was left out ({1}).", "{0} pictures that are masks were left out ({1})."),
    "twice": (
        "1 picture that is reached twice, through links, was counted once ({1}).",
        "{0} pictures that are reached twice, through links, were counted once ({1}).",
    ),
    "loop": (
        "A link to a folder that it lies in was not followed ({1}).",
        "{0} links to folders that they lie in were not followed ({1}).",
    ),
    "odd": (
        "A link that leads nowhere, or a device or pipe, was left out ({1}).",
        "{0} links that lead nowhere, or devices or pipes, were left out ({1}).",
    ),
    "closed": (
        "A folder cannot be read and was left out ({1}); check its permissions.",
        "{0} folders cannot be read and were left out ({1}); check their permissions.",
    ),
}


def _files(path: Path) -> Iterator[str]:
    """The names of all files there, or of the one; links inside are not followed."""
    if not os.path.isdir(path):  # which no missing permission makes raise
        yield path.name
        return
    for _, _, names in os.walk(path):
        yield from names


def _is_within(path: str, folder: str) -> bool:
    return os.path.commonpath((path, folder)) == folder


def _is_run(settings: Path) -> bool:
    """Whether it is the settings of a report or an evaluation."""
    found = _json(settings)
    return isinstance(found, dict) and found.keys() >= RUN_KEYS


def _overlays(folder: Path, names: set[str]) -> set[str]:
    """Drawings of `satchel explain` in a folder: those in its list, and those with their values beside them."""
    found = {name for name in names if OVERLAY.fullmatch(name) and f"{name.removesuffix('.png')}.npy" in names}
    if LIST in names:
        listed = _json(folder / LIST)
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        found |= {str(entry.get("overlay_file")) for entry in entries if "values_file" in entry}
    return found


def _json(path: Path) -> Any:
    with suppress(OSError, ValueError, RecursionError):
        if path.is_file() and path.stat().st_size <= LARGEST_SETTINGS:
            return json.loads(path.read_bytes())
    return None
