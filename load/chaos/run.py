"""One run: starts the target servers, sends orders, injects faults, and inspects everything. On the event loop."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from load.chaos.clients import client_sessions, plan_rates
from load.chaos.injection import FaultInjector
from load.chaos.inspection import inspect, wait_until_processed
from load.chaos.plan import RECORD, TARGETS, WEBHOOK, Fault, FaultKind
from load.chaos.receiver import Receiver, WebhookChecker
from load.chaos.report import Findings, Outcome
from load.chaos.target import TargetServer, orders_for
from load.cli.command import print_line

ATTEMPTS_S = 30.0
"""How long a fault without effect is attempted: longer than a lock that outlasts the server's own deadline."""
RETRY_S, LOOK_EVERY_S = 0.5, 0.1
FAULT_LIMIT_S, OTHER_LIMIT_S, LOWEST_RATE_PER_S = 8.0, 300.0, 250
"""How long a run may take: so long a fault, the orders at the least rate of the slowest server, and so long besides."""
THREADS = 32  # for locks, checkpoints, starts and ends, which block
# Not a secret: only this program and its servers use it.
SECRET = "Y2hhb3MtY2hhb3MtY2hhb3MtY2hhb3MtY2hhb3M="  # noqa: S105
WEBHOOK_FLAGS = ("--max-attempts", "1000", "--drain-timeout", "2", "--webhook-secret", SECRET)
"""So many attempts that faults alone make no order fail."""


@dataclass(kw_only=True)
class ChaosRun:
    """Injects the faults of `plan` into servers under load, which have their databases in `folder`.

    It goes on until at least `orders` orders are acknowledged. `server` is the command that starts a server, without
    flags. `outcome` grows meanwhile.
    """

    plan: Sequence[Fault]
    orders: int
    seed: int
    folder: Path
    server: Sequence[str]

    def __post_init__(self) -> None:
        self._duration_s = sum(fault.pause_s for fault in self.plan)
        self._begun_s = time.monotonic()
        self._ended = threading.Event()
        findings = {name: Findings(target=name) for name in TARGETS}
        checker = WebhookChecker(orders=orders_for(seed=self.seed, name=WEBHOOK), secret=SECRET)
        self._receiver = Receiver(checker, findings=findings[WEBHOOK])
        flags = {RECORD: (), WEBHOOK: (*WEBHOOK_FLAGS, "--webhook-url", self._receiver.url)}
        self._targets = {
            name: TargetServer(
                findings=findings[name],
                command=[*self.server, "--processor", name, *flags[name]],
                folder=self.folder / name,
                seed=self.seed,
            )
            for name in TARGETS
        }
        self.outcome = Outcome(findings=[*findings.values()])
        self._injector = FaultInjector(receiver=self._receiver, seed=self.seed, ended=self._ended)

    async def run(self) -> None:
        """Run everything; taking too long is a failure. ServerLost, ReceiverLost, or a group of them."""
        limit_s = self._duration_s + FAULT_LIMIT_S * len(self.plan) + self.orders / LOWEST_RATE_PER_S + OTHER_LIMIT_S
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "chaos"))
        try:
            async with asyncio.timeout(limit_s):
                self._receiver.listen()
                await asyncio.gather(*(target.start() for target in self._targets.values()))
                await self._run_load()
                await self._inspect()
        except TimeoutError:
            self.outcome.failures.append(f"the run was not over after {limit_s:.0f} s")
        finally:
            self.close()

    def close(self) -> None:
        """Kill the servers. To be called again after the event loop, whose threads may launch a server until then."""
        self._ended.set()
        self._receiver.close()
        for target in self._targets.values():
            target.findings.acknowledged = target.ledger.acknowledged
            target.close()

    async def _run_load(self) -> None:
        """Send orders and inject all faults until enough orders are acknowledged and all requests are answered.

        Ctrl-C cancels all tasks at once: a client or restart that outlived a cancelled fault would find false problems.
        """
        rates, ending = plan_rates(orders=self.orders, duration_s=self._duration_s), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            restarts = [group.create_task(target.restart_when_ended()) for target in self._targets.values()]
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
                await asyncio.sleep(LOOK_EVERY_S)
            self._log("all faults are over", f"{self._acknowledged:,} orders acknowledged")
            ending.set()
            await asyncio.wait(clients)
            for task in restarts:
                task.cancel()

    async def _inspect(self) -> None:
        for target in self._targets.values():
            is_processed = await wait_until_processed(target)
            self._log(f"{'everything' if is_processed else 'NOT everything'} is processed", target=target.name)
            if not is_processed:
                self.outcome.failures.append(f"the {target.name} server did not process all orders")
        for target in self._targets.values():
            delivered = self._receiver.delivered if target.name == WEBHOOK else None
            await inspect(target, delivered=delivered)
            self._log(f"read {target.findings.acknowledged:,} acknowledged orders back", target=target.name)

    @property
    def _acknowledged(self) -> int:
        return sum(target.ledger.acknowledged for target in self._targets.values())

    async def _inject(self, fault: Fault) -> None:
        """Inject a fault, again if it had no effect, and count what clients met meanwhile."""
        target = self._targets[fault.target]
        before = Counter(target.client_errors)
        deadline_s = time.monotonic() + ATTEMPTS_S
        while not (effect := await self._injector.inject(target, fault)).made and time.monotonic() < deadline_s:
            self._log(f"{effect.text}: no effect, trying again", target=target.name, kind=fault.kind)
            # If the server is being restarted, wait for that.
            async with target.restart_lock:
                pass
            await asyncio.sleep(RETRY_S)
        self.outcome.made[fault.kind] += effect.made
        for name, count in (target.client_errors - before).items():
            self.outcome.client_errors[fault.kind, name] += count
        if effect.made:
            self._log(effect.text, target=target.name, kind=fault.kind)
        else:
            failure = f"{fault.kind.value} had no effect on the {target.name} server: {effect.text}"
            self.outcome.failures.append(failure)

    def _log(self, *texts: str, target: str = "", kind: FaultKind | None = None) -> None:
        columns = f"{target:<8} {kind.value if kind else '':<11}" if target else ""
        print_line(f"{time.monotonic() - self._begun_s:6.1f} s  {columns}{', '.join(texts)}")
