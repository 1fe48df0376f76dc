"""Owns the judgement on the answers to what a run sends: what they mean for its orders; on the loop's thread."""

from typing import Any, Protocol

import msgspec

from load.http.arrivals import Timing
from load.http.connection import Answer
from load.http.refusal import reason_in
from load.orders.sources import OrderSource
from load.results.recording import Recording
from load.results.tally import Tally

ACCEPTED = 202
NOTHING_ACCEPTED = 422
REPLAYED = b"\r\nidempotent-replayed: true"
"""What the head of an answer has, in lower case, where the server had the order already."""


class Promise(msgspec.Struct):
    """What a 202 says of one order."""

    order_id: Any = None


_promises = msgspec.json.Decoder(Promise)


def mistake_in(answer: Answer, order_id: int) -> str:
    """Say what is wrong with a 202 for one order; an empty text where it names it, as a string."""
    try:
        named = _promises.decode(answer.body).order_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        named = None
    if named == str(order_id):
        return ""
    if named is None:
        return "a 202 that names no order"
    return "a 202 that names another order" if isinstance(named, str) else "a 202 whose order_id is no string"


def fault_of_post(answer: Answer) -> str:
    """Say what is wrong with the 202 for a new order, whichever it names; an empty text when nothing is."""
    return "an order that was there before" if REPLAYED in answer.head else ""


class Judge(Protocol):
    """Hears what became of every request; its key is the place of its first order in the source."""

    def answered(self, first: int, answer: Answer, timing: Timing) -> None: ...

    def unanswered(self, first: int, reason: str) -> None: ...


class JudgeOfOne:
    """Counts the answers to `POST /order`.

    Only latencies of a right 202 are recorded: a server that refuses quickly is not a quick server. An order whose 202
    is wrong is read back too, since it can have meant no other.
    """

    def __init__(self, *, source: OrderSource, tally: Tally, recording: Recording, begun_ns: int) -> None:
        self._source = source
        self._tally = tally
        self._recording = recording
        self._begun_ns = begun_ns

    def answered(self, first: int, answer: Answer, timing: Timing) -> None:
        if answer.status != ACCEPTED:
            self._tally.refuse(answer.status, self._source.order_id(first), reason_in(answer))
            return
        mistake = mistake_in(answer, self._source.order_id(first))
        if mistake:
            self._tally.mistrust(mistake, places=[first])
            return
        if REPLAYED in answer.head:
            self._tally.repeat(first)
        else:
            self._tally.accept(first)
        _record(self._recording, timing, begun_ns=self._begun_ns, orders=1)

    def unanswered(self, first: int, reason: str) -> None:
        self._tally.fail(reason)


class Rejection(msgspec.Struct):
    """One order of an array that was not taken, by its place in the array."""

    index: int
    status: int
    detail: str = ""


class BulkAnswer(msgspec.Struct):
    """What the answer to an array says of its orders."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]
    rejected_total: int

    def adds_up(self, orders: int) -> bool:
        """Whether it speaks of each of so many orders once."""
        places = {rejection.index for rejection in self.rejected}
        return (
            min(self.accepted, self.duplicates) >= 0
            and self.accepted + self.duplicates + self.rejected_total == orders
            and len(self.rejected) == len(places) == self.rejected_total
            and all(0 <= place < orders for place in places)
        )


_counts = msgspec.json.Decoder(BulkAnswer)


def counts_in(answer: Answer) -> BulkAnswer | None:
    """Give what an answer says of an array's orders; None where it does not count them."""
    try:
        return _counts.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def fault_of_bulk(answer: Answer, *, size: int, may_repeat: bool = False) -> str:
    """Say what is wrong with the 202 for `size` orders; an empty text when all are new, or may be there already."""
    counts = counts_in(answer)
    if counts is None:
        return "a 202 that does not count the orders"
    is_right = counts.adds_up(size) and not counts.rejected and (may_repeat or not counts.duplicates)
    return "" if is_right else f"{counts.accepted} accepted of {size}"


class JudgeOfMany:
    """Counts the answers to `POST /orders` with arrays of `size` orders, of which the last may have fewer.

    Where a 202 is wrong it is not known which of its orders it promised, so none of them is read back.
    """

    def __init__(self, *, source: OrderSource, tally: Tally, recording: Recording, begun_ns: int, size: int) -> None:
        self._source = source
        self._tally = tally
        self._recording = recording
        self._begun_ns = begun_ns
        self._size = size

    def answered(self, first: int, answer: Answer, timing: Timing) -> None:
        orders = self._orders_from(first)
        counts = counts_in(answer)
        if answer.status != ACCEPTED and (answer.status != NOTHING_ACCEPTED or counts is None):
            self._tally.refuse(answer.status, self._source.order_id(first), reason_in(answer), orders)
        elif counts is None:
            self._tally.mistrust("a 202 that does not count the orders", orders)
        elif not counts.adds_up(orders):
            count = self._tally.mistrust if answer.status == ACCEPTED else self._tally.fail
            count(f"a {answer.status} whose counts don't add up", orders)
        elif answer.status != ACCEPTED and counts.rejected_total < orders:
            self._tally.fail(f"a {answer.status} that accepts orders", orders)
        else:
            self._book(first, orders, counts)
            if counts.rejected_total < orders:
                taken = orders - counts.rejected_total
                _record(self._recording, timing, begun_ns=self._begun_ns, orders=taken)

    def unanswered(self, first: int, reason: str) -> None:
        self._tally.fail(reason, self._orders_from(first))

    def _book(self, first: int, orders: int, counts: BulkAnswer) -> None:
        rejected = {rejection.index for rejection in counts.rejected}
        self._tally.accepted += counts.accepted
        self._tally.duplicates += counts.duplicates
        self._tally.acknowledged.extend(first + place for place in range(orders) if place not in rejected)
        for rejection in counts.rejected:
            self._tally.refuse(rejection.status, self._source.order_id(first + rejection.index), rejection.detail)

    def _orders_from(self, first: int) -> int:
        return min(self._size, len(self._source) - first)


def _record(recording: Recording, timing: Timing, *, begun_ns: int, orders: int) -> None:
    recording.add(
        answered_ns=timing.answered_ns - begun_ns,
        latency_ns=timing.from_due_ns,
        sending_latency_ns=timing.from_sending_ns,
        orders=orders,
    )
