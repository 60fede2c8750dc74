"""The store of segments with many pictures, and memory while a data set is named.

    uv run python benchmarks/segment_store.py [--pictures 10000] [--named 1000]

Writes benchmarks/results/segment-store.json. A save returns when it is on the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from figures import machine, timed
from naming import RESULT, birds

from core.data import Item
from core.segments import Segments
from core.segments.naming.review import Review
from core.segments.naming.spread import name_dataset
from core.segments.saved.store import Store


def measure_store(pictures: int, named: int) -> dict[str, Any]:
    """Saving and opening many pictures, and memory while a data set is named."""
    boxes = np.zeros((12, 224, 224), bool)
    for number, mask in enumerate(boxes):
        mask[15 * number : 15 * number + 40, 9 * number : 9 * number + 60] = True
    cut = Segments.from_masks(boxes, [f"part {number}" for number in range(12)], ["unset"] * 12, naming="typed")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "many")
        saving = timed(
            lambda: [store.save(f"images/{number:05d}.png", cut, None, "named") for number in range(pictures)]
        )
        opening = timed(lambda: Store(Path(folder) / "many"))
        fresh = Store(Path(folder) / "many")
        counting = timed(lambda: fresh.tally(pictures))
        loading = timed(lambda: [fresh.load(f"images/{number:05d}.png") for number in range(0, pictures, 100)])
        size = (Path(folder) / "many" / "journal.jsonl").stat().st_size
    return {
        "pictures": pictures,
        "masks_a_picture": 12,
        "save_ms": round(1000 * saving / pictures, 2),
        "open_s": round(opening, 4),
        "tally_s": round(counting, 4),
        "load_ms": round(1000 * loading / (pictures // 100), 2),
        "journal_mb": round(size / 1e6, 2),
        "naming": measure_memory(named),
    }


def measure_memory(pictures: int) -> dict[str, Any]:
    """Resident memory after a tenth of the work, and the most that came on top."""
    data = birds(pictures, 64)
    bare = replace(data, items=tuple(replace(item, segments=partial(_without_names, item)) for item in data.items))
    named = {item.id: item.segments() for item in data.items[:3]}
    shown = {key: segments for key, segments in named.items() if segments is not None}
    readings = []
    with tempfile.TemporaryDirectory() as folder:
        began = process_time()
        for progress in name_dataset(bare, Store(Path(folder) / "store"), shown):
            readings.append(resident())
            if not progress.done % 50:
                print(f"\r{progress.stage} {progress.done}/{progress.total}", end="", flush=True)
        spent = process_time() - began
        review = Review(bare, Store(Path(folder) / "store"))
        for _ in review.gather():
            pass
        answers = [cpu_seconds(lambda: review.accept(review.questions(1)[0])) for _ in range(10)]
    early = readings[len(readings) // 10]
    return {
        "pictures": pictures,
        "cpu_ms_a_picture": round(1000 * spent / pictures, 1),
        "masks_to_review": review.left + len(answers),
        "cpu_ms_an_answer": round(1000 * median(answers), 1),
        "resident_mb_after_a_tenth": round(early, 1),
        "grown_by_mb": round(max(readings) - early, 1),
    }


def _without_names(item: Item) -> Segments:
    segments = item.segments()
    assert segments is not None
    return replace(segments, items=tuple(replace(segment, name="", naming="") for segment in segments))


def cpu_seconds(work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return process_time() - began


def resident() -> float:
    """Megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="The store of segments with many pictures.")
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--named", type=int, default=1_000)
    options = parser.parse_args()
    result = {**measure_store(options.pictures, options.named), "machine": machine()}
    RESULT.with_name("segment-store.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
