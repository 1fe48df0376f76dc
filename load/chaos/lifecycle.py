"""Owns the ending and starting again of a shop's server, and what of it no harm excuses; on the event loop's thread."""

import asyncio
import signal
from collections.abc import Callable

from load.chaos.shop import Shop
from load.system.server_process import DidNotStart

START_BOUND_S = 8.0
"""For a start that nothing is in the way of; most take less than a second."""
STARTS = 5
AGAIN_AFTER_S = 0.5
LOOK_EVERY_S = 0.5


class ServerLost(Exception):
    """A server can't be started any more: there is nothing left to harm."""


class Lifecycle:
    """Starts and ends servers, under their shop's lock; what they do wrong is noted there."""

    def __init__(self, *, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s

    async def start(self, shop: Shop) -> float:
        """Start a shop's server and give how many seconds it took to listen; ServerLost where it does not.

        One that finds the database locked by another program may refuse to start, and is started again.
        """
        begun_s = self._clock_s()
        for _ in range(STARTS):
            try:
                await shop.victim.launch()
            except DidNotStart as problem:
                if not shop.was_obstructed(begun_s):
                    shop.note_wrong(f"a start failed: {_last_line(str(problem))}")
                await asyncio.sleep(AGAIN_AFTER_S)
            else:
                taken_s = self._clock_s() - begun_s
                if taken_s > START_BOUND_S and not shop.was_obstructed(begun_s):
                    shop.note_wrong(f"a start took {taken_s:.1f} s")
                return taken_s
        raise ServerLost(f"the server of the {shop.name} shop can't be started")

    async def watch(self, shop: Shop, *, every_s: float = LOOK_EVERY_S) -> None:
        """Look until cancelled whether a server has ended though nobody ended it; that is noted, and it is started."""
        while True:
            if not shop.turn.locked() and not shop.victim.life.is_running:
                async with shop.turn:
                    # Who had the turn meanwhile may have seen to it.
                    if not shop.victim.life.is_running:
                        shop.note_wrong(f"the server ended by itself with status {shop.victim.life.status}")
                        await self.start(shop)
            await asyncio.sleep(every_s)

    async def kill(self, shop: Shop) -> None:
        """Send SIGKILL; one that had ended by itself is noted."""
        status = await shop.victim.kill()
        if status != -signal.SIGKILL:
            shop.note_wrong(f"the server ended by itself with status {status}")

    async def kill_while_starting(self, shop: Shop, *, after_s: float) -> None:
        """Start it and send SIGKILL so soon afterwards; one that had ended by then is noted."""
        begun_s = self._clock_s()
        starting = shop.victim.launch()
        await asyncio.wait([starting], timeout=after_s)
        # It is another thread that launches it, or fails to.
        while not (shop.victim.life.is_launched or starting.done()):  # noqa: ASYNC110
            await asyncio.sleep(0)
        status = await shop.victim.kill()
        if status not in (None, -signal.SIGKILL) and not shop.was_obstructed(begun_s):
            shop.note_wrong(f"the server ended by itself with status {status} while it started")
        await asyncio.wait([starting])
        # It may have begun to listen before.
        starting.exception()

    async def terminate(self, shop: Shop) -> float:
        """Send SIGTERM and give how many seconds the end took; any status but 0 is noted."""
        begun_s = self._clock_s()
        if not shop.victim.life.is_running:
            shop.note_wrong(f"the server ended by itself with status {shop.victim.life.status}")
        status = await shop.victim.terminate()
        if status is None:
            shop.note_wrong("it did not end after SIGTERM")
        elif status:
            shop.note_wrong(f"exit status {status} after SIGTERM")
        return self._clock_s() - begun_s


def _last_line(text: str) -> str:
    """Give the last line with anything in it: of a traceback, the reason."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
