"""The notebook of the documentation: it runs, and prints and shows what stands in it.

python -m tests.test_notebook    # writes what it shows into it anew
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "first-steps.ipynb"


def outputs_of(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """What a cell prints, and its last line's value as a picture, as a notebook keeps them."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) and not _prints(body[-1]) else None
    assert last is None or isinstance(last, ast.Expr)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "cell", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None
    found: list[dict[str, Any]] = []
    if printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(True)})
    if value is not None:
        png = base64.b64encode(value._repr_png_()).decode()
        found.append(
            {"output_type": "display_data", "metadata": {}, "data": {"image/png": png, "text/plain": ["a map"]}}
        )
    return found


def _prints(expression: ast.Expr) -> bool:
    call = expression.value
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"


def pixels(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), np.int16)


@pytest.mark.slow
def test_the_notebook_prints_and_shows_what_stands_in_it() -> None:
    names: dict[str, Any] = {}
    shown = 0
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        found = outputs_of("".join(cell["source"]), names)
        assert len(found) == len(cell["outputs"]) > 0
        for now, kept in zip(found, cell["outputs"]):
            if now["output_type"] == "stream":
                assert now["text"] == kept["text"]
            else:
                one, other = pixels(now["data"]["image/png"]), pixels(kept["data"]["image/png"])
                assert one.shape == other.shape
                assert np.abs(one - other).mean() < 2  # of 255: another machine's last digits
                assert one.std() > 10  # there is something to see
                shown += 1
    assert shown >= 2


def write() -> None:
    """Run all cells, and keep what they show."""
    notebook, names, count = json.loads(NOTEBOOK.read_text(encoding="utf-8")), {}, 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            cell["outputs"], cell["execution_count"] = outputs_of("".join(cell["source"]), names), count
    NOTEBOOK.write_text(json.dumps(notebook, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
