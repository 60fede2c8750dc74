"""What nobody named: found where maps are strong, put together by kind, tested, and fed back with a name."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from known_models import world_classifier, world_item

from core.choice import Choice
from core.data import Dataset, Item
from core.errors import UserError
from core.sat.areas import find_areas
from core.sat.fed_back import name_gallery, next_report
from core.sat.report import ReportOptions, build_report
from core.sat.saved_report import Report, open_report
from core.sat.unnamed import alike
from core.segments.saved.store import Store

KINDS = {"object": "object"}


def blob(height: int, width: int, top: int, left: int, side: int) -> torch.Tensor:
    found = torch.zeros(height, width)
    found[top : top + side, left : left + side] = 1
    return found


def test_an_area_is_where_the_map_is_strong_and_nothing_is_named():
    values = blob(64, 64, 8, 8, 8) + blob(64, 64, 40, 40, 8) + 0.02
    named = blob(64, 64, 8, 8, 8)
    ((area, share),) = find_areas(values, named)
    assert float((area * blob(64, 64, 40, 40, 8)).sum() / area.sum()) > 0.7
    assert 0.25 < share < 0.32
    assert find_areas(values, torch.ones(64, 64)) == []
    assert find_areas(torch.zeros(64, 64), named) == []
    assert find_areas(-values, named) == []
    assert find_areas(torch.full((64, 64), 0.3), named) == []  # nowhere stronger than anywhere


def test_two_areas_at_most_the_stronger_first_and_none_on_the_rim_of_a_segment():
    values = sum(height * blob(64, 64, *place, 6) for height, place in ((1, (4, 4)), (3, (4, 50)), (2, (50, 4)))) + 0.01
    found = find_areas(values, torch.zeros(64, 64))
    assert [float(area[7, 53] + 2 * area[53, 7]) for area, _ in found] == [1, 2]
    ring = blob(64, 64, 19, 19, 10) - blob(64, 64, 20, 20, 8)
    assert find_areas(ring + 0.001, blob(64, 64, 20, 20, 8)) == []


def test_what_looks_alike_is_one_kind_however_many_there_are():
    random = np.random.default_rng(0)
    ways = np.eye(64, dtype=np.float32)[:3]
    truth = random.integers(0, 3, 600)
    vectors = ways[truth] + 0.05 * random.standard_normal((600, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kinds = alike(vectors)
    assert len({(a, b) for a, b in zip(truth, kinds)}) == 3
    assert alike(vectors[:1]).tolist() == [0]


def nameless(item: Item, *names: str) -> Item:
    """The same with only these segments."""

    def read():
        found = item.segments()
        return replace(found, items=tuple(one for one in found if one.name in names))

    return replace(item, segments=read)


@pytest.fixture(scope="module")
def world() -> Dataset:
    """A decides; nobody named it, nor the sky."""
    items = [world_item(n, n % 2, ("object", "D") + ("A",) * (n % 2), KINDS) for n in range(80)]
    return Dataset("world", "known", tuple(nameless(item, "object", "D") for item in items))


def report_on(data: Dataset, out: Path, **options) -> Report:
    chosen = (Choice.parse("integrated-gradients:samples=4"),)
    classifier = world_classifier(lambda p: 16 * p["A"] - 8)
    for _ in build_report(data, classifier, out, ReportOptions(chosen, recipients=30, **options)):
        pass
    return open_report(out)


@pytest.fixture(scope="module")
def report(world, tmp_path_factory) -> Report:
    return report_on(world, tmp_path_factory.mktemp("unnamed") / "r")


@pytest.mark.slow
def test_what_decides_and_has_no_name_is_found_shown_and_confirmed(report):
    (entry,) = report.manifest["unnamed"]
    assert (entry["target"], entry["verdict"], entry["pictures"], entry["of"]) == ("stamped", "confirmed", 40, 40)
    assert entry["share"] > 0.5
    assert all(low > 8 for _, low, _ in entry["necessity"].values())
    assert set(entry["necessity"]) == {"inpaint", "mean"}
    assert "something nobody named for stamped" in entry["sentence"]
    assert [report.example(area["file"])[:2] for area in entry["areas"]] == [b"\xff\xd8"] * 6
    assert set(report.areas(entry["number"])["image"]) == {f"{n:03d}" for n in range(1, 80, 2)}


@pytest.mark.slow
def test_a_name_given_to_it_makes_segments_beside_the_present_ones_and_a_new_report_tests_them(report, world, tmp_path):
    store = Store(tmp_path / "store")
    list(name_gallery(report, 1, " mark ", world, store, "context"))
    again = {item.id: store.load(item.id) for item in world.items}
    list(name_gallery(report, 1, "mark", world, store))  # once more changes nothing
    assert [record.version for record in again.values()] == [store.load(item.id).version for item in world.items]
    assert {record.segments.names for n, record in enumerate(again.values()) if n % 2} == {("object", "D", "mark")}
    assert {record.segments.names for n, record in enumerate(again.values()) if not n % 2} == {("object", "D")}
    own = next(one for one in again["001"].segments if one.name == "mark")
    assert own.kind == "context"
    assert own.mask.decode()[4:12, 4:12].mean() > 0.8
    files = store.files()
    named = replace(world, items=tuple(replace(item, segments=files.reader(item.id)) for item in world.items))
    then = report_on(named, tmp_path / "r")
    (mark,) = [one for one in then.findings if (one["target"], one["segment"]) == ("stamped", "mark")]
    assert mark["verdict"] == "confirmed"
    assert mark["sufficiency"] > 8
    assert then.manifest["unnamed"] == []
    assert "--segments" in next_report(report, store.folder)


def test_what_cannot_be_named_is_told(report, world, tmp_path):
    store = Store(tmp_path / "store")
    for number, name, data, said in (
        (7, "mark", world, "no gallery 7; it has 1"),
        (1, " ", world, "The name is empty"),
        (1, "mark", replace(world, items=world.items[:3]), r"no picture \d+, which is in the report"),
    ):
        with pytest.raises(UserError, match=said):
            list(name_gallery(report, number, name, data, store))


@pytest.mark.slow
def test_a_made_background_hides_nothing_and_without_tests_nothing_is_said(world, tmp_path):
    def with_rest(item: Item) -> Item:
        return replace(item, segments=lambda: item.segments().with_background())

    told = report_on(replace(world, items=tuple(map(with_rest, world.items))), tmp_path / "r", check=False)
    (entry,) = told.manifest["unnamed"]
    assert (entry["verdict"], entry["necessity"]) == ("inconclusive", {})
    assert "removal could not be tested" in entry["lacking"]


@pytest.mark.slow
def test_where_everything_has_a_name_nothing_is_found_and_a_report_without_the_key_opens(toy_report, tmp_path):
    assert toy_report.manifest["unnamed"] == []
    folder = tmp_path / "old"
    shutil.copytree(toy_report.path, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if k != "unnamed"}))
    (folder / "unnamed.parquet").unlink()
    assert open_report(folder).areas(1).empty
