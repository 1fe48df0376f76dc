"""Many orders at once, each good or bad for itself. Runs on the event loop."""

import asyncio
from collections import deque
from collections.abc import Sequence

import msgspec

from handlers.metrics.instruments import Instruments, IntakeOutcome
from handlers.service import Service
from models.errors import NotJsonError, OrderConflictError, QueueClosedError, QueueFullError
from models.parsing.bulk import parse_orders
from models.writes import Insertion, NewOrder

MAX_LISTED = 1_000
"""How many rejections are listed."""
MAX_GROUPS = 5
"""How many groups of orders may be held: those that are written or wait for that, and one that is being parsed."""
PARSED_AT_ONCE = 250
"""How many orders are looked at before others have their turn of the event loop."""
PARSED_BYTES_AT_ONCE = 64 * 1024
MAX_DETAIL_CHARACTERS = 500
"""Of what is wrong with one order: it names the fields, which may have any length."""


class Rejection(msgspec.Struct, gc=False):
    """An order that was not taken: 409 where another one has its id, 422 where it is none."""

    index: int
    order_id: int | None
    status: int
    detail: str


class BulkView(msgspec.Struct):
    """What has become of many orders. `index` counts from 0: elements of an array, lines of a text."""

    accepted: int = 0
    duplicates: int = 0
    rejected: list[Rejection] = []
    rejected_total: int = 0

    def reject(self, index: int, error: Exception) -> None:
        self.rejected_total += 1
        if len(self.rejected) < MAX_LISTED:
            order_id = getattr(error, "order_id", None)
            status = 409 if isinstance(error, OrderConflictError) else 422
            detail = f"not JSON: {error}" if isinstance(error, NotJsonError) else str(error)
            self.rejected.append(Rejection(index, order_id, status, detail[:MAX_DETAIL_CHARACTERS]))

    def members(self) -> dict[str, object]:
        """The same as members of a problem."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class BulkInsert:
    """Orders on their way into the store, in groups; `room` is how many may be parsed and not written, of all requests.

    What the storage raises for one group is raised from the next call on, and nothing more is written.
    """

    def __init__(self, *, service: Service, room: asyncio.Semaphore, instruments: Instruments) -> None:
        self.view = BulkView(rejected=[])
        self._service = service
        self._room = room
        self._instruments = instruments
        self._groups: deque[asyncio.Task[None]] = deque()
        self._is_parsed = asyncio.Semaphore(0)
        self._error: Exception | None = None

    async def add(self, orders: Sequence[tuple[int, NewOrder | bytes]]) -> None:
        """Has the good ones of these numbered orders written; returns while one more group may be on its way."""
        if orders and not self._error:
            await self._room.acquire()
            written = asyncio.create_task(self._write(orders))
            written.add_done_callback(lambda _: self._room.release())
            self._groups.append(written)
            await self._is_parsed.acquire()
        await self._finish_groups(but=1)

    async def _write(self, orders: Sequence[tuple[int, NewOrder | bytes]]) -> None:
        try:
            group = await self._parse(orders)
        finally:
            self._is_parsed.release()
        await self._insert(group)

    async def _parse(self, orders: Sequence[tuple[int, NewOrder | bytes]]) -> list[tuple[int, NewOrder]]:
        group: list[tuple[int, NewOrder]] = []
        texts: list[tuple[int, bytes]] = []
        size = 0
        for index, order in orders:
            if isinstance(order, NewOrder):
                group.append((index, order))
                continue
            texts.append((index, order))
            size += len(order)
            if len(texts) >= PARSED_AT_ONCE or size >= PARSED_BYTES_AT_ONCE:
                group += self._parse_part(texts)
                texts, size = [], 0
                await asyncio.sleep(0)
        return group + self._parse_part(texts)

    def _parse_part(self, texts: Sequence[tuple[int, bytes]]) -> list[tuple[int, NewOrder]]:
        group: list[tuple[int, NewOrder]] = []
        for (index, _), parsed in zip(texts, parse_orders([text for _, text in texts]), strict=True):
            if isinstance(parsed, NewOrder):
                group.append((index, parsed))
            else:
                self.view.reject(index, parsed)
                self._instruments.note_intake(IntakeOutcome.INVALID)
        return group

    async def end(self) -> BulkView:
        """What has become of all of them, once the last one is on disk."""
        try:
            await self._finish_groups()
        finally:
            self.view.rejected.sort(key=lambda rejection: rejection.index)
        return self.view

    async def _finish_groups(self, *, but: int = 0) -> None:
        while len(self._groups) > but:
            await self._groups.popleft()
        if self._error:
            raise self._error

    async def _insert(self, group: Sequence[tuple[int, NewOrder]]) -> None:
        if not group or self._error:
            return
        try:
            results = await self._service.insert_many([order for _, order in group])
        except Exception as error:  # noqa: BLE001 - the task's top: it is raised to whom it concerns
            self._error = self._error or error
            if isinstance(error, QueueFullError | QueueClosedError):
                self._instruments.note_intake(IntakeOutcome.REFUSED, len(group))
            return
        accepted = results.count(Insertion.ACCEPTED)
        self.view.accepted += accepted
        if accepted == len(results):
            return
        for (index, _), result in zip(group, results, strict=True):
            if result is Insertion.REPLAYED:
                self.view.duplicates += 1
            elif isinstance(result, Exception):
                self.view.reject(index, result)
