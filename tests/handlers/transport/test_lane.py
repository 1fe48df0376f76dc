"""The plain lane: pipelines, requests in parts, clients that disconnect or do not read, and handing over to Tornado."""

import asyncio
import errno
import logging
import os
import socket
from contextlib import suppress
from functools import partial
from itertools import pairwise

import pytest
import uvloop
from tornado.testing import bind_unused_port

from handlers.problems.problem import OVERLOADED, Problem
from handlers.transport import lane_exits
from handlers.transport.http_server import BoundedHTTPServer
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.lane import MAX_BODY_BYTES, MAX_ITERATION_S, IterationBudget, Lane
from handlers.transport.lane_exits import HAND_OVER_ATTEMPTS, HAND_OVER_INTERVAL_S, MAX_HAND_OVER_WAIT_S, HandOvers
from handlers.transport.plain_head import MAX_HEAD_BYTES, PlainHead
from handlers.transport.plain_request import PlainRequest
from handlers.transport.sockets import listen
from tests.handlers.conftest import StartApi
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.running_api import RunningApi, Way, WayLog, get_text, post_text, turn_of_the_loop, until
from tests.loop_time import LoopTime
from tests.models.samples import order_text
from tests.open_files import no_more_files

ORDER = post_text(order_text())


def order(number: int) -> bytes:
    return post_text(order_text(order_id=str(number)))


async def turns_of_the_loop() -> None:
    for _ in range(20):
        await turn_of_the_loop()


@pytest.fixture
def ways() -> WayLog:
    return WayLog()


@pytest.fixture
def api(start_api: StartApi, ways: WayLog, io_loop: "asyncio.AbstractEventLoop") -> RunningApi:
    started: RunningApi = io_loop.run_sync(lambda: start_api(access_log=ways))  # type: ignore[attr-defined]
    return started


@pytest.mark.gen_test
async def test_pipelined_orders_get_their_responses_in_order(api: RunningApi, ways: WayLog) -> None:
    numbers = list(range(1, 102))
    async with api.connection() as connection:
        await connection.send(b"".join(map(order, numbers)))
        answers = [await connection.answer() for _ in numbers]
    assert [(answer.status, answer.headers["Location"]) for answer in answers] == [
        (202, f"/order/{number}") for number in numbers
    ]
    assert ways.ways == {Way.LANE}


@pytest.mark.gen_test
@pytest.mark.parametrize("step", [1, 7, len(ORDER) - 1])
async def test_a_body_may_come_in_parts(api: RunningApi, ways: WayLog, step: int) -> None:
    head_bytes = ORDER.index(b"{")
    async with api.connection() as connection:
        for _ in range(2):
            await connection.send(ORDER[:head_bytes])
            for start in range(head_bytes, len(ORDER), step):
                await turns_of_the_loop()
                await connection.send(ORDER[start : start + step])
            assert (await connection.answer()).status == 202
    assert ways.ways == {Way.LANE}


@pytest.mark.gen_test
async def test_the_rest_of_a_body_may_come_with_the_next_request(api: RunningApi, ways: WayLog) -> None:
    async with api.connection() as connection:
        await connection.send(order(1) + order(2)[:-10])
        assert (await connection.answer()).headers["Location"] == "/order/1"
        await connection.send(order(2)[-10:] + order(3))
        assert (await connection.answer()).headers["Location"] == "/order/2"
        assert (await connection.answer()).headers["Location"] == "/order/3"
    assert ways.ways == {Way.LANE}


@pytest.mark.gen_test
async def test_the_lane_accepts_bodies_up_to_the_limit(api: RunningApi, ways: WayLog) -> None:
    longest = order_text() + b" " * (MAX_BODY_BYTES - len(order_text()))
    async with api.connection() as connection:
        await connection.send(post_text(longest))
        assert (await connection.answer()).status == 202
        assert ways.ways == {Way.LANE}
        await connection.send(post_text(longest + b" "))
        assert_is_problem(await connection.answer(), 413, "too-large", "/order")
    assert ways.ways == {Way.LANE, Way.TORNADO}


@pytest.mark.gen_test
@pytest.mark.parametrize("first", [1, 20, ORDER.index(b"{") - 1])
async def test_a_head_in_parts_is_read_by_tornado(api: RunningApi, ways: WayLog, first: int) -> None:
    async with api.connection() as connection:
        await connection.send(ORDER[:first])
        await turns_of_the_loop()
        await connection.send(ORDER[first:] + get_text("/metrics"))
        assert [(await connection.answer()).status for _ in range(2)] == [202, 200]
    assert ways.ways == {Way.TORNADO}


@pytest.mark.gen_test
async def test_a_connection_that_was_handed_over_stays_with_tornado(api: RunningApi, ways: WayLog) -> None:
    async with api.connection() as connection:
        for request, status in [(order(1), 202), (get_text("/metrics"), 200), (order(2), 202)]:
            await connection.send(request)
            assert (await connection.answer()).status == status
            assert (Way.TORNADO in ways.ways) is (request != order(1))


@pytest.mark.gen_test
async def test_a_pipeline_is_handed_over_to_tornado_in_order(api: RunningApi) -> None:
    async with api.connection() as connection:
        chunked = (
            b"POST /order HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        body = order_text(order_id="3")
        chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        await connection.send(order(1) + order(2) + chunked + get_text("/order/2") + order(4) + b"nonsense\r\n\r\n")
        answers = [await connection.answer() for _ in range(6)]
        assert [answer.status for answer in answers] == [202, 202, 202, 200, 202, 400]
        places = [answer.headers.get("Location") for answer in answers]
        assert places == ["/order/1", "/order/2", "/order/3", None, "/order/4", None]
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
async def test_a_client_that_closes_its_sending_side_still_gets_its_responses(api: RunningApi) -> None:
    async with api.connection() as connection:
        with api.blocked():
            await connection.send(order(1) + order(2))
            connection.writer.write_eof()
            await api.until_in_flight(1)
        assert [(await connection.answer()).headers["Location"] for _ in range(2)] == ["/order/1", "/order/2"]
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
async def test_a_client_that_closes_its_sending_side_in_a_request_is_disconnected(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(order(1) + order(2)[:-1])
        connection.writer.write_eof()
        assert (await connection.answer()).headers["Location"] == "/order/1"
        assert await connection.is_closed_by_server()
    assert (await api.get("/order/2")).status == 404


@pytest.mark.gen_test
async def test_requests_after_the_last_one_are_discarded(api: RunningApi, ways: WayLog) -> None:
    last = order(2).replace(b"Host:", b"Connection: close\r\nHost:")
    async with api.connection() as connection:
        await connection.send(order(1) + last + order(3))
        answers = [await connection.answer() for _ in range(2)]
        assert [answer.headers["Location"] for answer in answers] == ["/order/1", "/order/2"]
        assert [answer.headers.get("Connection") for answer in answers] == [None, "close"]
        # A lingering close: the client can send more, and is not reset.
        assert await connection.reader.read() == b""
        await connection.send(order(4))
    assert ways.ways == {Way.LANE}
    assert [(await api.get(f"/order/{number}")).status for number in (1, 2, 3, 4)] == [200, 200, 404, 404]


@pytest.mark.gen_test
@pytest.mark.parametrize("is_reset", [True, False])
async def test_a_disconnect_at_any_byte_leaves_no_request_in_flight(api: RunningApi, is_reset: bool) -> None:
    for sent in range(1, len(ORDER) + 1):
        async with api.connection() as connection:
            await connection.send(ORDER[:sent])
            await turn_of_the_loop()
            if is_reset:
                connection.reset()
    await api.until_in_flight(0)
    assert (await api.get("/order/12345")).status == 200
    assert (await api.get("/metrics")).json["total_orders"] == 1


@pytest.mark.gen_test
async def test_an_order_is_stored_if_its_client_resets_the_connection_before_the_commit(api: RunningApi) -> None:
    with api.blocked():
        async with api.connection() as connection:
            await connection.send(ORDER)
            await api.until_in_flight(1)
            connection.reset()
        await turns_of_the_loop()
    await api.until_in_flight(0)
    assert (await api.get("/order/12345")).status == 200


@pytest.mark.gen_test
async def test_bytes_accepted_while_a_response_is_pending_are_limited(api: RunningApi) -> None:
    with api.blocked(), socket.create_connection(("127.0.0.1", api.port)) as client:
        client.setblocking(False)
        client.send(ORDER)
        await api.until_in_flight(1)
        sent, refused = 0, 0
        while refused < 20:
            try:
                sent += client.send(b"x" * (MAX_HEAD_BYTES + MAX_BODY_BYTES))
                refused = 0
            except BlockingIOError:
                refused += 1
                await turns_of_the_loop()
            assert sent < 32 * 1024 * 1024


class _Refusing:
    """Rejects every request at once, and counts the requests."""

    def __init__(self) -> None:
        self.requests = 0

    def takes(self, head: PlainHead) -> bool:
        return True

    def admit(self, request: PlainRequest) -> None:
        pass

    def serve(self, request: PlainRequest) -> None:
        self.requests += 1
        raise Problem(OVERLOADED, "Not now.")


def test_a_long_pipeline_of_rejected_requests_does_not_block_the_event_loop() -> None:
    # uvloop reads up to 32 times from a socket before it reads from the next socket.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        most = runner.run(_most_refusals_between_callbacks(post_text(b"x" * (MAX_BODY_BYTES - 1_000)), pipelined=25))
    # One request when the socket is read, and one request in the callback that follows.
    assert most <= 2


async def _most_refusals_between_callbacks(request: bytes, *, pipelined: int) -> int:
    handler, most = _Refusing(), 0
    server = BoundedHTTPServer(
        lambda _: None, lane=Lane(handler, InFlightRequests(), IterationBudget(clock=lambda: 0.0))
    )
    listening = listen("127.0.0.1", 0)
    await server.listen_on(listening)
    with socket.create_connection(listening[0].getsockname()) as client:
        client.setblocking(False)
        unsent = memoryview(request * pipelined)
        while handler.requests < pipelined:
            with suppress(BlockingIOError):
                while unsent:
                    unsent = unsent[client.send(unsent) :]
            before = handler.requests
            await asyncio.sleep(0)
            most = max(most, handler.requests - before)
    server.stop()
    await server.close_all_connections()
    return most


@pytest.mark.gen_test
async def test_a_hand_over_without_a_free_file_descriptor_is_a_503(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_exits, "HAND_OVER_DELAY_S", 0.0)  # makes the test fast
    async with api.connection() as connection:
        await turns_of_the_loop()
        with no_more_files():
            await connection.send(get_text("/metrics"))
            answer = await connection.answer()
        assert_is_problem(answer, 503, "overloaded", "/")
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
async def test_a_hand_over_is_tried_again_if_no_file_descriptor_is_free(
    api: RunningApi, ways: WayLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_exits, "HAND_OVER_DELAY_S", 0.0)  # makes the test fast
    dup, copied = os.dup, []

    def fail_at_first(file: int) -> int:
        copied.append(file)
        if len(copied) < HAND_OVER_ATTEMPTS:
            raise OSError(errno.EMFILE, "no file descriptor is free")
        return dup(file)

    monkeypatch.setattr(os, "dup", fail_at_first)  # a real limit can't be lifted in time
    async with api.connection() as connection:
        await connection.send(get_text("/metrics"))
        assert (await connection.answer()).status == 200
    assert len(copied) == HAND_OVER_ATTEMPTS
    assert ways.ways == {Way.TORNADO}


@pytest.mark.gen_test
async def test_connections_on_the_lane_are_closed_with_the_server(
    api: RunningApi, log: list[logging.LogRecord]
) -> None:
    async with api.connection() as idle, api.connection() as used:
        await used.send(ORDER)
        assert (await used.answer()).status == 202
        await api.close()
        assert await idle.is_closed_by_server()
        assert await used.is_closed_by_server()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", api.port)


@pytest.mark.gen_test
async def test_a_request_on_an_idle_connection_is_still_served_while_draining(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(order(1))
        assert "Connection" not in (await connection.answer()).headers
        closing = asyncio.create_task(api.close())
        while not api.in_flight.draining:
            await turn_of_the_loop()
        await connection.send(order(2))
        answer = await connection.answer()
        assert (answer.status, answer.headers["Connection"]) == (202, "close")
        await closing


@pytest.mark.gen_test
async def test_a_client_that_still_sends_at_a_stop_can_read_its_last_response(api: RunningApi) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", api.port)) as client:
        client.setblocking(False)
        with api.blocked():
            client.send(order(1))
            await api.until_in_flight(1)
            for _ in range(20):
                with suppress(BlockingIOError):
                    client.send(order(2) * 2_000)
                await turns_of_the_loop()
            closing = asyncio.create_task(api.close())
            while not api.in_flight.draining:
                await turn_of_the_loop()
        received = b""
        while part := await loop.sock_recv(client, 65_536):
            received += part
        assert received.startswith(b"HTTP/1.1 202 Accepted\r\nLocation: /order/1\r\n")
        assert received.count(b"HTTP/1.1 ") == received.count(b"\r\nConnection: close\r\n") == 1
    await closing


@pytest.mark.gen_test
async def test_a_spent_budget_stays_spent_until_the_next_iteration() -> None:
    now_s = 100.0
    budget = IterationBudget(clock=lambda: now_s)
    for _ in range(2):
        assert not budget.is_spent()
        now_s += MAX_ITERATION_S + 0.000_1
        assert budget.is_spent()
        assert budget.is_spent()
        await turn_of_the_loop()


@pytest.mark.gen_test
async def test_expensive_requests_of_many_clients_do_not_block_the_event_loop() -> None:
    now_s = 0.0
    served: list[int] = []
    iterations = 0

    class Expensive:
        def takes(self, head: PlainHead) -> bool:
            return True

        def admit(self, request: PlainRequest) -> None:
            pass

        def serve(self, request: PlainRequest) -> None:
            nonlocal now_s
            now_s += MAX_ITERATION_S
            served.append(iterations)
            request.respond(200, b"{}")

    budget = IterationBudget(clock=lambda: now_s)
    server = BoundedHTTPServer(lambda _: None, lane=Lane(Expensive(), InFlightRequests(), budget))
    listener, port = bind_unused_port()
    await server.listen_on([listener])
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for client in clients:
        client.sendall(get_text("/order/1"))
    while len(served) < len(clients):
        await turn_of_the_loop()
        iterations += 1
    assert max(served.count(iteration) for iteration in served) <= 3
    for client in clients:
        client.close()
    await server.close_all_connections()
    server.stop()


@pytest.mark.gen_test
async def test_a_result_that_comes_after_the_close_is_recorded_without_a_status() -> None:
    recorded: list[int | None] = []
    served: list[PlainRequest] = []

    class Holding:
        def takes(self, head: PlainHead) -> bool:
            return True

        def admit(self, request: PlainRequest) -> None:
            pass

        def serve(self, request: PlainRequest) -> None:
            served.append(request)

    class Recorder:
        def now_ns(self) -> int:
            return 0

        def record(self, request: PlainRequest) -> None:
            recorded.append(request.status)

    lane = Lane(Holding(), InFlightRequests(), IterationBudget(clock=lambda: 0.0), Recorder())
    server = BoundedHTTPServer(lambda _: None, lane=lane)
    listener, port = bind_unused_port()
    await server.listen_on([listener])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(get_text("/order/1"))
        while not served:
            await turn_of_the_loop()
        closing = asyncio.create_task(server.close_all_connections())
        # `respond` runs when the transport is closing, but before `connection_lost` is called.
        asyncio.get_running_loop().call_soon(served[0].respond, 200, b"{}")
        await closing
    server.stop()
    assert recorded == [None]


@pytest.mark.gen_test
async def test_connections_are_handed_over_at_intervals() -> None:
    loop = asyncio.get_running_loop()
    times_s: list[float] = []
    hand_overs = HandOvers()
    for _ in range(4):
        hand_overs.begin(lambda: times_s.append(loop.time()))
    assert len(times_s) == 1
    await until(lambda: len(times_s) == 4)
    # A timer can fire a millisecond early.
    assert times_s[-1] - times_s[0] >= 2 * HAND_OVER_INTERVAL_S


@pytest.mark.gen_test
async def test_one_of_many_connections_is_handed_over_in_an_iteration_of_the_event_loop(loop_time: LoopTime) -> None:
    count = round(3 * MAX_HAND_OVER_WAIT_S / HAND_OVER_INTERVAL_S)
    handed_over: list[int] = []
    counts = [0]
    hand_overs = HandOvers()
    for number in range(count):
        hand_overs.begin(partial(handed_over.append, number))

    def count_in_each_iteration() -> None:
        counts.append(len(handed_over))
        if len(handed_over) < count:
            asyncio.get_running_loop().call_soon(count_in_each_iteration)

    count_in_each_iteration()
    while counts[-1] < count:
        await loop_time.advance(HAND_OVER_INTERVAL_S)
    assert handed_over == list(range(count))
    assert max(after - before for before, after in pairwise(counts)) == 1


@pytest.mark.gen_test
async def test_connections_are_handed_over_without_intervals_when_the_server_stops() -> None:
    handed_over: list[int] = []
    hand_overs = HandOvers()
    hand_overs.end_intervals()
    for number in range(3):
        hand_overs.begin(partial(handed_over.append, number))
    seen: list[list[int]] = []

    def look_in_each_iteration() -> None:
        seen.append(list(handed_over))
        if len(seen) < 4:
            asyncio.get_running_loop().call_soon(look_in_each_iteration)

    look_in_each_iteration()
    await turns_of_the_loop()
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 2]]
