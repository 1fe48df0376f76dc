"""Whether the process lives, and whether it can take orders. Runs on the event loop."""

from collections.abc import Awaitable, Callable

from handlers.problems.problem import RETRY_AFTER_S, STOPPING, Problem
from handlers.transport.base_handler import BaseHandler
from handlers.transport.in_flight import Traffic


class LiveHandler(BaseHandler):
    """`GET /livez`: 200 for as long as the event loop turns."""

    def get(self) -> None:
        self.answer_json({"status": "ok"})

    head = get


class ReadyHandler(BaseHandler):
    """`GET /readyz`: 200, or 503 while the server stops or can't write.

    `check_storage` raises the storage error that the last write met, if it would still meet it.
    """

    def initialize(self, *, traffic: Traffic, check_storage: Callable[[], Awaitable[None]]) -> None:
        self._join(traffic=traffic)
        self._check_storage = check_storage

    async def get(self) -> None:
        if self._traffic.draining:
            raise Problem(STOPPING, "The server is stopping.", headers={"Retry-After": str(RETRY_AFTER_S)})
        await self._check_storage()
        self.answer_json({"status": "ok"})

    head = get
