"""Advances the time of an event loop, so that its timers become due."""

import asyncio
from typing import Any, cast

import pytest
from tornado.ioloop import IOLoop

from tests.workers.event_loop import next_loop_iteration


class LoopTime:
    """Advances the event loop's time.

    Replaces the public method `time` of the loops of Tornado and asyncio, because they have no parameter for a clock.
    """

    def __init__(self, io_loop: IOLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead_s = 0.0
        loop: asyncio.AbstractEventLoop = cast(Any, io_loop).asyncio_loop
        loop_time, io_loop_time = loop.time, io_loop.time
        monkeypatch.setattr(loop, "time", lambda: loop_time() + self._ahead_s)
        monkeypatch.setattr(io_loop, "time", lambda: io_loop_time() + self._ahead_s)

    async def advance(self, seconds: float) -> None:
        self._ahead_s += seconds
        # One iteration for the timers, and more for the callbacks that they schedule.
        for _ in range(3):
            await next_loop_iteration()
