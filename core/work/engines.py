"""Which engines there are, by name."""

from __future__ import annotations

from functools import partial

from core.errors import UserError
from core.work.shards import MakeEngine

ENGINES = ("local", "ray")


def engine_named(name: str, workers: int | None = None) -> MakeEngine | None:
    """What makes the engine that a person asks for; None for this process alone.

    Args:
        name: one of ENGINES.
        workers: processes; None for one of this machine, or of a cluster for one a device.

    Raises:
        UserError: there is no such engine, or the number is below 1.
    """
    if name not in ENGINES:
        raise UserError(f"There is no engine {name!r}; choose one of {', '.join(ENGINES)}.")
    if workers is not None and workers < 1:
        raise UserError(f"The number of workers must be at least 1, got {workers}.")
    if name == "ray":
        from core.work.on_ray import OnRay

        return partial(OnRay, count=workers)
    if workers is None or workers == 1:
        return None
    from core.work.workers import Workers

    return partial(Workers, count=workers)
