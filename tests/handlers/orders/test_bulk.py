"""`POST /orders` with either content type: counts, rejections, limits and errors."""

import sqlite3
from pathlib import Path

import pytest

from handlers.metrics.instruments import IntakeOutcome
from handlers.orders.bulk_array import MAX_ARRAY_BYTES
from handlers.orders.bulk_view import MAX_DETAIL_CHARACTERS
from models.errors import StorageDamagedError
from models.order import Status
from models.writes.insertion import Insertion, InsertResult, NewOrder
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.orders.bulk_requests import (
    NDJSON,
    assert_is_bulk_problem,
    assert_partial,
    counts,
    head,
    lines_of,
    send,
    stored,
    text,
)
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.processing import api_with_limits, claim, end, process
from tests.handlers.running_api import JSON, RunningApi, Way, turn_of_the_loop

BOTH = pytest.mark.parametrize("as_lines", [False, True], ids=["array", "lines"])


@BOTH
@pytest.mark.gen_test
async def test_good_orders_are_accepted_and_stored(api: RunningApi, as_lines: bool) -> None:
    answer = await send(api, [text(1), text(2)], as_lines=as_lines)
    assert answer.status == 202
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == b'{"accepted":2,"duplicates":0,"rejected":[],"rejected_total":0,"refused_total":0}'
    order = (await api.get("/order/2")).json
    assert (order["item_ids"], order["status"]) == ([101, 102, 103], "Pending")
    assert api.in_flight.count == 0


@BOTH
@pytest.mark.gen_test
async def test_null_is_the_same_as_no_metadata(api: RunningApi, as_lines: bool) -> None:
    orders = [text(1, metadata="null"), text(1), text(2), text(2, metadata="null"), text(2, metadata="{}")]
    answer = await send(api, orders, as_lines=as_lines)
    assert (answer.json["accepted"], answer.json["duplicates"]) == (2, 2)
    assert [(each["index"], each["status"]) for each in answer.json["rejected"]] == [(4, 409)]
    assert "metadata" not in (await api.get("/order/1")).json


@BOTH
@pytest.mark.gen_test
async def test_one_byte_order_mark_before_the_body_is_skipped(api: RunningApi, as_lines: bool) -> None:
    body = text(1) + b"\n" + text(2) if as_lines else b"[%b, %b]" % (text(1), text(2))
    headers = NDJSON if as_lines else JSON
    answer = await api.request("POST", "/orders", b"\xef\xbb\xbf" + body, headers=headers)
    assert (answer.status, answer.json) == (202, counts(2))
    empty, only_mark = [await api.request("POST", "/orders", sent, headers=headers) for sent in (b"", b"\xef\xbb\xbf")]
    assert (empty.status, empty.json["detail"]) == (only_mark.status, only_mark.json["detail"])


@BOTH
@pytest.mark.gen_test
async def test_an_invalid_order_is_listed_and_does_not_affect_others(api: RunningApi, as_lines: bool) -> None:
    await api.post(text(1))
    orders = [
        text(1),
        text(1, user_id="2"),
        text(2),
        text(2, total_amount="99.990"),
        text(2, user_id="2"),
        text(3, item_ids="[]"),
        text(0),
        b"[]",
        text(4, user_id='"?"').replace(b"?", b"\xff"),
        text(5),
    ]
    answer = await send(api, orders, as_lines=as_lines)
    assert answer.status == 202
    view = answer.json
    rejected = [(each["index"], each["order_id"], each["status"]) for each in view["rejected"]]
    assert rejected == [(1, 1, 409), (4, 2, 409), (5, 3, 422), (6, None, 422), (7, None, 422), (8, None, 422)]
    assert (view["accepted"], view["duplicates"], view["rejected_total"]) == (2, 2, 6)
    assert [each["detail"] for each in view["rejected"]] == [
        "another order is already stored under the id 1",
        "another order is already stored under the id 2",
        "#/item_ids must be an array of 1 to 1000 integers",
        "#/order_id must be an integer from 1 to 9223372036854775807",
        "# must be a JSON object",
        "not JSON: not UTF-8: byte 28 can't be decoded",
    ]
    assert await stored(api) == 3


@pytest.mark.gen_test
async def test_at_most_1000_rejections_are_listed_and_all_are_counted(api: RunningApi) -> None:
    answer = await send(api, [*[text(0)] * 1_500, text(1)], as_lines=True)
    assert answer.status == 202
    assert [each["index"] for each in answer.json["rejected"]] == list(range(1_000))
    assert (answer.json["accepted"], answer.json["rejected_total"]) == (1, 1_500)


@BOTH
@pytest.mark.gen_test
async def test_a_request_with_only_duplicates_is_a_202(api: RunningApi, as_lines: bool) -> None:
    for expected in (counts(3), counts(0, 3)):
        answer = await send(api, [text(1), text(2), text(3)], as_lines=as_lines)
        assert (answer.status, answer.json) == (202, expected)


@BOTH
@pytest.mark.gen_test
async def test_a_request_with_only_rejected_orders_is_a_422_with_the_counts(api: RunningApi, as_lines: bool) -> None:
    answer = await send(api, [text(7, user_id="0"), b"1"], as_lines=as_lines)
    assert_is_bulk_problem(answer, 422, "nothing-accepted")
    rejected: list[dict[str, object]] = [
        {"index": 0, "order_id": 7, "status": 422, "detail": f"#/user_id must be an integer from 1 to {2**63 - 1}"},
        {"index": 1, "order_id": None, "status": 422, "detail": "# must be a JSON object"},
    ]
    assert answer.json.items() >= counts(0, 0, rejected).items()
    await api.post(text(7))
    answer = await send(api, [text(7, user_id="2")], as_lines=as_lines)
    assert_is_bulk_problem(answer, 422, "nothing-accepted")
    assert [each["status"] for each in answer.json["rejected"]] == [409]


@BOTH
@pytest.mark.gen_test
async def test_a_request_without_orders_is_a_422(api: RunningApi, as_lines: bool) -> None:
    answer = await send(api, [], as_lines=as_lines)
    assert_is_bulk_problem(answer, 422, "nothing-accepted")
    assert answer.json.items() >= counts(0).items()


@pytest.mark.gen_test
async def test_an_array_of_more_than_1000_orders_is_rejected_as_a_whole(api: RunningApi) -> None:
    assert_is_bulk_problem(await send(api, [text(1)] * 1_001, as_lines=False), 422, "invalid-order")
    assert await stored(api) == 0
    answer = await send(api, [text(order_id) for order_id in range(1, 1_001)], as_lines=False)
    assert (answer.status, answer.json) == (202, counts(1_000))


@pytest.mark.gen_test
@cases("body", [b"", b"[", b"[" + text(1), b"[1,]", b"[" * 100_000, lines_of(1, 2)])
async def test_an_array_that_is_not_json_is_a_400(api: RunningApi, body: bytes) -> None:
    assert_is_bulk_problem(await api.request("POST", "/orders", body, headers=JSON), 400, "not-json")
    assert await stored(api) == 0


@pytest.mark.gen_test
async def test_json_that_is_not_an_array_is_a_422(api: RunningApi) -> None:
    answer = await api.request("POST", "/orders", text(1), headers=JSON)
    assert_is_bulk_problem(answer, 422, "invalid-order")
    assert answer.json["errors"] == [{"pointer": "#", "detail": "must be an array of orders"}]


@pytest.mark.gen_test
@cases("media_type", ["text/plain", "application/jsonl", "multipart/form-data; boundary=x", None])
async def test_another_content_type_is_a_415(api: RunningApi, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = await api.request("POST", "/orders", lines_of(1), headers=headers)
    assert_is_bulk_problem(answer, 415, "unsupported-media-type")
    assert answer.headers["Accept"] == "application/json, application/x-ndjson"
    assert "Accept-Encoding" not in answer.headers
    assert await stored(api) == 0


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "media_type", ["application/x-ndjson; charset=utf-8", "Application/X-NDJSON", "application/JSON"]
)
async def test_content_types_ignore_case_and_parameters(api: RunningApi, media_type: str) -> None:
    body = b"[" + text(1) + b"]" if media_type.endswith("JSON") and "X-" not in media_type else text(1)
    assert (await api.request("POST", "/orders", body, headers={"Content-Type": media_type})).status == 202


@pytest.mark.gen_test
async def test_an_array_of_more_than_8_mib_is_a_413(api: RunningApi) -> None:
    body = b"[" + text(1) + b"]"
    padding = b" " * (MAX_ARRAY_BYTES - len(body))
    answer = await api.request("POST", "/orders", body + padding + b" ", headers=JSON)
    assert_is_bulk_problem(answer, 413, "too-large")
    assert await stored(api) == 0
    assert (await api.request("POST", "/orders", body + padding, headers=JSON)).json == counts(1)


@BOTH
@pytest.mark.gen_test
async def test_an_order_that_alone_cannot_be_stored_is_rejected_with_503(start_api: StartApi, as_lines: bool) -> None:
    async def insert_many(orders: list[NewOrder]) -> list[InsertResult]:
        damage = StorageDamagedError("page 7 of /srv/orders.db")
        return [damage if order.order_id == 2 else Insertion.ACCEPTED for order in orders]

    api = await start_api(insert_many=insert_many)
    answer = await send(api, [text(1), text(2), text(3)], as_lines=as_lines)
    assert answer.status == 202
    [rejection] = answer.json["rejected"]
    assert (rejection["index"], rejection["order_id"], rejection["status"]) == (1, 2, 503)
    assert "operator" in rejection["detail"]
    assert "/srv" not in rejection["detail"]
    # 0, because sending the order again would not help.
    assert answer.json["refused_total"] == 0


@BOTH
@pytest.mark.sqlite
@pytest.mark.gen_test
@pytest.mark.usefixtures("failing_storage")
async def test_a_locked_database_is_a_503_and_nothing_is_stored(
    api: RunningApi, tmp_path: Path, as_lines: bool
) -> None:
    other = sqlite3.connect(tmp_path / "orders.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answer = await send(api, [text(0), text(1), text(2)], as_lines=as_lines)
    assert_partial(answer, "storage-busy", accepted=0)
    other.execute("ROLLBACK")
    other.close()
    answer = await send(api, [text(1), text(2)], as_lines=as_lines)
    assert (answer.status, answer.json) == (202, counts(2))


@pytest.mark.gen_test
async def test_a_full_backlog_rejects_single_orders_until_it_shrinks(tmp_path: Path) -> None:
    async with api_with_limits(tmp_path, max_backlog=3) as api:
        for order_id in (1, 2, 3):
            assert (await api.post(text(order_id))).status == 202
        answer = await api.post(text(4))
        assert_is_problem(answer, 503, "overloaded")
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await api.get("/order/4")).status == 404
        [claimed] = await claim(api, 1)
        assert (await api.post(text(4))).status == 202
        assert (await api.post(text(5))).status == 503
        # The order is Pending again, which fills the backlog.
        await end(api, [claimed], Status.PENDING)
        await process(api)
        assert (await api.post(text(5))).status == 202


@pytest.mark.gen_test
@pytest.mark.parametrize("way", Way)
async def test_a_full_backlog_does_not_refuse_a_replay_or_a_conflict(tmp_path: Path, way: Way) -> None:
    async with api_with_limits(tmp_path, max_backlog=2) as api:
        api.way = way
        for order_id in (1, 2):
            assert (await api.post(text(order_id))).status == 202
        replay = await api.post(text(1))
        assert (replay.status, replay.headers["Idempotent-Replayed"]) == (202, "true")
        assert_is_problem(await api.post(text(1, user_id="2")), 409, "order-conflict")
        assert_is_problem(await api.post(text(3)), 503, "overloaded")
        assert await stored(api) == 2
        intake = api.instruments.intake
        assert [intake[IntakeOutcome(each)] for each in ("replayed", "conflict", "refused")] == [1, 1, 1]


@BOTH
@pytest.mark.gen_test
async def test_each_order_of_a_request_has_its_own_result_while_the_backlog_is_full(
    tmp_path: Path, as_lines: bool
) -> None:
    async with api_with_limits(tmp_path, max_backlog=3) as api:
        await send(api, [text(1), text(2)], as_lines=as_lines)
        mixed = [text(3), text(4), text(1), text(2, user_id="2"), text(5, user_id="0"), text(3), text(6)]
        answer = await send(api, mixed, as_lines=as_lines)
        assert answer.status == 202
        assert (answer.json["accepted"], answer.json["duplicates"]) == (1, 2)
        assert [(each["index"], each["order_id"], each["status"]) for each in answer.json["rejected"]] == [
            (1, 4, 503),
            (3, 2, 409),
            (4, 5, 422),
            (6, 6, 503),
        ]
        assert (answer.json["rejected_total"], answer.json["refused_total"]) == (4, 2)
        assert await stored(api) == 3
        # No order was accepted or already stored.
        answer = await send(api, [text(4), text(2, user_id="2")], as_lines=as_lines)
        assert_is_bulk_problem(answer, 503, "overloaded")
        assert int(answer.headers["Retry-After"]) >= 1
        assert (answer.json["accepted"], answer.json["rejected_total"], answer.json["refused_total"]) == (0, 2, 1)
        await process(api)
        assert (await send(api, [text(4), text(6)], as_lines=as_lines)).json == counts(2)


@pytest.mark.gen_test
async def test_the_detail_of_a_rejection_has_a_maximum_length(api: RunningApi) -> None:
    unknown = {f"{number}{'é' * 80}": "1" for number in range(3)}
    answer = await send(api, [text(1), text(2, **unknown)], as_lines=True)
    [rejection] = answer.json["rejected"]
    assert len(rejection["detail"]) == MAX_DETAIL_CHARACTERS


@pytest.mark.gen_test
async def test_a_rejection_counts_all_errors_of_its_order(api: RunningApi) -> None:
    answer = await send(api, [text(1, item_ids=str([0] * 1_000))], as_lines=False)
    assert answer.json["rejected"][0]["detail"].endswith("; and 997 more")


@pytest.mark.gen_test
async def test_all_arrays_together_have_a_limited_buffer(start_api: StartApi) -> None:
    api = await start_api(max_buffered_bytes=1_000)
    for body, status in ((b"[" + text(1) + b"]", 202), (b"[{", 400), (b"[" + b" " * 1_000 + b"]", 503)):
        assert (await api.request("POST", "/orders", body, headers=JSON)).status == status
    async with api.connection() as connection:
        # Only received bytes count, not the announced length.
        await connection.send(head("Content-Length: 2000").replace(b"x-ndjson", b"json"))
        assert (await send(api, [text(2)], as_lines=False)).status == 202
        await connection.send(b"[" + b" " * 949)
        while (answer := await send(api, [text(3)], as_lines=False)).status == 202:
            await turn_of_the_loop()
        assert_is_problem(answer, 503, "overloaded", "/orders")
    while (await send(api, [text(4)], as_lines=False)).status == 503:
        await turn_of_the_loop()


@pytest.mark.gen_test
async def test_a_huge_exponent_is_rejected_quickly(api: RunningApi) -> None:
    huge = [text(order_id, total_amount=f"1e{10**order_id}") for order_id in range(1, 19)]
    for as_lines in (True, False):
        assert (await send(api, [*huge, text(99)], as_lines=as_lines)).json["rejected_total"] == len(huge)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/order", "/orders"])
async def test_an_encoded_body_is_a_415(api: RunningApi, path: str) -> None:
    answer = await api.request("POST", path, text(1), headers=JSON | {"Content-Encoding": "gzip"})
    assert_is_problem(answer, 415, "unsupported-media-type", path)
    assert (answer.headers["Accept-Encoding"], answer.headers.get("Accept")) == ("identity", None)
    same = JSON | {"Content-Encoding": "identity"}
    body = text(1) if path == "/order" else b"[" + text(1) + b"]"
    assert (await api.request("POST", path, body, headers=same)).status == 202


@BOTH
@pytest.mark.gen_test
async def test_each_order_has_the_trace_headers_of_the_request(api: RunningApi, as_lines: bool) -> None:
    answer = await send(api, [text(1), text(2)], as_lines=as_lines, headers={"X-Request-Id": "mine"})
    assert answer.status == 202
    assert [order.trace_headers for order in await claim(api)] == ['{"X-Request-Id":"mine"}'] * 2
