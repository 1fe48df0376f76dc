"""Injects faults into a target. Runs on the event loop; calls that block run on other threads."""

import asyncio
import math
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import NamedTuple

from load.chaos.clients.client import ANSWER_LIMIT_S
from load.chaos.clients.disconnects import disconnect_clients
from load.chaos.faults import WEBHOOK, Fault, FaultKind, ReceiverFault
from load.chaos.report import WRONG
from load.chaos.servers.controlled import is_full
from load.chaos.target import Target
from load.chaos.webhooks.receiver import PAUSES_S, Receiver
from load.http.connection import NoResponse, TooSlow, send_once

SECONDS_PER_HOUR = 3600
WEBHOOKS_AT_ONCE = 8  # The servers' --webhook-connections.
FAILURE_LIMIT_S, DELIVERY_LIMIT_S, RETRY_LIMIT_S, POLL_EVERY_S = 3.0, 60.0, 60.0, 0.1
"""The longest waits for a failed webhook, for a delivery of a new order and for a retry. The pause between polls."""


class Effect(NamedTuple):
    """The result of one attempt to inject a fault. `made` is False if the fault had no effect.

    `is_possible` is False if this machine can't make the fault. `text` then says why.
    """

    made: bool
    text: str
    is_possible: bool = True


Faults = Mapping[FaultKind, Callable[[Target, Fault], Awaitable[Effect]]]


@dataclass(kw_only=True)
class FaultInjector:
    """Injects faults. `storage_faults` has functions for faults that only one kind of database has.

    `rng` determines where requests are cut off. `ended` makes blocking calls return early.
    """

    receiver: Receiver
    storage_faults: Faults
    rng: Random
    ended: threading.Event
    _locks: dict[tuple[str, FaultKind], asyncio.Lock] = field(default_factory=dict, init=False)

    async def inject(self, target: Target, fault: Fault) -> Effect:
        """Inject a fault once. First wait until earlier faults of its kind on its server have ended."""
        methods: Faults = {
            FaultKind.KILL: self._kill,
            FaultKind.KILL_ALL: self._kill_all,
            FaultKind.TERM: self._terminate,
            FaultKind.FREEZE: self._freeze,
            FaultKind.LOCK: self._lock,
            FaultKind.CHECKPOINT: self._checkpoint,
            FaultKind.VANISH: self._disconnect_clients,
            FaultKind.RECEIVER: self._fail_receiver,
            FaultKind.CLOCK: self._step_clock,
            FaultKind.STDERR: self._stall_stderr,
            **self.storage_faults,
        }
        async with self._lock_for(target, fault.kind):
            return await methods[fault.kind](target, fault)

    def _lock_for(self, target: Target, kind: FaultKind) -> asyncio.Lock:
        return self._locks.setdefault((target.name, kind), asyncio.Lock())

    async def _kill(self, target: Target, fault: Fault) -> Effect:
        node = target.nodes[fault.node]
        async with node.restart_lock:
            await node.kill()
            target.note_outage(fault.node)
            for _ in range(fault.count - 1):
                await node.kill_while_starting(after_s=fault.length_s)
            took_s = await node.start()
        again = f", {fault.count - 1} more while it started" if fault.count > 1 else ""
        return Effect(True, f"back after {took_s:.1f} s{again}")

    async def _kill_all(self, target: Target, fault: Fault) -> Effect:
        async with AsyncExitStack() as stack:
            for node in target.nodes:
                await stack.enter_async_context(node.restart_lock)
            await asyncio.gather(*(node.kill() for node in target.nodes))
            for number in range(len(target.nodes)):
                target.note_outage(number)
            begun_s = time.monotonic()
            await target.start()
        return Effect(True, f"all {len(target.nodes)} killed, all back after {time.monotonic() - begun_s:.1f} s")

    async def _terminate(self, target: Target, fault: Fault) -> Effect:
        node = target.nodes[fault.node]
        async with node.restart_lock:
            ended_s = await node.terminate()
            took_s = await node.start()
        return Effect(True, f"ended after {ended_s:.1f} s, back after {took_s:.1f} s")

    async def _freeze(self, target: Target, fault: Fault) -> Effect:
        process = target.nodes[fault.node].process
        with target.start_blocked():
            process.send_signal(signal.SIGSTOP)
            was_running = process.is_running
            target.note_outage(fault.node)
            try:
                await asyncio.sleep(fault.length_s if was_running else 0.0)
            finally:
                process.send_signal(signal.SIGCONT)
        return Effect(was_running, f"for {fault.length_s:.1f} s" if was_running else "no process was running")

    async def _lock(self, target: Target, fault: Fault) -> Effect:
        with target.start_blocked():
            hold = partial(target.database.hold_lock, length_s=fault.length_s, ended=self.ended)
            was_held = await asyncio.to_thread(hold)
        return Effect(was_held, f"held for {fault.length_s:.1f} s" if was_held else "the lock could not be taken")

    async def _checkpoint(self, target: Target, fault: Fault) -> Effect:
        statements = fault.detail.split()
        run = partial(target.database.checkpoint, statements, reader_s=fault.length_s, ended=self.ended)
        results = await asyncio.to_thread(run)
        reader = ", with a reader" if fault.length_s else ""
        counts = ", ".join(f"{count} {result}" for result, count in sorted(results.items()))
        return Effect(results["done"] + results["busy"] == fault.count, f"{fault.detail}{reader}: {counts}")

    async def _disconnect_clients(self, target: Target, fault: Fault) -> Effect:
        sent = await disconnect_clients(target, clients=fault.count, longest_s=fault.length_s, rng=self.rng)
        return Effect(sent > 0, f"{sent} of {fault.count} clients disconnected in the middle of a request")

    async def _fail_receiver(self, target: Target, fault: Fault) -> Effect:
        node, failed = target.nodes[fault.node], self.receiver.failed_requests
        receiver_fault = ReceiverFault(fault.detail)
        before, starts_before, begun_s = failed[receiver_fault], target.starts, time.monotonic()
        kills, killed = fault.count if receiver_fault is ReceiverFault.HANG else 0, 0
        try:
            self.receiver.set_fault(receiver_fault)
            part_s = fault.length_s / (kills + 1)
            await asyncio.sleep(part_s)
            for _ in range(kills):
                # A kill has an effect only while a webhook hangs. None hangs while the server has paused all webhooks.
                await _wait_until(lambda: failed[receiver_fault] > before, FAILURE_LIMIT_S)
                if failed[receiver_fault] > before:
                    async with node.restart_lock:
                        await node.kill()
                        target.note_outage(fault.node)
                        await node.start()
                    killed += 1
                await asyncio.sleep(part_s)
        finally:
            self.receiver.set_fault(None)
        affected = failed[receiver_fault] - before
        if pause_s := PAUSES_S.get(receiver_fault):
            # After a restart, the server does not know of an earlier Retry-After, so it can send eight more webhooks.
            pauses = math.ceil((time.monotonic() - begun_s) / pause_s) + 1 + target.starts - starts_before
            if affected > WEBHOOKS_AT_ONCE * pauses * len(target.nodes):
                target.findings.add(WRONG, f"{affected} webhooks to a receiver that {receiver_fault.value}")
        with_kills = f" and {killed} kill{'' if killed == 1 else 's'}" if kills else ""
        text = f"{receiver_fault.value} for {fault.length_s:.1f} s{with_kills}, {affected} webhooks failed"
        return Effect(affected > 0 and killed == kills, text)

    async def _step_clock(self, target: Target, fault: Fault) -> Effect:
        """Set the clock. If the server sends webhooks, first make some fail; they must be retried when they are due."""
        controls = target.nodes[fault.node].controls
        if target.name != WEBHOOK:
            controls.step_clock(fault.count * SECONDS_PER_HOUR)
            return Effect(True, f"{fault.count:+} h")
        ledger, receiver = target.ledger, self.receiver
        # Only webhooks of new orders are used: after several failures, the delay before a retry can be long.
        first_id = ledger.orders.order_id(len(ledger))
        # Webhooks of new orders are sent after the webhooks of older orders, so this waits until a new order is
        # delivered.
        await _wait_until(lambda: receiver.newest >= first_id, DELIVERY_LIMIT_S)
        if receiver.newest < first_id:
            return Effect(False, "no new order was delivered")
        async with self._lock_for(target, FaultKind.RECEIVER):
            receiver.set_fault(ReceiverFault.ERROR)
            try:
                await _wait_until(lambda: any(each >= first_id for each in receiver.refused), FAILURE_LIMIT_S)
                waiting = {each for each in receiver.refused if each >= first_id}
                if not waiting:
                    return Effect(False, "no webhook failed")
                controls.step_clock(fault.count * SECONDS_PER_HOUR)
            finally:
                receiver.set_fault(None)
            await _wait_until(lambda: waiting <= receiver.delivered.keys(), RETRY_LIMIT_S)
        for order_id in waiting - receiver.delivered.keys():
            target.findings.add(WRONG, "a webhook was not sent again when it was due", order_id)
        return Effect(True, f"{fault.count:+} h, {len(waiting)} webhooks waited for a retry")

    async def _stall_stderr(self, target: Target, fault: Fault) -> Effect:
        """Stop reading the server's standard error, and check that the server responds when the pipe is full."""
        node = target.nodes[fault.node]
        reader = node.controls.reader
        if not node.process.url.port or not node.process.is_running:
            return Effect(False, "no process was running")
        try:
            os.kill(reader, signal.SIGSTOP)
            await asyncio.sleep(fault.length_s)
            was_full = is_full(reader)
            await send_once(node.address, node.address.get("/livez"), limit_s=ANSWER_LIMIT_S)
        except TooSlow:
            target.findings.add(WRONG, "no answer while nothing read standard error")
        except (NoResponse, ProcessLookupError):
            was_full = False
        finally:
            with suppress(ProcessLookupError):
                os.kill(reader, signal.SIGCONT)
        return Effect(was_full, f"not read for {fault.length_s:.1f} s")


async def _wait_until(is_done: Callable[[], bool], limit_s: float) -> None:
    """Wait until `is_done()`, but not longer than `limit_s`."""
    end_s = time.monotonic() + limit_s
    while not is_done() and time.monotonic() < end_s:  # noqa: ASYNC110 - each webhook would have to set an event
        await asyncio.sleep(POLL_EVERY_S)
