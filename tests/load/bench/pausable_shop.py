"""Defines a fake server whose processing can be paused."""

from tornado.iostream import IOStream

from tests.load.shop import Shop


class PausableShop(Shop):
    """A shop that completes up to `a_poll` orders at each GET /metrics, unless processing is paused.

    `actions` has the actions that were requested. The response to each action has the status `action_status`.
    """

    def __init__(self, *, a_poll: int) -> None:
        super().__init__()
        self.actions: list[str] = []
        self.action_status = 200
        self._a_poll = a_poll

    async def _take(self, stream: IOStream, body: bytes) -> None:
        path = self.heads[-1].split(" ", 2)[1]
        if not path.startswith("/processing/"):
            await super()._take(stream, body)
            return
        self.actions.append(path.rpartition("/")[2])
        await self._answer(stream, self.action_status, b"{}")

    def _metrics(self) -> tuple[int, bytes]:
        waiting = len(self._orders) - self.completed
        if self.actions[-1:] == ["resume"]:
            finished = min(self._a_poll, waiting)
            self.completed, waiting = self.completed + finished, waiting - finished
        self.waiting = [waiting]
        return super()._metrics()
