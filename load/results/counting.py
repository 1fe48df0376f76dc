"""Counts the orders that a run sends by the responses to them. Runs on the event loop."""

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from load.http.connections import RequestTiming
from load.http.response import Response
from load.orders.responses import ACCEPTED, NO_COUNTS, NOTHING_ACCEPTED, REPLAYED, counts_in, mistake_in, reason_in
from load.orders.sources import OrderSource
from load.results.recording import Recording

MAX_REASON = 300


@dataclass(kw_only=True)
class Tally:
    """Counts of orders; `acknowledged` has the places in the source of all orders that are to be read back.

    Of those, `accepted` were new and `duplicates` were there already: a bulk response says how many, not which. The
    others had a wrong 202; `wrong_202` counts those by what was wrong. `examples` has the id and the reason of the
    first refusal of each status that came with a reason.
    """

    acknowledged: "array[int]" = field(default_factory=lambda: array("q"))
    accepted: int = 0
    duplicates: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    examples: dict[int, tuple[int, str]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    wrong_202: Counter[str] = field(default_factory=Counter)

    def refuse(self, status: int, order_id: int, reason: str, orders: int = 1) -> None:
        self.refused[status] += orders
        if reason:
            self.examples.setdefault(status, (order_id, reason[:MAX_REASON]))

    def acknowledge(self, places: Iterable[int], *, accepted: int = 0, duplicates: int = 0) -> None:
        self.acknowledged.extend(places)
        self.accepted += accepted
        self.duplicates += duplicates

    @property
    def sent(self) -> int:
        others = self.refused.total() + self.errors.total() + self.wrong_202.total()
        return self.accepted + self.duplicates + others


@dataclass(frozen=True, kw_only=True)
class ResponseCounter:
    """Counts the responses to `POST /order`, or with `bulk` those to `POST /orders` with arrays of that many orders.

    `first` is the place in the source of the request's first order. Only the latencies of right 202s are recorded: a
    server that refuses quickly is not a quick server.
    """

    source: OrderSource
    tally: Tally
    recording: Recording
    bulk: int | None

    def answered(self, first: int, response: Response, timing: RequestTiming) -> None:
        count = self._count_order if self.bulk is None else self._count_array
        if acknowledged := count(first, response):
            self.recording.add(timing, orders=acknowledged)

    def unanswered(self, first: int, reason: str) -> None:
        self.tally.errors[reason] += self._orders_from(first)

    def _orders_from(self, first: int) -> int:
        return min(self.bulk or 1, len(self.source) - first)

    def _count_order(self, place: int, response: Response) -> int:
        """Count one order, and return 1 if its 202 is right.

        With a wrong 202 it is read back too, since the 202 can have meant no other order.
        """
        tally, order_id = self.tally, self.source.order_id(place)
        if response.status != ACCEPTED:
            tally.refuse(response.status, order_id, reason_in(response))
        elif mistake := mistake_in(response, order_id):
            tally.wrong_202[mistake] += 1
            tally.acknowledged.append(place)
        else:
            is_duplicate = REPLAYED in response.head
            tally.acknowledge((place,), accepted=not is_duplicate, duplicates=is_duplicate)
            return 1
        return 0

    def _count_array(self, first: int, response: Response) -> int:
        """Count the orders of an array, and return how many of them were acknowledged.

        If a 202 is wrong, it is not known which of its orders it promised, so none of them is read back.
        """
        tally, orders, status = self.tally, self._orders_from(first), response.status
        counts, is_accepted = counts_in(response), response.status == ACCEPTED
        if not is_accepted and (status != NOTHING_ACCEPTED or counts is None):
            tally.refuse(status, self.source.order_id(first), reason_in(response), orders)
        elif counts is None:
            tally.wrong_202[NO_COUNTS] += orders
        elif not counts.adds_up(orders):
            wrong = tally.wrong_202 if is_accepted else tally.errors
            wrong[f"a {status} whose counts don't add up"] += orders
        elif not is_accepted and counts.rejected_total < orders:
            tally.errors[f"a {status} that accepts orders"] += orders
        else:
            rejected = {rejection.index for rejection in counts.rejected}
            places = (first + place for place in range(orders) if place not in rejected)
            tally.acknowledge(places, accepted=counts.accepted, duplicates=counts.duplicates)
            for rejection in counts.rejected:
                tally.refuse(rejection.status, self.source.order_id(first + rejection.index), rejection.detail)
            return orders - counts.rejected_total
        return 0
