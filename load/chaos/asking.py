"""Owns how a client asks until it is answered, whatever happens to the server meanwhile; on the event loop's thread."""

import asyncio
from typing import NamedTuple

from load.chaos.shop import Shop
from load.http.connection import Connection, NoConnection, NoResponse
from load.http.response import Response

ANSWER_S = 25.0
"""Well over the 10 s that a server waits for a lock, and freezes of 3 s: a request without an answer is forgotten."""
PAUSE_S = 0.1
"""Before the next try. What Retry-After says is shortened to it, or most orders would miss the harm."""
TEMPORARY = 503
RETRY_AFTER = b"\r\nretry-after:"
STORAGE_UNAVAILABLE = b"/problems/storage-unavailable"
DROPPED, REFUSED, DISK_FULL = "dropped", "refused", "disk full"


class Told(NamedTuple):
    """The answer, and how often the request had been sent before: to no answer, and to a 503."""

    answer: Response
    unanswered: int
    put_off: int


class Client:
    """One keep-alive connection to a shop, which asks until it is answered."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._connection = Connection(shop.address)

    async def ask(self, request: bytes) -> Told:
        """Send a request, again and again, until there is an answer other than 503."""
        unanswered = put_off = 0
        seen = self._shop.seen
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    answer = await self._connection.exchange(request)
            except TimeoutError:
                self._connection.close()
                self._shop.note_wrong(f"no answer within {ANSWER_S:g} s")
                unanswered += 1
            except NoConnection:
                seen[REFUSED] += 1
            except NoResponse:
                seen[DROPPED] += 1
                unanswered += 1
            else:
                if answer.status != TEMPORARY:
                    return Told(answer, unanswered, put_off)
                put_off += 1
                self._note_503(answer)
            await asyncio.sleep(PAUSE_S)

    def close(self) -> None:
        self._connection.close()

    def _note_503(self, answer: Response) -> None:
        self._shop.seen[str(TEMPORARY)] += 1
        self._shop.seen[DISK_FULL] += STORAGE_UNAVAILABLE in answer.body
        if RETRY_AFTER not in answer.head:
            self._shop.note_wrong("a 503 without Retry-After")
