"""Numbers and counts as a person writes them."""

from __future__ import annotations


def number(value: float, digits: int = 1) -> str:
    """Fixed digits with a real minus sign and no minus zero."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:.{digits}f}".replace("-", "−")


def plural(count: int, one: str, many: str | None = None) -> str:
    """ "1 map", "2 maps"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
