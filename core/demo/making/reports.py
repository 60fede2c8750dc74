"""Makes what the demo opens with: `python -m core.demo.making.reports`, and with `evaluation` after it the evaluation.

The biased and the repaired model are judged on the same birds: those of `demo:birds`, where the watermark goes with the
kingfisher as it did in the biased model's training.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

from core.choice import Choice, default_choices
from core.demo.dataset import demo_dataset
from core.evaluation.evaluate import EvaluationOptions, Yardstick, evaluate
from core.evaluation.saved_evaluation import open_evaluation
from core.loading import load_classifier
from core.paths import assets_dir
from core.sat.report import ReportOptions, build_report
from core.sat.saved_report import open_report

# not `usual_metrics`: of the three that need masks the demo shows two
METRICS = ("insertion-deletion", "certainty", "sparseness", "randomisation", "relevance-mass", "pointing-game")
MODELS = ("biased", "repaired")
EXPLAINERS = ("suppression:samples=32", "integrated-gradients:samples=32", "grad-cam")


def make(model: str, out: Path, pictures: int) -> None:
    """Write one report, saying how far it is."""
    options = ReportOptions(tuple(map(Choice.parse, EXPLAINERS)), shard=100)  # few files
    classifier = load_classifier(f"demo:{model}")
    began, said = time.perf_counter(), ""
    for step in build_report(demo_dataset("birds", pictures), classifier, out, options):
        line = f"{model}: {step.stage} {10 * step.done // max(1, step.total)}0 %"
        if line != said:
            print(f"{line} ({time.perf_counter() - began:.0f} s)", flush=True)
            said = line
    report = open_report(out)
    print(f"{model}: {report.manifest['verdicts']}, {report.manifest['shortcuts']} shortcuts", flush=True)
    print(report.findings[0]["sentence"], flush=True)


def make_evaluation(out: Path, pictures: int) -> None:
    """Write the evaluation of the explainers chosen by default on the biased model, saying how far it is."""
    data, classifier = demo_dataset("birds", pictures), load_classifier("demo:biased")
    options = EvaluationOptions(
        contenders=tuple(default_choices(classifier)),
        yardsticks=tuple(map(Yardstick.parse, METRICS)),
    )
    began, said = time.perf_counter(), -1
    for step in evaluate(data, classifier, out, options):
        if step.done != said:
            print(f"evaluation: {step.done} of {step.total} ({time.perf_counter() - began:.0f} s)", flush=True)
            said = step.done
    for entry in open_evaluation(out).leaderboard:
        if entry["best"]:
            print(f"{entry['metric']}: {entry['explainer']} {entry['mean']:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=("reports", "evaluation"), default="reports")
    parser.add_argument("--out", type=Path, default=None, help="folder to write demo-biased and demo-repaired into")
    parser.add_argument("--pictures", type=int, default=None, help="default: 400 for a report, 60 for the evaluation")
    parser.add_argument("--only", choices=MODELS, default=None)
    parser.add_argument("--fresh", action="store_true", help="begin anew, and replace what is there at the end")
    arguments = parser.parse_args()
    evaluation = arguments.what == "evaluation"
    root = arguments.out or assets_dir() / ("evaluations" if evaluation else "reports")
    for model in ("biased",) if evaluation else (arguments.only,) if arguments.only else MODELS:
        out = root / f"demo-{model}"
        made = root / f"new-{model}" if arguments.fresh else out  # what is there stays until the new one is whole
        if evaluation:
            make_evaluation(made, arguments.pictures or 60)
        else:
            make(model, made, arguments.pictures or 400)
        if made != out:
            shutil.rmtree(out, ignore_errors=True)
            made.rename(out)


if __name__ == "__main__":
    main()
