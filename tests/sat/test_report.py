"""The whole chain on a world whose truth is known."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image
from toy import ColourMeter, toy_classifier, toy_options, write_toy

from core.choice import Choice
from core.classifier import Classifier
from core.data import Item, open_dataset
from core.errors import UserError
from core.images import read_picture
from core.preprocessing import Preprocessing
from core.sat.report import build_report
from core.sat.saved_report import open_report
from core.sat.verdicts import is_shortcut

KEYS = {
    "target", "segment", "kind", "explainer", "pictures", "presence", "share", "coverage", "density", "density_low",
    "density_high", "necessity", "necessity_low", "necessity_high", "sufficiency", "sufficiency_low",
    "sufficiency_high", "fills", "joint", "cases", "lacking", "p", "q", "verdict", "sentence",
}  # fmt: skip


def finding(report, target, segment):
    (entry,) = [f for f in report.findings if (f["target"], f["segment"]) == (target, segment)]
    return entry


def test_the_planted_mark_is_the_one_shortcut(toy_report):
    shortcuts = [(f["target"], f["segment"]) for f in toy_report.findings if is_shortcut(f)]
    assert shortcuts == [("stamped", "mark")]
    assert toy_report.manifest["shortcuts"] == 1
    mark = finding(toy_report, "stamped", "mark")
    assert "mark" in mark["sentence"]
    assert mark["sufficiency_low"] > 0.5
    assert all(low > 0.5 for _, low, _ in mark["fills"].values())


def test_relying_on_the_object_is_confirmed_but_no_shortcut(toy_report):
    entry = finding(toy_report, "plain", "object")
    assert entry["verdict"] == "confirmed"
    assert not is_shortcut(entry)


@pytest.mark.parametrize(("target", "segment"), [("plain", "sky"), ("stamped", "sky"), ("stamped", "corner")])
def test_what_the_model_cannot_see_is_cleared(toy_report, target, segment):
    entry = finding(toy_report, target, segment)
    assert entry["verdict"] == "cleared"
    assert set(entry["fills"]) == ({"context swap"} if segment == "sky" else {"inpaint", "mean"})


def test_effects_equal_the_known_margin_of_the_mark(toy_report):
    """The mark adds a fixed amount of blue: 48 pixels of 2304 at gain 60 times its blueness (0.98 - 0.24)."""
    effects = toy_report.effects(1, "mark")
    removals = effects[(effects["test"] == "necessity") & (effects["fill"] == "mean")]
    assert removals["effect"].mean() == pytest.approx(60 * (250 - 60) / 255 * 48 / 2304, rel=0.02)
    assert (effects["effect"] - (effects["placebo"] - effects["after"]).abs()).abs().max() < 1e-5


def test_findings_have_steady_keys_and_everything_is_on_disk(toy_report):
    assert all(set(entry) >= KEYS for entry in toy_report.findings)
    written = json.loads((toy_report.path / "findings.json").read_text())
    assert written == toy_report.findings
    assert toy_report.manifest["accuracy"] == 1.0
    assert toy_report.manifest["pictures"] == 72
    assert sum(toy_report.manifest["verdicts"].values()) == len(toy_report.table)
    rows = toy_report.rows(segment="mark")
    assert set(rows["image"]) == {f"images/{i:03d}.png" for i in range(1, 72, 2)}
    for entry in [*toy_report.examples["removals"], *toy_report.examples["pastes"]]:
        assert read_picture(toy_report.example(entry["file"])).size == (48, 48)


@pytest.mark.slow
def test_without_tests_nothing_is_confirmed_or_cleared(toy_data, tmp_path):
    data = open_dataset(toy_data, limit=48)
    for _ in build_report(data, toy_classifier(), tmp_path / "r", toy_options(check=False)):
        pass
    verdicts = {f["verdict"] for f in open_report(tmp_path / "r").findings}
    assert verdicts <= {"suspected", "inconclusive"}
    assert all(f["sufficiency"] is None and f["q"] is None for f in open_report(tmp_path / "r").findings)


@pytest.mark.slow
def test_a_bad_picture_is_noted_and_left_out(tmp_path):
    folder = write_toy(tmp_path / "data", count=44)
    (folder / "images" / "003.png").write_bytes(b"no picture")
    for _ in build_report(open_dataset(folder), toy_classifier(), tmp_path / "r", toy_options(check=False)):
        pass
    manifest = open_report(tmp_path / "r").manifest
    assert manifest["pictures"] == 43
    assert [p["image"] for p in manifest["problems"]] == ["images/003.png"]


@pytest.mark.slow
@pytest.mark.parametrize("whites", [1, 12])
def test_a_picture_that_the_model_has_no_number_for_is_left_out_and_a_model_that_has_none_at_all_is_told(
    tmp_path, whites
):
    class Blinded(ColourMeter):
        def forward(self, x):
            return super().forward(x).masked_fill(x.mean((1, 2, 3)).gt(0.98)[:, None], torch.nan)

    folder = write_toy(tmp_path / "data", count=12)
    for number in range(whites):
        Image.new("RGB", (48, 48), "white").save(folder / "images" / f"{number:03d}.png")
    classifier = toy_classifier(module=Blinded())
    work = build_report(open_dataset(folder), classifier, tmp_path / "r", toy_options(check=False))
    if whites == 12:
        with pytest.raises(UserError, match="NaN or infinity"):
            list(work)
        return
    list(work)
    manifest = open_report(tmp_path / "r").manifest
    assert manifest["pictures"] == 11
    assert [p["image"] for p in manifest["problems"]] == ["images/000.png"]


@pytest.mark.slow
def test_a_report_may_remove_the_segments_themselves(toy_data, tmp_path):
    """All that class "stamped" fires on is the mark, so that all of the map lies on it; examples say their unit."""
    choice = Choice.parse("occlusion:regions=segments,fill=black")
    data = open_dataset(toy_data, limit=6)
    options = toy_options(explainers=(choice,), check=False, control_pictures=2)
    for _ in build_report(data, toy_classifier(), tmp_path / "r", options):
        pass
    report = open_report(tmp_path / "r")
    rows = report.rows(1)
    assert set(rows["unit"]) == {"density"}
    assert (rows.loc[rows["segment"] == "mark", "share"] > 0.9).all()
    assert rows.loc[rows["segment"] == "mark", "sum"].notna().all()
    maps = [entry["maps"][choice.label] for entry in report.examples["pictures"].values()]
    assert {entry["unit"] for entry in maps} == {"density"}


@pytest.mark.slow
def test_few_pictures_give_no_verdict(toy_data, tmp_path):
    data = open_dataset(toy_data, limit=20)
    for _ in build_report(data, toy_classifier(), tmp_path / "r", toy_options(recipients=8)):
        pass
    assert {f["verdict"] for f in open_report(tmp_path / "r").findings} == {"too few"}


@pytest.mark.slow
def test_pictures_of_few_groups_give_no_verdict(tmp_path):
    folder = write_toy(tmp_path / "data", count=60)
    lines = (folder / "manifest.csv").read_text().splitlines()
    patients = [f"patient {number // 10}" for number in range(60)]
    rows = [f"{line},{group}" for line, group in zip(lines, ["group", *patients])]
    (folder / "manifest.csv").write_text("\n".join(rows))
    for _ in build_report(open_dataset(folder), toy_classifier(), tmp_path / "out", toy_options()):
        pass
    report = open_report(tmp_path / "out")
    assert {finding["verdict"] for finding in report.findings} == {"too few"}
    assert {(finding["pictures"], finding["groups"]) for finding in report.findings} >= {(30, 6)}
    assert "belong to 6 groups: too few to judge" in report.findings[0]["sentence"]
    pasted = report.effects().query("test == 'sufficiency'")
    assert set(pasted["donor_group"]) <= set(patients)
    assert all(finding["pairs"] <= 6 for finding in report.findings)


@pytest.mark.slow
def test_what_one_picture_cannot_tell_is_null(toy_data, tmp_path):
    data = open_dataset(toy_data, limit=2)
    for _ in build_report(data, toy_classifier(), tmp_path / "r", toy_options()):
        pass
    mark = finding(open_report(tmp_path / "r"), "stamped", "mark")
    estimate, low, high = mark["fills"]["mean"]
    assert estimate > 0.5
    assert (low, high) == (None, None)


def test_user_mistakes_end_in_a_sentence(toy_data, tmp_path):
    data, classifier = open_dataset(toy_data, limit=8), toy_classifier()
    with pytest.raises(UserError, match="No segment is called 'marc'; did you mean 'mark'"):
        list(build_report(data, classifier, tmp_path / "a", toy_options(context=("marc",))))
    with pytest.raises(UserError, match="at least one explainer"):
        toy_options(explainers=())
    with pytest.raises(UserError, match="delta"):
        toy_options(delta=0.0)
    with pytest.raises(UserError, match="two fills"):
        toy_options(fills=("mean",))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        list(build_report(data, classifier, tmp_path / "full", toy_options()))
    bare = tmp_path / "bare"
    shutil.copytree(toy_data / "images", bare / "plain")
    with pytest.raises(UserError, match="no masks"):
        list(build_report(open_dataset(bare), classifier, tmp_path / "b", toy_options(check=False)))
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()
    with pytest.raises(UserError, match="no report folder"):
        open_report(tmp_path / "nowhere")


def unusable(*_: object) -> None:
    raise UserError("The mask is cut off; export it again.")


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        (lambda own: replace(own, items=tuple(replace(item, name="", naming="") for item in own)), "`satchel name`"),
        (lambda own: replace(own, items=()), "are empty"),
        (unusable, r"can be used with its masks \(The mask is cut off; export it again\)"),
        (lambda own: None, "no masks"),
    ],
)
def test_without_a_named_mask_it_is_said_why_and_nothing_is_written(toy_data, tmp_path, segments, said):
    data = open_dataset(toy_data, limit=3)
    items = tuple(replace(x, segments=lambda own=x.segments: segments(own())) for x in data.items)
    with pytest.raises(UserError, match=said):
        next(build_report(replace(data, items=items), toy_classifier(), tmp_path / "r", toy_options(context=("mark",))))
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_masks_that_the_model_never_sees_leave_the_folder_free(toy_data, tmp_path):
    """The model sees the middle 16 columns; the corner lies left of them."""
    data = open_dataset(toy_data, limit=3)

    def corner(item: Item) -> Item:
        kept = lambda own: replace(own, items=tuple(x for x in own if x.name == "corner"))  # noqa: E731
        return replace(item, segments=lambda: kept(item.segments()))

    narrow = Preprocessing(resize=(48, 48), crop=(16, 16))
    classifier = Classifier(ColourMeter(), preprocessing=narrow, device="cpu")
    with pytest.raises(UserError, match="no named mask covers anything"):
        list(
            build_report(replace(data, items=tuple(map(corner, data.items))), classifier, tmp_path / "r", toy_options())
        )
    assert list((tmp_path / "r").rglob("*.*")) == []
    list(build_report(data, classifier, tmp_path / "r", toy_options(check=False)))
    assert open_report(tmp_path / "r").manifest["pictures"] == 3


def test_randomised_weights_keep_the_architecture_and_change_the_answers():
    from core.randomised import randomised

    classifier = toy_classifier()
    images = torch.rand(4, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    twin = randomised(classifier, images, seed=1)
    assert sorted(twin.module.meter.weight.flatten()) == sorted(classifier.module.meter.weight.flatten())
    assert not torch.allclose(twin.logits(images), classifier.logits(images))
    assert twin.fingerprint != classifier.fingerprint
