"""What tests send to other processes, which import it by its name."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

from core.runtime.progress import Progress
from core.work.shards import Tables


@dataclass(frozen=True)
class NoTools:
    """Makes nothing."""

    def __call__(self, device: str | None = None) -> None:
        return None


@dataclass(frozen=True)
class FatalShard:
    """A shard that takes its process with it, as one does that takes all memory."""

    file: str = "a.parquet"
    size: int = 1
    last: ClassVar[str] = "rows"

    def compute(self, tools: None) -> Generator[Progress, None, Tables]:
        os.kill(os.getpid(), signal.SIGKILL)
        yield Progress("never", 0, 1)
        return {}
