"""Shares the time of the event loop between long work and all other requests. Runs on the event loop."""

import asyncio
import gc
from collections.abc import Callable
from typing import TypeVar

from models.parsing.steps import Steps

SLICE_S = 0.0005
"""After this time, work is interrupted at the end of its step."""
PAUSE_ITERATIONS = 5
"""How many iterations of the event loop come between two slices. Tornado takes about as many for one short request,
which would otherwise wait for a slice in each of them. An iteration without other work takes some microseconds."""

T = TypeVar("T")


class TimeSlices:
    """Runs steps in slices, with iterations of the event loop between them, however many requests have work to do.

    `clock` is monotonic, in seconds.
    """

    def __init__(self, *, clock: Callable[[], float], slice_s: float = SLICE_S) -> None:
        self._clock = clock
        self._slice_s = slice_s
        self._turn = asyncio.Lock()

    async def run(self, steps: Steps[T]) -> T:
        """The result of the steps. Requests that wait for a slice get one in turn."""
        while True:
            async with self._turn:
                try:
                    self._run_slice(steps)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                finally:
                    # Keeps the turn while the loop polls its sockets and runs other callbacks.
                    for _ in range(PAUSE_ITERATIONS):
                        await asyncio.sleep(0)

    def _run_slice(self, steps: Steps[T]) -> None:
        # Parsing creates thousands of containers but no reference cycles. Each garbage collection during it would take
        # 10 ms, because it would visit the items of all orders in memory.
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
