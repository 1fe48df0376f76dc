"""Runs the servers, the clients and the faults of load.chaos, and inspects the result. Runs on the event loop."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from load.chaos.clients.sessions import client_sessions, plan_rates
from load.chaos.databases.database import Database
from load.chaos.faults import OF_ONE_SERVER, RECORD, TARGETS, WEBHOOK, Fault, FaultKind, FaultMix
from load.chaos.injection.injector import WEBHOOKS_AT_ONCE, FaultInjector
from load.chaos.injection.sqlite_faults import use_sqlite
from load.chaos.inspection.inspection import inspect, wait_until_processed
from load.chaos.report import Findings, Outcome
from load.chaos.servers.controlled import Controls
from load.chaos.servers.node import START_LIMIT_S, Node
from load.chaos.target import Target, orders_for
from load.chaos.webhooks.checker import WebhookChecker
from load.chaos.webhooks.receiver import Receiver
from load.cli.command import print_line
from load.http.connections import Timeouts

ATTEMPTS_S = 120.0  # How long to retry a fault without effect. Locks and pauses of webhooks are shorter.
RETRY_S, POLL_EVERY_S = 0.5, 0.1
STUCK_AFTER_S, LONGEST_DELAY = 60.0, 1.5
"""Orders are stuck if none is processed for 60 s plus 1.5 times the duration of the run so far."""
FAULT_LIMIT_S, LOWEST_RATE_PER_S, OTHER_LIMIT_S = 8.0, 250, 300.0
"""The time limit of a run: 8 s for each fault, the time to send the orders at 250 per second, and 300 s."""
THREADS = 32  # For calls that block: locks, checkpoints, starting and stopping servers.
# Not a secret: only this program and its servers use it.
SECRET = "Y2hhb3MtY2hhb3MtY2hhb3MtY2hhb3MtY2hhb3M="  # noqa: S105
MAX_ATTEMPTS = "1000"  # Large, so that no order fails because of faults alone.
WEBHOOK_FLAGS = (
    *("--processor", WEBHOOK, "--max-attempts", MAX_ATTEMPTS, "--drain-timeout", "2"),
    *("--webhook-secret", SECRET, "--webhook-connections", str(WEBHOOKS_AT_ONCE)),
)
KEEP = ("--keep", "1s", "--archive")
CONTROLLED = ("-m", "load.chaos.servers.controlled")


@dataclass(kw_only=True)
class ChaosRun:
    """Loads servers until `orders` orders are acknowledged, and injects the faults of `plan`. Fills `outcome`.

    The servers use SQLite files, or PostgreSQL if `postgresql` is the folder of its programs. Each target has `nodes`
    servers; more than one only on PostgreSQL. `mix` has the kinds of faults. With `keep`, servers archive orders that
    have ended.
    """

    plan: Sequence[Fault]
    mix: FaultMix
    orders: int
    seed: int
    folder: Path
    server: Sequence[str]
    function: str | None = None
    postgresql: Path | None = None
    nodes: int = 1
    keep: bool = False

    def __post_init__(self) -> None:
        self._duration_s = sum(fault.pause_s for fault in self.plan)
        self._begun_s = time.monotonic()
        self._ended = threading.Event()
        findings = {name: Findings(target=name) for name in TARGETS}
        steps_s = {name: {0} for name in TARGETS}
        checker = WebhookChecker(
            orders=orders_for(seed=self.seed, name=WEBHOOK),
            secret=SECRET,
            clock_s=time.time,
            ahead_s=steps_s[WEBHOOK],
        )
        self._receiver = Receiver(checker, findings=findings[WEBHOOK])
        # The access log fills the pipe of a server whose standard error is not read.
        flags = {
            RECORD: ("--access-log", "--processor", self.function or RECORD, "--max-attempts", MAX_ATTEMPTS),
            WEBHOOK: (*WEBHOOK_FLAGS, "--webhook-url", self._receiver.url),
        }
        if self.postgresql:
            # Imported only here, because psycopg is not needed for SQLite.
            from load.chaos.injection.postgresql_faults import use_postgresql

            databases, storage_faults = use_postgresql(
                self.folder, programs=self.postgresql, seed=self.seed, nodes=self.nodes
            )
        else:
            databases, storage_faults = use_sqlite(self.folder, server=self.server, seed=self.seed)
        self._targets = {
            name: Target(
                findings=findings[name],
                nodes=[*self._new_nodes(findings[name], flags[name], databases[name], steps_s[name])],
                database=databases[name],
                folder=self.folder / name,
                seed=self.seed,
                archives=[self._archive(name, number) for number in range(1, self.nodes + 1)] if self.keep else (),
            )
            for name in TARGETS
        }
        self.outcome = Outcome(findings=[*findings.values()], mix=self.mix)
        self._injector = FaultInjector(
            receiver=self._receiver,
            storage_faults=storage_faults,
            rng=Random(f"vanishing {self.seed}"),
            ended=self._ended,
        )

    def _new_nodes(
        self, findings: Findings, flags: Sequence[str], database: Database, steps_s: set[int]
    ) -> Iterator[Node]:
        folder = self.folder / findings.target
        for number, address in enumerate(database.addresses, start=1):
            archiving = (*KEEP, str(self._archive(findings.target, number))) if self.keep else ()
            controls = Controls(Path(f"{folder}-controls-{number}"), steps_s)
            yield Node(
                findings=findings,
                command=[*CONTROLLED, str(controls.path), *self.server, *flags, *archiving],
                controls=controls,
                folder=folder / f"node-{number}" if self.nodes > 1 else folder,
                database=address,
                # The servers share the processors.
                start_limit_s=START_LIMIT_S * self.nodes,
            )

    def _archive(self, name: str, number: int) -> Path:
        return self.folder / f"{name}-archive-{number}"

    async def run(self) -> None:
        """Perform the run. Exceeding the time limit is a failure. Raises RunFailed, alone or in an ExceptionGroup."""
        limit_s = self._duration_s + FAULT_LIMIT_S * len(self.plan) + self.orders / LOWEST_RATE_PER_S + OTHER_LIMIT_S
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "chaos"))
        try:
            async with asyncio.timeout(limit_s):
                self._receiver.listen()
                await asyncio.gather(*(target.database.open() for target in self._targets.values()))
                await asyncio.gather(*(target.start() for target in self._targets.values()))
                await asyncio.gather(*(target.balancer.start() for target in self._targets.values() if target.balancer))
                await self._run_load()
                await self._inspect()
        except TimeoutError:
            self.outcome.failures.append(f"the run did not finish within {limit_s:.0f} s")
        finally:
            self.close()

    def close(self) -> None:
        """Kill the servers. Call it also after the event loop has ended: until then, a thread can launch a server."""
        self._ended.set()
        self._receiver.close()
        for target in self._targets.values():
            target.findings.acknowledged = target.ledger.acknowledged
            if target.takeovers:
                target.findings.longest_wait_s = round(target.takeovers.longest_s, 1)
            target.close()

    async def _run_load(self) -> None:
        """Send orders and inject all faults, until enough orders are acknowledged."""
        rates, ending = plan_rates(orders=self.orders, duration_s=self._duration_s), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            nodes = [node for target in self._targets.values() for node in target.nodes]
            restarts = [group.create_task(node.restart_when_ended()) for node in nodes]
            clients = [
                group.create_task(session)
                for name, target in self._targets.items()
                for session in client_sessions(target, rates[name], seed=self.seed, ending=ending)
            ]
            faults = []
            for fault in self.plan:
                await asyncio.sleep(fault.pause_s)
                faults.append(group.create_task(self._inject(fault)))
            await asyncio.wait(faults)
            while self._acknowledged < self.orders:  # noqa: ASYNC110 - polling is cheaper than an event for each order
                await asyncio.sleep(POLL_EVERY_S)
            self._log("all faults are over", f"{self._acknowledged:,} orders acknowledged")
            ending.set()
            await asyncio.wait(clients)
            for task in restarts:
                task.cancel()

    async def _inspect(self) -> None:
        # The delay before a retry doubles each time, so it is at most about as long as an order has existed.
        stuck_after_s = STUCK_AFTER_S + LONGEST_DELAY * (time.monotonic() - self._begun_s)
        timeouts = Timeouts(processing_s=stuck_after_s, poll_s=POLL_EVERY_S)
        # A server stores the orders of clients that have disconnected. A restarted server has no such requests left.
        for target in self._targets.values():
            await target.terminate()
            await target.start()
        for target in self._targets.values():
            is_processed = await wait_until_processed(target, timeouts=timeouts)
            self._log(f"{'everything' if is_processed else 'NOT everything'} is processed", target=target.name)
            if not is_processed:
                self.outcome.failures.append(f"the {target.name} server did not process all orders")
        for target in self._targets.values():
            delivered = self._receiver.delivered if target.name == WEBHOOK else None
            answered = self._receiver.answered if target.name == WEBHOOK else {}
            await inspect(target, delivered=delivered, answered=answered, timeouts=timeouts)
            self._log(f"read {target.findings.acknowledged:,} acknowledged orders back", target=target.name)

    @property
    def _acknowledged(self) -> int:
        return sum(target.ledger.acknowledged for target in self._targets.values())

    async def _inject(self, fault: Fault) -> None:
        """Inject a fault, and retry it while it has no effect. Count the errors of clients during these attempts."""
        target = self._targets[fault.target]
        before = Counter(target.client_errors)
        deadline_s = time.monotonic() + ATTEMPTS_S
        while not (effect := await self._injector.inject(target, fault)).made and time.monotonic() < deadline_s:
            if not effect.is_possible:
                self.outcome.impossible[fault.kind] = effect.text
                return
            self._log(f"{effect.text}: no effect, trying again", target=target.name, kind=fault.kind)
            # Waits for a restart of the server that is in progress.
            async with target.nodes[fault.node].restart_lock:
                pass
            await asyncio.sleep(RETRY_S)
        self.outcome.made[fault.kind] += effect.made
        for name, count in (target.client_errors - before).items():
            self.outcome.client_errors[fault.kind, name] += count
        where = [f"node {fault.node + 1}"] if self.nodes > 1 and fault.kind in OF_ONE_SERVER else []
        if effect.made:
            self._log(*where, effect.text, target=target.name, kind=fault.kind)
        else:
            failure = f"{fault.kind.value} had no effect on the {target.name} server: {effect.text}"
            self.outcome.failures.append(failure)

    def _log(self, *texts: str, target: str = "", kind: FaultKind | None = None) -> None:
        columns = f"{target:<8} {kind.value if kind else '':<11}" if target else ""
        print_line(f"{time.monotonic() - self._begun_s:6.1f} s  {columns}{', '.join(texts)}")
