"""Reports and evaluations on disk, changed: the slot of `benchmarks/fuzz_folders.py`."""

from __future__ import annotations

from collections.abc import Callable

from .harness import Case, Family


def _run() -> Callable[[int, int], dict[str, int]] | None:
    """`run(count, seed)` of that script, which lies beside this package; None where it is not there."""
    try:
        from fuzz_folders import run
    except ModuleNotFoundError:
        try:
            from benchmarks.fuzz_folders import run
        except ModuleNotFoundError:
            return None
    return run


RUN = _run()


def attempt(case: Case) -> None:
    """Twenty changed folders; `run` counts outcomes, among them "KIND: raw: ERROR"."""
    case.kind = "changed reports and evaluations"
    assert RUN is not None
    raw = [outcome for outcome in RUN(20, case.number(0, 2**31)) if ": raw" in outcome]
    case.expect(not raw, "; ".join(raw))


FAMILY = Family("folders", 0.001 if RUN else 0.0, attempt, slow=60.0)
