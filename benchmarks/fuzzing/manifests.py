"""Folders of pictures and manifests as they lie on people's disks: which pictures count, under which label."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image

from core.data import Dataset, open_dataset
from core.errors import UserError
from core.runtime.whole_files import write_json
from core.segments.files import match

from .damage import damaged
from .harness import Case, Family
from .pictures import saved

LABELS = ("cat", "dog", "Käse", "Bu\u0308cher", "a.b", "with space", "背景", "d'or", "report", "01")
JUNK = (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".thumbnails", ".Trash-1000")
READ = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".JPG", ".bmp", ".webp", ".gif", ".tif", ".PNG")
PASSED_OVER = (".heic", ".avif", ".HEIC")
STEMS = ("{}", "IMG_{}", "é {}", "e\u0301 {}", "a.b.{}", "a b {}", "{}-copy")


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def picture(number: int, suffix: str) -> bytes:
    """A small picture whose colour tells its number, whatever the form."""
    form = {".bmp": "BMP", ".webp": "WEBP", ".gif": "GIF", ".tif": "TIFF"}.get(suffix.lower(), "PNG")
    options = {"lossless": True} if form == "WEBP" else {}
    return saved(Image.new("RGB", (2, 2), (number % 256, number // 256, 77)), form, **options)


def number_of(item_picture: np.ndarray) -> int:
    red, green, _ = (int(v) for v in item_picture[0, 0])
    return red + 256 * green


def attempt(case: Case) -> None:
    how = case.pick(("folders",) * 4 + ("manifest",) * 5 + ("damaged manifest",) * 2 + ("matching",))
    {"folders": _folders, "manifest": _manifest, "damaged manifest": _damaged, "matching": _matching}[how](case)


def _put(case: Case, path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(number, path.suffix))


def _folders(case: Case) -> None:
    """Class folders, with what else lies about in them."""
    root = case.folder / case.pick(("data", "my pictures", "dätä"))
    root.mkdir()
    truth: dict[int, str | None] = {}
    labels = [case.pick(LABELS) for _ in range(case.number(1, 3))]
    for number in range(1, case.number(2, 6)):
        label = case.pick(labels)
        below = case.pick(("", "", "", "deep/er/"))
        _put(case, root / label / f"{below}{case.pick(STEMS).format(number)}{case.pick(READ)}", number)
        truth[number] = nfc(label)
    odd = case.pick(("nothing", "junk", "dot files", "other suffixes", "linked class", "loop", "own report", "own maps",
                     "own masks", "broken link", "stray files", "linked file"))  # fmt: skip
    case.kind = f"class folders, {odd}"
    noted = ""
    if odd == "junk":
        _put(case, root / case.pick((case.pick(JUNK), f"{labels[0]}/{case.pick(JUNK)}")) / "1-checkpoint.jpg", 900)
        noted = "something was passed over"
    elif odd == "dot files":
        _put(case, root / labels[0] / case.pick(("._1.jpg", ".hidden.png")), 900)
        noted = "something was passed over"
    elif odd == "other suffixes":
        _put(case, root / labels[0] / f"x{case.pick(PASSED_OVER)}", 900)
        noted = "a picture that is not read"
    elif odd == "linked class":
        _put(case, case.folder / "elsewhere" / "1.png", 900)
        (root / "linked").symlink_to(case.folder / "elsewhere", target_is_directory=True)
        truth[900] = "linked"
    elif odd == "linked file":
        _put(case, case.folder / "elsewhere" / "1.png", 900)
        (root / labels[0]).mkdir(exist_ok=True)
        (root / labels[0] / "linked.png").symlink_to(case.folder / "elsewhere" / "1.png")
        truth[900] = nfc(labels[0])
    elif odd == "loop":
        (root / labels[0]).mkdir(exist_ok=True)
        (root / labels[0] / "loop").symlink_to(case.pick((root, root / labels[0])), target_is_directory=True)
    elif odd == "broken link":
        (root / labels[0]).mkdir(exist_ok=True)
        (root / labels[0] / "gone.png").symlink_to(case.folder / "nowhere.png")
    elif odd.startswith("own"):
        _written_by_satchel(case, root, odd)
    elif odd == "stray files":
        (root / "Thumbs.db").write_bytes(b"x")
        (root / labels[0]).mkdir(exist_ok=True)
        (root / labels[0] / "notes.txt").write_text("x")
    data = case.sound(lambda: open_dataset(root))
    _check(case, data, truth)
    case.expect(not noted or data.notes, f"{noted} without a note")


def _written_by_satchel(case: Case, root: Path, odd: str) -> None:
    """A report or maps inside the data, as the commands leave them."""
    place = root / case.pick(("report 2", "out", "cat/maps"))
    if odd == "own report":
        settings = dict.fromkeys(("format", "data", "items", "fingerprint", "explainers", "seed", "check", "delta"), 1)
        write_json(place / "settings.json", settings)
        write_json(place / "manifest.json", {"format": 1, "pictures": 3, "verdicts": {}})
        write_json(place / "findings.json", [])
        write_json(place / "examples.json", {})
        _put(case, place / "examples" / "0001.png", 901)
    elif odd == "own maps":
        _put(case, place / "photo.jpg.suppression.png", 901)
        np.save(place / "photo.jpg.suppression.npy", np.zeros((2, 2), np.float32))
        write_json(place / "attribution.json", {"model": "demo:biased", "maps": []})
    else:
        write_json(place / "segments.json", {"1": {"name": "beak", "kind": "object"}})
        _put(case, place / "001.png", 901)


def _check(case: Case, data: Dataset, truth: dict[int, str | None]) -> None:
    found: dict[int, str | None] = {}
    for item in data.items:
        number = number_of(case.sound(item.picture).array())
        case.expect(number not in found, f"picture {number} counts twice")
        found[number] = item.label
    extra, missing = sorted(set(found) - set(truth)), sorted(set(truth) - set(found))
    case.expect(not extra, f"{len(extra)} of {len(found)} are no pictures of the data set")
    case.expect(not missing, f"{len(missing)} of {len(truth)} pictures are missing")
    case.expect(found == truth, "labels are not as they were written")
    case.expect(set(data.labels) == {label for label in truth.values() if label}, "other classes")
    case.expect(len({item.id for item in data.items}) == len(data), "two pictures of one id")


def _manifest(case: Case) -> None:
    """Rows of a manifest in every writing; the pictures are where it says."""
    root = case.folder / "data"
    truth: dict[int, str | None] = {}
    rows: list[list[str]] = []
    odd = case.pick(
        ("plainly", "backslashes", "spaces", "dots", "other accents", "blank lines", "line ends", "columns")
    )
    case.kind = f"a manifest, written with {odd}" if odd != "plainly" else "a manifest"
    stems = ("{}", "IMG_{}", "a.b.{}", "a b {}", "é {}")
    for number in range(1, case.number(2, 6)):
        label = case.pick(LABELS)
        form = case.pick(("NFC", "NFD"))
        stem = unicodedata.normalize(form, case.pick(stems)).format(number)
        relative = f"{case.pick(('', 'images/', 'a/b/'))}{stem}{case.pick(READ)}"
        _put(case, root / relative, number)
        written = relative
        if odd == "backslashes":
            written = relative.replace("/", "\\")
        elif odd == "spaces":
            written, label = f"{relative}{case.pick((' ', '  ', chr(9)))}", f" {label} "
        elif odd == "dots":
            written = f"./{relative}"
        elif odd == "other accents":
            written = unicodedata.normalize("NFD" if form == "NFC" else "NFC", relative)
        rows.append([written, label])
        truth[number] = nfc(label.strip())
    head = (
        ["image", "label"]
        if odd != "columns"
        else [case.pick(("image", "Image", " IMAGE ")), case.pick(("label", "Label"))]
    )
    if odd == "columns":
        head.append(case.pick(("group", "age", "")) or "x")
        rows = [[*row, "3"] for row in rows]
    end = case.pick(("\n", "\r\n")) if odd != "line ends" else case.pick(("\r", "\r\n", "\n\n"))
    text = _table([head, *rows], end)
    if odd == "blank lines":
        text = text.replace(end, end + end, case.number(2, 4)) + end
    (root / "manifest.csv").write_bytes((b"\xef\xbb\xbf" if case.chance(0.2) else b"") + text.encode())
    if case.chance(0.1):
        _named_line(case, root, text, end)
        return
    if rows and case.chance(0.1):
        _twice(case, root, text, rows[0])
        return
    data = case.sound(lambda: open_dataset(root))
    _check(case, data, truth)


def _table(rows: list[list[str]], end: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator=end).writerows(rows)
    return buffer.getvalue()


def _named_line(case: Case, root: Path, text: str, end: str) -> None:
    """An entry without a picture is named by its line in the file."""
    case.kind = f"{case.kind}, one entry without a picture"
    text += f",dog,3{end}" if text.split(end)[0].count(",") == 2 else f",dog{end}"
    (root / "manifest.csv").write_text(text, newline="", encoding="utf-8")
    line = len(text.rstrip("\r\n").splitlines())
    try:
        open_dataset(root)
    except UserError as error:
        case.expect(f"line {line} " in f"{error}".replace(";", " ").replace(".", " "), f"line {line} is meant: {error}")
        return
    case.expect(False, "an entry without a picture was taken")


def _twice(case: Case, root: Path, text: str, row: list[str]) -> None:
    """The same picture again under another writing counts once, or is refused."""
    case.kind = "a manifest with a picture listed twice"
    again = [case.pick(("./", ".//", "")) + row[0].strip(), *row[1:]]
    (root / "manifest.csv").write_text(text.rstrip("\r\n") + "\n" + _table([again], "\n"), newline="", encoding="utf-8")
    data = open_dataset(root)
    numbers = [number_of(item.picture().array()) for item in data.items]
    case.expect(len(numbers) == len(set(numbers)), "a picture counts twice")


def _damaged(case: Case) -> None:
    case.kind = "a damaged manifest"
    root = case.folder / "data"
    for number in range(1, 4):
        _put(case, root / f"{number}.png", number)
    rows = [["image", "label", "mask", "group"], *([f"{number}.png", "cat", "", "p1"] for number in range(1, 4))]
    odd = case.pick(
        ("../out.png", "/etc/passwd", "gone.png", ".", "", "x" * 5000, "a\x00b", "~/x.png", "manifest.csv", "1.png/x")
    )
    rows[case.number(1, 3)][case.pick((0, 0, 2))] = odd
    data = _table(rows, "\n").encode()
    if case.chance(0.6):
        data = damaged(case, data)
    if case.chance(0.1):
        data = case.pick((data.decode("latin-1").encode("utf-16"), data.replace(b",", b";"), b"", b"\n\n", data * 2))
    (root / "manifest.csv").write_bytes(data)
    if case.chance(0.5):
        (root / "segments.json").write_text(json.dumps({"1": "beak"}))
    for item in open_dataset(root, limit=case.pick((None, 1, 2))).items:
        item.load()
        case.expect(item.id, "a picture without an id")


def _matching(case: Case) -> None:
    """Which entry belongs to which picture: the one with the same path, above which folders may be missing."""
    clips = case.number(1, 30) if case.chance(0.995) else 1000
    case.kind = "matching, one name in 1000 folders" if clips == 1000 else "matching"
    frames = case.number(1, 3)
    pictures = [f"data/clip{clip:04d}/{frame:03d}.jpg" for clip in range(clips) for frame in range(frames)]
    change = case.pick((
        lambda name: name, lambda name: name.removeprefix("data/"), lambda name: f"other/{name}",
        lambda name: name.removesuffix(".jpg"), lambda name: name.replace(".jpg", ".png"),
    ))  # fmt: skip
    kept = [name for name in pictures if case.chance(0.9)]
    truth = {name: change(name) for name in kept}
    keys = list(truth.values())
    case.rng.shuffle(keys)
    case.begin()
    if len(kept) < len(pictures):  # those without an entry may take another's by its bare name, or be refused
        found = match(pictures, keys)
        case.expect(all(found.get(name, key) == key for name, key in truth.items()), "another picture's entry")
        return
    case.expect(case.sound(lambda: match(pictures, keys)) == truth, "another picture's entry")


FAMILY = Family("manifests", 0.12, attempt)
