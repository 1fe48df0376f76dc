"""Runs several dozen clients that post orders at once. Each request has an id, which its response repeats."""

import itertools
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.power.recovery import Row, row_of
from tests.process import Answer, Client, ServerProcess, order

SINGLE_CLIENTS = 28
WAITING_CLIENTS = 4
BULK = 15
LONGEST_S = 120.0
LARGE = 1_000_000_000
_SEQUENCE = slice(12, 16)
"""Bytes in the header of the write-ahead log: the count of its restarts (sqlite.org/fileformat.html#walformat)."""

Order = dict[str, Any]


class Clients:
    """Posts orders. `sent` maps the id of each request to its orders. `accepted` has the ids with a response."""

    def __init__(self) -> None:
        self.sent: dict[str, frozenset[Row]] = {}
        self.accepted: set[str] = set()
        self._ids = itertools.count(1)
        self._stop = threading.Event()

    def run(self, server: ServerProcess, *, restarts: int) -> None:
        """Sends orders with all clients until the server's write-ahead log has restarted `restarts` times."""
        deadline = time.monotonic() + LONGEST_S
        log = server.database.with_name(server.database.name + "-wal")
        self._stop.clear()

        def send_lines(client: Client) -> None:
            self._send_lines(client)
            assert time.monotonic() < deadline, "the log does not restart"
            if _restarts(log) >= restarts:
                self._stop.set()

        ways: list[Callable[[Client], None]] = [
            *[self._send_one] * SINGLE_CLIENTS,
            *[self._send_one_and_wait] * WAITING_CLIENTS,
            *[self._send_array] * 2,
            send_lines,
            _list_orders,
        ]
        with ThreadPoolExecutor(len(ways)) as pool:
            for done in [pool.submit(self._repeat, server, way) for way in ways]:
                done.result()

    def _repeat(self, server: ServerProcess, way: Callable[[Client], None]) -> None:
        try:
            with server.client() as client:
                while not self._stop.is_set():
                    way(client)
        finally:
            # If one client has failed, the others stop too.
            self._stop.set()

    def _send_one(self, client: Client) -> None:
        one = self._next_order()
        assert self._post(client, "/order", "application/json", [one], json.dumps(one)).status == 202

    def _send_one_and_wait(self, client: Client) -> None:
        one = self._next_order()
        answer = self._post(client, "/order", "application/json", [one], json.dumps(one), prefer="wait=10")
        assert answer.status == 200
        assert answer.body["status"] == "Completed"

    def _send_array(self, client: Client) -> None:
        many = [self._next_order() for _ in range(BULK)]
        answer = self._post(client, "/orders", "application/json", many, json.dumps(many))
        assert (answer.status, answer.body["accepted"]) == (202, BULK)

    def _send_lines(self, client: Client) -> None:
        many = [self._next_order() for _ in range(BULK)]
        answer = self._post(client, "/orders", "application/x-ndjson", many, "\n".join(map(json.dumps, many)))
        assert (answer.status, answer.body["accepted"]) == (202, BULK)

    def _post(
        self, client: Client, path: str, kind: str, orders: list[Order], body: str, prefer: str | None = None
    ) -> Answer:
        name = f"request-of-{orders[0]['order_id']}"
        self.sent[name] = frozenset(map(row_of, orders))
        headers = {"Content-Type": kind, "X-Request-Id": name} | ({"Prefer": prefer} if prefer else {})
        client.request("POST", path, body.encode(), headers)
        answer = client.answer()
        self.accepted.add(name)
        return answer

    def _next_order(self) -> Order:
        order_id = next(self._ids)
        new = order(order_id)
        if order_id % 10 == 0:
            new["metadata"] = {"currency": "EUR", "note": "n" * (order_id % 900)}
        if order_id % 8 == 0:
            # Large orders fill the log sooner.
            new["item_ids"] = list(range(LARGE, LARGE + 400))
        return new


def _list_orders(client: Client) -> None:
    assert client.ask("GET", "/orders?limit=20").status == 200


def _restarts(log: Path) -> int:
    with log.open("rb") as file:
        return int.from_bytes(file.read(32)[_SEQUENCE])
