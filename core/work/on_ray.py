"""Shards on a Ray cluster: Ray Data hands them round, and each actor writes what it computes."""

from __future__ import annotations

import importlib
import os
import pickle
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.runtime.progress import Progress
from core.work.shards import Shard, Tools, compute_and_write, outstanding


class OnRay:
    """An actor a device (a GPU each where the cluster has some, else a CPU each), on the cluster that is running, or
    on one of this machine that is started for it.

    Every machine must see the pictures and `out` under the same paths. An actor that dies is replaced by Ray, and its
    shard is done again.

    Args:
        tools: pickled to each actor, which makes its own.
        count: how many actors; None for as many as the cluster has devices.
    """

    def __init__(self, tools: Tools, out: Path, count: int | None = None) -> None:
        """Connect, or start.

        Raises:
            UserError: Ray is not installed.
        """
        try:
            # by name, as it need not be there
            ray: Any = importlib.import_module("ray")
            importlib.import_module("ray.data")
        except ImportError as error:
            raise UserError("The engine ray needs the extra satchel[ray]: pip install 'satchel[ray]'.") from error
        self._ray = ray
        if not ray.is_initialized():
            ray.init(ignore_reinit_error=True, log_to_driver=False, **_where())
        ray.data.DataContext.get_current().enable_progress_bars = False
        resources = ray.cluster_resources()
        self._gpus = int(resources.get("GPU", 0))
        # with every CPU taken by actors nobody would be left to read
        self._count = count or self._gpus or max(1, int(resources.get("CPU", 2)) - 2)
        self._tools, self._out = tools, out

    def run(self, stage: str, shards: Sequence[Shard]) -> Generator[Progress]:
        waiting, done, total = outstanding(self._out, shards)
        yield Progress(stage, done, total)
        if not waiting:
            return
        rows = [{"shard": pickle.dumps(shard), "size": shard.size} for shard in waiting]
        actors = min(self._count, len(rows))
        working = self._ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Actor,
            fn_constructor_args=(pickle.dumps(self._tools), str(self._out)),
            compute=self._ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
            num_gpus=1 if self._gpus else 0,
            num_cpus=1,
        )
        for row in working.iter_rows():
            if row["problem"]:
                raise UserError(row["problem"])
            done += int(row["size"])
            yield Progress(stage, done, total)

    def close(self) -> None:
        """The cluster stays for whoever comes next; it ends with this process if this process began it."""


def _where() -> dict[str, Any]:
    """Options for a cluster of this machine; none where one is named by RAY_ADDRESS."""
    if os.environ.get("RAY_ADDRESS"):
        return {}
    # two logical CPUs more than cores: Ray Data's reader needs one that no actor holds
    return {"num_cpus": (os.cpu_count() or 1) + 2, "include_dashboard": False}


class _Actor:
    """One process of the cluster."""

    def __init__(self, tools: bytes, out: str) -> None:
        self._out = Path(out)
        self._problem = ""
        try:
            self._made = pickle.loads(tools)(None)
        except UserError as error:
            self._problem = str(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        problem = self._problem
        if not problem:
            try:
                for _ in compute_and_write(pickle.loads(row["shard"]), self._made, self._out):
                    pass
            except UserError as error:
                problem = str(error)
        return {"size": row["size"], "problem": problem}
