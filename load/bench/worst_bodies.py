"""Generates the worst bodies of `POST /orders`: those that a server takes longest to parse. Pure functions."""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_ORDER_BYTES = 64 * 1024
ORDERS = 1_000
JSON, LINES = "application/json", "application/x-ndjson"
LINES_BYTES = 256 * 1024  # 8 MiB would have 2.8 million lines of three bytes: half a minute if each takes 10 µs.


class WorstBody(NamedTuple):
    """A request body that takes long to parse. `name` describes it. `statuses` are allowed in the response."""

    name: str
    media_type: str
    body: bytes
    statuses: tuple[int, ...] = (422,)


def worst_bodies(ids: Iterator[int]) -> Iterator[WorstBody]:
    """Yield the bodies one by one, because together they need much memory. Valid orders have ids from `ids`."""
    yield _array("bad items", _order(item_ids=_list(b"0", 1000)))
    yield _array("many commas", [_order(each, metadata=_list(b"1", 3800)) for each in islice(ids, ORDERS)], 202)
    long = [_order(each, item_ids=_list(b"1234567", 1000)) for each in islice(ids, ORDERS)]
    yield _array("good items", long, 202)
    yield _array("duplicates", long, 202)
    keys = b",".join(b'"k%d":1' % each for each in range(6000))
    yield _array("unknown keys", b"{%s}" % keys)
    repeated = b",".join(b'"%d":1,"%d":1' % (each, each) for each in range(2000))
    around = b"".join(b'{"%b%d":' % ("é".encode() * 300, each) for each in range(50))
    yield _array("repeated keys below long ones", around + b"{%s}" % repeated + b"}" * 50)
    yield _array("repeated keys in small objects", b'{"x":%s}' % _list(b'{"":1,"":1}', 5000))
    yield _array("empty objects", b'{"x":%s}' % _list(b"{}", 20_000))
    yield _array("deep arrays", b'{"x":%s}' % _list(b"[" * 90 + b"]" * 90, 350))
    yield _array("long strings", b'{"x":"%s"}' % (b"\\n" * 30_000))
    yield WorstBody("white space", JSON, b"[" + b" " * (MAX_BODY_BYTES - 2) + b"]")
    yield WorstBody("not JSON", JSON, b"[" * MAX_BODY_BYTES, (400,))
    yield WorstBody("blank lines", LINES, b"\n" * MAX_BODY_BYTES)
    yield WorstBody("short lines", LINES, b"{}\n" * (LINES_BYTES // 3))


def _array(name: str, orders: bytes | list[bytes], status: int = 422) -> WorstBody:
    """Return an array of these orders. A single order is repeated up to the limits for an array and for a body."""
    if isinstance(orders, bytes):
        orders = [orders] * min(ORDERS, (MAX_BODY_BYTES - 2) // (len(orders) + 1))
    return WorstBody(name, JSON, b"[%s]" % b",".join(orders), (status,))


def _order(order_id: int = 1, *, item_ids: bytes = b"[1]", metadata: bytes | None = None) -> bytes:
    last = b"" if metadata is None else b',"metadata":{"a":%s}' % metadata
    return b'{"order_id":%d,"user_id":1,"item_ids":%s,"total_amount":1%s}' % (order_id, item_ids, last)


def _list(value: bytes, count: int) -> bytes:
    return b"[%s]" % b",".join([value] * count)
