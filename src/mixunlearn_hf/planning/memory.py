"""The most memory that a piece of work takes."""

import threading
from types import TracebackType

import psutil
import torch


class MemoryPeak:
    """Peak memory of this process while the block runs: on a GPU what torch allocated, else resident memory.

    Attributes:
        bytes (`int`): the peak, known after the block.
    """

    def __init__(self, interval: float = 0.02) -> None:
        self.bytes = 0
        self._interval = interval
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryPeak":
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._watcher.join()
        if torch.cuda.is_available():
            self.bytes = torch.cuda.max_memory_allocated()

    def _watch(self) -> None:
        process = psutil.Process()
        while True:
            self.bytes = max(self.bytes, process.memory_info().rss)
            if self._done.wait(self._interval):
                return
