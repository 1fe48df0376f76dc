"""A whole server among clients that mean it no good."""

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

from handlers.transport.http_server import TIMEOUTS
from load.bench.background_clients import SlowClients
from load.http.address import Address, ServerUrl
from tests.fuzz import Fuzzer
from tests.process import ServerProcess, order, wait_until

SEED = int(os.environ.get("FUZZ_SEED", "20250301"))
REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "25000"))
WARM_UP = 10_000
"""Until then memory grows to what so many clients take at once."""
CLIENTS = 64
SILENCE_S = 0.05
ANSWER_S = 20.0
MEMBERS = ["type", "title", "status", "detail", "instance", "request_id"]
GOOD_ID = 10**18


class Answer(NamedTuple):
    status: int
    headers: HTTPMessage
    body: bytes | None


def answers_in(received: bytes, *, to_head: bool) -> Iterator[Answer]:
    """The answers that are whole, or have no length; raises ValueError for what is none.

    `to_head`: they may have no body.
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
    """What is wrong with an answer to a bad request."""
    if answer.status >= 500:
        return "a fault of the server's"
    if answer.status < 400:
        return None
    if answer.headers["Content-Type"] != "application/problem+json":
        return "a 4xx that is no problem+json"
    if answer.body is None:
        return None
    try:
        problem: dict[str, Any] = json.loads(answer.body)
    except ValueError:
        return "a problem that is no JSON"
    said = (problem.get("status"), problem.get("request_id"))
    if list(problem)[: len(MEMBERS)] != MEMBERS or said != (answer.status, answer.headers["X-Request-Id"]):
        return "a problem without its members"
    return None


async def ask(port: int, sent: bytes, *, to_head: bool) -> bytes:
    """What comes for these bytes on a connection of their own, until it is an answer, the end, or lasting silence.

    The client resets the connection then.
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
                # Either there is nothing to be answered, or the server is busy: then it answers this one no sooner.
                await assert_lives(port)
    finally:
        writer.transport.abort()
    return received


async def assert_lives(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), ANSWER_S)).startswith(b"HTTP/1.1 200 ")
    writer.transport.abort()


async def assail(port: int, requests: Iterator[bytes]) -> list[str]:
    """Sends them all, many at a time, and gives the faults that were found, each with the request that shows it."""
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


def resident_kib(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.slow
def test_malformed_requests_are_the_clients_errors_and_leave_nothing_behind(tmp_path: Path) -> None:
    print(f"FUZZ_SEED={SEED} FUZZ_REQUESTS={REQUESTS}")
    fuzzer = Fuzzer(SEED)
    requests = (fuzzer.request() for _ in range(REQUESTS))
    with ServerProcess(tmp_path / "orders.db") as server:
        assert server.post(order(GOOD_ID)).status == 202
        files = open_files(server.pid)
        faults = asyncio.run(assail(server.port, itertools.islice(requests, WARM_UP)))
        wait_until(lambda: open_files(server.pid) <= files)
        before_kib = resident_kib(server.pid)
        faults += asyncio.run(assail(server.port, requests))
        wait_until(lambda: open_files(server.pid) <= files)
        after_kib = resident_kib(server.pid)
        print(f"resident: {before_kib} KiB, then {after_kib} KiB")
        assert server.post(order(GOOD_ID + 1)).status == 202
        assert server.get(f"/order/{GOOD_ID}").body["order_id"] == GOOD_ID
        log = server.log
    assert faults[:10] == []
    assert not re.search(r"Traceback|ERROR|WARNING|CRITICAL", log), log[:5_000]
    assert after_kib <= before_kib * 1.1 + 16 * 1024


@pytest.mark.slow
def test_clients_that_drip_their_headers_are_cut_off_while_others_are_served(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server:
        assert server.post(order(GOOD_ID)).status == 202
        files = open_files(server.pid)
        asyncio.run(_drip(server, count=200))
        wait_until(lambda: open_files(server.pid) <= files)
        assert not re.search(r"Traceback|ERROR|WARNING", server.log), server.log


async def _drip(server: ServerProcess, *, count: int) -> None:
    address = Address(ServerUrl.parse(f"http://127.0.0.1:{server.port}"), socket.AF_INET, ("127.0.0.1", server.port))
    clients = SlowClients(address, count=count)
    begun_s = time.monotonic()
    await clients.open()
    try:
        for number in itertools.count(1):
            assert (await asyncio.to_thread(server.post, order(number))).status == 202
            passed_s = time.monotonic() - begun_s
            if clients.ended:
                assert passed_s >= TIMEOUTS.head_s
            if clients.ended >= count:
                break
            assert passed_s < TIMEOUTS.head_s + 5, f"{clients.ended} are cut off"
    finally:
        await clients.close()
