"""A client of `GET /orders/events` that can continue at another server, as behind a load balancer."""

import http.client
import time

from tests.process import DEADLINE_S, Client, ServerProcess
from tests.sse import EventParser, Message


class EventReader:
    """Collects events. After `connect`, continues with the event after the last event that it has got."""

    def __init__(self, server: ServerProcess, query: str = "") -> None:
        self.messages: list[Message] = []
        self._path = f"/orders/events{query}"
        self._last_id = ""
        self._open(server)

    def connect(self, server: ServerProcess) -> None:
        """Continues at this server."""
        self.close()
        self._open(server)

    def close(self) -> None:
        self._client.close()

    def until(self, count: int) -> list[Message]:
        """Waits until there are at least this number of events. Returns all events so far."""
        # The time-out of the socket is not enough, because comments arrive even without events.
        deadline_s = time.monotonic() + DEADLINE_S
        while len(self.messages) < count:
            assert time.monotonic() < deadline_s, "no more events come"
            self._read()
        return self.messages

    def until_ended(self, count: int) -> list[Message]:
        """Waits for the last events of this number of orders. Returns all events so far."""
        deadline_s = time.monotonic() + DEADLINE_S
        while len({each.json["order_id"] for each in self.messages if each.json.get("status") == "Completed"}) < count:
            assert time.monotonic() < deadline_s, "no more events come"
            self._read()
        return self.messages

    def _open(self, server: ServerProcess) -> None:
        self._client = Client(server.port)
        self._client.request("GET", self._path, headers={"Last-Event-ID": self._last_id} if self._last_id else {})
        self._parser = EventParser()
        self._response: http.client.HTTPResponse = self._client.getresponse()
        assert self._response.status == 200
        # The first lines have an id.
        while not self._parser.last_id:
            self._read()

    def _read(self) -> None:
        data = self._response.read1()
        assert data, "the stream has ended"
        self.messages += self._parser.feed(data)
        self._last_id = self._parser.last_id

    def __enter__(self) -> "EventReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
