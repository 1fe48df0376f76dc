"""Injects each kind of fault into a target server. Runs on the event loop; calls that block run on other threads."""

import asyncio
import resource
import signal
import socket
import struct
import threading
from functools import partial
from random import Random
from typing import NamedTuple

from tornado.iostream import IOStream, StreamClosedError

from load.chaos.clients import DISK_FULL, NDJSON
from load.chaos.database import checkpoint, hold_lock
from load.chaos.receiver import Receiver
from load.chaos.report import Fault, FaultKind, ReceiverFault
from load.chaos.target import TargetServer
from load.system.server_process import ServerProcess

LINES_PER_REQUEST = 400
CONNECT_LIMIT_S, RESET_SHARE = 1.0, 0.5
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # The value of SO_LINGER for which close() sends RST.


class Effect(NamedTuple):
    """The result of one attempt to inject a fault. `made` is False if the fault had no effect."""

    made: bool
    text: str


class FaultInjector:
    """Injects faults. The positions at which requests are cut follow from `seed`. `ended` ends blocking calls early."""

    def __init__(self, *, receiver: Receiver, seed: int, ended: threading.Event) -> None:
        self._receiver = receiver
        self._rng = Random(f"vanishing {seed}")
        self._ended = ended
        self._locks: dict[tuple[str, FaultKind], asyncio.Lock] = {}

    async def inject(self, target: TargetServer, fault: Fault) -> Effect:
        """Inject a fault once, after earlier faults of the same kind on the same server are over."""
        methods = {
            FaultKind.KILL: self._kill,
            FaultKind.TERM: self._terminate,
            FaultKind.FREEZE: self._freeze,
            FaultKind.FULL_DISK: self._fill_disk,
            FaultKind.LOCK: self._lock,
            FaultKind.CHECKPOINT: self._checkpoint,
            FaultKind.VANISH: self._disconnect_clients,
            FaultKind.RECEIVER: self._fail_receiver,
        }
        async with self._locks.setdefault((target.name, fault.kind), asyncio.Lock()):
            return await methods[fault.kind](target, fault)

    async def _kill(self, target: TargetServer, fault: Fault) -> Effect:
        async with target.restart_lock:
            await target.kill()
            for _ in range(fault.count - 1):
                await target.kill_while_starting(after_s=fault.length_s)
            took_s = await target.start()
        again = f", {fault.count - 1} more while it started" if fault.count > 1 else ""
        return Effect(True, f"back after {took_s:.1f} s{again}")

    async def _terminate(self, target: TargetServer, fault: Fault) -> Effect:
        async with target.restart_lock:
            ended_s = await target.terminate()
            took_s = await target.start()
        return Effect(True, f"ended after {ended_s:.1f} s, back after {took_s:.1f} s")

    async def _freeze(self, target: TargetServer, fault: Fault) -> Effect:
        process = target.process
        with target.start_blocked():
            process.send_signal(signal.SIGSTOP)
            was_running = process.is_running
            try:
                await asyncio.sleep(fault.length_s if was_running else 0.0)
            finally:
                process.send_signal(signal.SIGCONT)
        return Effect(was_running, f"for {fault.length_s:.1f} s" if was_running else "no process was running")

    async def _fill_disk(self, target: TargetServer, fault: Fault) -> Effect:
        process, before = target.process, target.client_errors[DISK_FULL]
        try:
            if _limit_file_size(process, 1):
                await asyncio.sleep(fault.length_s)
        finally:
            _limit_file_size(process, None)
        refused = target.client_errors[DISK_FULL] - before
        return Effect(refused > 0, f"for {fault.length_s:.1f} s, {refused} requests refused for it")

    async def _lock(self, target: TargetServer, fault: Fault) -> Effect:
        with target.start_blocked():
            was_held = await asyncio.to_thread(hold_lock, target.database, length_s=fault.length_s, ended=self._ended)
        return Effect(was_held, f"held for {fault.length_s:.1f} s" if was_held else "the lock could not be taken")

    async def _checkpoint(self, target: TargetServer, fault: Fault) -> Effect:
        run = partial(checkpoint, target.database, fault.detail.split(), reader_s=fault.length_s, ended=self._ended)
        results = await asyncio.to_thread(run)
        reader = ", with a reader" if fault.length_s else ""
        counts = ", ".join(f"{count} {result}" for result, count in sorted(results.items()))
        return Effect(results["done"] + results["busy"] == fault.count, f"{fault.detail}{reader}: {counts}")

    async def _disconnect_clients(self, target: TargetServer, fault: Fault) -> Effect:
        rng = self._rng
        parts = [(_cut_request(target, n % 4, rng), rng.uniform(0, fault.length_s)) for n in range(fault.count)]
        sent = sum(await asyncio.gather(*(_send_and_leave(target, part, stay_s, rng) for part, stay_s in parts)))
        return Effect(sent > 0, f"{sent} of {fault.count} clients disconnected in the middle of a request")

    async def _fail_receiver(self, target: TargetServer, fault: Fault) -> Effect:
        receiver_fault, failed = ReceiverFault(fault.detail), self._receiver.failed_requests
        before = failed[receiver_fault]
        kills, killed = fault.count if receiver_fault is ReceiverFault.HANG else 0, 0
        try:
            self._receiver.set_fault(receiver_fault)
            part_s = fault.length_s / (kills + 1)
            await asyncio.sleep(part_s)
            for _ in range(kills):
                if failed[receiver_fault] > before:
                    async with target.restart_lock:
                        await target.kill()
                        await target.start()
                    killed += 1
                await asyncio.sleep(part_s)
        finally:
            self._receiver.set_fault(None)
        affected = failed[receiver_fault] - before
        with_kills = f" and {killed} kill{'' if killed == 1 else 's'}" if kills else ""
        text = f"{receiver_fault.value} for {fault.length_s:.1f} s{with_kills}, {affected} webhooks failed"
        return Effect(affected > 0 and killed == kills, text)


def _limit_file_size(process: ServerProcess, size: int | None) -> bool:
    """Limit the server's files to `size` bytes, so that writes fail as on a full disk; None removes the limit.

    Return False if the server is not listening yet: with a limit, it could not write its address to its log.
    """
    if not process.url.port or not process.is_running:
        return False
    try:
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
    except ProcessLookupError:
        return False
    return True


async def _send_and_leave(target: TargetServer, part: bytes, stay_s: float, rng: Random) -> bool:
    """Send a part of a request, wait, then close or reset the connection; return False if it failed earlier."""
    stream = IOStream(socket.socket(target.address.family, socket.SOCK_STREAM))
    try:
        async with asyncio.timeout(stay_s + CONNECT_LIMIT_S):
            await stream.connect(target.address.sockaddr)
            await stream.write(part)
            await asyncio.sleep(stay_s)
        if rng.random() < RESET_SHARE and not stream.closed():
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    except (StreamClosedError, OSError, TimeoutError):
        return False
    finally:
        stream.close()
    return True


def _cut_request(target: TargetServer, way: int, rng: Random) -> bytes:
    """Encode a request and cut it off: in the head (way 0), in the body (1), not at all (2), or in an NDJSON line (3).

    Only complete orders are recorded as sent, because the server can store only those.
    """
    ledger, address = target.ledger, target.address
    if way == 0:
        head = address.post("/order", b"")
        return head[: rng.randrange(1, len(head) - 4)]
    indexes = ledger.take(LINES_PER_REQUEST if way == 3 else 1, is_sent=way == 2)
    bodies = [ledger.orders.body(index) for index in indexes]
    if way < 3:
        request = address.post("/order", bodies[0])
        return request if way == 2 else request[: -rng.randrange(1, len(bodies[0]))]
    whole = rng.randrange(1, len(bodies))
    ledger.note_sent(indexes[:whole])
    cut = len(b"\n".join(bodies[whole:])) - rng.randrange(1, len(bodies[whole]))
    return address.post("/orders", b"\n".join(bodies), content=NDJSON)[:-cut]
