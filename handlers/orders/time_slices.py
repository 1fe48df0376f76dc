"""Divides long work into slices, so that other requests are served between two slices. Runs on the event loop."""

import asyncio
import gc
from collections.abc import Callable
from typing import TypeVar

from models.parsing.steps import Steps

SLICE_S = 0.0005
"""After this time, a slice ends as soon as its current step is done."""
PAUSE_ITERATIONS = 5
"""How many iterations of the event loop run between two slices. Tornado needs about five iterations to serve a short
request. With fewer, the request would wait for several slices. An iteration without other work takes some
microseconds."""

T = TypeVar("T")


class TimeSlices:
    """Runs the steps of all calls of `run` in slices. Between two slices, the event loop runs other callbacks.

    A slice is a few steps of one call. `clock` is monotonic, in seconds. `slice_s` is the duration of a slice.
    """

    def __init__(self, *, clock: Callable[[], float], slice_s: float = SLICE_S) -> None:
        self._clock = clock
        self._slice_s = slice_s
        self._turn = asyncio.Lock()

    async def run(self, steps: Steps[T]) -> T:
        """Runs all steps and returns their result. Concurrent calls of `run` take turns after each slice."""
        while True:
            async with self._turn:
                try:
                    self._run_slice(steps)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                finally:
                    # Keeps the lock, so that no other slice runs while the event loop polls its sockets and runs other
                    # callbacks.
                    for _ in range(PAUSE_ITERATIONS):
                        await asyncio.sleep(0)

    def _run_slice(self, steps: Steps[T]) -> None:
        # Parsing creates thousands of containers but no reference cycles. Each garbage collection would take 10 ms,
        # because it would visit the items of all orders in memory.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            end_s = self._clock() + self._slice_s
            next(steps)
            while self._clock() < end_s:
                next(steps)
        finally:
            if was_enabled:
                gc.enable()
