"""Shards on several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from core.errors import UserError
from core.runtime.progress import Progress
from core.work.shards import Shard, Tools, compute_and_write, outstanding

ATTEMPTS = 3  # processes that one shard may end
LOOK = 0.5  # seconds between two looks at whether somebody wants to stop


class Workers:
    """Processes that take shards from one queue and write what comes of them.

    A process that dies (killed, or out of memory) is replaced, and its shard is done again by another: nothing is lost
    and nothing doubled, since only whole shards are written. All of them end with this one.

    Args:
        tools: pickled to each process, which makes its own; devices are handed round where there are several GPUs.
        count: how many processes.
    """

    def __init__(self, tools: Tools, out: Path, count: int) -> None:
        if count < 1:
            raise UserError(f"The number of workers must be at least 1, got {count}.")
        self._tools, self._out, self._count = tools, out, count
        self._workers: list[_Worker] = []

    @property
    def pids(self) -> list[int]:
        """Of the processes that are alive."""
        return [pid for worker in self._workers if (pid := worker.process.pid) is not None]

    def run(self, stage: str, shards: Sequence[Shard]) -> Generator[Progress]:
        left, done, total = outstanding(self._out, shards)
        waiting = deque(left)
        ended: dict[str, int] = {}
        yield Progress(stage, done, total)
        while len(self._workers) < min(self._count, len(waiting)):
            self._workers.append(self._started(len(self._workers)))
        busy: dict[_Worker, Shard] = {}
        try:
            while waiting or busy:
                for worker in self._workers:
                    if waiting and worker not in busy and worker.give(waiting[0]):
                        busy[worker] = waiting.popleft()
                for worker in self._reported():
                    answer = worker.take()
                    if answer is None:  # it is gone, and with it what it had not written
                        shard = busy.pop(worker, None)
                        self._replace(worker)
                        if shard is not None:
                            ended[shard.file] = ended.get(shard.file, 0) + 1
                            if ended[shard.file] == ATTEMPTS:
                                raise UserError(
                                    f"{stage}: {ATTEMPTS} workers ended while they computed part {shard.file}; "
                                    "there may be too little memory, so take fewer workers."
                                )
                            waiting.appendleft(shard)
                    elif isinstance(answer, Exception):
                        raise answer
                    elif worker in busy:
                        done += busy.pop(worker).size
                yield Progress(stage, done, total)
        except BaseException:
            self.close()  # what is being computed is not wanted any more
            raise

    def _reported(self) -> list[_Worker]:
        by_connection = {worker.connection: worker for worker in self._workers}
        return [by_connection[found] for found in wait(list(by_connection), timeout=LOOK)]  # ty: ignore[invalid-argument-type]

    def _started(self, place: int) -> _Worker:
        return _Worker(self._tools, self._out, _device(place), max(1, (os.cpu_count() or 1) // self._count))

    def _replace(self, worker: _Worker) -> None:
        worker.end()
        self._workers[self._workers.index(worker)] = self._started(self._workers.index(worker))

    def close(self) -> None:
        for worker in self._workers:
            worker.end()
        self._workers = []


def _device(place: int) -> str | None:
    """One GPU a process where there are several; else where the model was."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{place % count}" if count > 1 else None


class _Worker:
    """One process and the line to it."""

    def __init__(self, tools: Tools, out: Path, device: str | None, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, tools, out, device, threads), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, shard: Shard) -> bool:
        """Send a shard; False if nobody is there any more."""
        try:
            self.connection.send(shard)
        except (OSError, ValueError):
            return False
        return True

    def take(self) -> Any:
        """What it says: True for a shard that is written, an error, or None if it is gone."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        with suppress(OSError):
            self.connection.close()
        self.process.kill()
        self.process.join()


def _serve(connection: Connection, tools: Tools, out: Path, device: str | None, threads: int) -> None:
    """What a worker does until its line is cut, which also happens when the process that began it dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever interrupts the run ends the workers
    torch.set_num_threads(threads)
    with suppress(EOFError, OSError):
        try:
            made = tools(device)
        except UserError as error:
            connection.send(error)
            return
        while True:
            shard = connection.recv()
            try:
                for _ in compute_and_write(shard, made, out):
                    if connection.poll():  # nothing is ever sent in between: the line is cut
                        return
            except UserError as error:
                connection.send(error)
            except Exception:  # noqa: BLE001 - a defect: told with the place where it is, which stays behind else
                connection.send(RuntimeError(traceback.format_exc()))
            else:
                connection.send(True)
