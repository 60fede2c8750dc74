"""Makes the finished reports that the demo opens with: `python -m core.demo.reports`.

The biased and the repaired model are judged on the same birds: those of `demo:birds`, where the watermark goes with the
kingfisher as it did in the biased model's training.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

from core.attribution import get_explainer
from core.demo.data import demo_dataset
from core.loading import load_classifier
from core.paths import assets_dir
from core.sat.report import ReportOptions, build_report
from core.sat.store import open_report

MODELS = ("biased", "repaired")
EXPLAINERS = (("suppression", {"samples": 32}), ("integrated-gradients", {"samples": 32}), ("grad-cam", {}))


def make(model: str, out: Path, pictures: int) -> None:
    """Write one report, saying how far it is."""
    runs = []
    for name, options in EXPLAINERS:
        explainer = get_explainer(name)
        runs.append((explainer.name, explainer.parameters.parse(options)))
    classifier = load_classifier(f"demo:{model}")
    began, said = time.perf_counter(), ""
    for step in build_report(demo_dataset("birds", pictures), classifier, out, ReportOptions(tuple(runs))):
        line = f"{model}: {step.stage} {10 * step.done // max(1, step.total)}0 %"
        if line != said:
            print(f"{line} ({time.perf_counter() - began:.0f} s)", flush=True)
            said = line
    report = open_report(out)
    print(f"{model}: {report.manifest['verdicts']}, {report.manifest['shortcuts']} shortcuts", flush=True)
    print(report.findings[0]["sentence"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="folder to write demo-biased and demo-repaired into")
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--only", choices=MODELS, default=None)
    parser.add_argument("--fresh", action="store_true", help="throw away what is there instead of going on with it")
    arguments = parser.parse_args()
    root = arguments.out or assets_dir() / "reports"
    for model in (arguments.only,) if arguments.only else MODELS:
        out = root / f"demo-{model}"
        if arguments.fresh and out.exists():
            shutil.rmtree(out)
        make(model, out, arguments.pictures)


if __name__ == "__main__":
    main()
