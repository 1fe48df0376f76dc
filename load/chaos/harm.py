"""Owns how each kind of harm is done, and whether it had an effect; on the event loop's thread.

What blocks does so on threads of its own, until `ended` is set.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from load.chaos.asking import DISK_FULL
from load.chaos.lifecycle import Lifecycle
from load.chaos.outsider import checkpoint, hold_lock
from load.chaos.plan import Fault, Kind, Manner
from load.chaos.receiver import Receiver
from load.chaos.shop import Shop
from load.chaos.vanishing import vanish

LOOK_EVERY_S = 0.01
LOOKS = 20


class Effect(NamedTuple):
    """What became of a fault; it counts only where it was `made`."""

    made: bool
    text: str


class Harm:
    """Does harm to shops; `seed` says at which byte a client goes away."""

    def __init__(
        self,
        *,
        lifecycle: Lifecycle,
        receiver: Receiver,
        seed: int,
        ended: threading.Event,
    ) -> None:
        self._lifecycle = lifecycle
        self._receiver = receiver
        self._chance = Random(f"vanishing {seed}")
        self._ended = ended
        self._turns: dict[tuple[str, Kind], asyncio.Lock] = {}

    async def do(self, shop: Shop, fault: Fault) -> Effect:
        """Do it once, when what is of the same kind is over in that shop."""
        ways = {
            Kind.KILL: self._kill,
            Kind.TERM: self._terminate,
            Kind.FREEZE: self._freeze,
            Kind.FULL_DISK: self._fill_disk,
            Kind.LOCK: self._lock,
            Kind.CHECKPOINT: self._checkpoint,
            Kind.VANISH: self._vanish,
            Kind.RECEIVER: self._fail_senders,
        }
        async with self._turns.setdefault((shop.name, fault.kind), asyncio.Lock()):
            return await ways[fault.kind](shop, fault)

    async def _kill(self, shop: Shop, fault: Fault) -> Effect:
        async with shop.turn:
            await self._lifecycle.kill(shop)
            for _ in range(fault.count - 1):
                await self._lifecycle.kill_while_starting(shop, after_s=fault.length_s)
            taken_s = await self._lifecycle.start(shop)
        again = f", {fault.count - 1} more while it started" if fault.count > 1 else ""
        return Effect(True, f"back after {taken_s:.1f} s{again}")

    async def _terminate(self, shop: Shop, fault: Fault) -> Effect:
        async with shop.turn:
            ended_s = await self._lifecycle.terminate(shop)
            taken_s = await self._lifecycle.start(shop)
        return Effect(True, f"ended after {ended_s:.1f} s, back after {taken_s:.1f} s")

    async def _freeze(self, shop: Shop, fault: Fault) -> Effect:
        life = shop.victim.life
        with shop.obstructed():
            life.signal(signal.SIGSTOP)
            try:
                was_stopped = await _comes_true(lambda: life.is_stopped)
                await asyncio.sleep(fault.length_s if was_stopped else 0.0)
            finally:
                life.signal(signal.SIGCONT)
        return Effect(was_stopped, f"for {fault.length_s:.1f} s" if was_stopped else "it was not there")

    async def _fill_disk(self, shop: Shop, fault: Fault) -> Effect:
        life, before = shop.victim.life, shop.seen[DISK_FULL]
        is_full = life.limit_file_size(1)
        try:
            await asyncio.sleep(fault.length_s if is_full else 0.0)
        finally:
            life.limit_file_size(None)
        refused = shop.seen[DISK_FULL] - before
        return Effect(refused > 0, f"for {fault.length_s:.1f} s, {refused} requests refused for it")

    async def _lock(self, shop: Shop, fault: Fault) -> Effect:
        with shop.obstructed():
            was_held = await asyncio.to_thread(hold_lock, shop.database, length_s=fault.length_s, ended=self._ended)
        return Effect(was_held, f"held for {fault.length_s:.1f} s" if was_held else "it could not be had")

    async def _checkpoint(self, shop: Shop, fault: Fault) -> Effect:
        modes = fault.manner.split()
        came = await asyncio.to_thread(checkpoint, shop.database, modes, reader_s=fault.length_s, ended=self._ended)
        reader = ", with a reader" if fault.length_s else ""
        counts = ", ".join(f"{count} {what}" for what, count in sorted(came.items()))
        return Effect(came["done"] + came["busy"] == fault.count, f"{fault.manner}{reader}: {counts}")

    async def _vanish(self, shop: Shop, fault: Fault) -> Effect:
        said = await vanish(shop, count=fault.count, within_s=fault.length_s, chance=self._chance)
        return Effect(said > 0, f"{said} of {fault.count} clients went in the middle")

    async def _fail_senders(self, shop: Shop, fault: Fault) -> Effect:
        manner, receiver = Manner(fault.manner), self._receiver
        before = receiver.disturbed[manner]
        kills, killed = fault.count if manner is Manner.HANG else 0, 0
        try:
            await asyncio.to_thread(receiver.behave, manner)
            part_s = fault.length_s / (kills + 1)
            await asyncio.sleep(part_s)
            for _ in range(kills):
                if receiver.disturbed[manner] > before:
                    await self._kill_and_start(shop)
                    killed += 1
                await asyncio.sleep(part_s)
        finally:
            await asyncio.to_thread(receiver.behave, None)
        met = receiver.disturbed[manner] - before
        and_kills = f" and {killed} kill{'' if killed == 1 else 's'}" if kills else ""
        text = f"{manner.value} for {fault.length_s:.1f} s{and_kills}, met {met} senders"
        return Effect(met > 0 and killed == kills, text)

    async def _kill_and_start(self, shop: Shop) -> None:
        async with shop.turn:
            await self._lifecycle.kill(shop)
            await self._lifecycle.start(shop)


async def _comes_true(condition: Callable[[], bool]) -> bool:
    """Whether it does within a moment."""
    for _ in range(LOOKS):
        if condition():
            return True
        await asyncio.sleep(LOOK_EVERY_S)
    return condition()
