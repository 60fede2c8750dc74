"""A first load of a file from somebody else, in a process of its own: what it eats or breaks is not the page's.

python -m dashboard.project.trial '{"spec": "torchvision:resnet50@FILE", ...}'
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError

SECONDS = 180.0
MEMORY = 24 * 2**30  # bytes of addresses, of which torch itself takes several


def check(request: Mapping[str, Any]) -> dict[str, Any]:
    """Load a model and ask it about one blank picture, in another process.

    Args:
        request: `spec` and what else `load_classifier` takes, as JSON can hold it.

    Returns:
        "classes": their number; "size": (height, width) in pixels; "labels": the first few; "notes".

    Raises:
        UserError: it does not load, or takes too much time or memory.
    """
    command = [sys.executable, "-m", "dashboard.project.trial", json.dumps(request)]
    place = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": paths}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"The file was not loaded within {SECONDS / 60:.0f} minutes; give a smaller one.") from error
    answer = _answer(done.stdout)
    if answer is None:
        raise UserError(
            "The file could not be loaded: the process that tried it ran out of memory or crashed; save its weights "
            "alone (a state_dict) and give that file."
        )
    if "problem" in answer:
        raise UserError(answer["problem"])
    return answer


def _answer(text: str) -> dict[str, Any] | None:
    for line in reversed(text.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        return found if isinstance(found, dict) else None
    return None


def main() -> None:
    """The process's own part: one line of JSON on standard output."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    request = json.loads(sys.argv[1])
    try:
        print(json.dumps(_tried(request)), flush=True)
    except UserError as error:
        print(json.dumps({"problem": str(error)}), flush=True)
    except MemoryError:
        print(json.dumps({"problem": "The file needs more memory than a model may take here; give a smaller one."}))


def _tried(request: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    from core.loading import load_classifier
    from dashboard.project.own_models import from_json

    classifier = load_classifier(
        request["spec"], labels=request.get("labels"), preprocessing=from_json(request.get("preprocessing", {})),
        output=request.get("output"), device="cpu",
    )  # fmt: skip
    with torch.no_grad():
        classifier.predict(torch.full((1, 3, *classifier.input_size), 0.5))
    return {
        "classes": len(classifier.labels), "size": list(classifier.input_size), "labels": list(classifier.labels[:3]),
        "notes": list(classifier.notes),
    }  # fmt: skip


if __name__ == "__main__":
    main()
