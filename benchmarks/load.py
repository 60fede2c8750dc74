"""Our explainers against captum at its defaults and the bare loop, on a machine at rest and beside other work.

    uv run python benchmarks/load.py [--quick]

Writes benchmarks/results/load.json. Every side runs in turn within one process (A B A B), so that what else the machine
does slows all alike; ratios are of medians. It starts and ends the 2 and 4 processes that keep the machine busy itself.
About 8 minutes on 2 cores. Needs the real weights and photos that the tests use (`../shared/data` or
$SATCHEL_TEST_DATA), and nothing else running.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from typing import Any

from figures import FAMILY, PASSES, RESULT, SPEC, WEIGHTS, captum_defaults, machine, photo, summary, timed

BUSY = (0, 2, 4)
# ends by itself should this process be killed
BUSY_WORK = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"
STRIDE = 0.75  # of occlusion's window, which makes as many passes as the others have
LONG = 150.0  # seconds: no more rounds of one level after it, once there are two
CHUNKS = (4, 8)  # the bare loop's; the better one counts
AIM = (
    "captum's defaults at least 3 times ours at rest, never under 1 beside 2 and 4; the family at most 0.75 of the loop"
)


@contextmanager
def busy(count: int) -> Generator[None]:
    """So many processes that only compute, while the block runs."""
    started = [subprocess.Popen([sys.executable, "-c", BUSY_WORK]) for _ in range(count)]
    try:
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()


def captum_occlusion(images: Any, target: int, window: int, stride: int) -> Callable[[], object]:
    """captum's Occlusion as its documentation shows it, over the same windows."""
    import torch
    import torchvision
    from captum.attr import Occlusion

    model = torchvision.models.mobilenet_v2()
    model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    normalised, occlusion = (images - mean) / std, Occlusion(model.eval())
    return lambda: occlusion.attribute(
        normalised, sliding_window_shapes=(3, window, window), strides=(3, stride, stride), target=target
    )


def sides() -> tuple[dict[str, Callable[[], object]], int, Callable[[], dict[str, Any]]]:
    """What is timed, by name, how many windows occlusion has, and how our chunks run at the moment."""
    import torch

    from core.explainer import get_explainer
    from core.explainers.removal import OcclusionParameters, windows
    from core.images import read_picture
    from core.loading import load_classifier
    from core.runtime.chunks import tuner_for
    from core.runtime.folding import unfolded

    classifier = load_classifier(SPEC, device="cpu", precision="float32")
    images = classifier.prepare(read_picture(photo())).tensor.unsqueeze(0)
    target, passes = classifier.predict(images)[0][0].index, PASSES["cpu"]
    batch = 0.01 * torch.randn(passes, *images.shape[1:], generator=torch.Generator().manual_seed(0)) + images
    plain = copy.copy(classifier)
    plain.module = unfolded(classifier.module)

    def bare(chunk: int) -> None:
        """Forward and backward passes of the model as it was given, a running sum, and nothing else."""
        total = torch.zeros_like(images[0])
        for start in range(0, passes, chunk):
            leaf = batch[start : start + chunk].clone().requires_grad_(True)
            total += torch.autograd.grad(plain.logits(leaf)[:, target].sum(), leaf)[0].sum(0)

    found: dict[str, Callable[[], object]] = {f"bare loop {chunk}": lambda chunk=chunk: bare(chunk) for chunk in CHUNKS}
    for name in (*FAMILY, "occlusion"):
        method = get_explainer(name)
        given = {"samples": passes} if name in FAMILY else {"stride": STRIDE}
        parameters, bound = method.parameters.parse(given), method.bind(classifier)
        found[name] = lambda bound=bound, parameters=parameters: bound.explain(images, [target], parameters)
    found.update(captum_defaults(images, target, passes))
    window, stride = OcclusionParameters(stride=STRIDE).pixels(classifier.input_size)
    found["captum occlusion"] = captum_occlusion(images, target, window, stride)
    shape = tuple(images.shape[1:])
    count = windows(classifier.input_size, window, stride, images.device).count
    return (
        found,
        count,
        lambda: {kind: tuner_for(classifier, shape, kind).way._asdict() for kind in ("gradient", "forward")},
    )


def measure(work: dict[str, Callable[[], object]], count: int, rounds: int) -> dict[str, Any]:
    """All sides in turn beside `count` busy processes; the first round, in which ours learns, stands apart."""
    compared = {name for name in work if f"captum {name}" in work}
    if count:
        work = {name: one for name, one in work.items() if name.removeprefix("captum ") in compared}
    samples: dict[str, list[float]] = {name: [] for name in work}
    with busy(count):
        began = perf_counter()
        for done in range(1 + rounds):
            if done > 2 and perf_counter() - began > LONG:
                break
            for name, one in work.items():
                samples[name].append(timed(one))
        load = os.getloadavg()[0]
    middle = {name: median(values[1:]) for name, values in samples.items()}
    found: dict[str, Any] = {
        "load_at_end": round(load, 2),
        "captum_over_ours": {n: round(middle[f"captum {n}"] / middle[n], 2) for n in sorted(compared)},
        "sides": {n: {"first_s": round(values[0], 4), **summary(values[1:])} for n, values in samples.items()},
    }
    if not count:
        loop = min(middle[f"bare loop {chunk}"] for chunk in CHUNKS)
        found["over_bare_loop_unfolded"] = {name: round(middle[name] / loop, 3) for name in FAMILY}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure beside other work, and write benchmarks/results/load.json.")
    parser.add_argument("--quick", action="store_true", help="two rounds in place of five, and nothing is written")
    quick = parser.parse_args().quick
    head = {"aim": AIM, "machine": machine(), "passes": PASSES["cpu"]}
    work, head["windows"], ways = sides()
    for one in work.values():  # libraries and caches warm up
        one()
    found = {f"{count} busy processes": part for count, part in levels(work, ways, 2 if quick else 5)}
    if not quick:
        RESULT.with_name("load.json").write_text(json.dumps({**head, **found}, indent=2) + "\n")


def levels(
    work: dict[str, Callable[[], object]], ways: Callable[[], dict[str, Any]], rounds: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """One level of busy processes after the other, printed as it is done."""
    for count in BUSY:
        part = {**measure(work, count, rounds), "ways_at_end": ways()}
        print(json.dumps({f"{count} busy processes": part}, indent=2), flush=True)
        yield count, part


if __name__ == "__main__":
    main()
