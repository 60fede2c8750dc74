"""What the package promises as a whole: who imports whom, what it needs, how large its parts are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = sorted((ROOT / "core").rglob("*.py"))
MODULES = [*CORE, *sorted((ROOT / "dashboard").rglob("*.py"))]
NOT_NEEDED_BY_CORE = [
    *("scipy", "skimage", "cv2", "duckdb", "pyarrow", "gradio", "plotly", "transformers", "typer"),
    *("segment_anything", "captum", "zennit", "pycocotools", "dashboard"),
]

# Every public module of core, imported with all that is optional out of reach.
IMPORT_ALL = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"blocked {{name}}", name=name)

sys.meta_path.insert(0, Blocked())
import core
names = [m.name for m in pkgutil.walk_packages(core.__path__, "core.") if not m.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
from core.explainer import explainers
print(len(names), *explainers())
"""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.slow
def test_imports_go_one_way():
    """The contracts in pyproject.toml."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_core_imports_without_its_optional_libraries():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL.format(blocked=NOT_NEEDED_BY_CORE)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    count, *names = done.stdout.split()
    assert int(count) > 20
    assert {"gradient", "integrated-gradients", "smoothgrad", "suppression"} <= set(names)


@pytest.mark.slow
def test_blocker_of_the_test_above_works():
    script = IMPORT_ALL.format(blocked=["numpy"])
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "blocked numpy" in done.stderr


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_stay_small(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450


def test_command_line_answers_without_the_heavy_libraries():
    heavy = ("torch", "gradio", "plotly", "pandas")
    script = f"import sys, dashboard.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_assets_fit_into_the_wheel():
    files = [path for path in (ROOT / "assets").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 64 * 1024 * 1024
