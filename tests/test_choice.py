"""An explainer and all that belongs to it, as one thing: read, written, told apart, and the same map everywhere."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from toy import toy_classifier

from core.choice import REFERENCES, Choice, References, Trained, distinct, full_title, short_titles
from core.data import open_dataset
from core.errors import UserError
from core.evaluation.evaluate import EvaluationOptions, Yardstick, evaluate
from core.explain import explain
from core.explainer import BoundExplainer, explainers, get_explainer
from core.export import MapFolder
from core.images import read_picture
from core.runtime.randomness import picture_seeds
from core.sat.report import ReportOptions, build_report
from core.sat.saved_report import open_report
from dashboard.classifiers import LoadedClassifier
from dashboard.runs import ResultKey, Run, Runner

SHORT = {"samples": 4}


def quick(name: str) -> Choice:
    """With few samples, where it has samples."""
    method = get_explainer(name)
    known = {spec.name for spec in method.parameters.specs()}
    return Choice(name, method.parameters.parse({k: v for k, v in SHORT.items() if k in known}))


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """A folder of pictures that differ."""
    folder = tmp_path / "gallery"
    folder.mkdir()
    for i in range(REFERENCES + 4):
        values = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{i:02d}.png")
    return folder


@pytest.mark.parametrize("name", list(explainers()))
def test_its_text_is_read_back_as_the_same_choice(name: str) -> None:
    for choice in (Choice(name), quick(name)):
        again = Choice.parse(choice.text)
        assert (again, again.key, again.label) == (choice, choice.key, choice.text)
        assert pickle.loads(pickle.dumps(choice)).key == choice.key
        assert json.loads(json.dumps(choice.record()))["key"] == choice.key
    assert Choice(name).text == name


def test_the_key_changes_with_whatever_changes_a_map(gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Choice.parse("expected-gradients")
    others = Choice.parse(f"expected-gradients:references={gallery}")
    more = Choice.parse("expected-gradients:samples=99")
    assert len({choice.key for choice in (plain, others, more)}) == 3
    assert replace(plain, label="mine").key == plain.key == Choice.parse("expected-gradients:samples=100").key
    monkeypatch.setattr(type(plain.method), "revision", plain.method.revision + 1)
    assert Choice.parse("expected-gradients").key != plain.key


def test_references_are_known_by_what_they_show_not_by_where_they_lie(gallery: Path, tmp_path: Path) -> None:
    before = References.of(gallery)
    assert len(before.data) == REFERENCES
    moved = gallery.rename(tmp_path / "moved")
    assert References.of(moved).sha256 == before.sha256
    first = before.data.items[0].id
    Image.new("RGB", (32, 32), "red").save(moved / first)
    assert References.of(moved).sha256 != before.sha256


def test_references_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert [item.id for item in References.of(tmp_path).data.items] == ["good.png"]
    (tmp_path / "good.png").unlink()
    with pytest.raises(UserError, match=r"can be read to compare with \(bad.png is not a picture"):
        References.of(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "no explainer 'nothing'"),
        ("gradient:samples=3", "gradient: There is no parameter 'samples'"),
        ("gradient:references=demo:birds", "compares with no other pictures; those that do are"),
        ("expected-gradients:references=nowhere", "nowhere"),
        ("gradient:weights=nowhere.pt", "nowhere.pt"),
        ("smoothgrad:samples=1,reduction=variance", "at least 2 samples"),
        ("gradient:x", "has no value"),
    ],
)
def test_what_does_not_go_together_is_told(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Choice.parse(text)


def test_weights_are_for_those_that_are_trained(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"anything")
    with pytest.raises(UserError, match="is not trained"):
        Choice.parse(f"gradient:weights={file}")
    assert Trained.of(file).sha256 == Trained.of(file).sha256
    with pytest.raises(UserError, match="takes SmoothGradParameters"):
        Choice("smoothgrad", get_explainer("gradient").parameters())


def test_two_settings_of_one_explainer_stand_side_by_side_and_one_twice_does_not() -> None:
    few, many = Choice.parse("smoothgrad:samples=4"), Choice.parse("smoothgrad:samples=8")
    distinct([few, many])
    with pytest.raises(UserError, match="named twice"):
        distinct([few, Choice.parse("smoothgrad:samples=4")])


@pytest.mark.parametrize(
    ("label", "full"),
    [
        ("smoothgrad", "SmoothGrad"),
        ("smoothgrad:samples=4, patch_size=2", "SmoothGrad (samples 4, patch size 2)"),
        ("smoothgrad:references=a_b=c", "SmoothGrad (references a_b=c)"),
        ("my_own", "SmoothGrad (my_own)"),
    ],
)
def test_a_title_says_what_the_label_says_and_a_short_one_only_where_it_must(label: str, full: str) -> None:
    entry = {"label": label, "name": "smoothgrad", "title": "SmoothGrad"}
    other = {"label": "smoothgrad:samples=8", "name": "smoothgrad", "title": "SmoothGrad"}
    assert full_title(entry) == full
    assert short_titles([entry]) == {label: "SmoothGrad"}
    told = full if label != "smoothgrad" else "SmoothGrad (defaults)"
    assert short_titles([entry, other]) == {label: told, other["label"]: "SmoothGrad (samples 8)"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, toy_data: Path) -> tuple[Path, str, Path]:
    """A data set of one picture with masks, the picture's name in it, and its file."""
    data = open_dataset(toy_data, limit=1)
    return toy_data, data.items[0].id, data.items[0].files[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(explainers()))
def test_the_same_choice_gives_the_same_map_in_every_command(
    name: str, world: tuple[Path, str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, file = world
    classifier = toy_classifier()
    choice = quick(name)
    if choice.method.supports(classifier) is not None:
        pytest.skip("refuses the toy classifier")
    if choice.method.takes_references:
        choice = replace(choice, references=References.of(folder))
    made: list[tuple[str, torch.Tensor]] = []
    explained = BoundExplainer.explain

    def kept(self: BoundExplainer, *args, **kwargs):
        found = explained(self, *args, **kwargs)
        if self.explainer.name == name and self.classifier is classifier:
            made.extend((where, one.values) for one in found)
        return found

    where = "explain"
    alone, _ = explain(classifier, file, choice, seed=7)
    monkeypatch.setattr(BoundExplainer, "explain", kept)
    where = "report"
    options = ReportOptions((choice,), check=False, seed=7, control_pictures=1)
    for _ in build_report(open_dataset(folder, limit=1), classifier, tmp_path / "r", options):
        pass
    where = "evaluation"
    options = EvaluationOptions((choice,), (Yardstick.parse("sparseness"),), seed=7)
    for _ in evaluate(open_dataset(folder, limit=1), classifier, tmp_path / "e", options):
        pass
    assert {place for place, _ in made} == {"report", "evaluation"}
    image = classifier.prepare(read_picture(file)).tensor
    runner, loaded = Runner(), LoadedClassifier("toy", classifier)
    key = ResultKey("picture", classifier.fingerprint, choice, alone.target, None, 7)
    for _ in runner.stream(loaded, image, Run({name: key})):
        pass
    shown = runner.results.get(key)
    assert shown is not None
    assert (alone.seed, shown.seed) == (7, 7)
    for place, values in (*made, ("page", shown.values)):
        torch.testing.assert_close(values, alone.values, rtol=1e-4, atol=1e-6, msg=lambda m, p=place: f"{p}: {m}")


def test_a_picture_draws_the_same_numbers_wherever_it_stands() -> None:
    images = torch.rand(3, 3, 8, 8)
    seeds = picture_seeds(5, images)
    assert len(set(seeds)) == 3
    assert picture_seeds(5, images.flip(0)) == seeds[::-1]
    assert picture_seeds(6, images) != seeds


@pytest.mark.slow
def test_a_folder_begun_by_another_revision_is_not_gone_on_with(
    world: tuple[Path, str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = world
    options = ReportOptions((Choice("gradient"),), check=False)
    for _ in build_report(open_dataset(folder, limit=2), toy_classifier(), tmp_path / "r", options):
        pass
    entry = open_report(tmp_path / "r").manifest["explainers"][0]
    assert (entry["name"], entry["revision"], entry["key"]) == ("gradient", 1, Choice("gradient").key)
    assert open_report(tmp_path / "r").manifest["versions"]["satchel"]
    monkeypatch.setattr(type(get_explainer("gradient")), "revision", 2)
    options = ReportOptions((Choice("gradient"),), check=False)
    with pytest.raises(UserError, match="other settings"):
        list(build_report(open_dataset(folder, limit=2), toy_classifier(), tmp_path / "r", options))


@pytest.mark.slow
def test_a_report_takes_two_settings_of_one_explainer(world: tuple[Path, str, Path], tmp_path: Path) -> None:
    folder, _, _ = world
    both = tuple(map(Choice.parse, ("integrated-gradients:samples=2", "integrated-gradients:samples=6")))
    options = ReportOptions(both, check=False, control_pictures=1)
    for _ in build_report(open_dataset(folder, limit=4), toy_classifier(), tmp_path / "r", options):
        pass
    report = open_report(tmp_path / "r")
    assert set(report.table["explainer"]) == {choice.label for choice in both}
    titles = [entry["title"] for entry in report.manifest["explainers"]]
    assert titles == ["Integrated gradients (samples 2)", "Integrated gradients (samples 6)"]


def test_the_list_of_maps_tells_the_whole_choice(world: tuple[Path, str, Path], tmp_path: Path) -> None:
    _, _, file = world
    choice = Choice.parse("smoothgrad:samples=3")
    attribution, _ = explain(toy_classifier(), file, choice)
    maps = MapFolder(tmp_path / "maps")
    entry = maps.add(str(file), attribution, toy_classifier(), 0.5, choice, 0)
    kept = pd.read_json(maps.finish()).iloc[0]
    assert {"label", "revision", "weights", "references", "key", "satchel"} <= set(kept.index)
    assert Choice.parse(f"{entry['explainer']}:samples={entry['parameters']['samples']}").key == entry["key"]
