"""Orders that are parsed without an object for each order, for large streams. Usable on any thread."""

from collections.abc import Sequence

from models.parsing.order_body import MAX_ORDER_BYTES
from models.parsing.order_parser import parse_array_fast, parse_bodies_fast
from models.wire import encode_packed_rows, join_packed_rows
from models.writes.insertion import NewOrder
from models.writes.lazy_sequence import LazySequence


class PackedOrders(LazySequence[NewOrder]):
    """Valid orders without metadata and headers. Makes a NewOrder of each order only if somebody reads the orders.

    `packed` is the orders as one JSON parameter: see `models.wire.encode_packed_rows`.
    """

    def __init__(self, rows: Sequence[str], texts: Sequence[bytes], count: int) -> None:
        self._rows = rows
        self._texts = texts
        self._count = count

    @classmethod
    def join(cls, parts: Sequence["PackedOrders"]) -> "PackedOrders":
        """The orders of all parts."""
        rows = [each for part in parts for each in part._rows]
        texts = [each for part in parts for each in part._texts]
        return cls(rows, texts, sum(map(len, parts)))

    @property
    def packed(self) -> str:
        return join_packed_rows(self._rows)

    def __len__(self) -> int:
        return self._count

    def _make(self) -> list[NewOrder]:
        return [order for text in self._texts for order in parse_array_fast(text, max_orders=self._count) or ()]


def pack_lines(text: bytes) -> PackedOrders | None:
    """The orders in these lines; None if one of the lines is not an order, or has metadata.

    Also None if the lines together have more bytes than an order can have.
    """
    if len(text) > MAX_ORDER_BYTES:
        return None
    count = text.count(b"\n") + 1
    # `parse_bodies_fast` accepts no strings except keys, so each brace begins or ends an order. Therefore no order can
    # begin in one line and end in the next if each line begins and ends with a brace.
    if text[:1] != b"{" or text[-1:] != b"}" or text.count(b"}\n{") != count - 1:
        return None
    array = b"[%s]" % text.replace(b"\n", b",")
    found = parse_bodies_fast(array, max_orders=count)
    if found is None or len(found[0]) != count:
        return None
    rows = [(order.order_id, order.user_id, ~amount, order.item_ids) for order, amount in zip(*found, strict=True)]
    return PackedOrders([encode_packed_rows(rows)], [array], count)
