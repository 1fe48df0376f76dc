"""A real server under attack: malformed requests, and clients that send their headers too slowly."""

import asyncio
import contextlib
import itertools
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from http.client import HTTPMessage, parse_headers
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop

from handlers.transport.http_server import TIMEOUTS
from load.bench.background_clients import SlowClients
from load.http.address import Address, ServerUrl
from tests.fuzz import Fuzzer
from tests.process import DEADLINE_S, ServerProcess, order, wait_until
from tests.server.test_metrics_stream import MetricsReader, read_metrics
from tests.user_module import UserModule

SEED = int(os.environ.get("FUZZ_SEED", "20250301"))
REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "20000"))
MAX_KEPT_BYTES = 512
"""The server's memory can grow by this on average for each request in the second half of the requests."""
CLIENTS = 64
SILENCE_S = 0.05
MEMBERS = ["type", "title", "status", "detail", "instance", "request_id"]
FIRST_GOOD_ID = 10**18
"""Valid orders have this id or higher ids. Malformed requests do not contain these ids."""
FREE_MEMORY = f"""
    if {FIRST_GOOD_ID} <= order.order_id < {FIRST_GOOD_ID} + 1_000:
        import ctypes, gc
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        tell(order)
"""
"""The body of the function that processes orders. If an order is valid, this code frees all unused memory."""


class Answer(NamedTuple):
    status: int
    headers: HTTPMessage
    body: bytes | None


def answers_in(received: bytes, *, to_head: bool) -> Iterator[Answer]:
    """The complete responses in these bytes. A response without a length has the body None.

    `to_head` is true if the request was a HEAD: then responses can lack a body. Raises ValueError if the bytes are not
    an HTTP response.
    """
    while b"\r\n\r\n" in received:
        head, _, rest = received.partition(b"\r\n\r\n")
        line, _, fields = head.partition(b"\r\n")
        found = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [ -~]*", line)
        if not found:
            raise ValueError(f"no status line: {line[:100]!r}")
        status, headers = int(found[1]), parse_headers(BytesIO(fields + b"\r\n\r\n"))
        if headers.defects:
            raise ValueError(f"no headers: {fields[:200]!r}")
        if status < 200:
            received = rest
            continue
        length = headers["Content-Length"]
        if status in (204, 304) or (to_head and (not rest or rest.startswith(b"HTTP/1.1 "))):
            yield Answer(status, headers, None)
            received = rest
        elif length is None:
            yield Answer(status, headers, None)
            return
        elif len(rest) < int(length):
            return
        else:
            yield Answer(status, headers, rest[: int(length)])
            received = rest[int(length) :]


def fault_of(answer: Answer) -> str | None:
    """What is wrong with a response to a malformed request. None if it is correct."""
    if answer.status >= 500:
        return "a server error"
    if answer.status < 400:
        return None
    if answer.headers["Content-Type"] != "application/problem+json":
        return "a 4xx that is not application/problem+json"
    if answer.body is None:
        return None
    try:
        problem: dict[str, Any] = json.loads(answer.body)
    except ValueError:
        return "a problem that is not JSON"
    said = (problem.get("status"), problem.get("request_id"))
    if list(problem)[: len(MEMBERS)] != MEMBERS or said != (answer.status, answer.headers["X-Request-Id"]):
        return "a problem without its members, or with wrong ones"
    return None


async def ask(port: int, sent: bytes, *, to_head: bool) -> bytes:
    """Sends the bytes on a new connection and returns the bytes that the server sends back.

    Resets the connection after the first complete response, when the server closes the connection, or if no bytes
    arrive for `SILENCE_S` although the server responds to other clients.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        writer.write(sent)
        for is_last in (False, True):
            with contextlib.suppress(TimeoutError, ConnectionError):
                while data := await asyncio.wait_for(reader.read(1 << 20), SILENCE_S):
                    received += data
                    if next(answers_in(received, to_head=to_head), None):
                        break
                return received
            if not is_last:
                # The server can be busy, and answers this later request only after the earlier request.
                await assert_is_alive(port)
    finally:
        writer.transport.abort()
    return received


async def assert_is_alive(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), DEADLINE_S)).startswith(b"HTTP/1.1 200 ")
    writer.transport.abort()


async def send_all(port: int, requests: Iterator[bytes]) -> list[str]:
    """Sends all requests, `CLIENTS` at a time. Returns the faults, each with its request."""
    faults: list[str] = []
    statuses: dict[int, int] = {}

    async def client() -> None:
        for sent in requests:
            to_head = sent.lstrip(b"\r\n").startswith(b"HEAD ")
            received = await ask(port, sent, to_head=to_head)
            try:
                for answer in answers_in(received, to_head=to_head):
                    statuses[answer.status] = statuses.get(answer.status, 0) + 1
                    if fault := fault_of(answer):
                        faults.append(f"{fault}: {answer.status} {answer.body!r} for {sent[:2_000]!r}")
            except ValueError as error:
                faults.append(f"{error} in {received[:500]!r} for {sent[:2_000]!r}")

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    print("answers by status:", dict(sorted(statuses.items())))
    return faults


def memory_in_use_kib(server: ServerProcess, shop: UserModule, good_id: int) -> int:
    """Waits until the server has processed all requests and freed unused memory. Returns its resident memory."""
    with server.client() as client:
        # Bulk requests and retries are served one after the other, so all earlier requests end before these two
        # requests. Until then, orders of disconnected clients are in the queue. Their number depends on the speed of
        # the disk.
        assert client.ask("POST", "/orders/retry?status=Failed").status == 200
        client.request("POST", "/orders", json.dumps([order(good_id)]), {"Content-Type": "application/json"})
        assert client.answer().status == 202
    while shop.call().order_id != good_id:
        pass
    return server.memory_kib()


@pytest.mark.slow
def test_malformed_requests_get_4xx_and_leak_no_memory_or_files(tmp_path: Path) -> None:
    print(f"FUZZ_SEED={SEED} FUZZ_REQUESTS={REQUESTS}")
    fuzzer = Fuzzer(SEED)
    faults: list[str] = []
    used_kib: list[int] = []
    with UserModule(tmp_path, FREE_MEMORY) as shop, shop.server() as server:
        assert server.post(order(FIRST_GOOD_ID)).status == 202
        files = server.open_files()
        for half in (1, 2):
            requests = (fuzzer.request() for _ in range(REQUESTS // 2))
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                faults += runner.run(send_all(server.port, requests))
            wait_until(lambda: server.open_files() <= files)
            used_kib.append(memory_in_use_kib(server, shop, FIRST_GOOD_ID + half))
        print(f"memory in use: {used_kib[0]} KiB, then {used_kib[1]} KiB")
        assert server.get(f"/order/{FIRST_GOOD_ID}").body["order_id"] == FIRST_GOOD_ID
        log = server.log
    assert faults[:10] == []
    assert not re.search(r"Traceback|ERROR|WARNING|CRITICAL", log), log[:5_000]
    assert used_kib[1] - used_kib[0] <= REQUESTS / 2 * MAX_KEPT_BYTES / 1024


@pytest.mark.slow
def test_clients_with_slow_headers_are_disconnected_and_others_are_served(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        assert server.post(order(FIRST_GOOD_ID)).status == 202
        files = server.open_files()
        asyncio.run(send_slow_headers(server, count=200))
        wait_until(lambda: server.open_files() <= files)
        assert not re.search(r"Traceback|ERROR|WARNING", server.log), server.log


async def send_slow_headers(server: ServerProcess, *, count: int) -> None:
    address = Address(ServerUrl.parse(f"http://127.0.0.1:{server.port}"), socket.AF_INET, ("127.0.0.1", server.port))
    numbers = itertools.count(1)

    def use_server(metrics: MetricsReader) -> None:
        """Waits for the next event with metrics, about a second, and posts some orders."""
        metrics.next("point")
        for _ in range(20):
            assert server.post(order(next(numbers))).status == 202

    clients = SlowClients(address, count=count)
    begun_s = time.monotonic()
    await clients.open()
    try:
        with read_metrics(server) as metrics:
            while clients.ended < count:
                await asyncio.to_thread(use_server, metrics)
                passed_s = time.monotonic() - begun_s
                assert passed_s >= TIMEOUTS.head_s or not clients.ended
                assert passed_s < TIMEOUTS.head_s + DEADLINE_S, f"only {clients.ended} clients are disconnected"
    finally:
        await clients.close()
