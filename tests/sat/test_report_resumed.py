"""A report that was stopped, or whose folder is damaged, is gone on with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from toy import toy_classifier, toy_options, write_toy

from core.data import Dataset, open_dataset
from core.errors import UserError
from core.runtime.folders import shard_size
from core.runtime.progress import Progress
from core.sat.report import build_report
from core.sat.saved_report import PACK, merge_shards, open_report
from core.storage.pack import Pack


def same_finding(mine: dict, reference: dict) -> None:
    """Words equal, numbers to float32's rounding, which the chunk size may change."""
    assert mine.keys() == reference.keys()
    for key, value in reference.items():
        if isinstance(value, dict):
            same_finding(mine[key], value)
        elif isinstance(value, float) or (isinstance(value, list) and not any(isinstance(x, str) for x in value)):
            assert mine[key] == pytest.approx(value, rel=1e-5, abs=1e-5)
        else:
            assert mine[key] == value


@pytest.mark.slow
def test_a_killed_run_resumes_and_gives_the_same_rows(toy_data, toy_report, tmp_path):
    data, classifier, out = open_dataset(toy_data), toy_classifier(), tmp_path / "report"
    run = build_report(data, classifier, out, toy_options())
    for step in run:
        if step.stage == "explaining" and step.done >= 40:
            break
    run.close()  # ty: ignore[missing-attribute]
    with pytest.raises(UserError, match="half written"):
        open_report(out)
    kept = {p.name: p.stat().st_mtime_ns for p in (out / "pictures").glob("*.parquet")}
    assert kept
    for _ in build_report(data, classifier, out, toy_options()):
        pass
    assert {name: (out / "pictures" / name).stat().st_mtime_ns for name in kept} == kept
    again = open_report(out)
    # their order may differ where two effects are equal but for rounding
    mine, reference = (
        {(f["target"], f["segment"], f["explainer"]): f for f in r.findings} for r in (again, toy_report)
    )
    assert mine.keys() == reference.keys()
    for key in reference:
        same_finding(mine[key], reference[key])
    pd.testing.assert_frame_equal(again.rows(), toy_report.rows())
    steps = list(build_report(data, classifier, out, toy_options()))
    assert [s.stage for s in steps] == ["finished before"]
    with pytest.raises(UserError, match="other settings"):
        list(build_report(data, classifier, out, toy_options(seed=1)))


@dataclass(frozen=True)
class Made:
    """A report without tests, and how it is made again."""

    path: Path
    data: Dataset

    def build(self, out: Path) -> Iterator[Progress]:
        return build_report(self.data, toy_classifier(), out, toy_options(check=False, shard=None))


@pytest.fixture(scope="module")
def small_report(toy_data, tmp_path_factory) -> Made:
    made = Made(tmp_path_factory.mktemp("small") / "r", open_dataset(toy_data, limit=12))
    list(made.build(made.path))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("change", ["mask", "picture", "name", "label", "elsewhere"])
def test_a_folder_of_other_pictures_labels_names_or_masks_is_not_gone_on_with(tmp_path, change):
    folder = write_toy(tmp_path / "data", count=8)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder / "masks", elsewhere)
    shutil.copy(folder / "segments.json", elsewhere)

    def build() -> None:
        for _ in build_report(
            open_dataset(folder, segments=elsewhere), toy_classifier(), tmp_path / "out", toy_options(check=False)
        ):
            pass

    build()
    build()  # unchanged: done before
    if change in ("mask", "picture"):
        file = folder / f"{change}s".replace("pictures", "images") / "003.png"
        Image.open(file).rotate(180).save(file)
    elif change == "elsewhere":
        file = elsewhere / "003.png"
        Image.open(file).rotate(180).save(file)
    elif change == "name":
        names = (folder / "segments.json").read_text().replace('"mark"', '"stamp"')
        (folder / "segments.json").write_text(names)
    else:
        rows = (folder / "manifest.csv").read_text().replace("003.png,stamped", "003.png,plain")
        (folder / "manifest.csv").write_text(rows)
    with pytest.raises(UserError, match="other settings"):
        build()


@pytest.mark.slow
@pytest.mark.parametrize("file", ["manifest.json", "findings.json", "examples.json", "table.parquet"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:9])])
def test_the_same_command_writes_a_damaged_summary_anew_from_the_shards(small_report, tmp_path, file, damage):
    out, again = tmp_path / "r", small_report
    shutil.copytree(again.path, out)
    damage(out / file)
    with pytest.raises(UserError, match=r"run the same `satchel report` again to"):
        open_report(out)
    shards = {path: path.stat().st_mtime_ns for path in out.glob("*/*.parquet")}
    list(again.build(out))
    assert open_report(out).findings == open_report(again.path).findings
    assert {path: path.stat().st_mtime_ns for path in shards} == shards
    assert [step.stage for step in again.build(out)] == ["finished before"]


@pytest.mark.slow
def test_damaged_settings_are_told_as_such(small_report, tmp_path):
    out = tmp_path / "r"
    shutil.copytree(small_report.path, out)
    (out / "settings.json").write_text('{"format": 1,')
    with pytest.raises(UserError, match=r"settings\.json is damaged"):
        next(small_report.build(out))


@pytest.mark.parametrize(("pictures", "shards"), [(12, 2), (2000, 250), (2001, 63)])
def test_little_is_lost_of_a_small_data_set_when_a_run_is_stopped(pictures, shards):
    assert -(-pictures // shard_size(pictures)) == shards


@pytest.mark.slow
def test_a_disk_that_is_full_while_examples_are_written_loses_nothing(toy_report, toy_data, tmp_path, full_disk):
    out = tmp_path / "report"
    shutil.copytree(toy_report.path, out)
    for name in ("manifest.json", "examples.json", PACK):
        (out / name).unlink()

    def run(room: int) -> None:
        for step in build_report(open_dataset(toy_data), toy_classifier(), out, toy_options()):
            if step.stage == "judging":
                full_disk(room)

    with pytest.raises(UserError, match=r"examples.*cannot be written .*nothing that was there is lost"):
        run(100)
    full_disk(-1)
    run(-1)
    again = open_report(out)
    assert again.findings == toy_report.findings
    assert again.examples == toy_report.examples
    assert sorted(Pack(out / PACK).names) == sorted(Pack(toy_report.path / PACK).names)


def test_a_damaged_shard_ends_in_a_sentence(toy_report, tmp_path):
    folder = tmp_path / "report"
    shutil.copytree(toy_report.path, folder)
    for kind in ("rows", "pictures"):
        shard = next((folder / kind).glob("*.parquet"))
        shard.write_bytes(shard.read_bytes()[:300])
    report = open_report(folder)
    with pytest.raises(UserError, match="is damaged"):
        report.rows()
    with pytest.raises(
        UserError, match=rf"is damaged .*; remove every {shard.name} in the folders of .*report, and run"
    ):
        _ = report.pictures


def test_shards_that_are_many_are_put_together_and_say_the_same(toy_report, tmp_path, monkeypatch):
    monkeypatch.setattr("core.sat.saved_report.MANY", 0)
    shutil.copytree(toy_report.path, tmp_path / "r")
    merge_shards(tmp_path / "r")
    for kind in ("rows", "effects", "pairs"):
        shutil.rmtree(tmp_path / "r" / kind)
    found = open_report(tmp_path / "r")
    keys = ["image", "test", "fill", "beside", "donor", "other"]
    apart, together = (report.effects(1, "mark").sort_values(keys, ignore_index=True) for report in (toy_report, found))
    pd.testing.assert_frame_equal(apart, together)
    assert len(found.rows(1, "mark")) == len(toy_report.rows(1, "mark"))
    assert found.pictures["image"].tolist() == toy_report.pictures["image"].tolist()
