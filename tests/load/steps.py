"""A log of steps, so that a test and the shop can wait for each other, and a function that runs a second thread."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.process import DEADLINE_S


class Steps:
    """What happened to orders, in sequence in `entries`. Any thread can add steps and wait for steps."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []
        self._news = threading.Condition()

    def note(self, what: str, order_id: int) -> None:
        with self._news:
            self.entries.append((what, order_id))
            self._news.notify_all()

    def come(self, *steps: tuple[str, int], within_s: float = DEADLINE_S) -> bool:
        """Wait until all of these steps have happened, in any order; False if they have not after `within_s`."""
        with self._news:
            return self._news.wait_for(lambda: set(steps) <= set(self.entries), within_s)


@contextmanager
def meanwhile(step: Callable[[], None]) -> Iterator[None]:
    """Run a function on another thread while the block runs; its exception is raised at the end of the block."""
    with ThreadPoolExecutor(1) as executor:
        done = executor.submit(step)
        yield
        done.result(DEADLINE_S)
