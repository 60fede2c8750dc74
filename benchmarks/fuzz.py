"""Inputs of the kinds that people have, sound and damaged, by the hundred thousand.

    uv run python benchmarks/fuzz.py [--count 100000] [--seed 0] [--family NAME] [--out benchmarks/results/fuzz.json]
    uv run python benchmarks/fuzz.py --family masks --seed 0 --index 1234      # one of them again, with its traceback

Every input is made from (family, seed, index) alone. Of a sound one the truth is known: it must be read, and as it is,
or where docs and tests say so with a note; a damaged one may be refused. Counted are inputs that were read, that were
refused with a sentence, raw errors (anything but a UserError), wrong ones (read otherwise than they are, without a
word; or sound and refused), and slow ones (2 s of CPU, 256 MB of memory, 20 s in all). Exits with 1 if there are any of
the last three.

An input that hangs or kills its process costs that process and no more.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}

from figures import machine  # noqa: E402 - the number of threads is read at import
from fuzzing import NAMES, families  # noqa: E402
from fuzzing.harness import FAILURES, OUTCOMES, Family, Outcome, attempt, limit_memory, scratch  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "fuzz.json"
WORKERS = 2
BATCH = 100
#: Wall seconds after which a process that answers no alarm is ended.
LOST = 100.0
Task = tuple[str, int]


def tasks(chosen: Sequence[Family], count: int) -> list[Task]:
    """(family, index) of `count` inputs, the families mixed by their shares."""
    total = sum(family.share for family in chosen)
    mixed = []
    for family in chosen:
        own = max(1, round(count * family.share / total))
        mixed += [((index + 0.5) / own, family.name, index) for index in range(own)]
    return [(name, index) for _, name, index in sorted(mixed)]


@dataclass
class Findings:
    """What came of all inputs: counts by family and outcome, and failures by signature."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    failures: dict[tuple[str, ...], list[Outcome]] = field(default_factory=dict)
    kinds: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        self.counts.setdefault(outcome.family, Counter())[outcome.outcome] += 1
        self.kinds.setdefault(outcome.family, Counter())[outcome.kind] += 1
        if outcome.outcome in FAILURES:
            self.failures.setdefault(outcome.signature, []).append(outcome)

    @property
    def failed(self) -> int:
        return sum(counts[name] for counts in self.counts.values() for name in FAILURES)


class Worker:
    """A forked process that tries inputs one after the other."""

    def __init__(self, known: dict[str, Family], todo: list[Task], seed: int) -> None:
        self.known, self.todo, self.seed = known, todo, seed
        self.done = 0  # of todo, as far as it has told
        self.skipped: set[int] = set()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.place = context.Value("l", self.done)
        self.since = context.Value("d", time.monotonic())
        self.connection, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=self._work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def _work(self, connection: Connection) -> None:
        sys.stderr = os.fdopen(os.dup(2), "w")  # libtiff's remarks on damaged files go nowhere, ours stay
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        limit_memory()
        warnings.simplefilter("ignore")
        told: list[Outcome] = []
        with scratch() as folder:
            os.chdir(folder)  # what is written to a path as given, such as `--out ./x`, goes with the rest
            for place in range(self.done, len(self.todo)):
                self.place.value, self.since.value = place, time.monotonic()
                if place not in self.skipped:
                    name, index = self.todo[place]
                    told.append(attempt(self.known[name], self.seed, index, folder))
                if len(told) >= BATCH or place + 1 == len(self.todo):
                    connection.send((place + 1, told))
                    told = []

    @property
    def finished(self) -> bool:
        return self.done == len(self.todo)

    def take(self) -> Iterator[Outcome]:
        """What it has told since; a process that is lost is told of, and another one goes on behind the input."""
        gone = False
        try:
            while self.connection.poll():
                self.done, told = self.connection.recv()
                yield from told
        except EOFError:
            gone = True
        if self.finished:
            self.process.join()
            return
        hangs = time.monotonic() - self.since.value > LOST
        if hangs or gone:
            if hangs:
                self.process.kill()
            self.process.join()
            place = self.place.value
            self.skipped.add(place)
            how = ("slow", f"not done in {LOST:.0f} s") if hangs else ("raw", f"exit code {self.process.exitcode}")
            yield Outcome(*self.todo[place], "the process was lost", *how)
            self._start()


def run(chosen: Sequence[Family], count: int, seed: int) -> Findings:
    """Try `count` inputs in forked processes."""
    todo, findings = tasks(chosen, count), Findings()
    known = {family.name: family for family in chosen}
    workers = [Worker(known, todo[first::WORKERS], seed) for first in range(WORKERS)]
    shown = time.monotonic()
    while not all(worker.finished for worker in workers):
        wait([worker.connection for worker in workers if not worker.finished], timeout=1)
        for worker in workers:
            if not worker.finished:
                for outcome in worker.take():
                    if outcome.outcome in FAILURES and outcome.signature not in findings.failures:
                        print(f"{outcome.family} --seed {seed} --index {outcome.index}: {told(outcome)}", flush=True)
                    findings.add(outcome)
        if time.monotonic() - shown > 60:
            shown = time.monotonic()
            print(f"... {sum(worker.done for worker in workers)} of {len(todo)}", flush=True)
    return findings


def told(outcome: Outcome) -> str:
    return f"{outcome.outcome}, {outcome.kind}: {outcome.text[:200]}"


def table(findings: Findings) -> str:
    head = ("family", "inputs", "read", "refused", "raw", "wrong", "slow")
    lines = [head]
    for name, counts in findings.counts.items():
        lines.append((name, str(sum(counts.values())), *(str(counts[outcome]) for outcome in OUTCOMES)))
    total = sum(findings.counts.values(), Counter())
    lines.append(("all", str(sum(total.values())), *(str(total[outcome]) for outcome in OUTCOMES)))
    return "\n".join(f"{line[0]:<14}" + "".join(f"{cell:>10}" for cell in line[1:]) for line in lines)


def record(findings: Findings, seed: int, seconds: float) -> dict[str, Any]:
    listed = sorted(findings.failures.values(), key=len, reverse=True)
    return {
        "machine": machine(),
        "seed": seed,
        "seconds": round(seconds, 1),
        "families": {
            name: {"inputs": sum(counts.values()), **{outcome: counts[outcome] for outcome in OUTCOMES}}
            for name, counts in findings.counts.items()
        },
        "kinds": {name: dict(counts.most_common()) for name, counts in findings.kinds.items()},
        "failures": [
            {
                "family": same[0].family,
                "outcome": same[0].outcome,
                "kind": same[0].kind,
                "count": len(same),
                "indices": [one.index for one in same[:3]],
                "text": same[0].text[:300],
            }
            for same in listed
        ],
    }


def again(family: Family, seed: int, index: int) -> Outcome:
    """One input once more, in this process."""
    with scratch() as folder:
        return attempt(family, seed, index, folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", choices=NAMES, action="append", help="only this one; may be repeated")
    parser.add_argument("--index", type=int, help="one input of one family again, with its traceback")
    parser.add_argument("--out", type=Path, help=f"write the figures there (such as {RESULT.relative_to(ROOT)})")
    options = parser.parse_args()
    chosen = families(options.family or NAMES)
    if options.index is not None:
        outcome = again(chosen[0], options.seed, options.index)
        print(outcome.trace or outcome.text)
        print(told(outcome))
        return int(outcome.outcome in FAILURES)
    began = time.monotonic()
    findings = run(chosen, options.count, options.seed)
    seconds = time.monotonic() - began
    print(table(findings))
    print(f"{seconds:.0f} s")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record(findings, options.seed, seconds), indent=1) + "\n", encoding="utf-8")
    return int(findings.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
