"""Whether the process lives, and whether it can take orders."""

from collections.abc import Awaitable, Callable

from handlers.base import BaseHandler, Traffic
from handlers.problems import STOPPING, Problem


class LiveHandler(BaseHandler):
    """`GET /livez`: 200 for as long as the event loop turns."""

    def get(self) -> None:
        self.answer_json({"status": "ok"})

    head = get


class ReadyHandler(BaseHandler):
    """`GET /readyz`: 200, or 503 while the server stops or can't write. `probe` raises what a write would meet."""

    def initialize(self, *, traffic: Traffic, probe: Callable[[], Awaitable[None]]) -> None:
        self._join(traffic=traffic)
        self._probe = probe

    async def get(self) -> None:
        if self._traffic.draining:
            raise Problem(STOPPING, "The server is stopping.")
        await self._probe()
        self.answer_json({"status": "ok"})

    head = get
