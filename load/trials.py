"""Owns the trials: each compares another server with ours, in turns, and gives its rows; on the loop's thread."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from random import Random
from statistics import median
from typing import Any

from load.address import Address
from load.backlog import Backlog, BacklogState
from load.pace import PATIENCE, Pace, measure_pace

CLIENTS = 64
CROWD = 1000
STORED_ORDERS = 10_000
EMPTY_WITHIN_S = 1.0
BODY = b'{"order_id": %d, "user_id": 1, "item_ids": [101, 102, 103], "total_amount": 99.99}'


class BacklogStuck(Exception):
    """The server does not process what it accepted, or doesn't say so: there is nothing to measure."""


@dataclass(kw_only=True)
class Row:
    """A measure with a bound; each run is a dict of figures with units in their names, `value` the one that counts."""

    name: str
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    runs: list[dict[str, float]] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)

    @property
    def value(self) -> float:
        """The median of the runs."""
        return median(run["value"] for run in self.runs)

    @property
    def must(self) -> str:
        return (
            f">= {self.at_least:.2f}{self.unit}" if self.at_least is not None else f"<= {self.at_most:.2f}{self.unit}"
        )

    @property
    def passed(self) -> bool:
        """Whether the median keeps the bound and every answer was right."""
        low = self.at_least is None or self.value >= self.at_least
        high = self.at_most is None or self.value <= self.at_most
        return low and high and not self.wrong

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "must": self.must,
            "median": self.value,
            "runs": self.runs,
            "wrong_answers": dict(self.wrong),
            "passed": self.passed,
        }


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Two servers to compare, how often and how long; `tell` is handed a line for every run.

    `seeded` gives the same random numbers for the same seed.
    """

    bare: Address
    """The other side, whatever it is called."""
    ours: Address
    runs: int
    seconds: float
    tell: Callable[[str], None]
    clock_ns: Callable[[], int]
    cpu_clock_ns: Callable[[], int]
    seeded: Callable[[int], Random]
    other: str = "bare"

    async def change(self) -> list[Row]:
        """POST /order in closed loops against another version of the server, with processing running on both."""
        row = Row(name=f"durable POST /order, 64 clients, against {self.other}", at_least=0.95)
        requests = [_posts(side) for side in (self.bare, self.ours)]
        for number in range(1, self.runs + 1):
            sides = [
                await self._pace(side, posts, status=202, seconds=self.seconds)
                for side, posts in zip((self.bare, self.ours), requests, strict=True)
            ]
            self._record(row, number, *sides)
        return [row]

    async def intake(self) -> list[Row]:
        """POST /order in closed loops, and what becomes of the accepted orders meanwhile: three rows from one load."""
        accepting = Row(name="durable POST /order, 64 clients, against bare Tornado", at_least=0.80)
        completing = Row(name="of those, completed by 1 s after the load's end", at_least=1.00)
        emptying = Row(name="until the backlog is empty after the load's end", unit=" s", at_most=EMPTY_WITHIN_S)
        requests = _posts(self.ours)
        backlog = Backlog(self.ours, patience=PATIENCE, clock_ns=self.clock_ns)
        for number in range(1, self.runs + 1):
            bare = await self._pace(self.bare, _posts(self.bare), status=202, seconds=self.seconds)
            before = await backlog.look()
            ours = await self._pace(self.ours, requests, status=202, seconds=self.seconds)
            ended_ns = self.clock_ns()
            at_end = await backlog.look()
            if at_end.waiting and await backlog.wait() is not BacklogState.PROCESSED:
                raise BacklogStuck(f"{at_end.waiting} orders were not processed after the load")
            empty_s = (self.clock_ns() - ended_ns) / 1e9
            finally_completed = (await backlog.look() if empty_s <= EMPTY_WITHIN_S else at_end).completed
            self._record(accepting, number, bare, ours)
            completing.runs.append(
                {
                    "accepted_per_second": ours.per_second,
                    "completed_per_second": (at_end.completed - before.completed) / ours.elapsed_s,
                    "value": (finally_completed - before.completed) / max(1, ours.right),
                }
            )
            emptying.runs.append({"waiting_at_end": at_end.waiting, "value": empty_s})
            completed = completing.runs[-1]["completed_per_second"]
            self.tell(
                f"        accepted {ours.per_second:,.0f}/s, completed {completed:,.0f}/s during the load;"
                f" {at_end.waiting} waiting at its end, backlog empty {empty_s:.3f} s after it"
            )
        backlog.close()
        return [accepting, completing, emptying]

    async def reading(self) -> list[Row]:
        """GET /order/{id} of stored orders in closed loops."""
        row = Row(name="GET /order/{id}, 64 clients, against bare Tornado", at_least=0.80)
        stored = await self._pace(self.ours, islice(_posts(self.ours), STORED_ORDERS), status=202)
        row.wrong.update(stored.wrong)
        backlog = Backlog(self.ours, patience=PATIENCE, clock_ns=self.clock_ns)
        if await backlog.wait() is not BacklogState.PROCESSED:
            raise BacklogStuck("the orders to be read were not processed")
        backlog.close()
        for number in range(1, self.runs + 1):
            sides = [
                await self._pace(side, _gets(side, self.seeded(number)), status=200, seconds=self.seconds)
                for side in (self.bare, self.ours)
            ]
            self._record(row, number, *sides)
        return [row]

    async def crowd(self) -> list[Row]:
        """1,000 clients connect at once and send an order each, until the last has its answer."""
        row = Row(
            name="1,000 clients connecting at once, one order each, until all have their 202", unit=" s", at_most=0.5
        )
        requests = _posts(self.ours)
        for number in range(1, self.runs + 1):
            bare = await self._pace(self.bare, islice(_posts(self.bare), CROWD), clients=CROWD, status=202)
            ours = await self._pace(self.ours, islice(requests, CROWD), clients=CROWD, status=202)
            row.wrong.update(bare.wrong + ours.wrong)
            row.runs.append(
                {
                    "bare_s": bare.elapsed_s,
                    "ours_s": ours.elapsed_s,
                    "client_cpu_share": max(bare.cpu_share, ours.cpu_share),
                    "value": ours.elapsed_s,
                }
            )
            self.tell(
                f"run {number}: bare {bare.elapsed_s:.3f} s, ours {ours.elapsed_s:.3f} s"
                f" (client's CPU {bare.cpu_share:.0%} and {ours.cpu_share:.0%}){_wrong(bare, ours)}"
            )
        return [row]

    async def _pace(
        self, side: Address, requests: Iterator[bytes], *, status: int, clients: int = CLIENTS, seconds: float = 0.0
    ) -> Pace:
        return await measure_pace(
            side,
            requests,
            clients=clients,
            status=status,
            clock_ns=self.clock_ns,
            cpu_clock_ns=self.cpu_clock_ns,
            seconds=seconds,
        )

    def _record(self, row: Row, number: int, bare: Pace, ours: Pace) -> None:
        row.wrong.update(bare.wrong + ours.wrong)
        ratio = ours.per_second / bare.per_second if bare.right else 0.0
        row.runs.append(
            {
                f"{self.other}_per_second": bare.per_second,
                "ours_per_second": ours.per_second,
                "client_cpu_share": max(bare.cpu_share, ours.cpu_share),
                "value": ratio,
            }
        )
        self.tell(
            f"run {number}: {self.other} {bare.per_second:,.0f}/s, ours {ours.per_second:,.0f}/s, ratio {ratio:.2f}"
            f" (client's CPU {bare.cpu_share:.0%} and {ours.cpu_share:.0%}){_wrong(bare, ours)}"
        )


def _posts(address: Address) -> Iterator[bytes]:
    return (address.post("/order", BODY % order_id) for order_id in count(1))


def _gets(address: Address, chance: Random) -> Iterator[bytes]:
    """Ask for stored orders at random; the same seed gives the same sequence to both sides."""
    requests = [address.get(f"/order/{order_id}") for order_id in range(1, STORED_ORDERS + 1)]
    while True:
        yield requests[int(chance.random() * STORED_ORDERS)]


def _wrong(bare: Pace, ours: Pace) -> str:
    return "".join(f", {reason}: {times}" for reason, times in (bare.wrong + ours.wrong).items())
