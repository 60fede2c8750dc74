"""Each line of the threat model names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINES = re.findall(
    r"^\| (?!may not \||holds \|)(?!-)(.+?) \| (.+) \|$", (ROOT / "docs/threat-model.md").read_text(), re.MULTILINE
)


def known_tests() -> set[str]:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tests").rglob("test_*.py"))
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_threat_model_has_lines():
    assert len(LINES) > 20


@pytest.mark.parametrize(("what", "tests"), LINES, ids=[what[:40] for what, _ in LINES])
def test_each_line_of_the_threat_model_is_tied_to_tests(what: str, tests: str):
    named = re.findall(r"`(test_\w+)`", tests)
    assert named, what
    assert set(named) <= known_tests()
