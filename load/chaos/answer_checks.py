"""Checks of answers: each returns what is wrong, or an empty text. Pure functions, for any thread."""

from typing import NamedTuple

from load.http.response import Response
from load.orders.comparison import BadJson, decode_json, find_difference
from load.orders.responses import ACCEPTED, REPLAYED, counts_in, mistake_in

OK, CONFLICT = 200, 409


class Reply(NamedTuple):
    """The final answer, and how often the request had been sent before: without an answer, and with a 503."""

    answer: Response
    unanswered: int
    unavailable: int


def check_new(reply: Reply, order_id: int) -> str:
    if problem := _check_accepted(reply.answer, order_id, "a new order"):
        return problem
    # An order may be stored although an earlier request got no answer; a 503 says that nothing was stored.
    if REPLAYED not in reply.answer.head or reply.unanswered:
        return ""
    return "a replay after a 503 that stored nothing" if reply.unavailable else "a new order was answered as a replay"


def check_replay(reply: Reply, order_id: int) -> str:
    if problem := _check_accepted(reply.answer, order_id, "an acknowledged order that was sent again"):
        return problem
    return "" if REPLAYED in reply.answer.head else "a replay was answered as a new order"


def check_conflict(reply: Reply) -> str:
    """Check the answer to a different order with the id of an acknowledged order."""
    status = reply.answer.status
    return "" if status == CONFLICT else f"a different order with a known id got {status}"


def check_read(reply: Reply, order: dict[str, object]) -> str:
    if reply.answer.status != OK:
        return f"reading an acknowledged order got {reply.answer.status}"
    try:
        difference = find_difference(order, decode_json(reply.answer.body))
    except BadJson:
        return "reading an acknowledged order got no JSON"
    return "an acknowledged order was read with other values" if difference else ""


def check_bulk(reply: Reply, *, new: int, has_known: bool) -> str:
    """Check the answer to `new` new orders. With `has_known` an acknowledged and a conflicting order follow them."""
    if reply.answer.status != ACCEPTED:
        return f"a request with new orders got {reply.answer.status}"
    counts = counts_in(reply.answer)
    if counts is None:
        return "a 202 that does not count the orders"
    if not counts.adds_up(new + 2 * has_known):
        return "a 202 whose counts don't add up"
    if [(each.index, each.status) for each in counts.rejected] != [(new + 1, CONFLICT)] * has_known:
        return "a 202 that rejects other orders than the conflicting one"
    # After no answer, or a 503 for a part of the orders, some may be stored already.
    if counts.duplicates != has_known and not (reply.unanswered or reply.unavailable):
        return "a 202 that counts new orders as duplicates"
    return ""


def _check_accepted(answer: Response, order_id: int, name: str) -> str:
    if answer.status != ACCEPTED:
        return f"{name} got {answer.status}"
    if mistake := mistake_in(answer, order_id):
        return mistake
    locations = [line[9:].strip() for line in answer.head.split(b"\r\n") if line.startswith(b"location:")]
    return "" if locations == [b"/order/%d" % order_id] else "a 202 whose Location is not the order's"
