"""`POST /order` and `GET /order/{id}`: the documented requests and responses."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

import pytest

from models.order import Status
from models.parsing.order_body import MAX_ID, MAX_METADATA_BYTES
from tests.cases import cases
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.processing import claim, end
from tests.handlers.running_api import JSON, RunningApi, Way
from tests.models.samples import SECOND_US, Clock, order_text

NOON_US = 1_740_830_400 * SECOND_US  # 2025-03-01 12:00:00 UTC
ACCEPTED_BODY = b'{"message": "Order processing initiated successfully", "order_id": "12345"}'


@pytest.fixture(params=Way)
def api(request: pytest.FixtureRequest, api: RunningApi) -> RunningApi:
    """Runs each test twice: the plain lane serves the requests, or Tornado does."""
    api.way = request.param
    return api


async def finish(api: RunningApi, status: Status, error: str | None = None) -> None:
    [order] = await claim(api, 1)
    api.clock.now_us += 10 * SECOND_US
    await end(api, [order], status, error)


@pytest.mark.gen_test
async def test_a_new_order_is_accepted_with_the_documented_response(api: RunningApi) -> None:
    answer = await api.post(order_text())
    assert (answer.status, answer.body) == (202, ACCEPTED_BODY)
    assert answer.json["order_id"] == "12345"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == str(len(ACCEPTED_BODY))
    assert answer.headers["Location"] == "/order/12345"
    assert answer.headers["Date"].endswith(" GMT")
    assert "Idempotent-Replayed" not in answer.headers
    assert "Server" not in answer.headers


@pytest.mark.gen_test
async def test_an_order_is_returned_with_all_fields_in_order(api: RunningApi) -> None:
    await api.post(order_text())
    answer = await api.get("/order/12345")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert list(answer.json.items()) == [
        ("order_id", 12345),
        ("user_id", 1),
        ("item_ids", [101, 102, 103]),
        ("total_amount", Decimal("99.99")),
        ("status", "Pending"),
        ("created_time", "2025-03-01 12:00:00"),
        ("processed_time", None),
        ("attempts", 0),
        ("error", None),
        ("processing_time", None),
        ("created_at", "2025-03-01T12:00:00.000000Z"),
        ("processed_at", None),
        ("next_attempt_at", None),
    ]


@pytest.mark.gen_test
@pytest.mark.parametrize(("status", "error"), [(Status.COMPLETED, None), (Status.FAILED, 'no such card: é\n"x"')])
async def test_a_processed_order_has_its_time_and_error(api: RunningApi, status: Status, error: str | None) -> None:
    await api.post(order_text())
    await finish(api, status, error)
    order = (await api.get("/order/12345")).json
    assert (order["status"], order["error"], order["attempts"]) == (status.value, error, 1)
    assert (order["created_time"], order["processed_time"]) == ("2025-03-01 12:00:00", "2025-03-01 12:00:10")
    assert (order["created_at"], order["processed_at"]) == (
        "2025-03-01T12:00:00.000000Z",
        "2025-03-01T12:00:10.000000Z",
    )
    assert order["processing_time"] == 10


@pytest.mark.gen_test
async def test_a_processing_order_has_no_processed_time(api: RunningApi) -> None:
    await api.post(order_text())
    await claim(api, 1)
    order = (await api.get("/order/12345")).json
    assert (order["status"], order["attempts"], order["processed_time"]) == ("Processing", 1, None)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("us", "to_the_second", "to_the_microsecond"),
    [
        (0, "1970-01-01 00:00:00", "1970-01-01T00:00:00.000000Z"),
        (NOON_US + 999_999, "2025-03-01 12:00:00", "2025-03-01T12:00:00.999999Z"),
        (NOON_US + 1_020, "2025-03-01 12:00:00", "2025-03-01T12:00:00.001020Z"),
        (1_709_251_199 * SECOND_US, "2024-02-29 23:59:59", "2024-02-29T23:59:59.000000Z"),
        (4_102_444_800 * SECOND_US, "2100-01-01 00:00:00", "2100-01-01T00:00:00.000000Z"),
    ],
)
async def test_times_are_utc_to_the_second_and_to_the_microsecond(
    api: RunningApi, clock: Clock, us: int, to_the_second: str, to_the_microsecond: str
) -> None:
    clock.now_us = us
    await api.post(order_text())
    order = (await api.get("/order/12345")).json
    assert (order["created_time"], order["created_at"]) == (to_the_second, to_the_microsecond)
    assert datetime.fromisoformat(order["created_at"]) == datetime.fromtimestamp(us // SECOND_US, UTC) + timedelta(
        microseconds=us % SECOND_US
    )


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/order/12345", "/orders"])
async def test_an_order_that_waits_for_a_retry_says_when_it_is_due(api: RunningApi, path: str) -> None:
    await api.post(order_text())

    async def next_attempt_at() -> str | None:
        found = (await api.get(path)).json
        return cast(str | None, found.get("orders", [found])[0]["next_attempt_at"])

    [order] = await claim(api, 1)
    assert await next_attempt_at() is None
    await end(api, [order], Status.PENDING, "down", NOON_US + 1_500_000)
    assert await next_attempt_at() == "2025-03-01T12:00:01.500000Z"
    api.clock.now_us += 2 * SECOND_US
    await claim(api, 1)
    assert await next_attempt_at() is None


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "again", [order_text(), order_text(total_amount='"99.9900"'), order_text(total_amount="9999e-2")]
)
async def test_the_same_order_again_gets_the_same_response_marked_as_replayed(api: RunningApi, again: bytes) -> None:
    first = await api.post(order_text())
    replayed = await api.post(again)
    assert (replayed.status, replayed.body) == (first.status, first.body)
    assert replayed.headers["Location"] == first.headers["Location"]
    assert replayed.headers["Idempotent-Replayed"] == "true"
    await finish(api, Status.COMPLETED)
    assert (await api.post(again)).headers["Idempotent-Replayed"] == "true"
    assert (await api.get("/order/12345")).json["status"] == "Completed"


@pytest.mark.gen_test
async def test_another_order_with_the_same_id_is_a_409(api: RunningApi) -> None:
    await api.post(order_text())
    before = await api.get("/order/12345")
    answer = await api.post(order_text(user_id="2"))
    assert (answer.status, answer.json["type"]) == (409, "/problems/order-conflict")
    assert answer.json["detail"] == "another order is already stored under the id 12345"
    assert "Idempotent-Replayed" not in answer.headers
    assert (await api.get("/order/12345")).body == before.body


@pytest.mark.gen_test
async def test_a_bad_order_or_duplicate_does_not_affect_others(api: RunningApi) -> None:
    await api.post(order_text(order_id="3"))
    bodies = [order_text(order_id=str(order_id)) for order_id in (1, 2, 3, 2)]
    bodies += [order_text(order_id="4", user_id="0"), order_text(order_id="3", user_id="9"), b"{"]
    with api.blocked():
        answers = asyncio.gather(*map(api.post, bodies))
        await api.get("/livez")
    assert [answer.status for answer in await answers] == [202, 202, 202, 202, 422, 409, 400]
    assert (await api.get("/metrics")).json["total_orders"] == 3


@pytest.mark.gen_test
@cases(
    ("order_id", "given", "amount"),
    [
        ("1", "99.99", "99.99"),
        ("2", "0", "0"),
        ("3", "0.0001", "0.0001"),
        ("4", "1E-4", "0.0001"),
        ("5", "1.00000", "1"),
        ("6", '"12.50"', "12.5"),
        ("7", "1e2", "100"),
        ("8", "0.30", "0.3"),
        ("9", "9999999999.9999", "9999999999.9999"),
        ("10", '"9999999999.9999"', "9999999999.9999"),
    ],
)
async def test_an_amount_is_returned_as_a_number_of_the_same_value(
    api: RunningApi, order_id: str, given: str, amount: str
) -> None:
    await api.post(order_text(order_id=order_id, total_amount=given))
    answer = await api.get(f"/order/{order_id}")
    assert f'"total_amount":{amount},'.encode() in answer.body
    assert answer.json["total_amount"] == Decimal(given.strip('"'))


@pytest.mark.gen_test
@cases(
    ("order_id", "metadata"),
    enumerate(
        [
            "{}",
            '{ "b" : 1.0,\n\t"a":[1e400 , -0, 123456789012345678901234567890] }',
            '{"currency":"EUR","s":"\\u00e9 é \\/ \\ud83d\\ude00 😀 \\u0000"}',
            '{"order_id":7}',
            '{"a":"' + "x" * (MAX_METADATA_BYTES - 8) + '"}',
        ],
        start=1,
    ),
)
async def test_metadata_is_returned_byte_for_byte_as_the_last_field(
    api: RunningApi, order_id: int, metadata: str
) -> None:
    assert (await api.post(order_text(order_id=str(order_id), metadata=metadata))).status == 202
    answer = await api.get(f"/order/{order_id}")
    assert answer.body.endswith(b'"next_attempt_at":null,"metadata":' + metadata.encode() + b"}")


@pytest.mark.gen_test
async def test_the_largest_order_is_accepted_and_returned(api: RunningApi) -> None:
    largest = order_text(
        order_id=str(MAX_ID), user_id=str(MAX_ID), item_ids=json.dumps([MAX_ID] * 1_000), total_amount="9999999999.9999"
    )
    answer = await api.post(largest)
    assert (answer.status, answer.headers["Location"]) == (202, f"/order/{MAX_ID}")
    assert answer.json["order_id"] == str(MAX_ID)
    order = (await api.get(f"/order/{MAX_ID}")).json
    assert (order["order_id"], order["user_id"], order["item_ids"]) == (MAX_ID, MAX_ID, [MAX_ID] * 1_000)


@pytest.mark.gen_test
@cases("order_id", ["99", "0", "9223372036854775807", "9223372036854775808", "9" * 30, "9" * 5_000, "00000"])
async def test_an_unknown_id_is_a_404(api: RunningApi, order_id: str) -> None:
    answer = await api.get(f"/order/{order_id}")
    assert (answer.status, answer.json["type"]) == (404, "/problems/not-found")
    assert answer.json["detail"] == f"There is no order {order_id}."


@pytest.mark.gen_test
@cases(
    "path", ["/order/", "/order/abc", "/order/-1", "/order/1.0", "/order/1e2", "/order/1/", "/order/%31", "/order/+1"]
)
async def test_an_invalid_id_is_a_404(api: RunningApi, path: str) -> None:
    await api.post(order_text(order_id="1"))
    assert (await api.get(path)).status == 404


@pytest.mark.gen_test
@cases("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;charset=UTF-8"])
async def test_the_parameters_of_the_content_type_are_ignored(api: RunningApi, content_type: str) -> None:
    assert (await api.post(order_text(), {"Content-Type": content_type})).status == 202


@pytest.mark.gen_test
async def test_other_query_parameters_are_ignored(api: RunningApi) -> None:
    await api.request("POST", "/order?source=test", order_text(), JSON)
    assert (await api.get("/order/12345?fresh=1")).json["order_id"] == 12345


@pytest.mark.gen_test
@cases("headers", [{}, {"Content-Type": "application/x-ndjson"}])
async def test_another_content_type_is_a_415_that_names_the_accepted_one(
    api: RunningApi, headers: dict[str, str]
) -> None:
    answer = await api.post(order_text(), headers)
    assert_is_problem(answer, 415, "unsupported-media-type")
    assert answer.headers["Accept"] == "application/json"


# Headers that are sent with the webhook


@pytest.mark.gen_test
async def test_valid_trace_headers_are_stored_with_the_order(api: RunningApi) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent: list[dict[str, str]] = [
        {"X-Request-Id": "mine", "Traceparent": traceparent},
        {"x-request-id": "m" * 129, "traceparent": traceparent},
        {"X-Request-Id": "mine", "traceparent": "00-abc"},
        {},
    ]
    for order_id, headers in enumerate(sent, 1):
        assert (await api.post(order_text(order_id=str(order_id)), {**JSON, **headers})).status == 202
    stored = [json.loads(order.trace_headers or "null") for order in await claim(api)]
    assert stored == [
        {"traceparent": traceparent, "X-Request-Id": "mine"},
        {"traceparent": traceparent},
        {"X-Request-Id": "mine"},
        None,
    ]
