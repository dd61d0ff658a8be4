"""Where the time goes."""

import time

import psutil


class Clock:
    """Seconds since the process began, under the names of what was done.

    Attributes:
        seconds (`dict`): from names to seconds; the same name twice adds up.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        started = time.time() - psutil.Process().create_time()
        self._last = time.perf_counter() - started

    def lap(self, name: str) -> float:
        """Book the time since the last lap, and give it."""
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        self.seconds[name] = self.seconds.get(name, 0.0) + passed
        return passed


def rounded(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds of each part, and their total."""
    return {name: round(value, 2) for name, value in {**seconds, "total": sum(seconds.values())}.items()}
