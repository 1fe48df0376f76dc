"""Records steps, so that a test and the shop can wait for each other. Runs functions on a second thread."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.process import DEADLINE_S


class Steps:
    """Records steps in `entries`: what happened, and to which order. Any thread can add steps and wait for them."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []
        self._news = threading.Condition()

    def note(self, what: str, order_id: int) -> None:
        with self._news:
            self.entries.append((what, order_id))
            self._news.notify_all()

    def come(self, *steps: tuple[str, int], within_s: float = DEADLINE_S) -> bool:
        """Wait until all of these steps have happened, in any sequence. Return False after `within_s` seconds."""
        with self._news:
            return self._news.wait_for(lambda: set(steps) <= set(self.entries), within_s)


@contextmanager
def meanwhile(step: Callable[[], None]) -> Iterator[None]:
    """Run a function on another thread while the block runs. Its exception is raised at the end of the block."""
    with ThreadPoolExecutor(1) as executor:
        done = executor.submit(step)
        yield
        done.result(DEADLINE_S)
