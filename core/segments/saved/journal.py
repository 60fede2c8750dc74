"""One line a save, appended: what a list of many pictures needs, without opening them."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

from core.runtime.versions import write_error
from core.segments.saved.records import Record, checked

PROBLEM = {"picture": str, "problem": str}
SAVED = {
    "picture": str, "version": int, "by": str, "at": str, "action": str,
    "masks": int, "proposed": int, "nameless": int, "names": dict, "made_by": dict,
}  # fmt: skip


class Journal:
    """The file, and what it says of every picture. Lines of other processes are taken in as they appear.

    It is an index only: should a line be lost with a process or on a full disk, the picture's own file knows better,
    and whoever opens that, or the store, adds the line again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._read = 0
        self._pictures: dict[str, dict[str, Any]] = {}
        self._problems: dict[str, str] = {}

    def pictures(self) -> dict[str, dict[str, Any]]:
        """Picture -> its newest line: version, by, at, action, and what `Record.summary` says."""
        with self._lock:
            self._take_in()
            return dict(self._pictures)

    def line(self, picture: str) -> dict[str, Any] | None:
        with self._lock:
            self._take_in()
            return self._pictures.get(picture)

    def version(self, picture: str) -> int:
        """The newest version that was noted; 0 if none was."""
        line = self.line(picture)
        return line["version"] if line else 0

    def problems(self) -> dict[str, str]:
        """Picture -> why nothing could be saved for it, until something is."""
        with self._lock:
            self._take_in()
            return dict(self._problems)

    def saved(self, record: Record) -> None:
        """Note a version. A full disk is no error here: the version itself is on it."""
        about = {key: getattr(record, key) for key in ("picture", "version", "by", "at", "action")}
        line = {**about, **record.summary}
        try:
            self._append(line)
        except OSError:
            with self._lock:  # this process knows of it; others find the version when they open the store
                self._note(record.picture, line)

    def problem(self, picture: str, problem: str) -> None:
        """Note why a picture was left out.

        Raises:
            WriteError: the disk is full, or the folder cannot be written to.
        """
        try:
            self._append({"picture": picture, "problem": problem})
        except OSError as error:
            raise write_error(self.path.parent, error) from error

    def _append(self, values: dict[str, Any]) -> None:
        # a line break in front as well: what a killed writer left unfinished stays apart
        data = b"\n" + json.dumps(values).encode() + b"\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            if os.write(handle, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(handle)

    def _take_in(self) -> None:
        try:
            with self.path.open("rb") as file:
                file.seek(0, os.SEEK_END)
                if file.tell() < self._read:  # it was removed and begun anew
                    self._read = 0
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data.rfind(b"\n") + 1
        self._read += whole
        for text in data[:whole].splitlines():
            try:
                line = json.loads(text)
                checked(line, PROBLEM if "problem" in line else SAVED)
                checked(line.get("names", {}), dict.fromkeys(line.get("names", ()), int))
                self._note(line["picture"], line)
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # empty, left unfinished, or not what is written here

    def _note(self, picture: str, line: dict[str, Any]) -> None:
        if "problem" in line:
            self._problems[picture] = line["problem"]
        elif line["version"] >= self._pictures.get(picture, line)["version"]:
            self._pictures[picture] = line
            self._problems.pop(picture, None)
