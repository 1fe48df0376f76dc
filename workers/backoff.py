"""How long to wait before trying again. Pure; belongs to no thread."""

import random
from collections.abc import Callable


class Backoff:
    """Delays that double from `first_s` seconds, each ± 20 % jitter, and are never longer than `longest_s`."""

    def __init__(self, *, first_s: float, longest_s: float, jitter: Callable[[], float] = random.random) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter

    def delay_s(self, failures: int) -> float:
        """The delay in seconds after this many failures in a row, at least one."""
        # 2.0 ** 1024 would be an error.
        nominal_s = min(self._first_s * 2.0 ** min(failures - 1, 1_000), self._longest_s)
        return min(nominal_s * (0.8 + 0.4 * self._jitter()), self._longest_s)
