"""Compares sent orders with the orders that the server returns, and finds errors in responses. Usable on any thread.

Numbers in JSON keep their exact value: fractions are decoded as Decimal. The functions `check_...` return what is wrong
with a response, or "". The texts have no ids and no values, so that equal problems can be counted together.
"""

from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec

from load.cli.errors import cut
from load.http.connection import Response

SHOWN = 80
COMPARED = ("order_id", "user_id", "item_ids", "metadata")
_decoder = msgspec.json.Decoder(float_hook=Decimal)
OK, ACCEPTED, CONFLICT, NOTHING_ACCEPTED = 200, 202, 409, 422
REPLAYED = b"\r\nidempotent-replayed: true"  # In `Response.head` if the server already had the order.
NO_COUNTS = "a 202 that does not count the orders"
WRONG_SUM = "a 202 whose counts don't add up"
_objects = msgspec.json.Decoder(dict[str, Any])
Kind = TypeVar("Kind")


class BadJson(ValueError):
    """The body of a response is not JSON."""


def decode_json(text: bytes) -> Any:
    """Decode JSON with fractions as Decimal and integers as int. Raises BadJson if the text is not JSON."""
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError, InvalidOperation) as problem:
        raise BadJson(str(problem) or "no JSON") from None


def difference_in(sent: dict[str, Any], found: object) -> str:
    """Return how `found` differs from `sent`, or "". Amounts are compared by value: 10.0 equals 10.00 and "10"."""
    if not isinstance(found, dict):
        return "the answer is not a JSON object"
    for name in COMPARED:
        if not _is_same(sent.get(name), found.get(name)):
            return f"{name} is {_show(found.get(name))}, sent {_show(sent.get(name))}"
    given_back = found.get("total_amount")
    amount = _number(given_back)
    if amount is None or amount != _amount(sent.get("total_amount")):
        return f"total_amount is {_show(given_back)}, sent {_show(sent.get('total_amount'))}"
    if not isinstance(found.get("status"), str):
        return "it has no status"
    return ""


def find_contradiction(found: dict[str, Any]) -> str:
    """Return a contradiction in a processed order, such as Completed with an error, or "" if there is none."""
    created, processed = found.get("created_time"), found.get("processed_time")
    if found.get("status") == "Cancelled" or "processed_time" not in found:
        return ""
    if not isinstance(processed, str) or not isinstance(created, str) or processed < created:
        return f"processed_time is {_show(processed)}, created_time {_show(created)}"
    if found.get("status") != "Completed":
        return ""
    if found.get("error") is not None:
        return f"it is Completed with the error {_show(found['error'])}"
    for name, least in (("attempts", 1), ("processing_time", 0)):
        amount = _number(found.get(name, least))
        if amount is None or amount < least:
            return f"{name} is {_show(found.get(name))}"
    return ""


def _show(value: object) -> str:
    """Return a value as text. Strings get quotation marks, so that they differ from numbers. Long texts are cut."""
    return cut(f'"{value}"' if isinstance(value, str) else str(value), SHOWN)


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _number(value: object) -> Decimal | None:
    return None if isinstance(value, str) else _amount(value)


def _is_same(one: object, other: object) -> bool:
    """Compare two JSON values: numbers by exact value, lists in order; true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other


class Rejection(msgspec.Struct):
    """A rejected order of an array. `index` is the position of the order in the array."""

    index: int
    status: int
    detail: str = ""


class BulkResponse(msgspec.Struct):
    """The response to an array of orders, with the numbers of accepted orders, duplicates and rejected orders."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]
    rejected_total: int

    def adds_up(self, orders: int) -> bool:
        """Return whether the response counts each of the `orders` orders exactly once."""
        places = {rejection.index for rejection in self.rejected}
        return (
            min(self.accepted, self.duplicates) >= 0
            and self.accepted + self.duplicates + self.rejected_total == orders
            and len(self.rejected) == len(places) == self.rejected_total
            and all(0 <= place < orders for place in places)
        )


class InvalidValue(msgspec.Struct):
    """Says what is wrong with one value of an order. `pointer` is the JSON pointer to the value."""

    pointer: str = ""
    detail: str = ""


class Problem(msgspec.Struct):
    """The body of an error response (RFC 9457)."""

    title: str = ""
    detail: str = ""
    errors: list[InvalidValue] = []


_bulk_responses = msgspec.json.Decoder(BulkResponse)
_problems = msgspec.json.Decoder(Problem)


def _decode(response: Response, decoder: "msgspec.json.Decoder[Kind]") -> Kind | None:
    try:
        return decoder.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def reason_in(response: Response) -> str:
    """Return the reason in an error response, or "" if it has none."""
    problem = _decode(response, _problems) or Problem()
    if problem.errors:
        return "; ".join(f"{error.pointer} {error.detail}".strip() for error in problem.errors)
    return problem.detail or problem.title


def mistake_in(response: Response, order_id: int) -> str:
    """Return what is wrong with a 202 for one order, or "". The 202 must contain the order's id as a string."""
    named = (_decode(response, _objects) or {}).get("order_id")
    if named == str(order_id):
        return ""
    if named is None:
        return "a 202 that names no order"
    return "a 202 that names another order" if isinstance(named, str) else "a 202 whose order_id is not a string"


def counts_in(response: Response) -> BulkResponse | None:
    """Return the counts in the response to an array of orders; None if it has no counts."""
    return _decode(response, _bulk_responses)


def check_status(response: Response, status: int) -> str:
    return "" if response.status == status else f"status {response.status} instead of {status}"


def check_not_replayed(response: Response) -> str:
    return "an order that was there before" if REPLAYED in response.head else ""


def check_new(response: Response, order_id: int, *, may_be_known: bool = False) -> str:
    """Check the response to a new order. With `may_be_known`, the server can have the order already."""
    problem = _check_accepted(response, order_id)
    return problem or ("" if may_be_known else check_not_replayed(response))


def check_known(response: Response, order_id: int) -> str:
    """Check the response to an order that was sent again."""
    problem = _check_accepted(response, order_id)
    return problem or ("" if check_not_replayed(response) else "a known order was taken as new")


def _check_accepted(response: Response, order_id: int) -> str:
    if problem := check_status(response, ACCEPTED) or mistake_in(response, order_id):
        return problem
    locations = [line[9:].strip() for line in response.head.split(b"\r\n") if line.startswith(b"location:")]
    return "" if locations == [b"/order/%d" % order_id] else "a 202 whose Location is not the order's"


def check_read(response: Response, order: dict[str, object], *, is_completed: bool = False) -> str:
    """Check a response with an order that was sent as `order`."""
    if problem := check_status(response, OK):
        return problem
    try:
        found = decode_json(response.body)
    except BadJson:
        return "no JSON"
    if difference_in(order, found):
        return "an order that is not as it was sent"
    return "an order that is not Completed" if is_completed and found["status"] != "Completed" else ""


def check_many(response: Response, *, new: int, has_known: bool = False, may_repeat: bool = False) -> str:
    """Check the response to `new` new orders. If `has_known`, a repeated order and a changed order follow them.

    With `may_repeat`, the server can have some of the new orders already.
    """
    if problem := check_status(response, ACCEPTED):
        return problem
    counts = counts_in(response)
    if counts is None or not counts.adds_up(new + 2 * has_known):
        return WRONG_SUM if counts else NO_COUNTS
    is_right = [(each.index, each.status) for each in counts.rejected] == [(new + 1, CONFLICT)] * has_known
    is_right = is_right and (may_repeat or counts.duplicates == has_known)
    return "" if is_right else f"{counts.accepted} accepted of {new}"
