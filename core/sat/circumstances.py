"""What the data and the model are like, where that bears on every number of a report: one sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from core.sat import DELTA
from core.sat.stamps import Stamp

ALL = "every picture"


def circumstances(
    pictures: pd.DataFrame,
    table: pd.DataFrame,
    labels: Sequence[str],
    delta: float,
    chosen: bool,
    stamps: Sequence[Stamp],
    frame: tuple[int, int],
) -> list[str]:
    """What somebody should know before they read any verdict.

    Args:
        pictures, table: of the report. labels: of the classes.
        delta: what effects are held against; chosen: whether somebody gave it.
        frame: (H, W) of what the model sees.
    """
    found = [*_of_answers(pictures, labels), *_of_labels(pictures), *_of_maps(table, labels)]
    if len(table) and (table["kind"] == "unset").all():
        found.append(
            "No segment is marked as object or context: reliance is found on any of them, and none of it is called a "
            "shortcut; mark context with --context NAME,... or on the Segments tab."
        )
    if not chosen and delta < DELTA:
        found.append(
            f"The model's answers are not far apart (median log-odds {np.median(pictures['margin'].abs()):.2g}), so "
            f"that effects count from {delta:.2g} on instead of {DELTA}."
        )
    return [*found, *_of_stamps(stamps, frame)]


def _of_answers(pictures: pd.DataFrame, labels: Sequence[str]) -> Iterator[str]:
    answers = pictures["prediction"].unique()
    if len(answers) == 1 and len(pictures) > 1:
        yield (
            f"All {len(pictures):,} pictures are taken for {labels[int(answers[0])]}: there is no other class to paste "
            "on or to swap with, so that nothing can be cleared; add pictures of other classes."
        )


def _of_labels(pictures: pd.DataFrame) -> Iterator[str]:
    known = pictures["correct"].dropna()
    if pictures["label"].isna().all():
        yield (
            "The pictures have no labels: it is not known which of them are taken rightly for their class, and all "
            "count alike."
        )
    elif len(known) and not known.astype(bool).any():
        yield (
            f"The model is wrong on all {len(known):,} pictures that have a label, so that no segment is pasted from "
            "a picture rightly taken for its class; check that labels and the model's classes mean the same."
        )


def _of_maps(table: pd.DataFrame, labels: Sequence[str]) -> Iterator[str]:
    """Maps that are zero all over say nothing of attention."""
    for explainer, part in table.groupby("explainer", sort=False) if len(table) else ():
        flat = part["density"].isna().groupby(part["target"].to_numpy(int)).all()
        of = dict(zip(flat.index.to_list(), flat.to_list()))
        classes = [labels[target] for target, flat in of.items() if flat]
        if classes:
            where = ALL if len(classes) == len(of) else f"{ALL} taken for {', '.join(classes[:5])}"
            more = f" and {len(classes) - 5} more" if len(classes) > 5 and where != ALL else ""
            yield f"The maps of {explainer} are zero on {where}{more}: nothing draws attention there."


def _of_stamps(stamps: Sequence[Stamp], frame: tuple[int, int]) -> Iterator[str]:
    for stamp in stamps:
        high, wide = stamp.pixels.shape[:2]
        part = frame[0] * wide / high / frame[1]
        if part < stamp.width:
            yield (
                f"The stamp {stamp.name} would be higher than the picture: it takes up {part:.0%} of its width instead "
                f"of {stamp.width:.0%}."
            )
        seen = stamp.pixels[stamp.pixels[..., 3] > 0]
        if not np.ptp(seen, axis=0).any() and len(seen) == high * wide:
            yield (
                f"The stamp {stamp.name} is of one colour, and so is its placebo: nothing is found of it, whatever the "
                "model makes of it."
            )
