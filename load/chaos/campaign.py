"""Owns the course of a run: shops open, clients come, harm is done, everything is looked at; on the loop's thread."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from load.chaos.findings import Findings
from load.chaos.harm import Harm
from load.chaos.inspection import Inspection
from load.chaos.lifecycle import Lifecycle
from load.chaos.plan import WEBHOOK, Fault, Kind
from load.chaos.receiver import Receiver
from load.chaos.shop import Shop
from load.chaos.traffic import Traffic, loads_for

# Longer than a lock that outlives the server's deadline, in whose time hardly anything has an effect.
TRY_FOR_S = 30.0
"""How often a fault is done until it has an effect."""
TRY_AGAIN_S = 0.5
LOOK_EVERY_S = 0.1
# Locks, checkpoints, starts and ends wait on threads.
THREADS = 32


@dataclass(kw_only=True)
class Outcome:
    """What a run came to: how many faults of each kind were made, what was seen meanwhile, and what was found."""

    made: Counter[Kind] = field(default_factory=Counter)
    seen: dict[Kind, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in Kind})
    failed: list[str] = field(default_factory=list)
    findings: list[Findings] = field(default_factory=list)
    is_interrupted: bool = False

    @property
    def is_good(self) -> bool:
        is_whole = bool(self.findings) and not self.failed and not self.is_interrupted
        return is_whole and all(found.is_good for found in self.findings)


class Campaign:
    """Does the faults of a plan to two shops under load; `outcome` grows meanwhile. `tell` is handed lines to show."""

    def __init__(
        self,
        *,
        plan: Sequence[Fault],
        orders: int,
        seed: int,
        shops: Mapping[str, Shop],
        receiver: Receiver,
        tell: Callable[[str], None],
        clock_ns: Callable[[], int],
        time_s: Callable[[], float],
    ) -> None:
        self.outcome = Outcome()
        self._plan = plan
        self._orders = orders
        self._seed = seed
        self._shops = shops
        self._receiver = receiver
        self._tell = tell
        self._clock_ns = clock_ns
        self._begun_ns = clock_ns()
        self._ended = threading.Event()
        self._lifecycle = Lifecycle(clock_s=self._clock_s)
        self._harm = Harm(lifecycle=self._lifecycle, receiver=receiver, seed=seed, ended=self._ended)
        self._inspection = Inspection(lifecycle=self._lifecycle, clock_ns=clock_ns, time_s=time_s)

    async def run(self, *, limit_s: float) -> None:
        """Go through all of it, within so many seconds: what hangs is a failure."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "chaos"))
        try:
            async with asyncio.timeout(limit_s):
                await self._run()
        except TimeoutError:
            self.outcome.failed.append(f"it was not over after {limit_s:.0f} s")
        finally:
            self._ended.set()
            self._shops[WEBHOOK].wrong += self._receiver.wrong
            for shop in self._shops.values():
                shop.victim.close()

    async def _run(self) -> None:
        shops = self._shops.values()
        await asyncio.gather(*(self._lifecycle.start(shop) for shop in shops))
        loads = loads_for(orders=self._orders, duration_s=sum(fault.pause_s for fault in self._plan))
        traffics = [Traffic(shop, loads[shop.name], seed=self._seed, clock_s=self._clock_s) for shop in shops]
        watchers = [asyncio.create_task(self._lifecycle.watch(shop)) for shop in shops]
        clients = [*watchers, *(task for traffic in traffics for task in traffic.start())]
        try:
            await _or_first_failure(self._go_through_plan(), clients)
            await _or_first_failure(self._go_on(), clients)
            self._say("all faults are over", f"{self._acknowledged:,} orders acknowledged")
            await _or_first_failure(self._end(traffics), clients)
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*(traffic.close() for traffic in traffics))
        for shop in shops:
            if await self._inspection.settle(shop):
                self._say("everything is processed", shop=shop.name)
            else:
                self._say("NOT everything is processed", shop=shop.name)
                self.outcome.failed.append(f"the {shop.name} shop did not process everything")
        for shop in shops:
            found = await self._inspection.read(shop, taken=self._receiver.taken if shop.name == WEBHOOK else None)
            if shop.name == WEBHOOK:
                found.wrong += [*self._receiver.wrong, *self._delivered_strangers(shop)]
            self.outcome.findings.append(found)
            self._say(f"read {found.acknowledged:,} acknowledged orders back", shop=shop.name)

    def _delivered_strangers(self, shop: Shop) -> list[tuple[str, int]]:
        strangers = (order_id for order_id in self._receiver.taken if shop.ledger.index_of(order_id) is None)
        return [("a webhook for an order that nobody sent", order_id) for order_id in strangers]

    @property
    def _acknowledged(self) -> int:
        return sum(shop.ledger.acknowledged for shop in self._shops.values())

    async def _go_through_plan(self) -> None:
        async with asyncio.TaskGroup() as group:
            for fault in self._plan:
                await asyncio.sleep(fault.pause_s)
                group.create_task(self._do(fault))

    async def _go_on(self) -> None:
        while self._acknowledged < self._orders:  # noqa: ASYNC110 - a look is cheaper than an event for each order
            await asyncio.sleep(LOOK_EVERY_S)

    async def _end(self, traffics: Sequence[Traffic]) -> None:
        await asyncio.gather(*(traffic.end() for traffic in traffics))

    async def _do(self, fault: Fault) -> None:
        shop = self._shops[fault.shop]
        before = Counter(shop.seen)
        tried_until_s = self._clock_s() + TRY_FOR_S
        while not (effect := await self._harm.do(shop, fault)).made and self._clock_s() < tried_until_s:
            self._say(f"{effect.text}: no effect, once more", shop=shop.name, kind=fault.kind)
            # Where the server is being started again, that comes first.
            async with shop.turn:
                pass
            await asyncio.sleep(TRY_AGAIN_S)
        self.outcome.made[fault.kind] += effect.made
        self.outcome.seen[fault.kind] += shop.seen - before
        if effect.made:
            self._say(effect.text, shop=shop.name, kind=fault.kind)
        else:
            self.outcome.failed.append(f"{fault.kind.value} had no effect on the {shop.name} shop: {effect.text}")

    def _say(self, *texts: str, shop: str = "", kind: Kind | None = None) -> None:
        words = f"{shop:<8} {kind.value if kind else '':<11}" if shop else ""
        self._tell(f"{self._clock_s() - self._begun_ns / 1e9:6.1f} s  {words}{', '.join(texts)}")

    def _clock_s(self) -> float:
        return self._clock_ns() / 1e9


async def _or_first_failure(course: Coroutine[Any, Any, None], clients: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the course; an exception of a client ends it."""
    task = asyncio.create_task(course)
    try:
        waiting: set[asyncio.Task[None]] = {task, *clients}
        while not task.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
    except asyncio.CancelledError:
        # First of all: what is left harmed by the faults that are broken off is nobody's mistake.
        for client in clients:
            client.cancel()
        raise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
