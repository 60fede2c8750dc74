"""Training of Salvage: a known answer, the same numbers after a kill, and everything that can go wrong."""

from __future__ import annotations

import errno
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from core.choice import Choice
from core.data import Dataset, open_dataset
from core.errors import UserError
from core.explainers.games.players import cells
from core.explainers.learned.files import about_trained
from core.explainers.learned.model import load_model
from core.fills import fill_plate
from core.learning import SalvageTraining
from core.training.card import _divergence, calibration_error, results_card
from core.training.loop import CheckpointRefused, Training, checkpoint_of
from core.training.pictures import Frames, split
from core.training.run import halved
from core.training.salvage import ExplainerStage, train_salvage
from tests.toy import SIDE, toy_classifier

TINY = {"epochs": 2, "surrogate_epochs": 1, "grid": 4, "width": 16, "subsets": 4, "batch": 8}


def finished(data: Dataset, out: Path, stop_after: int | None = None, **options: object) -> Training | None:
    """All of a training, or its first steps."""
    steps = train_salvage(toy_classifier(), data, SalvageTraining.parse({**TINY, **options}), out)
    last = None
    for count, last in enumerate(steps, start=1):  # noqa: B007 - it is what is returned
        if count == stop_after:
            steps.close()
            break
    return last


@pytest.mark.slow
def test_it_learns_what_each_patch_adds(toy_data: Path, tmp_path: Path) -> None:
    """The toy's logits are means over pixels, so each patch's part of them is known: blue for the one class, red for
    the other, half of the difference once what both share is taken out."""
    out, classifier = tmp_path / "e.safetensors", toy_classifier()
    options = SalvageTraining.parse(
        {**TINY, "epochs": 40, "surrogate_epochs": 0, "subsets": 8, "rate": 5e-3, "grid": 6}
    )
    for _ in train_salvage(classifier, open_dataset(toy_data), options, out):
        pass
    model = load_model(out, classifier)
    _, held = split(open_dataset(toy_data), 0)
    frames = Frames(classifier, held, model.network.shape.grid, segments=False)
    images = frames.batch(range(len(held))).images
    found = model.values(images)[..., 1]
    with torch.no_grad():
        plate = fill_plate(images, options.fill)
        maps, bare = (torch.relu(classifier.module.meter(pictures)) for pictures in (images, plate))
    labels = cells((SIDE, SIDE), 6, 6).flatten()
    parts = torch.zeros(len(images), 2, 36).index_add_(2, labels, (maps - bare).flatten(2)) / SIDE**2
    wanted = (parts[:, 1] - parts[:, 0]) / 2
    correlation = torch.corrcoef(torch.stack([found.flatten(), wanted.flatten()]))[0, 1]
    assert float(correlation) > 0.85
    total = found.sum(1) - wanted.sum(1)
    assert float(total.abs().mean()) < 0.25 * float(wanted.sum(1).abs().mean())


@pytest.mark.parametrize("stop", [1, 4, 7, 12])
def test_a_stopped_training_goes_on_with_the_same_numbers(data: Dataset, tmp_path: Path, stop: int) -> None:
    """Stopped in the surrogate's stage, at its last step, in the explainer's, and when only the card was to be made."""
    straight, broken = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    whole = finished(data, straight)
    assert finished(data, broken, stop_after=stop).step == stop
    assert checkpoint_of(broken).is_file()
    assert not broken.exists()
    again = finished(data, broken)
    assert not checkpoint_of(broken).exists()
    numbers = [(p.stage, p.step, p.loss, p.held_out, p.low, p.high) for p in whole.points]
    assert [(p.stage, p.step, p.loss, p.held_out, p.low, p.high) for p in again.points] == numbers
    assert [(p.step, p.loss) for p in again.between] == [(p.step, p.loss) for p in whole.between]
    assert about_trained(broken).card["curve"] != []
    first, second = load_file(straight), load_file(broken)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_last_checkpoint(toy_data: Path, tmp_path: Path) -> None:
    """Killed without a chance to save (kill -9); checkpoints are at the ends of epochs at least."""
    straight, broken = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    data = open_dataset(toy_data, limit=40)
    whole = finished(data, straight)
    code = (
        "import sys, torch; sys.path[:0] = sys.argv[4].split(':'); torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from core.data import open_dataset\n"
        "from core.learning import SalvageTraining\n"
        "from core.training.salvage import train_salvage\n"
        "from tests.toy import toy_classifier\n"
        "import json, time\n"
        "options = SalvageTraining.parse(json.loads(sys.argv[3]))\n"
        "data, out = open_dataset(sys.argv[1], limit=40), Path(sys.argv[2])\n"
        "for state in train_salvage(toy_classifier(), data, options, out):\n"
        "    time.sleep(0.05)\n"
    )
    arguments = [str(toy_data), str(broken), json.dumps(TINY), ":".join(filter(None, sys.path))]
    child = subprocess.Popen([sys.executable, "-c", code, *arguments])
    patience = time.monotonic() + 120
    while not checkpoint_of(broken).is_file():
        assert child.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.02)
    child.kill()
    child.wait()
    again = finished(data, broken)
    assert [p.held_out for p in again.points] == [p.held_out for p in whole.points]
    first, second = load_file(straight), load_file(broken)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_best_epoch_is_kept_and_the_file_says_how_it_was_made(data: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "e.safetensors"
    state = finished(data, out)
    about = about_trained(out)
    ends = [p for p in state.points if p.stage == "explainer"]
    assert about.card["best_step"] == min(ends, key=lambda p: p.held_out).step
    assert about.card["held_out_loss"] == min(p.held_out for p in ends)
    assert about.settings["training"] == SalvageTraining.parse(TINY).to_dict()
    assert about.fingerprint == toy_classifier().fingerprint
    for point in ends:
        assert point.low + point.middle + point.high == pytest.approx(1)


@pytest.mark.parametrize(
    "options",
    [
        {"players": "segments"},
        {"link": "identity", "divergence": "mse"},
        {"sampler": "gumbel", "divergence": "js", "temperature": 2.0},
        {"sampler": "informed", "unbiased": True, "divergence": "cross-entropy", "surrogate_epochs": 0},
        {"sampler": "uniform", "backbone_rate": 0.0, "fill": "black", "mirror": False},
    ],
    ids=lambda options: ",".join(map(str, options.values())),
)
def test_every_way_ends_in_an_explainer_that_works(data: Dataset, tmp_path: Path, options: dict) -> None:
    out, classifier = tmp_path / "e.safetensors", toy_classifier()
    finished(data, out, **options)
    model = load_model(out, classifier)
    frames = Frames(classifier, data.items[:3], model.network.shape.grid, options.get("players") == "segments")
    batch = frames.batch(range(3))
    values = model.values(batch.images, batch.masks)
    assert torch.isfinite(values).all()
    choice = Choice.parse(f"salvage@{out}")
    regions = batch.players.regions() if options.get("players") == "segments" else None
    (one, *_) = choice.bind(classifier).explain(batch.images, [1], regions=regions)
    assert one.forward_passes == model.passes == (2 if options.get("link") == "identity" else 1)
    assert torch.allclose(one.players.values, values[0, : len(one.players.values), 1], atol=1e-4)


@pytest.mark.slow
def test_the_card_compares_with_other_explainers(data: Dataset, tmp_path: Path) -> None:
    out, classifier = tmp_path / "e.safetensors", toy_classifier()
    cards: list[dict] = []

    def card(model, surrogate, held, file) -> dict:
        cards.append(results_card(model, classifier, surrogate, held, file))
        return cards[0]

    steps = train_salvage(classifier, data, SalvageTraining.parse(TINY), out, card=card)
    for _ in steps:
        pass
    assert about_trained(out).card["subsets"] == cards[0]["subsets"]
    found = cards[0]["faithfulness"]
    assert list(found) == ["salvage", "kernel-shap, 64 passes", "kernel-shap, 512 passes", "random"]
    assert found["salvage"]["passes"] == 1
    assert set(found["random"]["insertion"]) == {"classifier", "surrogate"}
    assert found["kernel-shap, 512 passes"]["deletion"]["classifier"] < found["random"]["deletion"]["classifier"]
    assert cards[0]["classifier"]["accuracy"] == 1
    assert 0 <= cards[0]["classifier"]["agreement"] <= 1


def test_calibration_error_of_known_cases() -> None:
    sure, right = torch.full((10,), 0.95), torch.ones(10)
    assert calibration_error(sure, right) == pytest.approx(0.05, abs=1e-5)
    assert calibration_error(sure, torch.zeros(10)) == pytest.approx(0.95, abs=1e-5)
    half = torch.tensor([1.0, 0.0] * 5)
    assert calibration_error(torch.full((10,), 0.55), half) == pytest.approx(0.05, abs=1e-5)


# --- what can go wrong


def test_another_training_into_the_same_file_is_told(data: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "e.safetensors"
    first = train_salvage(toy_classifier(), data, SalvageTraining.parse(TINY), out)
    next(first)
    with pytest.raises(UserError, match="Another training is writing"):
        next(train_salvage(toy_classifier(), data, SalvageTraining.parse(TINY), out))
    first.close()
    finished(data, out)


def test_a_checkpoint_of_other_settings_is_not_gone_on_with(data: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "e.safetensors"
    finished(data, out, stop_after=4)
    with pytest.raises(CheckpointRefused, match=r"another options \(then seed 0\);") as refused:
        finished(data, out, seed=1)
    assert refused.value.differs == "options (then seed 0)"
    fresh = train_salvage(toy_classifier(), data, SalvageTraining.parse({**TINY, "seed": 1}), out, fresh=True)
    assert next(fresh).step == 1
    fresh.close()
    checkpoint_of(out).write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="cannot be read; begin anew with --fresh"):
        finished(data, out)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, through = tmp_path / "e.safetensors", ExplainerStage.loss

    def loss(self: ExplainerStage, step: int) -> tuple[Tensor, dict[str, float]]:
        found, measures = through(self, step)
        return (found * float("nan") if step == 5 else found), measures

    monkeypatch.setattr(ExplainerStage, "loss", loss)
    with pytest.raises(UserError, match="no number any more at step 6 of the explainer; what was learned"):
        finished(data, out)
    assert checkpoint_of(out).is_file()
    monkeypatch.undo()
    finished(data, out)
    assert out.is_file()


def test_a_full_disk_leaves_the_old_file_whole(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "e.safetensors"
    finished(data, out)
    before = out.read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("core.explainers.learned.files.save", full)
    with pytest.raises(UserError, match="free some room"):
        finished(data, out, seed=3)
    assert out.read_bytes() == before
    monkeypatch.undo()
    finished(data, out, seed=3)  # from the checkpoint: nothing of the training was lost
    assert out.read_bytes() != before


def test_a_full_disk_at_the_stop_is_told(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = train_salvage(toy_classifier(), data, SalvageTraining.parse(TINY), tmp_path / "e.safetensors")
    next(steps)

    def full(path: Path) -> None:
        raise UserError("The disk is full.")

    monkeypatch.setattr("core.training.loop.whole_file", full)
    with pytest.raises(UserError, match="disk is full"):
        steps.close()


def test_weights_that_are_too_wide_for_half_the_bytes_stay_as_they_are() -> None:
    norm = torch.nn.BatchNorm2d(2)
    norm.running_var[0] = 1e6
    kept = halved("own.", norm)
    assert kept["own.running_var"].tolist() == [1e6, 1.0]
    assert kept["own.weight"].dtype == torch.float16


def test_the_divergence_of_classes_that_stand_alone_is_never_below_zero() -> None:
    wanted, found = torch.tensor([0.2, 0.3]), torch.tensor([0.5, 0.6])
    assert float(_divergence(wanted, wanted, sigmoid=True)) == pytest.approx(0, abs=1e-6)
    each = [w * math.log(w / f) + (1 - w) * math.log((1 - w) / (1 - f)) for w, f in ((0.2, 0.5), (0.3, 0.6))]
    assert float(_divergence(wanted, found, sigmoid=True)) == pytest.approx(sum(each), abs=1e-5)


def test_data_that_nothing_can_be_learned_from_is_told(toy_data: Path, tmp_path: Path) -> None:
    one = open_dataset(toy_data, limit=1)
    with pytest.raises(UserError, match="all of one group"):
        finished(one, tmp_path / "e.safetensors")
    bare = tmp_path / "bare"
    for n in range(4):
        (bare / "a").mkdir(parents=True, exist_ok=True)
        (bare / "a" / f"{n}.png").write_bytes((toy_data / "images" / f"{n:03d}.png").read_bytes())
    with pytest.raises(UserError, match="no segments, which are the players"):
        finished(open_dataset(bare), tmp_path / "e.safetensors", players="segments")
    (bare / "a" / "4.png").write_bytes(b"no picture")
    state = finished(open_dataset(bare), tmp_path / "e.safetensors")
    assert len(state.notes) == 1
    assert state.notes[0].startswith("One picture is left out: a/4.png")


def test_options_that_do_not_go_together_are_told(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Link identity goes with divergence mse"):
        finished(data, tmp_path / "e.safetensors", link="identity")
    with pytest.raises(UserError, match="multiple of 8"):
        finished(data, tmp_path / "e.safetensors", width=20)


def test_without_a_surrogate_a_warning_says_what_was_measured(data: Dataset, tmp_path: Path) -> None:
    state = finished(data, tmp_path / "e.safetensors", surrogate_epochs=0)
    assert "keeps its answer on" in state.notes[0]


@pytest.mark.slow
def test_two_processes_train_one_explainer(toy_data: Path, tmp_path: Path) -> None:
    """By torchrun, on the CPU: both end with the same weights, and the first one writes them."""
    script, out = tmp_path / "both.py", tmp_path / "e.safetensors"
    script.write_text(
        "import hashlib, json, sys, torch\n"
        "sys.path[:0] = sys.argv[4].split(':')\n"
        "torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from core.data import open_dataset\n"
        "from core.learning import SalvageTraining\n"
        "from core.training import together\n"
        "from core.training import salvage\n"
        "from tests.toy import toy_classifier\n"
        "options = SalvageTraining.parse(json.loads(sys.argv[3]))\n"
        "kept = []\n"
        "salvage.ExplainerStage.finish = lambda stage: kept.append(stage.network)\n"
        "data, out = open_dataset(sys.argv[1], limit=40), Path(sys.argv[2])\n"
        "for state in salvage.train_salvage(toy_classifier(), data, options, out):\n"
        "    pass\n"
        "whole = hashlib.sha256(b''.join(v.numpy().tobytes() for v in kept[0].state_dict().values())).hexdigest()\n"
        "Path(f'{sys.argv[2]}.{together.rank()}').write_text(whole + ' ' + str(state.step))\n"
    )
    arguments = [str(toy_data), str(out), json.dumps({**TINY, "epochs": 1}), ":".join(filter(None, sys.path))]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    subprocess.run([*command, *arguments], check=True, timeout=240, capture_output=True)
    first, second = (Path(f"{out}.{rank}").read_text() for rank in (0, 1))
    assert first == second
    assert about_trained(out).card["best_step"] is not None
    assert not checkpoint_of(out).exists()
