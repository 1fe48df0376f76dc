"""Advances the time of an event loop, so that its timers become due."""

import asyncio
from typing import Any, cast

import pytest
from tornado.ioloop import IOLoop

from tests.handlers.running_api import turn_of_the_loop


class LoopTime:
    """Advances the event loop's time.

    Replaces the public method `time` of the loop, because asyncio has no parameter for a clock.
    """

    def __init__(self, io_loop: IOLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead_s = 0.0
        loop: asyncio.AbstractEventLoop = cast(Any, io_loop).asyncio_loop
        time = loop.time
        monkeypatch.setattr(loop, "time", lambda: time() + self._ahead_s)

    async def advance(self, seconds: float) -> None:
        self._ahead_s += seconds
        # One iteration for the timers, and more for the callbacks that they schedule.
        for _ in range(3):
            await turn_of_the_loop()
