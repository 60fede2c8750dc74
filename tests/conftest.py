"""Fixtures that every part shares."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer
from toy import toy_classifier, toy_options, write_toy

from core.classifier import Classifier
from core.data import open_dataset
from core.preprocessing import Preprocessing
from core.sat.report import build_report
from core.sat.saved_report import Report, open_report

ROOT = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)  # the models are tiny: two threads wait for each other longer than they work


def shared_data() -> Path:
    """Where the real weights and photos are, if they are anywhere."""
    return Path(os.environ.get("SATCHEL_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test keeps goes into the user's own folders."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("SATCHEL_CACHE", "SATCHEL_DATA"):
            patch.setenv(variable, str(tmp_path_factory.mktemp(variable.lower())))
        yield


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real weights and photos; without it the test skips, except in CI, where it fails."""
    folder = shared_data()
    if not (folder / "weights").is_dir():
        reason = f"no real test data in {folder}; set SATCHEL_TEST_DATA"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file `inside`, which nobody may enter, while permissions count for this thread even if it is
    root's.
    """
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "inside").touch()
    folder.chmod(0)
    header, held, less = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root and sys.platform != "linux":
        pytest.skip("root may read everything")
    if root:  # effective, permitted and inheritable capabilities; bits 1 and 2 override permissions
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.capget(header, held) == 0
        less[:] = held[:]
        less[0] &= ~0b110
        assert libc.capset(header, less) == 0
    yield folder
    if root:
        assert libc.capset(header, held) == 0
    folder.chmod(0o700)


@pytest.fixture
def full_disk(request: pytest.FixtureRequest) -> Iterator[Callable[[int], None]]:
    """Called with a number, no file can grow beyond so many bytes; with -1, and after the test, there is room again."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before[0] if size < 0 else size, before[1]))

    request.node.stash[ROOM] = lambda: limit(-1)
    yield limit
    limit(-1)


ROOM = pytest.StashKey[Callable[[], None]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """What pytest prints of a test comes before its fixtures end, and may go into a file that has no room."""
    try:
        return (yield)
    finally:
        item.stash.get(ROOM, lambda: None)()


class SmallCNN(nn.Module):
    """Two convolutions, an in-place activation used twice, global pooling and a linear head."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        x = self.relu(self.second(x))
        return self.head(x.mean((2, 3)))


def small_module(kind: str, classes: int = 4, frame: tuple[int, int] = (32, 32)) -> nn.Module:
    """An untrained "cnn", "vit" (with a class token) or "swin" for tiny pictures, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if kind == "cnn":
            module: nn.Module = SmallCNN(classes)
        elif kind == "swin":
            module = SwinTransformer([4, 4], 24, [1, 1], [2, 2], [4, 4], num_classes=classes)
        elif frame[0] == frame[1]:
            module = VisionTransformer(frame[0], 8, 2, 2, 24, 32, num_classes=classes)
        else:
            from timm.models.vision_transformer import VisionTransformer as WideVisionTransformer

            module = WideVisionTransformer(frame, 8, num_classes=classes, embed_dim=24, depth=2, num_heads=2)
        # fresh heads are near zero (torchvision's ViT: exactly); these speak up
        head = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
        nn.init.normal_(head.weight, std=1.0)
    return module


def small_classifier(kind: str, classes: int = 4, frame: tuple[int, int] = (32, 32)) -> Classifier:
    """`small_module` as a classifier on the CPU; one class makes it a one-logit model."""
    preprocessing = Preprocessing(resize=frame, crop=frame)
    module = small_module(kind, classes, frame)
    return Classifier(module, preprocessing=preprocessing, name=f"small {kind}", device="cpu")


@pytest.fixture(scope="session")
def small_cnn() -> Classifier:
    return small_classifier("cnn")


@pytest.fixture(scope="session")
def small_vit() -> Classifier:
    return small_classifier("vit")


@pytest.fixture(scope="session")
def small_swin() -> Classifier:
    return small_classifier("swin")


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory) -> Path:
    """A data set whose one shortcut is known; see tests/toy.py."""
    return write_toy(tmp_path_factory.mktemp("toy") / "data", count=72)


@pytest.fixture(scope="session")
def toy_report(toy_data, tmp_path_factory) -> Report:
    """The finished report on it, made once."""
    out = tmp_path_factory.mktemp("toy-report") / "report"
    for _ in build_report(open_dataset(toy_data), toy_classifier(), out, toy_options()):
        pass
    return open_report(out)
