"""What a person says of a model's preprocessing, in words, on the command line or on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.errors import UserError

if TYPE_CHECKING:
    from core.preprocessing import Preprocessing

LARGEST_COLOUR = 3.0  # of a mean or deviation of pictures in [0, 1]


def stated(
    mean: str | None,
    std: str | None,
    size: str | None,
    crop: str | None,
    interpolation: str | None,
    options: Sequence[str] = ("--mean", "--std", "--size", "--crop"),
) -> dict[str, Any]:
    """What is said of preprocessing, as `load_classifier` takes it; None or "" says nothing.

    Args:
        options: what to call them in messages.

    Raises:
        UserError: an option that says no number or no size.
    """
    given = {
        "mean": _numbers(options[0], mean),
        "std": _numbers(options[1], std),
        "size": _size(options[2], size),
        "crop": _size(options[3], crop),
        "interpolation": interpolation or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if not (text or "").strip() or text is None:
        return None
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise UserError(f"{option} takes one number or three with commas between, got {text!r}.") from error
    if len(values) not in (1, 3) or not all(abs(value) < LARGEST_COLOUR for value in values):
        raise UserError(f"{option} takes one number or three, of pictures in [0, 1]; divide those of 0 to 255 by 255.")
    return values


def _size(option: str, text: str | None) -> int | tuple[int, int] | None:
    if not (text or "").strip() or text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.strip().isdecimal() for side in sides):
        raise UserError(f"{option} takes a number of pixels or HEIGHTxWIDTH, such as 224 or 224x224, got {text!r}.")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def in_words(preprocessing: Preprocessing) -> dict[str, str]:
    """The other way round: what to type for `mean`, `std`, `size`, `crop` and `interpolation` to get the same."""
    resize, crop = preprocessing.resize, preprocessing.crop
    size = "" if resize is None else f"{resize[0]}x{resize[1]}" if isinstance(resize, tuple) else str(resize)
    return {
        "mean": ", ".join(f"{value:g}" for value in preprocessing.mean),
        "std": ", ".join(f"{value:g}" for value in preprocessing.std),
        "size": size,
        "crop": f"{crop[0]}x{crop[1]}" if crop else "",
        "interpolation": preprocessing.interpolation,
    }
