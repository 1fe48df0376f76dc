"""Measures how long orders wait after their server was killed, frozen or cut off. Runs on the event loop."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from load.chaos.databases.database import Database

POLL_EVERY_S = 0.1
PROCESSED_BY = """
SELECT array_agg(sequence), array_agg(claims) FROM work JOIN nodes USING (node) WHERE name LIKE '%%:' || %s"""
IS_ANY_LEFT = """
SELECT EXISTS (SELECT FROM work JOIN unnest(%s::bigint[], %s::integer[]) AS held (sequence, claims)
    USING (sequence, claims))"""


class TakeoverWatch:
    """Measures waits in a PostgreSQL database. `longest_s` is the longest so far.

    A wait begins when a server is killed, frozen or cut off. It ends when each order that this server was processing
    has been claimed again, or has ended.
    """

    def __init__(self, database: Database) -> None:
        self.longest_s = 0.0
        self._database = database
        self._watching: set[asyncio.Task[None]] = set()

    def begin(self, pid: int) -> None:
        """Measure the wait of the orders that the server with this process id is processing."""
        task = asyncio.create_task(self._watch(pid, time.monotonic()))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _watch(self, pid: int, begun_s: float) -> None:
        sequences, claims = await self._read(PROCESSED_BY, [str(pid)])
        if sequences:
            while (await self._read(IS_ANY_LEFT, [sequences, claims]))[0]:  # noqa: ASYNC110 - the database has no event
                await asyncio.sleep(POLL_EVERY_S)
            self.longest_s = max(self.longest_s, time.monotonic() - begun_s)

    async def _read(self, sql: str, parameters: Sequence[object]) -> Any:
        """Read one row. Try again after an error, because PostgreSQL can be down."""

        def read() -> Any:
            with self._database.connect() as connection:
                return connection.execute(sql, parameters).fetchone()

        while True:
            with suppress(self._database.error):
                return await asyncio.to_thread(read)
            await asyncio.sleep(POLL_EVERY_S)
