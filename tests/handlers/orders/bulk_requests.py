"""Requests to `POST /orders`, and checks of their responses."""

from collections.abc import Mapping, Sequence

from tests.handlers.problem_check import assert_is_problem
from tests.handlers.running_api import JSON, Answer, Connection, RunningApi, turn_of_the_loop
from tests.models.samples import order_text

NDJSON = {"Content-Type": "application/x-ndjson"}


def text(order_id: int, **changes: str) -> bytes:
    return order_text(order_id=str(order_id), **changes)


def counts(accepted: int, duplicates: int = 0, rejected: Sequence[Mapping[str, object]] = ()) -> dict[str, object]:
    return {
        "accepted": accepted,
        "duplicates": duplicates,
        "rejected": list(rejected),
        "rejected_total": len(rejected),
        "refused_total": sum(each["status"] == 503 for each in rejected),
    }


async def send(
    api: RunningApi, orders: Sequence[bytes], *, as_lines: bool, headers: Mapping[str, str] | None = None
) -> Answer:
    body = b"\n".join(orders) if as_lines else b"[" + b",".join(orders) + b"]"
    return await api.request("POST", "/orders", body, headers={**(NDJSON if as_lines else JSON), **(headers or {})})


def assert_is_bulk_problem(answer: Answer, status: int, slug: str) -> None:
    """Checks that a response of `/orders` is this problem."""
    assert_is_problem(answer, status, slug, "/orders")


async def stored(api: RunningApi) -> int:
    answer = await api.get("/metrics")
    total: int = answer.json["total_orders"]
    return total


async def until_stored(api: RunningApi, count: int) -> None:
    while await stored(api) != count:
        await turn_of_the_loop()


def head(*fields: str, method: str = "POST") -> bytes:
    lines = [f"{method} /orders HTTP/1.1", "Host: test", "Content-Type: application/x-ndjson", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


CHUNKED_HEAD = head("Transfer-Encoding: chunked")
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def lines_of(*order_ids: int) -> bytes:
    return b"".join(text(order_id) + b"\n" for order_id in order_ids)


async def begin_stream(api: RunningApi, connection: Connection, *, orders: int = 3) -> None:
    """Sends the head and some orders. Returns when the orders are stored."""
    await connection.send(CHUNKED_HEAD + chunk(lines_of(*range(1, orders + 1)) + text(0) + b"\n"))
    await until_stored(api, orders)


def assert_partial(answer: Answer, slug: str, *, accepted: int) -> None:
    assert_is_bulk_problem(answer, 503, slug)
    assert int(answer.headers["Retry-After"]) >= 1
    assert (answer.json["accepted"], answer.json["duplicates"], answer.json["rejected_total"]) == (accepted, 0, 1)
    assert "again" in answer.json["detail"]
