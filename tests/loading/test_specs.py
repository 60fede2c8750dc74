"""Every form of spec string, with small networks and no network connection."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import timm
import timm.data
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from specs import load, says

from core.errors import UserError
from core.fetching.download import download
from core.loading import known_models
from core.loading import torchvision_models as tv
from core.loading.labels import read_labels
from core.paths import assets_dir
from core.preprocessing import Preprocessing

SHUFFLE = "shufflenet_v2_x0_5"
TINY = Preprocessing(resize=(64, 64), crop=None, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture
def tiny_file(tmp_path):
    """A three-class ShuffleNet with labels and preprocessing in its metadata."""
    path = tmp_path / "tiny.safetensors"
    metadata = {"labels": json.dumps(["ant", "bee", "cat"]), "preprocessing": json.dumps(TINY.to_dict())}
    save_file(tv.build(SHUFFLE, num_classes=3).state_dict(), path, metadata)
    return path


@pytest.mark.slow
def test_metadata_gives_labels_and_preprocessing(tiny_file):
    classifier = load(f"torchvision:{SHUFFLE}@{tiny_file}")
    assert classifier.labels == ("ant", "bee", "cat")
    assert classifier.preprocessing == TINY
    assert classifier.output == "softmax"
    assert classifier.name == f"torchvision:{SHUFFLE}@{tiny_file}"


@pytest.mark.slow
def test_weights_are_the_files_own(tmp_path):
    module = tv.build(SHUFFLE, num_classes=3).eval()
    torch.save({"state_dict": {f"module.{k}": v for k, v in module.state_dict().items()}}, tmp_path / "m.pth")
    classifier = load(f"torchvision:{SHUFFLE}@{tmp_path / 'm.pth'}")
    images = torch.rand(2, 3, 224, 224)
    wanted = classifier.preprocessing
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (wanted.mean, wanted.std))
    torch.testing.assert_close(classifier.logits(images), module((images - mean) / std), rtol=1e-4, atol=1e-5)
    assert classifier.labels == ("class 0", "class 1", "class 2")
    assert classifier.preprocessing == Preprocessing()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("squeezenet1_1", {}),
        ("densenet121", {}),
        ("mobilenet_v3_small", {}),
        ("googlenet", {"aux_logits": True, "init_weights": False}),
        ("googlenet", {"aux_logits": False, "init_weights": False}),
        ("swin_t", {}),
    ],
)
def test_the_number_of_classes_is_read_from_any_head(name, options):
    state = tv.build(name, num_classes=7, **options).state_dict()
    given = {k: v for k, v in options.items() if k == "aux_logits"}
    assert tv.count_classes(name, {"init_weights": False, **given} if given else {}, state) == 7


def test_a_transformer_of_any_size(tmp_path):
    options = {"image_size": 32, "patch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    state = torchvision.models.VisionTransformer(**options, num_classes=4).state_dict()
    path = tmp_path / "vit.safetensors"
    save_file(state, path, {"architecture_options": json.dumps(options)})
    classifier = load(f"torchvision:vision_transformer@{path}")
    assert len(classifier.labels) == 4
    assert classifier.input_size == (32, 32)
    save_file(state, path, {"architecture_options": json.dumps({"patches": 8})})
    says(f"torchvision:vision_transformer@{path}", "does not take the options")
    save_file(state, path, {"architecture_options": "[1"})
    says(f"torchvision:vision_transformer@{path}", "no JSON")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["list", "object", "text"])
def test_labels_files(tiny_file, tmp_path, form):
    names = ["x", "y", "z"]
    path = tmp_path / ("labels.txt" if form == "text" else "labels.json")
    by_index = {str(i): name for i, name in enumerate(names)}
    path.write_text("x\ny\nz\n" if form == "text" else json.dumps(names if form == "list" else by_index))
    assert load(f"torchvision:{SHUFFLE}@{tiny_file}", labels=path).labels == ("x", "y", "z")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["a", "b"]', "has 3 classes but 2 labels"),
        ("a\nb\nc\nd", "has 3 classes but 4 labels"),
        ('["a", 1, 2]', "list of labels"),
        ('{"0": "a", "2": "b"}', "without a gap"),
        ('{"a": "b"}', "class numbers"),
        ("[1", "no JSON"),
        ("", "empty"),
    ],
)
def test_broken_labels_files(tiny_file, tmp_path, text, words):
    (tmp_path / "l").write_text(text)
    says(f"torchvision:{SHUFFLE}@{tiny_file}", words, labels=tmp_path / "l")
    says(f"torchvision:{SHUFFLE}@{tiny_file}", "There is no labels file", labels=tmp_path / "none")


@pytest.mark.slow
def test_output_in_the_metadata(tmp_path):
    state = tv.build(SHUFFLE, num_classes=3).state_dict()
    save_file(state, tmp_path / "m.safetensors", {"output": "sigmoid"})
    assert load(f"torchvision:{SHUFFLE}@{tmp_path / 'm.safetensors'}").output == "sigmoid"
    save_file(state, tmp_path / "m.safetensors", {"output": "argmax"})
    says(f"torchvision:{SHUFFLE}@{tmp_path / 'm.safetensors'}", "'argmax'", "softmax or sigmoid")
    save_file(state, tmp_path / "m.safetensors", {"preprocessing": '{"size": 3}'})
    says(f"torchvision:{SHUFFLE}@{tmp_path / 'm.safetensors'}", "cannot be used")


@pytest.mark.slow
def test_one_logit_takes_two_labels(tmp_path):
    save_file(tv.build(SHUFFLE, num_classes=1).state_dict(), tmp_path / "m.safetensors")
    (tmp_path / "labels.txt").write_text("healthy\nill\n")
    classifier = load(f"torchvision:{SHUFFLE}@{tmp_path / 'm.safetensors'}", labels=tmp_path / "labels.txt")
    assert classifier.labels == ("healthy", "ill")
    assert classifier.output == "sigmoid"


def test_unknown_names_come_with_the_nearest():
    says("torchvison:resnet50", "did you mean 'torchvision'?")
    says("resnet50", "torchvision:resnet50")
    says("torchvision:", "lacks a name")
    says("torchvision:resnet51", "did you mean 'resnet5")
    says("timm:resnet51", "did you mean 'resnet")
    says("demo:biassed", "did you mean 'biased'?")
    says("torchvision:resnet50@", "after the @")
    says("torchvision:vision_transformer", "@FILE")


@pytest.mark.slow
def test_files_that_do_not_fit(tiny_file, tmp_path):
    says("torchvision:resnet18@/nowhere/m.pth", "There is no weights file")
    says(f"torchvision:resnet18@{tiny_file}", "another architecture", "are missing")
    says(f"torchvision:shufflenet_v2_x1_0@{tiny_file}", "another architecture", "of another shape")
    says(f"torchvision:resnet18@{tmp_path}", "is a folder")


@pytest.mark.slow
def test_loading_leaves_the_random_state_alone(tiny_file):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load(f"torchvision:{SHUFFLE}@{tiny_file}")
    assert torch.equal(before, torch.get_rng_state())


# --- fine-tuned heads, labels and preprocessing --------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """Saves a state dict and says where."""

    def save(state: dict, name: str = "m.pth") -> Path:
        torch.save(state, tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_of_other_classes_are_left_out(saved, name):
    module = tv.build(name, aux_logits=True, init_weights=False)
    module.fc = torch.nn.Linear(module.fc.in_features, 2)
    file = saved({f"module.{key}": value for key, value in module.state_dict().items()})
    size = {"size": (96, 96)}  # enough for what is asked here
    made = load(f"torchvision:{name}@{file}", preprocessing=size)
    assert len(made.labels) == 2
    assert [note.split()[1] for note in made.notes] == ["auxiliary"]
    without = {key: value for key, value in module.state_dict().items() if not key.startswith(("aux", "Aux"))}
    plain = load(f"torchvision:{name}@{saved(without, 'n.pth')}", preprocessing=size)
    assert plain.notes == ()
    images = torch.rand(2, 3, 96, 96)
    torch.testing.assert_close(made.logits(images), plain.logits(images))


def with_head(place: str, head: torch.nn.Module) -> torch.nn.Module:
    module = tv.build("mobilenet_v3_small", num_classes=1000).eval()
    owner, _, name = place.rpartition(".")
    setattr(module.get_submodule(owner), name, head)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "head", "where"),
    [
        ("classifier", torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(576, 5)), "classifier.1"),
        ("classifier", torch.nn.Linear(576, 5), "classifier"),
        ("classifier.3", torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(1024, 5)), "classifier.3.1"),
    ],
    ids=["dropout and linear", "linear", "in the last place"],
)
def test_a_head_of_one_linear_layer_is_rebuilt(saved, place, head, where):
    module = with_head(place, head).eval()
    made = load(f"torchvision:mobilenet_v3_small@{saved(module.state_dict())}", preprocessing={"size": (64, 64)})
    assert made.labels == tuple(f"class {i}" for i in range(5))
    assert len(made.notes) == 1
    assert repr(where) in made.notes[0]
    images = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (made.preprocessing.mean, made.preprocessing.std))
    torch.testing.assert_close(made.logits(images), module((images - mean) / std), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_head_of_several_layers_is_left_to_the_persons_own_function(saved):
    head = torch.nn.Sequential(torch.nn.Linear(1024, 8), torch.nn.ReLU(), torch.nn.Linear(8, 5))
    file = saved(with_head("classifier.3", head).state_dict())
    says(
        f"torchvision:mobilenet_v3_small@{file}", "'classifier.3'", "several layers", "python:package.module:function@"
    )
    module = timm.create_model("test_resnet")
    module.fc = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(module.fc.in_features, 5))
    made = load(f"timm:test_resnet@{saved(module.state_dict())}")
    assert made.labels == tuple(f"class {i}" for i in range(5))
    assert "'fc.1'" in made.notes[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ('{"1": "x", "2": "y", "3": "z"}', 1),
        ('{"x": 0, "z": 2, "y": 1}', 0),
        ('{"0": ["n1", "x"], "1": ["n2", "y"], "2": ["n3", "z"]}', 0),
    ],
    ids=["from 1", "by label", "with WordNet ids"],
)
def test_labels_in_the_forms_that_people_have(tiny_file, tmp_path, text, notes):
    (tmp_path / "l.json").write_text(text)
    made = load(f"torchvision:{SHUFFLE}@{tiny_file}", labels=tmp_path / "l.json")
    assert made.labels == ("x", "y", "z")
    assert len(made.notes) == notes
    assert all("from 1" in note for note in made.notes)


@pytest.mark.slow
def test_what_is_stated_comes_before_the_files_own(tiny_file):
    spec = f"torchvision:{SHUFFLE}@{tiny_file}"
    own = load(spec)
    made = load(spec, preprocessing={"mean": 0.25, "size": (32, 48), "interpolation": "bicubic"}, output="sigmoid")
    assert made.preprocessing == Preprocessing((32, 48), None, "bicubic", (0.25, 0.25, 0.25), TINY.std)
    assert made.output == "sigmoid"
    assert made.fingerprint != own.fingerprint
    assert load(spec, preprocessing={"mean": TINY.mean}).fingerprint == own.fingerprint
    says(spec, "std must be above 0", preprocessing={"std": 0.0})
    says(spec, "8192", preprocessing={"size": 100_000})


# --- published weights -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "vit_b_16", SHUFFLE])
def test_published_weights_of_any_vintage(monkeypatch, tmp_path, name):
    """The download is replaced by weights of the right form; names, labels and preprocessing must come out right."""
    state = tv.build(name).state_dict()
    if name == "densenet121":  # as its published file names them
        state = {
            key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
            for key, value in state.items()
            if "num_batches_tracked" not in key
        }
    torch.save(state, tmp_path / "m.pth")
    monkeypatch.setattr(tv, "download", lambda *a: tmp_path / "m.pth")
    classifier = load(f"torchvision:{name}")
    assert classifier.labels[:2] == ("tench", "goldfish")
    assert classifier.input_size == (224, 224)


def test_offline_is_one_sentence(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    says(f"torchvision:{SHUFFLE}", "could not be downloaded", "no route", "NAME@FILE")
    assert not list((tmp_path / "checkpoints").iterdir())


def test_download_checks_reports_and_caches(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "source.bin").write_bytes(b"x" * 3_000_000)
    url, seen = (tmp_path / "source.bin").as_uri(), []
    with pytest.raises(UserError, match="hash is wrong"):
        download(url, "it", sha256="00000000")
    path = download(url, "it", lambda fraction, text: seen.append(fraction))
    assert path.read_bytes() == b"x" * 3_000_000
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    (tmp_path / "source.bin").unlink()
    assert download(url, "it") == path


def test_published_preprocessing_is_the_weights_own():
    weights = torchvision.models.EfficientNet_V2_S_Weights.IMAGENET1K_V1
    found = tv.preprocessing_of(weights)
    assert (found.resize, found.crop, found.interpolation) == (384, (384, 384), "bilinear")
    weights = torchvision.models.ViT_H_14_Weights.IMAGENET1K_SWAG_E2E_V1
    found = tv.preprocessing_of(weights)
    assert (found.resize, found.crop, found.interpolation) == (518, (518, 518), "bicubic")


# --- timm ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_timm_with_own_weights(tmp_path, name):
    module = timm.create_model(name, num_classes=5).eval()
    save_file(module.state_dict(), tmp_path / "m.safetensors", {"labels": json.dumps(list("abcde"))})
    classifier = load(f"timm:{name}@{tmp_path / 'm.safetensors'}")
    config = timm.data.resolve_model_data_config(module)
    transform = timm.data.create_transform(**config, is_training=False)
    picture = Image.effect_noise((301, 207), 80).convert("RGB")
    found, expected = classifier.logits(classifier.prepare(picture).tensor[None]), module(transform(picture)[None])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert classifier.labels == tuple("abcde")
    says(f"timm:resnet18@{tmp_path / 'm.safetensors'}", "another architecture")


# --- Python ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def factory(tmp_path, monkeypatch):
    (tmp_path / "my_factory.py").write_text(
        "import torchvision\n"
        "from core.classifier import Classifier\n"
        f"def build(): return torchvision.models.{SHUFFLE}(num_classes=3)\n"
        "def finished(): return Classifier(build(), labels=['a', 'b', 'c'], device='cpu')\n"
        "def number(): return 3\n"
        "def needs(x): return x\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "python:my_factory"
    sys.modules.pop("my_factory", None)


@pytest.mark.slow
def test_python_factories(factory, tiny_file):
    assert len(load(f"{factory}:build", allow_python=True).labels) == 3
    assert load(f"{factory}:build@{tiny_file}", allow_python=True).labels == ("ant", "bee", "cat")
    assert load(f"{factory}:finished", allow_python=True).labels == ("a", "b", "c")


def test_python_factories_only_where_allowed(factory):
    says(f"{factory}:build", "command line only")
    assert "my_factory" not in sys.modules


@pytest.mark.slow
def test_python_factories_that_fail(factory, tiny_file):
    says(f"{factory}:bild", "did you mean 'build'?", allow_python=True)
    says(f"{factory}:number", "returned something of type int", allow_python=True)
    says(f"{factory}:needs", "called without arguments", allow_python=True)
    says(f"{factory}", "is not of the form", allow_python=True)
    says("python:no_such_module_here:f", "no module 'no_such_module_here'", allow_python=True)
    says(f"{factory}:finished@{tiny_file}", "leave out @FILE", allow_python=True)
    Path("wants.py").write_text("import nosuchlib\n")
    says("python:wants:f", "wants imports 'nosuchlib', which is not installed", allow_python=True)


# --- the rest --------------------------------------------------------------------------------------------------------


def test_known_models_can_be_listed():
    entries = known_models()
    assert all(entry.keys() == {"spec", "title", "needs"} and all(entry.values()) for entry in entries)
    specs = [entry["spec"] for entry in entries]
    assert len(specs) == len(set(specs))
    assert {"demo:biased", "torchvision:resnet50", "timm:NAME@FILE", "hf:DIR"} <= set(specs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["biased", "repaired", "vit"])
def test_demo_models(name):
    if not (assets_dir() / f"demo_{name}.safetensors").is_file():
        says(f"demo:{name}", "missing", "install Satchel again")
        return
    classifier = load(f"demo:{name}")
    assert len(set(classifier.labels)) >= 8
    assert classifier.prepare(Image.new("RGB", (300, 200))).tensor.shape[1:] == classifier.input_size


def test_labels_in_utf_16_as_some_editors_save_them(tmp_path):
    (tmp_path / "labels.txt").write_text("Käse\nBrot\n", encoding="utf-16")
    assert read_labels(tmp_path / "labels.txt") == (["Käse", "Brot"], [])
