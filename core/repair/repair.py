"""A report's finding -> changed pictures, a classifier re-fit on them, and a report on it, in one folder.

settings.json            what was asked for; a run with the same settings goes on where it was stopped
pictures/, manifest.csv  the changed pictures, a data set by themselves
model.safetensors        the repaired classifier
report/                  the report on it, on held-out pictures
repair.json              last: what became of right and wrong
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.choice import Choice, reported_choices
from core.classifier import Classifier
from core.data import Dataset, Item
from core.errors import UserError
from core.images import Picture, read_picture
from core.loading import load_classifier
from core.manifest import MANIFEST
from core.paths import user_path
from core.repair.counterfactuals import Changed, Counterfactuals
from core.repair.faults import Fault
from core.repair.last_layer import STRICTNESS, LastLayer, Lessons, refit, write_classifier
from core.runtime import folders
from core.runtime.progress import Progress
from core.runtime.randomness import derived_seed
from core.runtime.whole_files import whole_file, write_json
from core.sat.batch import label_index
from core.sat.report import ReportOptions, build_report
from core.sat.saved_report import Report
from core.sat.statistics import Interval, Mean, group_means
from core.work.shards import MakeEngine

FORMAT = 1
MODEL, OUTCOME = "model.safetensors", "repair.json"
BATCH = 32
COPIES = 3


@dataclass(frozen=True)
class Outcome:
    """What a repair did, on pictures that it did not learn from.

    Attributes:
        model: spec of the repaired classifier; None where its last layer could not be re-fit, and `why`.
        learned: pictures it learned from, before they were changed; held_out: pictures that it is judged on.
        accuracy: by ("as they are", "changed"): (before, after, the difference with its interval).
    """

    model: str | None
    why: str
    learned: int
    held_out: int
    accuracy: dict[str, tuple[float, float, Interval]]


def repair(
    report: Report,
    fault: Fault,
    data: Dataset,
    classifier: Classifier,
    out: Path,
    *,
    learn: Dataset | None = None,
    copies: int = COPIES,
    seed: int = 0,
    engine: MakeEngine | None = None,
) -> Iterator[Progress]:
    """Write all of it into `out`, yielding progress; close the iterator to stop, run it again to go on.

    Args:
        data: that the report is about. learn: pictures to learn from; None for half of the data, the other half being
            what the repaired classifier is judged and reported on.
        copies: changed pictures of each picture.

    Raises:
        UserError: they do not fit together, or there is nothing to learn from.
    """
    return _Run(report, fault, data, classifier, user_path(out), learn, copies, seed, engine).stages()


class _Run:
    def __init__(
        self,
        report: Report,
        fault: Fault,
        data: Dataset,
        classifier: Classifier,
        out: Path,
        learn: Dataset | None,
        copies: int,
        seed: int,
        engine: MakeEngine | None,
    ) -> None:
        if report.manifest["fingerprint"] != classifier.fingerprint:
            raise UserError(
                f"The report in {report.path} is about {report.manifest['model']}, and {classifier.name} is another "
                "model or has changed since; give the one that the report is about with --model."
            )
        known = set(report.pictures["image"])
        kept = replace(data, items=tuple(item for item in data.items if item.id in known))
        if not len(kept):
            raise UserError(f"{data.name} has none of the pictures that the report in {report.path} is about.")
        if learn is None:
            first, rest = halves(labelled(kept, classifier), seed)
        else:
            first, rest = labelled(learn, classifier), list(kept.items)
        self.report, self.fault, self.classifier, self.out = report, fault, classifier, out
        self.learn, self.held_out = first, replace(kept, items=tuple(rest))
        self.copies, self.seed, self.engine = copies, seed, engine

    def settings(self) -> dict[str, Any]:
        data = Dataset("", "", tuple(self.learn)), self.held_out
        return {
            "format": FORMAT,
            "fingerprint": self.classifier.fingerprint,
            "fault": asdict(self.fault),
            "items": [one.fingerprint() for one in data],
            "copies": self.copies,
            "seed": self.seed,
        }

    def stages(self) -> Iterator[Progress]:
        if folders.begin(self.out, self.settings(), open_repair, "repair", traces="*.png"):
            yield Progress("finished before", 1, 1)
            return
        lines: list[dict[str, str]] = []
        yield from self.pictures(lines)
        self.manifest(lines)
        try:
            last = LastLayer.of(self.classifier)
        except UserError as error:
            self.end(Outcome(None, str(error), len(self.learn), 0, {}))
            yield Progress("finished", 1, 1)
            return
        found: list[tuple[Tensor, Tensor]] = []
        yield from self.fitted(last, lines, found)
        weight, bias = found[-1]
        try:
            spec = write_classifier(last, weight, bias, self.out / MODEL)
        except UserError as error:
            self.end(Outcome(None, str(error), len(self.learn), 0, {}))
            yield Progress("finished", 1, 1)
            return
        judged: list[Outcome] = []
        yield from self.judged(last, weight, bias, spec, judged)
        if self.held_out.items:
            yield from self.reported(spec)
        self.end(judged[0])
        yield Progress("finished", 1, 1)

    def pictures(self, lines: list[dict[str, str]]) -> Iterator[Progress]:
        """Write the changed pictures, passing over those that are there."""
        made = Counterfactuals(self.learn, self.fault, self.classifier.input_size, self.seed)
        total = len(made) * self.copies
        for number, changed in enumerate(made.all(self.copies)):
            if changed is not None:
                lines.append(self.line(changed, number))
                file = self.out / lines[-1]["image"]
                if not file.is_file():
                    encoded = io.BytesIO()
                    changed.image.save(encoded, format="PNG")
                    with whole_file(file) as part:
                        part.write_bytes(encoded.getvalue())
            yield Progress("changing pictures", number + 1, total)

    @staticmethod
    def line(changed: Changed, number: int) -> dict[str, str]:
        item = changed.item
        return {
            "image": f"pictures/{number:06d}.png",
            "label": item.label or "",
            "group": item.group,
            "original": item.id,
            "change": changed.done,
            "donor": changed.donor,
        }

    def manifest(self, lines: list[dict[str, str]]) -> None:
        if not lines:
            raise UserError(f"No picture could be changed in what it shows of {self.fault.name}; give other pictures.")
        text = io.StringIO()
        writer = csv.DictWriter(text, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
        with whole_file(self.out / MANIFEST) as part:
            part.write_text(text.getvalue(), encoding="utf-8")

    def fitted(
        self, last: LastLayer, lines: Sequence[dict[str, str]], found: list[tuple[Tensor, Tensor]]
    ) -> Iterator[Progress]:
        """Both kinds of pictures count as much, whatever the number of copies."""
        by_id = {item.id: item for item in self.learn}
        originals = [by_id[name] for name in dict.fromkeys(line["original"] for line in lines)]
        pictures = [(item, item.picture) for item in originals]
        pictures += [(by_id[line["original"]], partial(read_picture, self.out / line["image"])) for line in lines]
        features: list[Tensor] = []
        for start in range(0, len(pictures), BATCH):
            some = [self.classifier.prepare(read()).tensor for _, read in pictures[start : start + BATCH]]
            features.append(last.features(torch.stack(some)))
            yield Progress("looking at them", min(start + BATCH, len(pictures)), len(pictures))
        weights = torch.ones(len(pictures))
        weights[len(originals) :] = len(originals) / len(lines)
        groups = {group: n for n, group in enumerate(sorted({item.group for item in originals}))}
        rows = {item.id: row for row, item in enumerate(originals)}
        lessons = Lessons(
            torch.cat(features),
            torch.tensor([self.target(item) for item, _ in pictures]),
            weights,
            torch.tensor([groups[item.group] for item, _ in pictures]),
            torch.tensor(
                [rows[item.id] if number >= len(rows) else number for number, (item, _) in enumerate(pictures)]
            ),
        )
        for number, weights_found in enumerate(refit(last, lessons)):
            found.append(weights_found)
            yield Progress("re-fitting the last layer", number, len(STRICTNESS))

    def judged(
        self, last: LastLayer, weight: Tensor, bias: Tensor, spec: str, judged: list[Outcome]
    ) -> Iterator[Progress]:
        """How often it is right before and after, on held-out pictures as they are and changed."""
        items = labelled(self.held_out, self.classifier)
        right: dict[str, list[tuple[str, bool, bool]]] = {"as they are": [], "changed": []}
        before = last.now()
        try:
            made: Counterfactuals | None = Counterfactuals(items, self.fault, self.classifier.input_size, self.seed + 1)
        except UserError:
            made = None  # nobody lends among so few

        def ask(kind: str, item: Item, picture: Picture) -> None:
            features = last.features(self.classifier.prepare(picture).tensor[None])
            wanted = self.target(item)
            was, then = (int(last.logits(features, *given).argmax()) == wanted for given in (before, (weight, bias)))
            right[kind].append((item.group, was, then))

        for number, item in enumerate(items):
            ask("as they are", item, item.picture())
            changed = made.made(number, 0) if made is not None and number < len(made) else None
            if changed is not None:
                ask("changed", changed.item, Picture(changed.image, changed.item.id))
            yield Progress("judging", number + 1, len(items))
        accuracy = {kind: compared(told) for kind, told in right.items() if told}
        judged.append(Outcome(spec, "", len(self.learn), len(items), accuracy))

    def reported(self, spec: str) -> Iterator[Progress]:
        """With the explainers of the report that it is compared with, but those that were trained for the other."""
        repaired = load_classifier(spec, device=self.classifier.device, precision=self.classifier.precision)
        chosen = []
        for entry in self.report.manifest["explainers"]:
            choice = Choice.parse(entry["label"])
            if not choice.method.needs_weights and choice.method.supports(repaired) is None:
                chosen.append(choice)
        manifest = self.report.manifest
        context = [entry["name"] for entry in manifest["segments"] if entry["kind"] == "context"]
        options = ReportOptions(
            explainers=tuple(chosen or reported_choices(repaired)),
            check=manifest["checked"],
            seed=manifest["seed"],
            delta=manifest["delta"],
            fills=tuple(manifest["fills"]),
            context=tuple(name for name in context if any(name in names for names in self.names())),
        )
        yield from build_report(self.held_out, repaired, self.out / "report", options, self.engine)

    def names(self) -> Iterator[set[str]]:
        """Of the segments of the held-out pictures."""
        held = {item.id for item in self.held_out.items}
        for line in self.report.pictures.to_dict("records"):
            if line["image"] in held:
                yield set(json.loads(line["coverage"]))

    def target(self, item: Item) -> int:
        found = label_index(self.classifier, item.label)
        assert found is not None
        return found

    def end(self, outcome: Outcome) -> None:
        write_json(self.out / OUTCOME, asdict(outcome))


def labelled(data: Dataset, classifier: Classifier) -> list[Item]:
    """The items whose labels are classes of the model.

    Raises:
        UserError: none is.
    """
    found = [item for item in data.items if label_index(classifier, item.label) is not None]
    if not found:
        raise UserError(
            f"No picture of {data.name} has a label that is a class of {classifier.name}; a repair learns from labels, "
            "so give class folders, or a manifest.csv with labels."
        )
    return found


def halves(items: Sequence[Item], seed: int) -> tuple[list[Item], list[Item]]:
    """(to learn from, held out): every other group of each label, in an order of the seed's.

    Raises:
        UserError: there is only one group.
    """
    first_label = {item.group: item.label or "" for item in reversed(items)}
    ranked = sorted(first_label, key=lambda group: (first_label[group], derived_seed(seed, group, "half")))
    learning = set(ranked[::2])
    if len(ranked) < 2:
        raise UserError("All pictures belong to one group, so that none can be held out; give --learn DATA.")
    return [i for i in items if i.group in learning], [i for i in items if i.group not in learning]


def compared(told: Sequence[tuple[str, bool, bool]]) -> tuple[float, float, Interval]:
    """(part that is right before, after, their difference over independent groups)."""
    groups = [group for group, *_ in told]
    gained = [float(after) - float(before) for _, before, after in told]
    before, after = (sum(one[which] for one in told) / len(told) for which in (1, 2))
    return before, after, Mean(group_means(gained, groups)).interval.within(-1, 1)


def open_repair(path: str | Path) -> Outcome:
    """What a finished repair did.

    Raises:
        UserError: there is none, or it is damaged.
    """
    file = user_path(path) / OUTCOME
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        accuracy = {kind: (b, a, Interval(**size)) for kind, (b, a, size) in held.pop("accuracy").items()}
        return Outcome(**held, accuracy=accuracy)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"There is no finished repair in {path} ({error}); make one with `satchel repair`.") from error
