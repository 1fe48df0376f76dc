"""Hand-overs to Tornado: how long each one waits, and what holds for a connection while it waits."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from handlers.transport.lane import MAX_BUSY_SHARE, MAX_PAUSE_S, PAUSE_STEP_S, HandOvers
from tests.handlers.loop_time import LoopTime
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.running_api import Connection, get_text, turn_of_the_loop, until
from tests.handlers.transport.test_http_server import RunningServer

COST_S = 0.000_5


class Work:
    """Hand-overs that cost `COST_S` of CPU time each, here and in Tornado. The time passes only in `pass_time`."""

    def __init__(self, loop_time: LoopTime) -> None:
        self.now_s = self.cpu_s = 0.0
        self.begun_s: list[float] = []
        self._loop_time = loop_time
        self._hand_overs = HandOvers(clock=lambda: self.now_s, cpu_clock=lambda: self.cpu_s)

    def begin(self, count: int) -> None:
        for _ in range(count):
            self._hand_overs.begin(self._hand_over)

    def _hand_over(self) -> None:
        self.begun_s.append(self.now_s)
        asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        self.now_s += COST_S
        self.cpu_s += COST_S

    async def pass_time(self, *, other_cpu_s: float = 0.0) -> None:
        """Lets `PAUSE_STEP_S` pass. The event loop works for `other_cpu_s` of it."""
        self.now_s += PAUSE_STEP_S
        self.cpu_s += other_cpu_s
        await self._loop_time.advance(PAUSE_STEP_S)

    def gaps_s(self) -> list[float]:
        """The times between hand-overs."""
        return [after - before for before, after in itertools.pairwise(self.begun_s)]


@pytest.fixture
def work(loop_time: LoopTime) -> Work:
    return Work(loop_time)


@pytest.mark.gen_test
async def test_hand_overs_use_a_limited_share_of_the_time(work: Work) -> None:
    work.begin(20)
    while len(work.begun_s) < 20:
        await work.pass_time()
    least_s = COST_S / MAX_BUSY_SHARE
    assert all(least_s <= gap_s <= least_s + COST_S + 2 * PAUSE_STEP_S for gap_s in work.gaps_s())


@pytest.mark.gen_test
async def test_hand_overs_continue_while_the_lane_uses_all_of_the_time(work: Work) -> None:
    work.begin(20)
    while len(work.begun_s) < 20:
        await work.pass_time(other_cpu_s=PAUSE_STEP_S)
    assert all(MAX_PAUSE_S <= gap_s <= MAX_PAUSE_S + COST_S + 2 * PAUSE_STEP_S for gap_s in work.gaps_s())


@pytest.mark.gen_test
async def test_a_hand_over_while_no_other_waits_begins_at_once(work: Work) -> None:
    for number in range(1, 4):
        work.begin(1)
        assert len(work.begun_s) == number
        for _ in range(5):
            await work.pass_time()


@pytest.mark.gen_test
async def test_a_hand_over_that_fails_does_not_stop_the_next_one() -> None:
    hand_overs = HandOvers(clock=lambda: 0.0, cpu_clock=lambda: 0.0)
    done: list[bool] = []

    def fail() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        hand_overs.begin(fail)
    hand_overs.begin(lambda: done.append(True))
    assert not done
    await until(lambda: bool(done))


@asynccontextmanager
async def one_waits(request: bytes) -> AsyncIterator[tuple[RunningServer, Connection]]:
    """A server that has handed over a connection, and another connection that sent `request` and waits.

    The connection waits until the server's clock advances.
    """
    server = RunningServer(has_lane=True, is_busy=True)
    await server.open()
    async with server.connection() as first, server.connection() as second:
        await first.send(get_text("/other"))
        assert (await first.answer()).status == 200
        await second.send(request)
        await until(lambda: server.in_flight.count == 1)
        for _ in range(20):
            await turn_of_the_loop()
        assert server.in_flight.count == 1
        yield server, second
    await server.close()


@pytest.mark.gen_test
async def test_a_client_that_waits_is_served_however_long_it_waits() -> None:
    async with one_waits(get_text("/other")) as (server, waiting):
        await server.pass_time(100_000)
        assert (await waiting.answer()).status == 200
        assert server.in_flight.count == 0


@pytest.mark.gen_test
async def test_the_timeout_of_a_head_applies_after_the_wait() -> None:
    async with one_waits(b"GET /other HTTP/1.1\r\n") as (server, waiting):
        server.now_s += 1
        await until(lambda: server.in_flight.count == 0)
        await server.pass_time(19)
        await server.pass_time(1)
        assert_is_problem(await waiting.answer(), 408, "request-timeout", "/")
        assert await waiting.is_closed_by_server()


@pytest.mark.gen_test
async def test_a_connection_that_waits_counts_as_open(log: list[object]) -> None:
    async with one_waits(get_text("/other")) as (server, waiting):
        assert server.http_server.connections == 2
        server.http_server.limit_connections(2)
        async with server.connection() as third:
            assert_is_problem(await third.answer(), 503, "overloaded", "/")
        log.clear()
        server.now_s += 1
        assert (await waiting.answer()).status == 200
        assert server.http_server.connections == 2


@pytest.mark.gen_test
async def test_a_client_that_leaves_while_it_waits_leaves_no_connection() -> None:
    async with one_waits(get_text("/other")) as (server, waiting):
        waiting.reset()
        server.now_s += 1
        await until(lambda: server.http_server.connections == 1)
        assert server.in_flight.count == 0


@pytest.mark.gen_test
async def test_a_connection_that_waits_is_closed_with_the_server() -> None:
    async with one_waits(get_text("/other")) as (server, waiting):
        await server.close()
        assert await waiting.is_closed_by_server()
        assert server.http_server.connections == 0


@pytest.mark.gen_test
async def test_a_drain_waits_for_a_client_that_waits() -> None:
    async with one_waits(get_text("/other")) as (server, waiting):
        server.http_server.stop()
        drain = asyncio.create_task(server.in_flight.drain(100))
        for _ in range(20):
            await turn_of_the_loop()
        assert not drain.done()
        server.now_s += 1
        await drain
        assert (await waiting.answer()).status == 200


@pytest.mark.gen_test
async def test_a_health_check_is_handed_over_before_a_client_that_waits() -> None:
    async with one_waits(get_text("/other")) as (server, waiting), server.connection() as probe:
        await probe.send(get_text("/livez"))
        await until(lambda: server.in_flight.count == 2)
        server.now_s += 1
        await probe.answer()
        assert server.in_flight.count == 1
        server.now_s += 1
        assert (await waiting.answer()).status == 200
