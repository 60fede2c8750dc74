"""A report of 100,000 pictures and 1,000 classes: how soon it opens, how soon every view is there, and what it holds.

    uv run python benchmarks/report_store.py [--pictures 100000] [--classes 1000] [--at FOLDER]

The report is made up: findings, records and pictures are those of the demo's report, under other names, so that every
file is as large as it would be. Served as the page serves it, without the browser: HTML and charts are made, not drawn.
Writes benchmarks/results/report-store.json. Aims: open 0.02 s (Parquet alone), a cell's rows 0.3 s, every view 0.5 s,
the first screen 2 s, the process 1 GB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

RESULT = Path(__file__).parent / "results" / "report-store.json"
SEGMENTS = 12
SHOWN = 10  # of them in a picture
PAIRS = 60  # a cell
REPEATS = 5
TESTS = (("necessity", "inpaint", ""), ("necessity", "mean", ""), ("joint", "inpaint", "the object"),
         ("joint", "inpaint", "segment 00"))  # fmt: skip
AIMS = {"open": 0.02, "cell rows": 0.3, "view": 0.5, "first screen": 2.0, "resident MB": 1000}


def write_report(out: Path, pictures: int, classes: int) -> dict[str, Any]:
    """A finished report's folder; returns how long it took to put its shards together."""
    from core.paths import assets_dir
    from core.runtime import folders
    from core.sat.saved_report import PACK, merge_shards

    source = assets_dir() / "reports" / "demo-biased"
    own = {name: json.loads((source / f"{name}.json").read_text()) for name in ("manifest", "findings", "examples")}
    labels = [f"class {number:04d}" for number in range(classes)]
    names = [f"segment {number:02d}" for number in range(SEGMENTS)]
    label = own["manifest"]["explainers"][0]["label"]
    for file, tables in _shards(source, pictures, classes, names, label):
        for kind, table in tables.items():
            folders.write_table(out / kind / file, table)
    began = time.perf_counter()
    merge_shards(out)
    merging = time.perf_counter() - began
    cells = [(target, name) for target in range(classes) for name in names]
    first = [entry for entry in own["findings"] if entry["explainer"] == own["findings"][0]["explainer"]]
    findings = []
    for number, (target, name) in enumerate(cells):
        entry: dict[str, Any] = {**first[number % len(first)], "target": labels[target], "segment": name}
        entry |= {"explainer": label, "target_index": target}
        findings.append({**entry, "sentence": entry["sentence"].replace(first[number % len(first)]["segment"], name)})
    folders.write_json(out / "findings.json", findings, compact=True)
    folders.write_table(out / "table.parquet", _table(source, cells, label))
    folders.write_json(out / "examples.json", _examples(own["examples"], cells, label, pictures, classes), True)
    shutil.copy(source / PACK, out / PACK)
    manifest = own["manifest"]
    whole = [{**manifest["whole"][n % len(manifest["whole"])], "target": labels[n // 8]} for n in range(8 * classes)]
    manifest |= {
        "labels": labels, "pictures": pictures, "whole": whole, "targets": list(range(classes)), "trust": [],
        "explainers": manifest["explainers"][:1], "segments": [{"name": n, "kind": "unset"} for n in names],
        "notes": [f"{labels[t]}, {name}: above the controls for A, not for B." for t, name in cells],
    }  # fmt: skip
    folders.write_json(out / "settings.json", {"data": "made up"})
    folders.write_json(out / "manifest.json", manifest)
    return {"merging_s": round(merging, 1)}


def _shards(source: Path, pictures: int, classes: int, names: list[str], label: str) -> Iterator[tuple]:
    """Tables of the demo with other pictures, classes and segments, as `write_shard` takes them."""
    import pandas as pd

    from core.runtime.folders import read_shards, shard_size

    demo = {kind: read_shards(source / kind) for kind in ("pictures", "rows", "effects", "pairs")}
    size = shard_size(pictures)
    for number, at in enumerate(range(0, pictures, size)):
        ids = [f"images/{n:06d}.jpg" for n in range(at, min(at + size, pictures))]
        targets = [n % classes for n in range(at, at + len(ids))]
        lines = _like(demo["pictures"], len(ids)).assign(image=ids, group=ids, target=targets, prediction=targets)
        cut = {"image": np.repeat(ids, SHOWN), "target": np.repeat(targets, SHOWN)}
        cut["segment"] = np.array([names[(n + k) % len(names)] for n in range(len(ids)) for k in range(SHOWN)])
        rows = _like(demo["rows"], len(cut["image"])).assign(**cut, group=cut["image"], explainer=label)
        both = _like(demo["effects"], len(rows)).assign(**cut, group=cut["image"])
        tests = [both.assign(test=test, fill=fill, beside=beside) for test, fill, beside in TESTS]
        file = f"{number:06d}.parquet"
        yield file, {"rows": rows, "effects": pd.concat(tests, ignore_index=True), "pictures": lines}
    cells = [(target, name) for target in range(classes) for name in names for _ in range(2 * PAIRS)]
    for number, at in enumerate(range(0, len(cells), 1024)):
        part = cells[at : at + 1024]
        made = _like(demo["pairs"], len(part)).assign(target=[t for t, _ in part], segment=[n for _, n in part])
        made = made.assign(
            test="sufficiency", fill="transplant", image=[f"images/{n:06d}.jpg" for n in range(len(part))]
        )
        yield f"{number:06d}.parquet", {"pairs": made}


def _like(frame: Any, count: int) -> Any:
    return frame.iloc[np.arange(count) % len(frame)].reset_index(drop=True)


def _table(source: Path, cells: list[tuple[int, str]], label: str) -> Any:
    import pandas as pd

    table = _like(pd.read_parquet(source / "table.parquet"), len(cells))
    return table.assign(target=[t for t, _ in cells], segment=[n for _, n in cells], explainer=label)


def _examples(own: dict, cells: list[tuple[int, str]], label: str, pictures: int, classes: int) -> dict[str, Any]:
    """As many as a report of so many classes keeps."""
    from core.sat.examples import a_cell, a_target

    files = list(own["pictures"].values())
    kept, removals = {}, []
    for target in range(classes):
        for k in range(a_target(classes)):
            image, entry = f"images/{(target + k * classes) % pictures:06d}.jpg", files[target % len(files)]
            maps = {label: next(iter(entry["maps"].values()))}
            kept[image] = {**entry, "target": target, "maps": maps}
            for n in range(2 * SEGMENTS):
                record = own["removals"][(target + n) % len(own["removals"])]
                name = f"segment {n // 2:02d}"
                fill = ("inpaint", "mean")[n % 2]
                removals.append({**record, "image": image, "target": target, "segment": name, "fill": fill})
    some = own["pastes"]
    pastes = [
        {**some[n % len(some)], "target": target, "segment": name}
        for n, (target, name) in enumerate(cells)
        for _ in range(a_cell(len(cells)))
    ]
    return {"pictures": kept, "removals": removals, "pastes": pastes}


def measure(folder: Path) -> dict[str, Any]:
    """In a process of its own: seconds, the median of a few, and the most that it held."""
    from dashboard import app
    from dashboard.memory import give_back, keep_level
    from dashboard.report import actions, document, unnamed
    from dashboard.report.finished import Reports
    from dashboard.report.table import Filters, Sort, listed

    del app
    keep_level()  # as a page that is launched does
    at_start = _resident()
    reports = Reports(_everything())
    first = _timed(lambda: _screen(actions, unnamed, reports.get(folder)))
    holding = _resident()
    finished = reports.get(folder)
    cells = list(finished.cells.values())
    some = [cells[n] for n in np.linspace(0, len(cells) - 1, REPEATS).astype(int)]
    filters, sort = Filters(text="segment 03"), Sort("pictures", True)
    lead = next(iter(finished.explainers))
    views: dict[str, Callable[[Any], object]] = {
        "overview": lambda cell: _overview(actions, finished, lead, cell),
        "filtered and sorted": lambda cell: actions.table_html(
            finished, listed(finished, filters, sort, lead), sort, lead, cell, True
        ),
        "cell in words and pictures": lambda cell: (
            actions.cell_html(finished, cell), actions.pasted_html(finished, cell),
            actions.pictures_html(finished, cell, lead),
        ),
        "effects": lambda cell: actions.effects_figure(finished, cell, False),
        "density": lambda cell: actions.density_figure(finished, cell, False),
        "values": lambda cell: actions.values_figure(finished, cell, lead, False),
        "beyond": lambda cell: (actions.beyond_html(finished), unnamed.unnamed_html(finished)),
        "notes": lambda cell: actions.notes_html(finished),
        "cell rows": lambda cell: finished.report.rows(cell.target, cell.segment),
        "cell effects": lambda cell: finished.report.effects(cell.target, cell.segment),
        "one file": lambda cell: document.document(finished),
    }  # fmt: skip
    told = {name: _median([_timed(lambda cell=cell, view=view: view(cell)) for cell in some])
            for name, view in views.items() if name != "one file"}  # fmt: skip
    opening = _median([_timed(lambda: _parquet(folder)) for _ in range(REPEATS)])
    held = {"page alone": at_start, "with the report": holding, "after every view": _resident(),
            "at most": _resident("VmHWM")}  # fmt: skip
    give_back()  # as a page does in the background, seconds after it has grown
    held["given back"] = _resident()
    one_file = _timed(lambda: views["one file"](some[0]))
    again = _timed(lambda: _screen(actions, unnamed, Reports(_everything()).get(folder)))
    return {
        "open_parquet": opening, "first_screen": _median([first]), "opened once more": _median([again]), "views": told,
        "one file": _median([one_file]), "resident_mb": {**held, "at most, twice": _resident("VmHWM")},
        "cells": len(cells),
    }  # fmt: skip


def _parquet(folder: Path) -> int:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(folder / "rows.parquet").metadata.num_rows


def _screen(actions: Any, unnamed: Any, finished: Any) -> None:
    """All that the tab is sent when a report is opened, files to take along among it, but for the charts."""
    lead = next(iter(finished.explainers))
    cell = actions.strongest_shortcut(finished) or next(iter(finished.cells.values()))
    for view in (
        actions.answer_html, actions.exhibits_html, actions.facts_html, actions.beyond_html, unnamed.unnamed_html,
        actions.notes_html, actions.filter_choices,
    ):  # fmt: skip
        view(finished)
    finished.findings_file()
    finished.table_file()
    _overview(actions, finished, lead, cell)
    actions.cell_html(finished, cell)
    actions.pasted_html(finished, cell)
    actions.pictures_html(finished, cell, lead)


def _overview(actions: Any, finished: Any, lead: str, cell: Any) -> None:
    from dashboard.report.table import Filters, Sort, listed

    measure_ = actions.MEASURES[0][1]
    actions.grid_html(actions.heat_map(finished, measure_, lead), measure_, lead, cell)
    sort = Sort()
    actions.table_html(finished, listed(finished, Filters(), sort, lead), sort, lead, cell, False)


def _everything() -> Any:
    from dashboard.allowed import Allowed

    return Allowed(["/"])


def _timed(work: Callable[[], object]) -> dict[str, float]:
    wall, own = time.perf_counter(), time.process_time()
    work()
    return {"s": time.perf_counter() - wall, "cpu_s": time.process_time() - own}


def _median(samples: list[dict[str, float]]) -> dict[str, float]:
    """Wall and processor seconds: on a busy machine the second is what an idle one would take, on one core."""
    return {key: round(float(np.median([one[key] for one in samples])), 3) for key in samples[0]}


def _resident(line: str = "VmRSS") -> int:
    """MB that this process holds, or ("VmHWM") held at most; what `resource` says begins with what its parent held."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(one.split()[1]) // 1024 for one in lines if one.startswith(line))


def main() -> None:
    parser = argparse.ArgumentParser(description="A report of many pictures and classes.")
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--at", type=Path, help="Keep the report here, and use the one that is there.")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    from figures import machine

    with tempfile.TemporaryDirectory() as folder:
        out = options.at or Path(folder) / "report"
        made = {} if (out / "manifest.json").is_file() else write_report(out, options.pictures, options.classes)
        ran = subprocess.run([sys.executable, __file__, "--measure", str(out)], check=True, stdout=subprocess.PIPE)
    result = {"pictures": options.pictures, "classes": options.classes, "aims": AIMS, **made, **json.loads(ran.stdout)}
    RESULT.write_text(json.dumps({**result, "machine": machine()}, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
