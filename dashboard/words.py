"""Numbers and counts as a person writes them."""

from __future__ import annotations

import re
from html import escape


def number(value: float, digits: int = 1) -> str:
    """Fixed digits with a real minus sign and no minus zero."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:.{digits}f}".replace("-", "−")


def plural(count: int, one: str, many: str | None = None) -> str:
    """ "1 map", "2 maps"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """ "under a minute", "3 min", "2 h 5 min"."""
    minutes = round(seconds / 60)
    if not minutes:
        return "under a minute"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def wrong(label: str) -> str:
    """What is said of an answer where the picture is known to show something else: "wrong: it is an owl"."""
    article = ("an " if label[:1] in "aeiou" else "a ") if label[:1].islower() else ""
    return f"wrong: it is {article}{label}"


def wrong_mark(label: str) -> str:
    """The same with a shape beside the words, as HTML."""
    cross = '<svg viewBox="0 0 12 12" aria-hidden="true"><path d="M2 2 10 10M10 2 2 10"/></svg>'
    return f'<span class="wrong">{cross}<span>{escape(wrong(label))}</span></span>'


def signed(sentence: str) -> str:
    """With real minus signs, as `number` writes them."""
    return re.sub(r"(?<=[\s\[])-(?=\d)", "−", sentence) if "-" in sentence else sentence
