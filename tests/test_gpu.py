"""What the CPU says, a GPU says too: every explainer and metric, reports, the compact SAM, and memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pandas.testing
import pytest
import torch
from PIL import Image

from core.choice import Choice
from core.classifier import Classifier
from core.data import limited, open_dataset
from core.demo.making.sam_pictures import bird
from core.evaluation.evaluate import EvaluationOptions, Yardstick, evaluate
from core.evaluation.saved_evaluation import open_evaluation
from core.explainer import explainers, get_explainer
from core.images import Picture
from core.metrics.metric import Case, metrics
from core.regions import Regions
from core.runtime import chunks
from core.sat.report import build_report
from core.sat.saved_report import open_report
from core.segments.sam.embeddings import EmbeddingCache
from core.segments.sam.model import CompactParameters, open_sam
from tests.conftest import small_module
from tests.explainers.conftest import FRAMES, agree, chunk_of, classifier_of, kinds_for, pictures, quick
from tests.metrics.conftest import quickly, some_masks
from tests.toy import toy_classifier, toy_options

__all__ = ["chunk_of"]  # a fixture

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
TIES = 0.02  # pixels of one value are ordered at random, and each device has random numbers of its own
PAIRS = [(name, kind) for name in explainers() for kind in kinds_for(name)]


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Convolutions in full float32, as on a CPU."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def on_gpu(kind: str, precision: str = "float32") -> Classifier:
    twin = classifier_of(kind)
    return Classifier(twin.module, preprocessing=twin.preprocessing, name=twin.name, device="cuda", precision=precision)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_maps_agree_or_where_drawn_at_random_depend_on_the_seed_alone(
    name: str, kind: str, chunk_of: Callable[[int], None]
) -> None:
    method, classifier, images = explainers()[name], on_gpu(kind), pictures(2, FRAMES["square"])
    found = {}
    for size in (3, 32):
        chunk_of(size)
        found[size] = method.bind(classifier).explain(images, [1, 0], quick(method), seeds=[5, 6])
        assert all(one.values.device.type == "cpu" and torch.isfinite(one.values).all() for one in found[size])
    usual = method.bind(classifier_of(kind)).explain(images, [1, 0], quick(method), seeds=[5, 6])
    for few, many, there in zip(found[3], found[32], usual):
        assert agree(few.values, many.values, 1e-4)
        if not method.random:
            assert agree(many.values, there.values, 1e-3)


def test_segments_that_differ_from_picture_to_picture_are_worth_the_same() -> None:
    method, images, left = get_explainer("occlusion"), pictures(2, FRAMES["square"]), torch.zeros(32, 32)
    left[:, :9] = 1
    regions = Regions.of([torch.stack([left, 1 - left]), torch.ones(1, 32, 32)], [["left", None], ["all"]])
    asked = method.parameters(regions="segments")
    maps = [
        method.bind(one).explain(images, [1, 0], asked, regions=regions)
        for one in (on_gpu("cnn"), classifier_of("cnn"))
    ]
    for there, here in zip(*maps):
        assert there.players.names == here.players.names
        assert there.players.values.device.type == there.players.masks.device.type == "cpu"
        assert torch.allclose(there.players.values, here.players.values, rtol=1e-3, atol=1e-4)
        assert agree(there.values, here.values, 1e-3)


@pytest.mark.parametrize("name", ["gradient", "integrated-gradients", "grad-cam", "occlusion"])
def test_bfloat16_is_the_default_and_says_nearly_the_same(name: str) -> None:
    method, images = get_explainer(name), pictures(2, FRAMES["square"])
    low = on_gpu("cnn", "auto")
    assert low.precision == "bfloat16"
    maps = [method.bind(one).explain(images, [1, 0], quick(method)) for one in (low, on_gpu("cnn"))]
    for rough, fine in zip(*maps):
        both = torch.stack([rough.values.flatten(), fine.values.flatten()])
        assert float(torch.corrcoef(both)[0, 1]) > 0.97


@pytest.mark.parametrize("name", list(metrics()))
def test_metrics_are_finite_and_repeat(name: str) -> None:
    metric, method = metrics()[name], get_explainer("occlusion")
    case = Case.of(
        method.bind(on_gpu("cnn")),
        pictures(2, FRAMES["square"]),
        [1, 0],
        quick(method),
        seeds=(5, 6),
        masks=some_masks(2, FRAMES["square"]),
    )
    first, second = (metric.score(case, quickly(metric)) for _ in range(2))
    assert first.device.type == "cuda"
    assert torch.isfinite(first).all()
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_insertion_and_deletion_score_as_on_the_cpu() -> None:
    metric, method = metrics()["insertion-deletion"], get_explainer("occlusion")
    scores = [
        metric.score(
            Case.of(method.bind(one), pictures(2, FRAMES["square"]), [1, 0], quick(method), seeds=(5, 6), masks=None),
            quickly(metric),
        ).cpu()
        for one in (on_gpu("cnn"), classifier_of("cnn"))
    ]
    torch.testing.assert_close(*scores, rtol=0, atol=TIES)


def test_a_report_has_the_same_findings(toy_data, toy_report, tmp_path) -> None:
    for _ in build_report(open_dataset(toy_data), toy_classifier("cuda"), tmp_path / "report", toy_options()):
        pass

    def said(report):
        return {(f["target"], f["segment"]): (f["verdict"], f["pictures"]) for f in report.findings}

    assert said(open_report(tmp_path / "report")) == said(toy_report)


def test_memory_does_not_grow_with_the_samples(chunk_of: Callable[[int], None]) -> None:
    chunk_of(16)
    bound, images = get_explainer("smoothgrad").bind(on_gpu("cnn")), pictures(1, FRAMES["square"])
    peaks = []
    for samples in (16, 16, 512):  # the first makes room for libraries
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        bound.explain(images, [1], quick(get_explainer("smoothgrad"), samples=samples))
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[2] <= 1.05 * peaks[1]


def test_memory_that_runs_out_halves_the_chunk_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    method = get_explainer("integrated-gradients")
    preprocessing = copy.copy(classifier_of("cnn").preprocessing)
    object.__setattr__(preprocessing, "resize", (256, 256))
    object.__setattr__(preprocessing, "crop", (256, 256))
    classifier = Classifier(small_module("cnn"), preprocessing=preprocessing, device="cuda", precision="float32")
    images, parameters = pictures(1, (256, 256)), method.parameters.parse({"samples": 512})
    tuner = chunks.ChunkTuner(8, 8)
    monkeypatch.setattr(chunks, "tuner_for", lambda *key: tuner)
    usual = method.bind(classifier).explain(images, [1], parameters)[0].values
    tuner = chunks.ChunkTuner(512, 512)
    torch.cuda.empty_cache()
    room = torch.cuda.memory_allocated() + 700 * 2**20
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
    try:
        tight = method.bind(classifier).explain(images, [1], parameters)[0].values
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert tuner.propose().size < 512
    assert agree(usual, tight, 1e-4)


def test_the_compact_sam_cuts_the_same_masks(tmp_path) -> None:
    picture = Picture(Image.fromarray(bird(3, 256).image), "bird")
    cut = [
        open_sam(
            "compact", device=device, precision="float32", cache=EmbeddingCache(tmp_path / str(number))
        ).everything(picture, CompactParameters(points=12))
        for number, device in enumerate(("cpu", "cuda"))
    ]
    here, there = (list(one.masks) for one in cut)
    assert len(here) > 3
    best = [max(float((a & b).sum() / (a | b).sum()) for b in there) for a in here]
    assert np.mean(np.array(best) > 0.9) > 0.9


def test_an_evaluation_ranks_as_on_the_cpu(toy_data, tmp_path) -> None:
    contenders = tuple(map(Choice.parse, ("gradient", "integrated-gradients:samples=8", "smoothgrad:samples=8")))
    options = EvaluationOptions(contenders, tuple(map(Yardstick.parse, ("insertion:steps=8", "sparseness"))))
    found = []
    for number, classifier in enumerate((toy_classifier(), toy_classifier("cuda"))):
        for _ in evaluate(limited(open_dataset(toy_data), 12), classifier, tmp_path / str(number), options):
            pass
        scores = open_evaluation(tmp_path / str(number)).scores
        found.append(scores[scores["explainer"] != "smoothgrad:samples=8"].reset_index(drop=True))
    assert found[1]["value"].notna().any()
    pandas.testing.assert_frame_equal(*found, rtol=0, atol=TIES)
