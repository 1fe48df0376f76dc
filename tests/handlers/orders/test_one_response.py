"""A stream of orders gets exactly one response, for every sequence of events while the client sends it."""

import asyncio
import contextlib
import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.orders.bulk_requests import (
    CHUNKED_HEAD,
    LAST_CHUNK,
    assert_is_bulk_problem,
    assert_partial,
    begin_stream,
    chunk,
    lines_of,
    stored,
)
from tests.handlers.running_api import Connection, RunningApi, turn_of_the_loop, until
from tests.models.samples import Clock

STATUS = re.compile(rb"HTTP/1\.1 (\d+) ")


async def statuses(connection: Connection) -> list[int]:
    """The statuses of all responses up to the end of the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := await connection.reader.read(65_536):
            received += part
    return [int(status) for status in STATUS.findall(received)]


@pytest.mark.gen_test
async def test_a_line_after_a_drain_has_begun_gets_no_second_response(api: RunningApi) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection)
        with api.blocked():
            await connection.send(chunk(lines_of(4)))
            await until(lambda: api.store.waiting_writes == 1)
            draining = asyncio.ensure_future(api.in_flight.drain(5))
            for order_id in (5, 6):
                await connection.send(chunk(lines_of(order_id)))
                await turn_of_the_loop()
        answer = await connection.answer()
        # The order that was being stored when the drain began is counted.
        assert_partial(answer, "stopping", accepted=4)
        assert await statuses(connection) == []
        await draining
    assert await stored(api) == 4


@pytest.mark.gen_test
async def test_a_drain_that_begins_while_lines_are_added_does_not_wait_for_another_line(api: RunningApi) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection)
        with api.blocked():
            # The second group waits until the first is stored.
            await connection.send(chunk(lines_of(4)))
            await until(lambda: api.store.waiting_writes == 1)
            await connection.send(chunk(lines_of(5)))
            for _ in range(20):
                await turn_of_the_loop()
            draining = asyncio.ensure_future(api.in_flight.drain(5))
            await turn_of_the_loop()
        assert_partial(await connection.answer(), "stopping", accepted=5)
        await draining
        assert api.in_flight.count == 0


@pytest.mark.gen_test
async def test_a_stream_that_begins_while_draining_is_rejected_before_its_body(api: RunningApi) -> None:
    async with api.connection() as connection:
        api.in_flight.draining = True
        await connection.send(CHUNKED_HEAD)
        answer = await connection.answer()
        assert_is_bulk_problem(answer, 503, "stopping")
        assert answer.headers["Connection"] == "close"
        assert await connection.is_closed_by_server()


SENT = ["line", "half a line", "invalid line", "end", "broken", "leave"]
OTHERS = ["turns", "drain", "block", "unblock", "disk"]


def data_of(event: str, number: int) -> bytes:
    """The bytes that the client sends for this event."""
    match event:
        case "line":
            return chunk(lines_of(number))
        case "half a line":
            return chunk(lines_of(number)[:5])
        case "invalid line":
            return chunk(b"{\n")
        case "end":
            return LAST_CHUNK
        case _:
            return b"no length\r\n"


class OneStream:
    """A stream of orders. If its request ends twice, `CheckedRequests` raises an error."""

    def __init__(self, api: RunningApi, connection: Connection) -> None:
        self._api = api
        self._connection = connection
        self._has_ended = False
        self._blocked = contextlib.ExitStack()
        self._drains: list[asyncio.Future[None]] = []

    async def send(self, event: str, number: int) -> None:
        if self._has_ended:
            return
        self._has_ended = event in ("end", "broken", "leave")
        if event == "leave":
            await self._connection.close()
            return
        with contextlib.suppress(ConnectionError):
            await self._connection.send(data_of(event, number))

    async def let_happen(self, event: str) -> None:
        match event:
            case "drain":
                self._drains.append(asyncio.ensure_future(self._api.in_flight.drain(10)))
            case "block":
                self._blocked.enter_context(self._api.blocked())
            case "unblock":
                self._blocked.close()
            case "disk":
                await self._api.set_read_only(True)
        for _ in range(10 if event == "turns" else 1):
            await turn_of_the_loop()

    async def check(self, *, may_have_failed: bool) -> None:
        self._blocked.close()
        writer = self._connection.writer
        if (self._has_ended or self._drains) and not writer.is_closing():
            await asyncio.wait_for(self._connection.answer(), 20)
            writer.write_eof()
            assert await statuses(self._connection) == []
        elif not writer.is_closing():
            # There is no response yet, so the client disconnects before the end of the body.
            writer.write_eof()
            assert len(await statuses(self._connection)) <= may_have_failed
        await self._api.until_in_flight(0)
        await asyncio.gather(*self._drains)


@pytest.fixture
def storage_can_fail(log: list[logging.LogRecord]) -> Iterator[None]:
    """Accepts warnings of the storage in the log: some sequences contain a write to a failing disk."""
    yield
    log[:] = [record for record in log if record.name != "orders.storage"]


@given(events=st.lists(st.sampled_from(SENT + OTHERS), max_size=12))
@pytest.mark.usefixtures("storage_can_fail")
def test_every_sequence_of_events_leads_to_one_response(events: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check_one_response(Path(folder), events))


async def check_one_response(folder: Path, events: Sequence[str]) -> None:
    api = RunningApi(folder / "orders.db", Clock())
    await api.open()
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD)
        stream = OneStream(api, connection)
        for number, event in enumerate(events, 1):
            if event in SENT:
                await stream.send(event, number)
            else:
                await stream.let_happen(event)
        await stream.check(may_have_failed="disk" in events)
    await api.close()
