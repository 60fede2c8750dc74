"""What a running page tells whoever runs it: one line an event, as text or as JSON, on standard error.

The logger is called "satchel". Visitors appear by a shortened hash of their key, which opens nothing; what they call
their pictures does not appear.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal

from core.errors import UserError

Form = Literal["text", "json"]
log = logging.getLogger("satchel")
_visitor: ContextVar[str] = ContextVar("visitor", default="")


def shortened(key: str) -> str:
    """What a visitor is called in the log: always the same for one key, and no way back to it."""
    return hashlib.sha256(key.encode()).hexdigest()[:8] if key else ""


def now_serving(name: str) -> None:
    """What is told from here on in this request is about this visitor (as of `shortened`)."""
    _visitor.set(name)


def served() -> str:
    """The visitor whom this request is about; "" for none."""
    return _visitor.get()


def told(event: str, *, visitor: str | None = None, failed: bool = False, **about: Any) -> None:
    """Tell of an event.

    Args:
        event: a few words. visitor: as of `shortened`; None for whom this request is about.
        failed: something was refused or went wrong; the line is a warning.
        about: what is to be known of it, as plain values.
    """
    who = served() if visitor is None else visitor
    log.log(logging.WARNING if failed else logging.INFO, event, extra={"visitor": who, "about": about})


@contextmanager
def timed(what: str, done: str, without: str = "", **about: Any) -> Generator[dict[str, Any]]:
    """Tell of the end of what is done inside, with its seconds; of a `UserError` with its sentence.

    Args:
        what, done: such as "model", "loaded".
        without: words that the sentence is not to repeat, such as a picture's name.

    Yields:
        What is known of it, to be added to.
    """
    began = monotonic()
    try:
        yield about
    except UserError as error:
        why = str(error).replace(without, "it") if without else str(error)
        told(f"{what} refused", failed=True, why=why, seconds=round(monotonic() - began, 3), **about)
        raise
    told(f"{what} {done}", seconds=round(monotonic() - began, 3), **about)


@contextmanager
def written(form: Form | None = None) -> Generator[None]:
    """Write the log of this process to standard error while what is inside goes on.

    Args:
        form: of every line; None for text, and only of defects, with their tracebacks.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    if form is None:  # a person at a desk has the page to tell of everything else
        handler.addFilter(lambda record: record.levelno >= logging.ERROR)
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _parts(record: logging.LogRecord) -> dict[str, Any]:
    visitor, about = getattr(record, "visitor", ""), getattr(record, "about", {})
    return {**({"visitor": visitor} if visitor else {}), **about}


def _when(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class Text(logging.Formatter):
    """Time, level, event, name=value; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        values = "".join(f" {name}={_word(value)}" for name, value in _parts(record).items())
        line = f"{_when(record)} {record.levelname.lower()} {record.getMessage()}{values}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class Json(logging.Formatter):
    """One object a line; a traceback is one of its values."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {"time": _when(record), "level": record.levelname.lower(), "event": record.getMessage()}
        entry |= _parts(record)
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def _word(value: Any) -> str:
    """A value that cannot be mistaken for two, nor for another line."""
    plain = str(value)
    if isinstance(value, str) and (not plain or any(not c.isprintable() or c in ' "=' for c in plain)):
        return json.dumps(plain)
    return plain
