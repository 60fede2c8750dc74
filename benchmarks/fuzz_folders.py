"""Reports and evaluations as somebody else may have left them: damaged in thousands of ways, opened and drawn.

    uv run python benchmarks/fuzz_folders.py [--count 3000] [--seed 0]

Every one must open and be drawn, or be refused in one sentence. Prints how often which came of it, and every raw error.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import re
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from core.errors import UserError
from core.evaluation.saved_evaluation import open_evaluation
from core.paths import assets_dir
from core.sat.saved_report import PACK
from core.storage.pack import Pack, packing
from dashboard.cli.evaluate import _summarise
from dashboard.evaluate.drawing import answer_html as evaluation_answer
from dashboard.evaluate.drawing import leaderboard_html, sanity_html, scatter_html, warnings_html
from dashboard.evaluate.standing import Standing
from dashboard.report.finished import open_finished
from dashboard.report.grid import MEASURES, grid_html, heat_map
from dashboard.report.pictures import exhibits_html, pasted_html, pictures_html
from dashboard.report.plots import density_figure, effects_figure
from dashboard.report.table import COLUMNS, Filters, Sort, filter_choices, listed, table_html
from dashboard.report.views import answer_html, cell_html, facts_html, notes_html

SHARDS = ("pictures", "rows", "effects", "pairs")
DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]
ODD = (
    None, True, False, "", "none", "\ud800",
    "<b>x</b>", "../../../etc/hosts", "a\x00b", "x" * 5000, 0, -1, 1, 7, 0.5, -0.5,
    1e-320, 1e15, -1e18, 1e300, 10**25, 10**400, float("nan"), float("inf"), float("-inf"), [], {}, [None], [1, 2, 3],
    ["a"], {"a": 1}, [[]], DEEP, "demo", "cleared", "context", "2024-01-01",
)  # fmt: skip
NAN = re.compile(r"(?<![\w.])-?(nan|inf)(?![\w.])")


# -- damage


def places(value: Any, at: tuple = ()) -> list[tuple]:
    """Every place in a JSON value, as the way there."""
    found = [at]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inner:
        found += places(entry, (*at, key))
    return found


def damage_json(value: Any, random: np.random.Generator) -> Any:
    """A copy in which something is missing, of another type, nested, or too much or too little of it."""
    value = copy.deepcopy(value)
    for _ in range(int(random.integers(1, 3))):
        ways = places(value)
        way = ways[int(random.integers(len(ways)))]
        if not way:
            return ODD[int(random.integers(len(ODD)))]
        parent = value
        for key in way[:-1]:
            parent = parent[key]
        last, deed = way[-1], int(random.integers(6))
        if deed == 0:
            del parent[last]
        elif deed == 1:
            parent[last] = [parent[last]]
        elif deed == 2 and isinstance(parent[last], (list, str, dict)):
            entries = list(parent[last]) if not isinstance(parent[last], dict) else list(parent[last].items())
            kept = entries[: int(random.integers(len(entries) + 1))] if random.random() < 0.5 else entries * 2
            kind = type(parent[last])
            parent[last] = "".join(kept) if kind is str else kind(kept)
        elif deed == 3 and isinstance(parent[last], (int, float)):
            parent[last] = parent[last] * float(random.choice([-1, 0, 2, 1e9, 1e-9]))
        else:
            parent[last] = ODD[int(random.integers(len(ODD)))]
    return value


def damage_table(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """A copy with a column missing, renamed, of another type, with gaps, or with other lines."""
    frame = frame.copy()
    name = str(random.choice(frame.columns))
    deed = int(random.integers(8))
    if deed == 0:
        return frame.drop(columns=name)
    if deed == 1:
        return frame.rename(columns={name: str(random.choice(frame.columns))[::-1]})
    if deed == 2:
        return frame.head(int(random.integers(len(frame) + 1)))
    if deed == 3:
        return pd.concat([frame, frame])
    if deed == 4:
        return frame.assign(**{name: frame[name].astype(str)})
    if deed == 5:
        return frame.assign(**{name: [None if random.random() < 0.5 else value for value in frame[name]]})
    odd = (
        random.choice(["", "x", "\x00", "-1"]) if deed == 6 else random.choice([-1.0, 3.7, 1e300, np.nan, np.inf, 99.0])
    )
    return frame.assign(**{name: odd})


def damage_bytes(held: bytes, random: np.random.Generator) -> bytes:
    """Cut off, or with a few bytes changed."""
    if random.random() < 0.4:
        return held[: int(random.integers(len(held)))]
    changed = bytearray(held)
    for at in random.integers(0, len(changed), int(random.integers(1, 20))):
        changed[at] = int(random.integers(256))
    return bytes(changed)


def spoil(path: Path, random: np.random.Generator) -> None:
    """Damage one file in place."""
    held = path.read_bytes()
    if random.random() < 0.1:
        path.write_bytes(damage_bytes(held, random))
    elif path.suffix == ".json":
        path.write_text(json.dumps(damage_json(json.loads(held), random)), encoding="utf-8")
    elif path.suffix == ".parquet":
        damage_table(pd.read_parquet(io.BytesIO(held)), random).to_parquet(path, index=False)
    elif random.random() < 0.2:
        path.unlink()
    else:
        path.write_bytes(damage_bytes(held, random))


# -- what is damaged


def small_report(source: Path, folder: Path, targets: tuple[int, ...] = (0, 1)) -> None:
    """The part of a report that speaks of a few classes, in one shard, so that opening it takes no time."""
    folder.mkdir()
    shutil.copy(source / "settings.json", folder)
    manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    names = {manifest["labels"][target] for target in targets}
    found = [e for e in json.loads((source / "findings.json").read_text(encoding="utf-8")) if e["target"] in names]
    (folder / "findings.json").write_text(json.dumps(found), encoding="utf-8")
    tables = {kind: [pd.read_parquet(p) for p in sorted((source / kind).glob("*.parquet"))] for kind in SHARDS}
    tables["table"] = [pd.read_parquet(source / "table.parquet")]
    for kind, parts in tables.items():
        part = pd.concat([part for part in parts if len(part)], ignore_index=True)
        path = folder / "table.parquet" if kind == "table" else folder / kind / "000000.parquet"
        path.parent.mkdir(exist_ok=True)
        part[part["target"].isin(targets)].to_parquet(path, index=False)
    index = json.loads((source / "examples.json").read_text(encoding="utf-8"))
    index["pictures"] = dict([(k, v) for k, v in index["pictures"].items() if v["target"] in targets][:4])
    for kind in ("removals", "pastes"):
        index[kind] = [
            r for r in index[kind] if r["target"] in targets and (kind == "pastes" or r["image"] in index["pictures"])
        ]
        index[kind] = index[kind][:24]
    (folder / "examples.json").write_text(json.dumps(index), encoding="utf-8")
    pack = Pack(source / PACK)
    with packing(folder / PACK) as own:
        for file in sorted(set(re.findall(r'"([^"/]+\.(?:jpg|png))"', json.dumps(index))) & set(pack.names)):
            own.add(file, pack.read(file))


def small_evaluation(source: Path, folder: Path) -> None:
    folder.mkdir()
    for name in ("settings.json", "manifest.json", "leaderboard.json"):
        shutil.copy(source / name, folder)
    for kind in ("scores", "costs"):
        (folder / kind).mkdir()
        shutil.copy(source / kind / "000000.parquet", folder / kind)


# -- drawing


def draw_evaluation(folder: Path) -> None:
    """Everything that the Evaluate tab and the command line say of it."""
    found = open_evaluation(folder)
    standing = Standing(found)
    said = [f(standing) for f in (evaluation_answer, leaderboard_html, scatter_html, sanity_html, warnings_html)]
    table = pd.DataFrame(found.leaderboard).to_csv(index=False).encode()
    with redirect_stdout(io.StringIO()) as printed:
        _summarise(standing)
    _look([*said, table.decode(), printed.getvalue()])
    _ = found.scores, found.costs


def draw_report(folder: Path) -> None:
    """Everything that the Report tab shows of it, for a few of its cells."""
    finished = open_finished(folder)
    explainer = next(iter(finished.explainers))
    said = [f(finished) for f in (answer_html, facts_html, notes_html, exhibits_html)]
    filter_choices(finished)
    for _, measure in MEASURES:
        said.append(grid_html(heat_map(finished, measure, explainer), measure, explainer, None))
    for column in COLUMNS:
        cells = listed(finished, Filters(), Sort(column, True), explainer)
        said.append(table_html(finished, cells, Sort(column, True), explainer, None, False))
    for cell in list(finished.cells.values())[:1]:
        said += [cell_html(finished, cell), pasted_html(finished, cell)]
        said += [pictures_html(finished, cell, name) for name in finished.explainers]
        for figure in (effects_figure(finished, cell, False), density_figure(finished, cell, True)):
            if figure is not None:
                figure.to_json()
    finished.findings_file()
    finished.table_file()
    _look(said)


def _look(said: list[str]) -> None:
    """What the page is sent must be Unicode, and show no number that is none."""
    orjson.dumps(said)
    for text in said:
        shown = re.sub(r"data:image/[^\"]+", "", text)
        if match := NAN.search(shown):
            raise AssertionError(f"draws {shown[max(0, match.start() - 60) : match.end() + 20]!r}")


KINDS: dict[str, tuple[str, Callable[[Path, Path], None], Callable[[Path], None]]] = {
    "evaluation": ("evaluations/demo-biased", small_evaluation, draw_evaluation),
    "report": ("reports/demo-biased", small_report, draw_report),
}


def run(count: int, seed: int) -> dict[str, int]:
    """Damage `count` folders, a tenth of them reports (which take longer), and open and draw each.

    Returns:
        How often each outcome came: "drawn", "refused", or "raw: ERROR at FILE:LINE", by kind of folder.
    """
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="satchel-fuzz-") as scratch:
        for kind, (source, small, draw) in KINDS.items():
            whole = Path(scratch) / f"whole-{kind}"
            small(assets_dir() / source, whole)
            draw(whole)  # undamaged it is drawn
            files = sorted(path for path in whole.rglob("*") if path.is_file() and path.name != "settings.json")
            chances = np.array([6.0 if path.suffix != ".jpg" and path.suffix != ".png" else 0.1 for path in files])
            reports = count // 10
            for number in range(reports if kind == "report" else count - reports):
                random = np.random.default_rng((seed, number, len(kind)))
                path = files[int(random.choice(len(files), p=chances / chances.sum()))]
                held = path.read_bytes()
                try:
                    spoil(path, random)
                except (OSError, ValueError, TypeError, OverflowError):  # such a file cannot be written
                    outcomes[f"{kind}: not written"] += 1
                    path.write_bytes(held)
                    continue
                outcomes[f"{kind}: {outcome(draw, whole, f'{number} {path.name}')}"] += 1
                path.write_bytes(held)
    return dict(sorted(outcomes.items()))


def outcome(draw: Callable[[Path], None], folder: Path, which: str) -> str:
    try:
        draw(folder)
    except UserError:
        return "refused"
    except Exception as error:  # noqa: BLE001 - what this is here to find
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
        place = frames[-1]
        return f"raw: {type(error).__name__} at {Path(place.filename).name}:{place.lineno} {str(error)[:120]} ({which})"
    return "drawn"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(json.dumps(run(given.count, given.seed), indent=1))


if __name__ == "__main__":
    main()
