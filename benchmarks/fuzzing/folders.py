"""Reports and evaluations on disk, changed: the slot of `benchmarks/fuzz_folders.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .harness import Case, Family


def _run() -> Callable[..., Any] | None:
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
    """A few changed folders; what `run` returns is a count of what failed, or what failed."""
    case.kind = "changed reports and evaluations"
    assert RUN is not None
    found = RUN(5, case.number(0, 2**31))
    if isinstance(found, Mapping):
        failed: Any = {
            key: value for key, value in found.items() if key not in ("count", "opened", "refused") and value
        }
    else:
        failed = list(found) if isinstance(found, Iterable) else found
    case.expect(not failed, str(failed))


FAMILY = Family("folders", 0.002 if RUN else 0.0, attempt)
