"""`POST /orders` with NDJSON: lines, chunks, stalls, early responses and draining."""

import asyncio
from pathlib import Path

import pytest
from tornado.testing import bind_unused_port

from handlers.orders.bulk_stream import CHUNK_BYTES, STALL_TIMEOUT_S
from handlers.transport.http_server import BoundedHTTPServer
from handlers.transport.timeouts import Timeouts
from models.parsing.bulk import PART_BYTES
from models.parsing.order_body import MAX_ORDER_BYTES
from tests.handlers.conftest import LONG_LINGER_S, StartApi
from tests.handlers.orders.bulk_requests import (
    CHUNKED_HEAD,
    LAST_CHUNK,
    NDJSON,
    assert_is_bulk_problem,
    assert_partial,
    begin_stream,
    chunk,
    counts,
    head,
    lines_of,
    send,
    stored,
    text,
    until_stored,
)
from tests.handlers.processing import api_with_limits, process
from tests.handlers.running_api import Connection, RunningApi, post_text, until
from tests.loop_time import LoopTime


@pytest.mark.gen_test
async def test_only_the_lines_that_are_not_json_are_rejected(api: RunningApi) -> None:
    answer = await send(api, [b"{", text(1), b"nonsense", text(2)[:-1], text(3)], as_lines=True)
    assert answer.status == 202
    assert [each["index"] for each in answer.json["rejected"]] == [0, 2, 3]
    assert all(each["detail"].startswith("not JSON: ") for each in answer.json["rejected"])
    assert answer.json["accepted"] == 2


@pytest.mark.gen_test
async def test_a_byte_order_mark_in_several_chunks_is_skipped(api: RunningApi) -> None:
    parts = [b"\xef", b"\xbb", b"\xbf" + text(1)[:5], text(1)[5:] + b"\n\xef\xbb\xbf" + text(2)]
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD + b"".join(map(chunk, parts)) + LAST_CHUNK)
        answer = await connection.answer()
    detail = "not JSON: a byte-order mark is allowed only once, at the beginning of the body"
    assert answer.json == counts(1, 0, [{"index": 1, "order_id": None, "status": 422, "detail": detail}])


@pytest.mark.gen_test
async def test_blank_lines_are_skipped_but_count_for_the_index(api: RunningApi) -> None:
    body = b"\r\n" + text(1) + b"\r\n\r\n \t\r\n" + text(0) + b"\r\n" + text(2)
    answer = await api.request("POST", "/orders", body, headers=NDJSON)
    assert answer.status == 202
    assert (answer.json["accepted"], [each["index"] for each in answer.json["rejected"]]) == (2, [4])


@pytest.mark.gen_test
async def test_only_the_line_over_the_limit_is_rejected(api: RunningApi) -> None:
    answer = await send(api, [text(1), text(2) + b" " * 3 * MAX_ORDER_BYTES, text(3)], as_lines=True)
    detail = f"# must be at most {MAX_ORDER_BYTES} bytes of JSON"
    assert answer.json == counts(2, 0, [{"index": 1, "order_id": None, "status": 422, "detail": detail}])


@pytest.mark.gen_test
@pytest.mark.parametrize("step", [1, 7, 1_000, 100_000])
async def test_lines_may_be_split_into_chunks_anywhere(api: RunningApi, step: int) -> None:
    body = b"\n".join([text(1), text(1), b"\xff", text(2, user_id="0"), text(3)])
    chunks = [chunk(body[begin : begin + step]) for begin in range(0, len(body), step)]
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD + b"".join(chunks) + LAST_CHUNK)
        answer = await connection.answer()
        assert answer.status == 202
        assert (answer.json["accepted"], answer.json["duplicates"]) == (2, 1)
        assert [each["index"] for each in answer.json["rejected"]] == [2, 3]
        # The connection can still be used.
        await connection.send(post_text(text(4)))
        assert (await connection.answer()).status == 202
        await connection.send(head(f"Content-Length: {len(body)}") + body)
        assert (await connection.answer()).json["duplicates"] == 3


@pytest.mark.gen_test
async def test_expect_100_continue_is_answered(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(head(f"Content-Length: {len(lines_of(1))}", "Expect: 100-continue"))
        assert (await connection.answer(has_body=False)).status == 100
        await connection.send(lines_of(1))
        assert (await connection.answer()).json == counts(1)


@pytest.mark.gen_test
async def test_lines_are_stored_while_the_stream_continues(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD)
        for order_id in (1, 2, 3):
            await connection.send(chunk(lines_of(order_id)))
            await until_stored(api, order_id)
        await connection.send(LAST_CHUNK)
        assert (await connection.answer()).json == counts(3)


@pytest.mark.gen_test
async def test_orders_of_a_lost_connection_stay_and_can_be_sent_again(
    api: RunningApi,
) -> None:
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD + chunk(lines_of(1, 2) + text(3)))
        await until_stored(api, 2)
        assert api.in_flight.count == 1
    await api.until_in_flight(0)
    answer = await send(api, [text(order_id) for order_id in (1, 2, 3, 4)], as_lines=True)
    assert (answer.status, answer.json) == (202, counts(2, 2))


@pytest.mark.gen_test
async def test_a_disconnect_while_orders_wait_releases_their_slots(api: RunningApi) -> None:
    with api.blocked():
        async with api.connection() as connection:
            await connection.send(CHUNKED_HEAD + chunk(lines_of(1)) + chunk(lines_of(2)) + chunk(lines_of(3)))
            await api.until_in_flight(1)
    await api.until_in_flight(0)
    for order_id in (4, 5, 6):
        assert (await send(api, [text(order_id)], as_lines=True)).json == counts(1)


@pytest.mark.gen_test
async def test_the_buffer_for_waiting_lines_of_disconnected_clients_is_limited(start_api: StartApi) -> None:
    api = await start_api(max_buffered_bytes=1_000)
    line = text(1).ljust(400)
    body = line + b"\n"
    stream = head(f"Content-Length: {len(body)}") + body
    with api.blocked():
        # Each of these five requests gets a slot, and stops listening for a drain when its lines have left the buffer.
        for count in range(1, 6):
            async with api.connection() as connection:
                await connection.send(stream)
                await api.until_in_flight(count)
                await until(lambda: not api.in_flight.drain_listeners)
        # The buffer has room for two of these three requests, whose lines can reach the buffer in any order.
        async with api.connection() as one, api.connection() as two, api.connection() as three:
            for connection in (one, two, three):
                await connection.send(stream)
            answers = [asyncio.ensure_future(each.answer()) for each in (one, two, three)]
            [rejected], waiting = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
            assert_is_bulk_problem(rejected.result(), 503, "overloaded")
            for each in waiting:
                each.cancel()
        assert_is_bulk_problem(await send(api, [line], as_lines=True), 503, "overloaded")
        await api.until_in_flight(7)
    await api.until_in_flight(0)
    assert (await send(api, [line], as_lines=True)).json == counts(0, 1)


@pytest.mark.gen_test
@pytest.mark.parametrize("broken", [b"no length\r\n", b"5\r\n1234567"])
async def test_orders_before_a_framing_error_stay_stored(api: RunningApi, broken: bytes) -> None:
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD + chunk(lines_of(1, 2)))
        await until_stored(api, 2)
        await connection.send(broken)
        await api.until_in_flight(0)
    assert (await send(api, [text(1), text(3)], as_lines=True)).json == counts(1, 1)


# The time limits of these tests use the time of the event loop too, which `loop_time` advances.
with_loop_time = pytest.mark.gen_test(timeout=5 * STALL_TIMEOUT_S)


@with_loop_time
@pytest.mark.parametrize("begin", [b"", chunk(lines_of(1) + text(2)), chunk(lines_of(1))[:-1]])
async def test_a_stalled_stream_is_closed(api: RunningApi, loop_time: LoopTime, begin: bytes) -> None:
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD + begin)
        await api.until_in_flight(1)
        await until_stored(api, int(begin != b""))
        await loop_time.advance(STALL_TIMEOUT_S)
        assert await connection.is_closed_by_server()
    await api.until_in_flight(0)
    assert await stored(api) == int(begin != b"")


@with_loop_time
async def test_a_slow_stream_is_not_closed(api: RunningApi, loop_time: LoopTime) -> None:
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD)
        for order_id in range(1, 6):
            await connection.send(chunk(lines_of(order_id)))
            await until_stored(api, order_id)
            await loop_time.advance(0.9 * STALL_TIMEOUT_S)
        await connection.send(LAST_CHUNK)
        assert (await connection.answer()).json == counts(5)


@with_loop_time
async def test_waiting_for_the_disk_is_not_a_stall(api: RunningApi, loop_time: LoopTime) -> None:
    items = str([101] * 500)
    # More than the server reads before the first group is stored.
    body = b"\n".join(text(order_id, item_ids=items) for order_id in range(1, 501))
    assert len(body) > 4 * CHUNK_BYTES
    async with api.connection() as connection:
        with api.blocked():
            await connection.send(head(f"Content-Length: {len(body)}") + body)
            await api.until_in_flight(1)
            for _ in range(3):
                await loop_time.advance(STALL_TIMEOUT_S)
        assert (await connection.answer()).json == counts(500)


@pytest.mark.gen_test
async def test_the_body_timeout_does_not_apply_to_a_stream(api: RunningApi) -> None:
    now_s = 1_000.0
    server = BoundedHTTPServer(api.router, timeouts=Timeouts(body_s=30), clock=lambda: now_s)
    listener, port = bind_unused_port()
    server.add_socket(listener)
    connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
    await connection.send(CHUNKED_HEAD)
    for order_id in range(1, 4):
        await connection.send(chunk(lines_of(order_id)))
        await until_stored(api, order_id)
        await server.close_timed_out()
        now_s += 25
    await server.close_timed_out()
    await connection.send(LAST_CHUNK)
    assert (await connection.answer()).json == counts(3)
    await connection.close()
    server.stop()
    await server.close_all_connections()


@pytest.mark.gen_test
@pytest.mark.usefixtures("failing_storage")
async def test_a_storage_failure_within_a_stream_is_a_503_with_the_counts(api: RunningApi) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection)
        await api.set_read_only(True)
        await connection.send(chunk(lines_of(4, 5)) + chunk(lines_of(6)) + LAST_CHUNK)
        assert_partial(await connection.answer(), "storage-unavailable", accepted=3)
        assert await stored(api) == 3
        await api.set_read_only(False)
        body = lines_of(*range(1, 7))
        await connection.send(head(f"Content-Length: {len(body)}") + body)
        assert (await connection.answer()).json == counts(3, 3)


@pytest.mark.gen_test
async def test_a_rejected_stream_gets_its_response_before_its_end(api: RunningApi) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection)
        api.in_flight.draining = True
        await connection.send(chunk(lines_of(4)))
        # The rest of the body is discarded, even if the client reads the response only afterwards.
        for _ in range(20):
            await connection.send(chunk(b"x" * 1_000_000))
        answer = await connection.answer()
        assert_partial(answer, "stopping", accepted=3)
        assert answer.headers["Connection"] == "close"
        await api.until_in_flight(0)
        assert await connection.is_closed_by_server()


async def send_forever(connection: Connection) -> None:
    while True:
        await connection.send(chunk(lines_of(6)))


@pytest.mark.gen_test(timeout=5 * LONG_LINGER_S)
async def test_a_client_that_keeps_sending_after_the_response_is_disconnected(
    api: RunningApi, loop_time: LoopTime, long_linger: None
) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection)
        api.in_flight.draining = True
        await connection.send(chunk(lines_of(4)))
        assert (await connection.answer()).status == 503
        await loop_time.advance(0.9 * LONG_LINGER_S)
        for _ in range(10):
            await connection.send(chunk(lines_of(5)))
        await loop_time.advance(0.2 * LONG_LINGER_S)
        with pytest.raises(ConnectionError):
            await send_forever(connection)
    assert api.in_flight.count == 0


@pytest.mark.gen_test
async def test_a_stream_without_further_lines_is_accepted_while_draining(api: RunningApi) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection)
        api.in_flight.draining = True
        await connection.send(LAST_CHUNK)
        answer = await connection.answer()
        assert (answer.status, answer.json["accepted"], answer.headers["Connection"]) == (202, 3, "close")


@pytest.mark.gen_test
async def test_a_backlog_that_fills_up_within_a_stream_rejects_only_new_orders(tmp_path: Path) -> None:
    async with api_with_limits(tmp_path, max_backlog=3) as api, api.connection() as connection:
        await begin_stream(api, connection)
        await connection.send(chunk(lines_of(4)) + chunk(lines_of(2, 5)) + LAST_CHUNK)
        answer = await connection.answer()
        assert (answer.status, answer.json["accepted"], answer.json["duplicates"]) == (202, 3, 1)
        assert [each["status"] for each in answer.json["rejected"]] == [422, 503, 503]
        assert_is_bulk_problem(await send(api, [text(4)], as_lines=False), 503, "overloaded")
        assert await stored(api) == 3
        await process(api)
        assert (await send(api, [text(3), text(4)], as_lines=False)).json == counts(1, 1)


@pytest.mark.gen_test
async def test_a_single_order_does_not_wait_for_the_end_of_a_stream(api: RunningApi) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection)
        with api.blocked():
            await connection.send(chunk(lines_of(4)) + chunk(lines_of(5)))
            alone = asyncio.ensure_future(api.post(text(6)))
            await api.until_in_flight(2)
        assert (await alone).status == 202
        await connection.send(LAST_CHUNK)
        assert (await connection.answer()).json["accepted"] == 5


@pytest.mark.gen_test
async def test_draining_sends_a_silent_stream_its_response_with_the_counts(api: RunningApi) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection, orders=3)
        await api.in_flight.drain(5)
        assert_partial(await connection.answer(), "stopping", accepted=3)


@pytest.mark.gen_test
async def test_a_chunk_of_many_lines_is_parsed_in_parts_and_numbered_continuously(api: RunningApi) -> None:
    line = b"1" * 63 + b"\n"
    count = 4 * PART_BYTES // len(line)
    assert count > 1_000 > 3 * PART_BYTES // len(line)
    answer = await api.request("POST", "/orders", line * count + text(1), headers=NDJSON)
    assert answer.status == 202
    assert (answer.json["accepted"], answer.json["rejected_total"]) == (1, count)
    assert [each["index"] for each in answer.json["rejected"]] == list(range(1_000))
