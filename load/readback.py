"""Owns the reading back of acknowledged orders and the verdict on them, on the event loop's thread."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Any

from load.http.address import Address
from load.http.clients import Clients
from load.http.connection import Answer
from load.http.exchanges import Patience
from load.orders.comparison import BadJson, decode_json, find_contradiction, find_difference, sum_of
from load.orders.sources import OrderSource
from load.results.texts import shown

FINAL = frozenset({"Completed", "Failed", "Cancelled"})
NAMED = 5


@dataclass(kw_only=True)
class Verdict:
    """What was found of the acknowledged orders; one that was sent repeatedly counts once.

    `different`, `unprocessed` and `unread` say by id what was found. `total_amount` sums what the server gave back.
    """

    acknowledged: int = 0
    read: int = 0
    lost: list[int] = field(default_factory=list)
    different: dict[int, str] = field(default_factory=dict)
    unprocessed: dict[int, str] = field(default_factory=dict)
    unread: dict[int, str] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    total_amount: Decimal = Decimal(0)

    @property
    def is_good(self) -> bool:
        """Whether every acknowledged order is there as it was sent, and processed."""
        return not (self.lost or self.different or self.unprocessed or self.unread)

    @property
    def line_so_far(self) -> str:
        """Say in one line what was found before the reading was broken off."""
        findings = [_finding("lost", dict.fromkeys(self.lost, "")), _finding("different", self.different)]
        return f"Read back {self.read} of {self.acknowledged} acknowledged orders so far: {', '.join(findings)}."

    @property
    def line(self) -> str:
        """Say it in one line, with the first ids of what is wrong."""
        statuses = shown(", ".join(f"{count} {status}" for status, count in self.statuses.most_common()))
        findings = [
            _finding("lost", dict.fromkeys(self.lost, "")),
            _finding("different", self.different),
        ]
        if self.read:
            findings.append(_finding("not processed", self.unprocessed) if self.unprocessed else "all processed")
        if self.unread:
            others = [f"of the others {findings[0]}", *findings[1:]] if self.read or self.lost else []
            findings = [_finding("could not be read", self.unread), *others]
        return (
            f"Read back {self.read} of {self.acknowledged} acknowledged orders: {', '.join(findings)}"
            f"{f' ({statuses})' if statuses else ''}. Sum of total_amount: {self.total_amount:f}"
        )


@dataclass
class ReadOrder:
    """One order to read, all the places of the source that were acknowledged under its id, and why it isn't done."""

    order_id: int
    indexes: list[int]
    found: Any = None
    unread: str = ""


class ReadBack:
    """Reads orders through GET /order/{id}; those not processed or not readable are read again while patience lasts.

    `verdict` grows as orders are read. `processed_ns` is when the last of those that were not processed at first was
    found so, which is at the latest when it was; None where there were none.
    """

    def __init__(
        self,
        *,
        address: Address,
        source: OrderSource,
        clients: Clients,
        patience: Patience,
        clock_ns: Callable[[], int],
    ) -> None:
        self.verdict = Verdict()
        self.processed_ns: int | None = None
        self._address = address
        self._source = source
        self._clients = clients
        self._patience = patience
        self._clock_ns = clock_ns
        self._deferred: list[ReadOrder] = []

    async def read(self, indexes: Iterable[int], *, again: bool) -> None:
        """Read the orders at these places of the source; `again` says whether to wait for those not processed."""
        ascending = sorted(indexes, key=self._source.order_id)
        self.verdict.acknowledged = sum(1 for _ in groupby(ascending, key=self._source.order_id))
        orders = self._grouped(ascending)
        await self._pass(orders)
        self._deferred.extend(orders)
        moved_ns, left = self._clock_ns(), len(self._deferred)
        while again and self._deferred and not self._clients.gone:
            await asyncio.sleep(self._patience.poll_s)
            await self._pass(iter(self._deferred))
            if len(self._deferred) < left:
                moved_ns, left = self._clock_ns(), len(self._deferred)
            again = self._clock_ns() - moved_ns <= self._patience.processing_s * 1e9
        for order in self._deferred:
            self._give_up(order)

    def _grouped(self, ascending: Iterable[int]) -> Iterator[ReadOrder]:
        for one_id, places in groupby(ascending, key=self._source.order_id):
            yield ReadOrder(one_id, list(places))

    async def _pass(self, orders: Iterator[ReadOrder]) -> None:
        self._deferred = []
        jobs = ((order, self._address.get(f"/order/{order.order_id}")) for order in orders)
        await self._clients.work(jobs, answered=self._judge, unanswered=self._defer)

    def _defer(self, order: ReadOrder, reason: str) -> None:
        order.unread = reason
        self._deferred.append(order)

    def _judge(self, order: ReadOrder, answer: Answer, latency_ns: int) -> None:
        if answer.status == 404:
            self.verdict.lost.append(order.order_id)
            return
        if answer.status != 200:
            self._defer(order, f"status {answer.status}")
            return
        was_waiting = order.found is not None
        try:
            order.found = decode_json(answer.body)
        except BadJson:
            order.found = None
        differences = (find_difference(self._source.order(index), order.found) for index in order.indexes)
        difference = next(filter(None, differences), "")
        if not difference and order.found["status"] in FINAL:
            difference = find_contradiction(order.found)
        if difference:
            self.verdict.different[order.order_id] = difference
            self._book(order)
        elif order.found["status"] in FINAL:
            if was_waiting:
                self.processed_ns = self._clock_ns()
            self._book(order)
        else:
            self._defer(order, "")

    def _book(self, order: ReadOrder) -> None:
        verdict = self.verdict
        verdict.read += 1
        verdict.total_amount = sum_of(verdict.total_amount, order.found)
        if isinstance(order.found, dict):
            verdict.statuses[str(order.found.get("status"))] += 1

    def _give_up(self, order: ReadOrder) -> None:
        if order.unread or order.found is None:
            self.verdict.unread[order.order_id] = order.unread or "the server went away"
        else:
            self.verdict.unprocessed[order.order_id] = order.found["status"]
            self._book(order)


def _finding(what: str, orders: Mapping[int, str]) -> str:
    if not orders:
        return f"none {what}"
    named = "; ".join(
        f"{order_id}{f': {shown(why)}' if why else ''}" for order_id, why in sorted(orders.items())[:NAMED]
    )
    more = f"; and {len(orders) - NAMED} more" if len(orders) > NAMED else ""
    return f"{len(orders)} {what.upper()} ({named}{more})"
