"""Counts the responses to what a run sends. Runs on the event loop."""

from dataclasses import dataclass
from typing import Protocol

from load.http.connections import RequestTiming
from load.http.response import Response
from load.orders.responses import (
    ACCEPTED,
    NO_COUNTS,
    NOTHING_ACCEPTED,
    REPLAYED,
    BulkResponse,
    counts_in,
    mistake_in,
    reason_in,
)
from load.orders.sources import OrderSource
from load.results.recording import Recording
from load.results.tally import Tally


class ResponseCounter(Protocol):
    """Counts responses and errors; `first` is the place in the source of the request's first order."""

    def answered(self, first: int, response: Response, timing: RequestTiming) -> None: ...

    def unanswered(self, first: int, reason: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class PostCounter:
    """Counts the responses to `POST /order`.

    Only the latencies of right 202s are recorded: a server that refuses quickly is not a quick server. An order whose
    202 is wrong is read back too, since the 202 can have meant no other order.
    """

    source: OrderSource
    tally: Tally
    recording: Recording

    def answered(self, first: int, response: Response, timing: RequestTiming) -> None:
        if response.status != ACCEPTED:
            self.tally.refuse(response.status, self.source.order_id(first), reason_in(response))
        elif mistake := mistake_in(response, self.source.order_id(first)):
            self.tally.add_wrong_202(mistake, places=[first])
        else:
            is_duplicate = REPLAYED in response.head
            self.tally.acknowledge([first], accepted=not is_duplicate, duplicates=is_duplicate)
            self.recording.add(timing, orders=1)

    def unanswered(self, first: int, reason: str) -> None:
        self.tally.fail(reason)


@dataclass(frozen=True, kw_only=True)
class BulkCounter:
    """Counts the responses to `POST /orders` with arrays of `size` orders; the last array may have fewer.

    If a 202 is wrong, it is not known which of its orders it promised, so none of them is read back.
    """

    source: OrderSource
    tally: Tally
    recording: Recording
    size: int

    def answered(self, first: int, response: Response, timing: RequestTiming) -> None:
        orders, tally = self._orders_from(first), self.tally
        counts, is_accepted = counts_in(response), response.status == ACCEPTED
        if not is_accepted and (response.status != NOTHING_ACCEPTED or counts is None):
            tally.refuse(response.status, self.source.order_id(first), reason_in(response), orders)
        elif counts is None:
            tally.add_wrong_202(NO_COUNTS, orders)
        elif not counts.adds_up(orders):
            count = tally.add_wrong_202 if is_accepted else tally.fail
            count(f"a {response.status} whose counts don't add up", orders)
        elif not is_accepted and counts.rejected_total < orders:
            tally.fail(f"a {response.status} that accepts orders", orders)
        else:
            self._count(first, orders, counts)
            if taken := orders - counts.rejected_total:
                self.recording.add(timing, orders=taken)

    def unanswered(self, first: int, reason: str) -> None:
        self.tally.fail(reason, self._orders_from(first))

    def _count(self, first: int, orders: int, counts: BulkResponse) -> None:
        rejected = {rejection.index for rejection in counts.rejected}
        places = (first + place for place in range(orders) if place not in rejected)
        self.tally.acknowledge(places, accepted=counts.accepted, duplicates=counts.duplicates)
        for rejection in counts.rejected:
            self.tally.refuse(rejection.status, self.source.order_id(first + rejection.index), rejection.detail)

    def _orders_from(self, first: int) -> int:
        return min(self.size, len(self.source) - first)
