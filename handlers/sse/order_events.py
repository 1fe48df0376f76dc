"""`GET /orders/events`: every change of an order's status as it comes, to many readers. Lives on the event loop.

What is written to the readers is rendered once and shared, and nobody has a queue: a reader that is slower than the
events has a place in the log, and is dropped once the log does not reach back to it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

from tornado.httputil import HTTPMessageDelegate

from handlers.sse.connection import RETRY_MS, framed
from handlers.sse.event_log import ALL_EVENTS, Event, EventFilter, EventLog
from handlers.sse.event_reader import OrderEventReader
from handlers.transport.exchange import Refuse
from handlers.transport.query_parameters import Parameters
from handlers.transport.request_head import RequestHead
from models.changes import OrderChange
from models.errors import QueueClosedError, QueueFullError
from models.parsing.order_body import MAX_ID

FLUSH_S = 0.1
LONGEST_FLUSH_S = 1.0
FLUSHES_PER_S = 400
"""While there is much to tell, readers are written to this often, all together, and each of them every `FLUSH_S` at the
most and every `LONGEST_FLUSH_S` at the least: each write hands the interpreter over, which costs the orders more than
the events themselves."""
HEARTBEAT_S = 15.0
BEAT_S = 1.0
"""How often `beat` is to be called."""


class OrderEventStreams:
    """The readers, and the log that they read from. `clock` is monotonic, in seconds.

    Until the first reader has come nothing is kept: nobody can know an id of this log.
    """

    def __init__(self, *, log: EventLog, clock: Callable[[], float], max_readers: int) -> None:
        self._log = log
        self._clock = clock
        self._max_readers = max_readers
        self._loop = asyncio.get_running_loop()
        self._fresh: list[OrderChange] = []
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flushed_s = 0.0
        self._readers: defaultdict[tuple[int | None, int | None], set[OrderEventReader]] = defaultdict(set)
        self._count = 0
        self._is_awake = False
        self._closed = False

    def __bool__(self) -> bool:
        """Whether changes are of any use here."""
        return self._is_awake

    def publish(self, changes: Sequence[OrderChange]) -> None:
        """Tells the readers, at once or with what else comes meanwhile."""
        if not self._is_awake or not changes:
            return
        self._fresh += changes
        if self._flush_timer is None:
            interval_s = min(max(FLUSH_S, self._count / FLUSHES_PER_S), LONGEST_FLUSH_S)
            wait_s = max(0.0, self._flushed_s + interval_s - self._clock())
            self._flush_timer = self._loop.call_later(wait_s, self._flush)

    def open(self, head: RequestHead, interest: EventFilter, last_id: str | None) -> None:
        """Answers with a stream that goes on until the reader or `close` ends it.

        Raises QueueFullError where there are as many readers as there may be, QueueClosedError after `close`.
        """
        if self._closed:
            raise QueueClosedError
        if self._count >= self._max_readers:
            raise QueueFullError
        self._is_awake = True
        self._flush()
        position = self._log.end if last_id is None else self._log.after(last_id)
        # An event without data is not handed to the page, but its id is remembered from then on.
        greeting = f"retry: {RETRY_MS}\nid: {self._log.id_of((position or self._log.end) - 1)}\n"
        if position is None:
            position = self._log.end
            greeting += "event: reset\ndata: {}\n"
        reader = OrderEventReader(
            head, interest=interest, log=self._log, position=position, forget=self._forget, clock=self._clock
        )
        self._readers[interest].add(reader)
        self._count += 1
        try:
            reader.start(greeting.encode() + b"\n")
        except BaseException:
            self._forget(reader)
            raise

    def beat(self) -> None:
        """Tells quiet readers that all is well, and drops those that are too slow; to be called each `BEAT_S`."""
        now_s = self._clock()
        for reader in self._everybody():
            quiet_s = now_s - reader.written_s
            if reader.is_left_behind or reader.is_stalled(now_s):
                reader.drop()
            elif not reader.is_busy and quiet_s > HEARTBEAT_S - BEAT_S:
                # With an id, or one who hears of few orders could soon not tell from where to go on.
                reader.tell(b":\nid: %b\n\n" % self._log.id_of(self._log.end - 1).encode())

    def close(self) -> None:
        """Tells what has happened, and ends every stream; may be called twice."""
        self._closed = True
        self._flush()
        for reader in self._everybody():
            reader.end()

    def _everybody(self) -> list[OrderEventReader]:
        return [reader for readers in self._readers.values() for reader in readers]

    def _forget(self, reader: OrderEventReader) -> None:
        readers = self._readers.get(reader.interest, set())
        if reader in readers:
            self._count -= 1
            readers.remove(reader)
            if not readers:
                del self._readers[reader.interest]

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        self._flushed_s = self._clock()
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        events = self._log.append(fresh)
        # Who is busy goes on from its place in the log once it has taken what it has.
        if everything := [reader for reader in self._readers.get(ALL_EVENTS, ()) if not reader.is_busy]:
            text = b"".join([event.text for event in events])
            chunk = framed(text)
            for reader in everything:
                reader.tell(text, chunk)
        for reader, texts in self._matches(events).items():
            reader.tell(b"".join(texts))

    def _matches(self, events: Sequence[Event]) -> dict[OrderEventReader, list[bytes]]:
        """What each reader that wants a part of the events is to be told."""
        found: defaultdict[OrderEventReader, list[bytes]] = defaultdict(list)
        if self._readers.keys() <= {ALL_EVENTS}:
            return found
        for event in events:
            order_id, user_id = event.order_id, event.user_id
            for interest in ((order_id, None), (None, user_id), (order_id, user_id)):
                for reader in self._readers.get(interest, ()):
                    if not reader.is_busy:
                        found[reader].append(event.text)
        return found


class OrderEventsExchange(HTTPMessageDelegate):
    """`GET /orders/events`: hands the request to the streams, or refuses it."""

    def __init__(self, head: RequestHead, *, streams: OrderEventStreams, refuse: Refuse) -> None:
        self._head = head
        self._streams = streams
        self._refuse = refuse

    def finish(self) -> None:
        try:
            parameters = Parameters(self._head.as_request().query_arguments, known=("order_id", "user_id"))
            interest = EventFilter(
                parameters.integer("order_id", 1, MAX_ID),
                parameters.integer("user_id", 1, MAX_ID),
            )
            parameters.check()
            self._streams.open(self._head, interest, self._head.headers.get("Last-Event-ID") or None)
        except Exception as error:  # noqa: BLE001 - the request's top: everything becomes an answer
            self._refuse(self._head, error)
