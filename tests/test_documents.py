"""What the documents say is there: links, files, imports, commands and their options."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from dashboard.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN_FILE = re.compile(r"`((?:core|dashboard|docs|tests|benchmarks|assets)/[\w./-]+)`")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=name)


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(path: Path) -> Iterator[list[str]]:
    """The words of every `satchel ...`, in blocks and in sentences."""
    text = path.read_text(encoding="utf-8")
    lines = [line for language, block in FENCE.findall(text) if language != "python" for line in block.splitlines()]
    inline = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", FENCE.sub("", text))]
    for line in (*lines, *inline):
        if not re.search(r"(^|[ =])satchel( |$)", line):
            continue
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*|uv|run|\$", words[0]):
                del words[0]
            if words[:1] == ["satchel"]:
                yield words


def refused(words: list[str]) -> str | None:
    """Why the command line would not take this; only whether commands and options are there is looked at."""
    group = get_command(app)
    if len(words) == 1:
        return None
    command = getattr(group, "commands", {}).get(words[1])
    if command is None:
        try:
            group.make_parser(group.context_class(group)).parse_args(words[1:])
        except Exception as error:  # noqa: BLE001 - of whatever kind
            return str(error)
        return None if words[1].startswith("-") else f"no command {words[1]}"
    rest = words[2:]
    while rest and rest[0] in (below := getattr(command, "commands", {})):
        command, rest = below[rest[0]], rest[1:]
    try:
        left = command.make_parser(command.context_class(command)).parse_args(rest)[1]
    except Exception as error:  # noqa: BLE001
        return str(error)
    return f"nothing takes {left}" if left else None


@every_document
def test_links_lead_somewhere(path: Path):
    for link in LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        found = (path.parent / target).resolve() if target else path
        if found.parent == ROOT / "docs" / "api":  # made of docstrings when the site is built
            assert (ROOT / found.stem.replace(".", "/")).is_dir(), link
            continue
        assert found.exists(), link
        assert not anchor or anchor in anchors(found), link


@every_document
def test_files_that_are_named_are_there(path: Path):
    for named in OWN_FILE.findall(prose(path)):
        assert (ROOT / named).exists(), named


@every_document
def test_python_compiles_and_its_imports_are_there(path: Path):
    for language, block in FENCE.findall(path.read_text(encoding="utf-8")):
        if language != "python":
            continue
        compile(block, name(path), "exec")
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("core", "dashboard"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@every_document
def test_commands_and_options_are_there(path: Path):
    for words in commands(path):
        assert refused(words) is None, f"{shlex.join(words)}: {refused(words)}"


def test_a_command_that_is_not_there_would_be_found():
    assert [refused(shlex.split(line)) is None for line in (
        "satchel", "satchel --version", "satchel list models", "satchel explain a.png --out b",
        "satchel --verion", "satchel explian a.png", "satchel explain a.png --ot b", "satchel list models more",
    )] == [True] * 4 + [False] * 4  # fmt: skip
    assert len(list(commands(ROOT / "README.md"))) > 10
