"""Masks in every way that people write them: areas as they are, a note, or a sentence; never wrong without a word."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from core.data import open_dataset
from core.segments import Segments
from core.segments.files import open_segments, read_names
from core.segments.files.label_maps import read_one

from .damage import damaged, damaged_document
from .harness import Case, Family, Wrong
from .mask_ways import INSIDE_WAYS, LABEL_WAYS, Written, scene
from .pictures import ORIENTATION, saved, turned


def attempt(case: Case) -> None:
    how = case.pick(("label map",) * 6 + ("folder",) * 3 + ("turned picture", "damaged", "damaged", "damaged"))
    {"label map": _label_map, "folder": _folder, "turned picture": _turned_picture, "damaged": _damaged}[how](case)


def judge(written: Written, read: Callable[[], tuple[Segments, Sequence[str]]], case: Case) -> None:
    """Compare what is read with what was written.

    Raises:
        UserError: refused, where that is fair. Wrong: else, and where something is read otherwise without a word.
    """
    segments, notes = read() if written.may_refuse else case.sound(read)
    told = " ".join(notes)
    found = {name: np.zeros(segments.size, bool) for name in segments.names}
    for segment in segments:
        found[segment.name] |= segment.mask.decode()
    for name, masks in written.truth.items():
        if name in found:
            if not any(np.array_equal(found[name], mask) for mask in masks):
                got, want = int(found[name].sum()), " or ".join(str(int(mask.sum())) for mask in masks)
                word = "a note" if notes else "no note"
                raise Wrong(f"{word}, an area of {got} of {found[name].size} pixels, {want} expected")
        elif all(mask.any() for mask in masks) and not (notes and written.may_miss):
            raise Wrong(
                f"{'a note, but ' if notes else ''}nothing is read of a segment of {int(masks[0].sum())} pixels"
            )
    extra = [name for name in found if name not in written.truth and found[name].any()]
    case.expect(not extra, f"a segment that was never written ({extra})")
    case.expect(notes or not written.must_tell, "read without a note")
    case.expect(not notes or not written.ordinary, f"an ordinary mask with a note ({told[:80]})")


def _put(case: Case, path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _label_map(case: Case) -> None:
    written = case.pick(LABEL_WAYS)(case)
    usual = set(written.names) <= {"0", "1", "255"}
    case.kind = f"{written.kind}; named {'/'.join(written.names)}" if usual else written.kind
    route = case.pick(("read_one", "folder", "manifest"))
    path = case.folder / "masks" / f"a{written.suffix}"
    _put(case, path, written.data)
    names = case.folder / ("masks" if route == "folder" else "") / "segments.json"
    names.write_text(json.dumps(written.names), encoding="utf-8")

    def read() -> tuple[Segments, Sequence[str]]:
        if route == "read_one":
            segments = read_one(path, read_names(names))
            return segments, segments.notes
        if route == "folder":
            files = open_segments(names.parent)
            if "a" not in files:
                case.expect(files.notes, "a mask is passed over without a word")
                return Segments((1, 1), ()), files.notes
            return files["a"], (*files.notes, *files["a"].notes)
        size = next(iter(written.truth.values()))[0].shape
        _put(case, case.folder / "a.png", saved(Image.new("RGB", size[::-1]), "PNG"))
        (case.folder / "manifest.csv").write_text(f"image,mask\na.png,masks/a{written.suffix}\n")
        data = open_dataset(case.folder)
        _, segments = data.items[0].load()
        assert segments is not None
        return segments, (*data.notes, *segments.notes)

    judge(written, read, case)


def _folder(case: Case) -> None:
    """A folder of masks per name."""
    written = case.pick(INSIDE_WAYS)(case)
    case.kind = f"in a folder a name: {written.kind}"
    path = case.folder / "masks" / "lesion" / f"a{written.suffix}"
    _put(case, path, written.data)
    if case.chance(0.3):
        _put(case, path.with_name("b.png"), saved(Image.fromarray(scene(case)[0].astype(np.uint8) * 255), "PNG"))

    def read() -> tuple[Segments, Sequence[str]]:
        files = open_segments(case.folder / "masks")
        segments = files["a"]
        return segments, (*files.notes, *segments.notes)

    judge(written, read, case)


def _turned_picture(case: Case) -> None:
    """A picture with an EXIF turn, its mask over the stored pixels or the upright ones."""
    stored = scene(case)[0]
    orientation = case.number(2, 8)
    picture, mask = Image.Exif(), Image.Exif()
    picture[ORIENTATION] = mask[ORIENTATION] = orientation
    upright = turned(stored, orientation)
    over = case.pick(("stored", "stored, with the tag", "upright"))
    laid = (upright if over == "upright" else stored).astype(np.uint8) * 255
    data = saved(Image.fromarray(laid), "PNG", **({"exif": mask} if "tag" in over else {}))
    swapped = stored.shape != upright.shape
    case.kind = f"a turned picture, its mask over {over} pixels{', swapped' if swapped else ''}"
    _put(case, case.folder / "a.jpg", saved(Image.new("RGB", stored.shape[::-1]), "JPEG", exif=picture))
    _put(case, case.folder / "masks/a.png", data)
    (case.folder / "segments.json").write_text('{"0": "skin", "255": "lesion"}')
    (case.folder / "manifest.csv").write_text("image,mask\na.jpg,masks/a.png\n")
    doubtful = over == "stored" and not swapped
    lesion = [upright, stored] if doubtful else [upright]
    written = Written(
        case.kind, ".png", data, {}, {"skin": [~one for one in lesion], "lesion": lesion},
        must_tell=over == "stored" and bool((stored.shape != upright.shape) or (stored != upright).any()),
        may_refuse=doubtful,
    )  # fmt: skip

    def read() -> tuple[Segments, Sequence[str]]:
        data = open_dataset(case.folder)
        _, segments = data.items[0].load()
        assert segments is not None
        return segments, (*data.notes, *segments.notes)

    judge(written, read, case)


def _damaged(case: Case) -> None:
    written = case.pick((*LABEL_WAYS, *INSIDE_WAYS))(case)
    case.kind = f"damaged: {written.kind}"
    folder = case.folder / "masks"
    names = json.dumps(written.names)
    data = written.data
    if case.chance(0.3):
        case.kind = "damaged segments.json"
        names = damaged_document(case, json.loads(names))
        names = damaged(case, names.encode()).decode("utf-8", "surrogateescape") if case.chance(0.3) else names
    else:
        data = damaged(case, data, case.pick(LABEL_WAYS)(case).data)
    _put(case, folder / ("" if written.names else "lesion") / f"a{written.suffix}", data)
    if written.names:
        (folder / "segments.json").write_bytes(names.encode("utf-8", "surrogateescape"))
    for segments in open_segments(folder).values():
        segments.with_background()


FAMILY = Family("masks", 0.27, attempt)
