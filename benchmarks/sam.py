"""How well a SAM cuts: held-out rendered birds, and real cells and skin lesions that the compact one was never shown.

    uv run python benchmarks/sam.py [birds] [wbc] [ph2] [speed] [memory] [--sam compact] [--points N] [--pictures N]

On birds: one click at the centre of every part, and everything-mode. On cells (a click in the nucleus, a box round the
cell) and lesions (a box round the lesion) it is compared, picture by picture, with what a box gives for nothing: all of
it, the ellipse in it, and GrabCut (Rother et al., SIGGRAPH 2004, OpenCV's). `speed` sets everything-mode against the
package's bare generator, turn about; `memory` cuts a thousand pictures. Results go to benchmarks/results/sam.json, one
part at a time. The real pictures are those that the tests use (`../shared/data` or $SATCHEL_TEST_DATA).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from figures import machine, summary, timed
from PIL import Image

from core.data import open_dataset
from core.demo.making.sam_lessons import SMALLEST, box_of, middle
from core.demo.making.sam_pictures import bird
from core.demo.segments import SEGMENTS
from core.images import Picture
from core.sat.statistics import bootstrap_interval
from core.segments.sam.embeddings import EmbeddingCache
from core.segments.sam.model import EverythingParameters, Sam, open_sam, usual_parameters

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "sam.json"
DATA = Path(os.environ.get("SATCHEL_TEST_DATA", ROOT.parent / "shared" / "data"))
HELD_OUT_BIRDS = 5_000_000
BIRD_SIDE = 256
GRABCUT_SIDE = 384  # a large picture is cut at this side, which takes seconds as it is
PARTS = ("birds", "wbc", "ph2", "speed", "memory")


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Of two bool masks."""
    return float((first & second).sum() / max(1, (first | second).sum()))


def interval(values: list[float], groups: list[str]) -> dict[str, float]:
    """Mean with its bootstrap interval over groups."""
    found = bootstrap_interval(values, groups, "mean")
    return {
        "mean": round(found.estimate, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "n": len(values),
    }


# --- birds --------------------------------------------------------------------------------------------------------


def measure_birds(sam: Sam, count: int, parameters: EverythingParameters) -> dict[str, Any]:
    """One click at each part's centre; recall of the parts at IoU 0.5 in everything-mode."""
    rows: list[tuple[str, str, float, float, float]] = []
    masks = []
    for index in range(count):
        drawn = bird(index, BIRD_SIDE, HELD_OUT_BIRDS)
        picture = Picture(Image.fromarray(drawn.image), str(index))
        cut = sam.everything(picture, parameters).masks
        masks.append(len(cut))
        for value, (name, _) in SEGMENTS.items():
            part = drawn.labels == value
            if part.sum() < SMALLEST:
                continue
            answer = sam.predict(picture, [middle(part)], [1])
            reached = [iou(mask, part) for mask in answer.masks]
            found = max((iou(mask, part) for mask in cut), default=0.0)
            rows.append((str(index), name, reached[0], max(reached), found))
    pictures = [row[0] for row in rows]
    names = sorted({row[1] for row in rows})
    by_part = {
        name: {
            "click_iou": round(float(np.mean([row[2] for row in rows if row[1] == name])), 4),
            "recall": round(float(np.mean([row[4] >= 0.5 for row in rows if row[1] == name])), 4),
            "n": sum(row[1] == name for row in rows),
        }
        for name in names
    }
    return {
        "aim": "mean IoU of one click >= 0.80; recall at IoU 0.5 in everything-mode >= 0.80",
        "pictures": count,
        "click_iou": interval([row[2] for row in rows], pictures),
        "best_candidate_iou": interval([row[3] for row in rows], pictures),
        "everything_recall": interval([float(row[4] >= 0.5) for row in rows], pictures),
        "masks_a_picture": round(float(np.mean(masks)), 1),
        "parameters": parameters.to_dict(),
        "by_part": by_part,
    }


# --- cells and lesions --------------------------------------------------------------------------------------------


def filled_box(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """All of the box."""
    mask = np.zeros(image.shape[:2], bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def ellipse(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The ellipse that fits into the box."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    across, down = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    return ((x - (box[0] + across)) / across) ** 2 + ((y - (box[1] + down)) / down) ** 2 <= 1


def grabcut(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Five rounds of GrabCut from the box; the box itself where GrabCut finds nothing or has no outside to learn."""
    import cv2

    cv2.setRNGSeed(0)
    height, width = image.shape[:2]
    shrink = min(1.0, GRABCUT_SIDE / max(height, width))
    small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else image
    left, top, right, bottom = (round(value * shrink) for value in box)
    labels = np.zeros(small.shape[:2], np.uint8)
    models = np.zeros((2, 1, 65))
    try:
        cv2.grabCut(
            small, labels, (left, top, right - left, bottom - top), models[0], models[1], 5, cv2.GC_INIT_WITH_RECT
        )
    except cv2.error:
        return filled_box(image, box)
    cut = cv2.resize(np.isin(labels, (1, 3)).astype(np.float32), (width, height)) > 0.5
    return cut if cut.any() else filled_box(image, box)


RIVALS: dict[str, Callable[[np.ndarray, tuple[int, int, int, int]], np.ndarray]] = {
    "filled box": filled_box,
    "inscribed ellipse": ellipse,
    "grabcut": grabcut,
}


def things(name: str, count: int) -> Iterator[tuple[Picture, dict[str, np.ndarray]]]:
    """Real pictures with their masks by name."""
    for item in open_dataset(DATA / name, limit=count).items:
        picture, segments = item.load()
        if segments is not None:
            yield picture, dict(zip(segments.names, segments.masks))


def compare(sam: Sam, name: str, count: int) -> dict[str, Any]:
    """The IoU of a SAM and of its rivals with what was drawn by hand; differences are paired by picture."""
    tasks: dict[str, dict[str, list[float]]] = {}
    groups: dict[str, list[str]] = {}

    def add(task: str, key: str, picture: Picture, truth: np.ndarray, mask: np.ndarray) -> None:
        box, image = box_of(truth), picture.array()
        scores = tasks.setdefault(task, {})
        groups.setdefault(task, []).append(key)
        scores.setdefault("sam", []).append(iou(mask, truth))
        for rival, cut in RIVALS.items():
            scores.setdefault(rival, []).append(iou(cut(image, box), truth))

    for number, (picture, masks) in enumerate(things(name, count)):
        if name == "wbc":
            nucleus = masks.get("nucleus", np.zeros(picture.size, bool))
            cell = nucleus | masks.get("cytoplasm", np.zeros(picture.size, bool))
            if nucleus.sum() >= SMALLEST:
                answer = sam.predict(picture, [middle(nucleus)], [1])
                add("click in the nucleus", str(number), picture, nucleus, answer.masks[0])
            answer = sam.predict(picture, box=box_of(cell))
            add("box round the cell", str(number), picture, cell, answer.masks[0])
        elif masks["lesion"].any():
            answer = sam.predict(picture, box=box_of(masks["lesion"]))
            add("box round the lesion", str(number), picture, masks["lesion"], answer.masks[0])
        print(f"\r{name} {number + 1}".ljust(20), end="", flush=True)
    print()
    return {
        task: {
            "aim": "paired differences from all rivals above zero" if "box" in task else "none set; rivals get the box",
            "iou": {who: interval(values, groups[task]) for who, values in scores.items()},
            "sam_minus": {
                rival: interval([a - b for a, b in zip(scores["sam"], scores[rival])], groups[task]) for rival in RIVALS
            },
        }
        for task, scores in tasks.items()
    }


# --- speed and memory ---------------------------------------------------------------------------------------------


def fresh(sam: Sam, folder: str) -> Sam:
    """The same SAM with nothing remembered."""
    return Sam(sam._module, sam.name, device=sam.device, precision=sam.precision, cache=EmbeddingCache(folder))


def measure_speed(sam: Sam, count: int, parameters: EverythingParameters) -> dict[str, Any]:
    """Everything-mode against the bare generator; first and later clicks on a new picture."""
    from segment_anything import SamAutomaticMaskGenerator

    bare = SamAutomaticMaskGenerator(
        sam._module,
        points_per_side=parameters.points,
        pred_iou_thresh=parameters.quality,
        stability_score_thresh=parameters.stability,
        box_nms_thresh=parameters.duplicates,
        crop_n_layers=parameters.crops,
        crop_n_points_downscale_factor=parameters.crop_points,
        min_mask_region_area=parameters.min_area,
    )
    paths = sorted((DATA / "imagenet100").rglob("*.[jJ][pP]*[gG]"))[: count + 1]
    pictures = [Picture(Image.open(path).convert("RGB"), path.name) for path in paths]
    samples: dict[str, list[float]] = {"bare": [], "ours": [], "second": [], "first_click": [], "later_click": []}
    for number, picture in enumerate(pictures):
        with tempfile.TemporaryDirectory() as folder:
            cold = fresh(sam, folder)
            own = timed(lambda: cold.everything(picture, parameters))  # noqa: B023 - called at once
            again = timed(lambda: cold.everything(picture, parameters))  # noqa: B023
        package = timed(lambda: bare.generate(picture.array()))  # noqa: B023
        with tempfile.TemporaryDirectory() as folder:
            cold = fresh(sam, folder)
            height, width = picture.size
            first = timed(lambda: cold.predict(picture, [(width / 2, height / 2)], [1]))  # noqa: B023
            later = [timed(lambda: cold.predict(picture, [(width / k, height / 3)], [1])) for k in (2, 3, 4)]  # noqa: B023
        if number:  # the first warms everything up
            for name, value in zip(samples, (package, own, again, first, median(later))):
                samples[name].append(value)
    typical = {name: median(values) for name, values in samples.items()}
    return {
        "aim": "1.0 times as fast as the bare generator, 3 on the second pass; first click 1 s, later ones 0.2 s",
        "parameters": parameters.to_dict(),
        "threads": torch.get_num_threads(),
        **{name: summary(values) for name, values in samples.items()},
        "pictures_a_minute": round(60 / typical["ours"], 1),
        "times_as_fast": round(typical["bare"] / typical["ours"], 2),
        "times_as_fast_second_pass": round(typical["bare"] / typical["second"], 1),
    }


def measure_memory(sam: Sam, count: int, parameters: EverythingParameters) -> dict[str, Any]:
    """Peak memory after every hundredth of so many pictures."""
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        cold = fresh(sam, folder)
        for index in range(count):
            drawn = bird(index, BIRD_SIDE, HELD_OUT_BIRDS)
            cold.everything(Picture(Image.fromarray(drawn.image), str(index)), parameters)
            if (index + 1) % max(1, count // 10) == 0:
                peaks.append(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
                print(f"\rmemory {index + 1}/{count}: {peaks[-1]} MB".ljust(40), end="", flush=True)
    print()
    return {
        "aim": "flat over 1,000 pictures",
        "pictures": count,
        "parameters": parameters.to_dict(),
        "peak_mb": peaks,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a SAM.")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all but memory if none is named")
    parser.add_argument("--sam", default="compact", help="spec of the SAM")
    parser.add_argument("--pictures", type=int, help="at most so many of each part")
    parser.add_argument("--points", type=int, help="of everything-mode, a side; the SAM's own default if not given")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    parts = given.parts or PARTS[:-1]
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {unknown.pop()!r}")
    if given.threads:
        torch.set_num_threads(given.threads)
    parameters = usual_parameters(given.sam).parse({} if given.points is None else {"points": given.points})
    results = json.loads(given.out.read_text()) if given.out.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        sam = open_sam(given.sam, cache=EmbeddingCache(folder))
        most = given.pictures
        work: dict[str, Callable[[], dict[str, Any]]] = {
            "birds": lambda: measure_birds(sam, most or 100, parameters),
            "wbc": lambda: compare(sam, "wbc", most or 300),
            "ph2": lambda: compare(sam, "ph2", most or 200),
            "speed": lambda: measure_speed(sam, most or 10, parameters),
            "memory": lambda: measure_memory(sam, most or 1000, parameters),
        }
        for part in parts:
            began = perf_counter()
            found = work[part]()
            # the file's place is nobody's business
            name = given.sam.partition("@")[0]
            head = {"sam": name, "fingerprint": sam.fingerprint[:16], "machine": machine()}
            results[part] = {**head, **found, "seconds": round(perf_counter() - began, 1)}
            given.out.parent.mkdir(exist_ok=True)
            given.out.write_text(json.dumps(results, indent=1) + "\n")
            print(json.dumps({key: value for key, value in found.items() if key != "by_part"}, indent=1)[:1500])


if __name__ == "__main__":
    main()
