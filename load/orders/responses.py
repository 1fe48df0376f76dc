"""What the server's responses to POST /order and POST /orders say of the orders. Pure functions, any thread."""

from typing import Any, TypeVar

import msgspec

from load.http.response import Response

ACCEPTED = 202
NOTHING_ACCEPTED = 422
REPLAYED = b"\r\nidempotent-replayed: true"
"""In the head of a response, in lower case, if the server already had the order."""
NO_COUNTS = "a 202 that does not count the orders"


class Rejection(msgspec.Struct):
    """One order of an array that was not accepted; `index` is its place in the array."""

    index: int
    status: int
    detail: str = ""


class BulkResponse(msgspec.Struct):
    """What the response to an array says of its orders."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]
    rejected_total: int

    def adds_up(self, orders: int) -> bool:
        """Whether it counts each of that many orders exactly once."""
        places = {rejection.index for rejection in self.rejected}
        return (
            min(self.accepted, self.duplicates) >= 0
            and self.accepted + self.duplicates + self.rejected_total == orders
            and len(self.rejected) == len(places) == self.rejected_total
            and all(0 <= place < orders for place in places)
        )


class InvalidValue(msgspec.Struct):
    """What is wrong with one value of an order."""

    pointer: str = ""
    detail: str = ""


class Problem(msgspec.Struct):
    """A response that refuses something (RFC 9457)."""

    title: str = ""
    detail: str = ""
    errors: list[InvalidValue] = []


_promises = msgspec.json.Decoder(dict[str, Any])
_bulk_responses = msgspec.json.Decoder(BulkResponse)
_problems = msgspec.json.Decoder(Problem)
Kind = TypeVar("Kind")


def _decode(response: Response, decoder: "msgspec.json.Decoder[Kind]") -> Kind | None:
    try:
        return decoder.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def reason_in(response: Response) -> str:
    """Return the reason that a refusal states, or "" if it states none."""
    problem = _decode(response, _problems) or Problem()
    if problem.errors:
        return "; ".join(f"{error.pointer} {error.detail}".strip() for error in problem.errors)
    return problem.detail or problem.title


def mistake_in(response: Response, order_id: int) -> str:
    """Return what is wrong with a 202 for one order, or "" if it names that order, as a string."""
    named = (_decode(response, _promises) or {}).get("order_id")
    if named == str(order_id):
        return ""
    if named is None:
        return "a 202 that names no order"
    return "a 202 that names another order" if isinstance(named, str) else "a 202 whose order_id is no string"


def fault_of_post(response: Response) -> str:
    """Return what is wrong with the 202 for a new order, whatever order it names, or ""."""
    return "an order that was there before" if REPLAYED in response.head else ""


def counts_in(response: Response) -> BulkResponse | None:
    """Return what a response says of an array's orders; None if it does not count them."""
    return _decode(response, _bulk_responses)


def fault_of_bulk(response: Response, *, size: int, may_repeat: bool = False) -> str:
    """Return what is wrong with the 202 for `size` orders, or ""; all must be new, unless they `may_repeat`."""
    counts = counts_in(response)
    if counts is None:
        return NO_COUNTS
    is_right = counts.adds_up(size) and not counts.rejected and (may_repeat or not counts.duplicates)
    return "" if is_right else f"{counts.accepted} accepted of {size}"
