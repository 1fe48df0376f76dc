"""Owns the asking of a server in one request that is waited for so long and no longer; on the event loop's thread."""

import asyncio

from load.http.connection import Answer, Connection, NoAnswer

ANSWER_S = 30.0


async def ask(connection: Connection, request: bytes, *, limit_s: float = ANSWER_S) -> Answer:
    """Send a request and give its answer; NoAnswer, where none comes within `limit_s` too, and then it is closed."""
    try:
        # Not wait_for: until Python 3.12 a Ctrl-C that comes together with the answer would be lost in it.
        async with asyncio.timeout(limit_s):
            return await connection.exchange(request)
    except TimeoutError:
        connection.close()
        raise NoAnswer(f"no answer within {limit_s:g} s") from None
