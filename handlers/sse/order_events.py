"""`GET /orders/events`: publishes every change of an order's status to many readers. Runs on the event loop.

Events are rendered once for all readers. No reader has a queue: a slow reader has a position in the EventLog. A reader
is disconnected when the log no longer contains the event at its position.
"""

import asyncio
from collections.abc import Callable, Sequence

from tornado.httputil import HTTPMessageDelegate

from handlers.requests.error_responses import ErrorResponder
from handlers.requests.query_parameters import QueryParameters
from handlers.requests.request_head import RequestHead
from handlers.sse.connection import RETRY_MS, as_chunk
from handlers.sse.event_log import EventFilter, EventLog
from handlers.sse.event_reader import OrderEventReader
from handlers.sse.reader_index import ReaderIndex
from models.changes import OrderChange
from models.errors import QueueClosedError, QueueFullError
from models.parsing.order_body import MAX_ID

MIN_FLUSH_INTERVAL_S = 0.1
MAX_FLUSH_INTERVAL_S = 1.0
WRITES_PER_S = 400
"""The intended number of writes per second to all readers together. This number determines the interval at which events
are sent, from `MIN_FLUSH_INTERVAL_S` to `MAX_FLUSH_INTERVAL_S`. The number of writes is limited, because each write
releases the GIL and takes it back. This takes more time than rendering the events."""
HEARTBEAT_S = 15.0
"""The longest time between two writes to a reader."""
CHECK_INTERVAL_S = 1.0
"""`check_readers` must be called at this interval."""


class OrderEventStreams:
    """The readers of order events, and the log that they read from. `clock` is monotonic, in seconds.

    Changes before the first reader connects are not added to the log, because no client has an event id from that time.
    """

    def __init__(self, *, log: EventLog, clock: Callable[[], float], max_readers: int) -> None:
        self._log = log
        self._clock = clock
        self._max_readers = max_readers
        self._loop = asyncio.get_running_loop()
        self._unpublished: list[OrderChange] = []
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flushed_s = 0.0
        self._readers = ReaderIndex()
        self._has_had_reader = False
        self._closed = False

    @property
    def wants_changes(self) -> bool:
        """Whether `publish` adds changes to the log: True from the first reader on."""
        return self._has_had_reader

    @property
    def readers(self) -> list[OrderEventReader]:
        """The open readers."""
        return list(self._readers)

    def publish(self, changes: Sequence[OrderChange]) -> None:
        """Sends the changes to the readers, immediately or together with later changes."""
        if not self._has_had_reader or not changes:
            return
        self._unpublished += changes
        if self._flush_timer is None:
            interval_s = min(max(MIN_FLUSH_INTERVAL_S, len(self._readers) / WRITES_PER_S), MAX_FLUSH_INTERVAL_S)
            delay_s = max(0.0, self._flushed_s + interval_s - self._clock())
            self._flush_timer = self._loop.call_later(delay_s, self._flush)

    def open(self, head: RequestHead, event_filter: EventFilter, last_id: str | None) -> None:
        """Responds with a stream, which lasts until the reader disconnects or `close` is called.

        `last_id` is the Last-Event-ID of a reader that reconnects. Raises QueueFullError if there are `max_readers`
        readers, QueueClosedError after `close`.
        """
        if self._closed:
            raise QueueClosedError
        if len(self._readers) >= self._max_readers:
            raise QueueFullError
        self._has_had_reader = True
        self._flush()
        position = self._log.end if last_id is None else self._log.number_after(last_id)
        # A browser drops an event without data but remembers its id.
        first_events = f"retry: {RETRY_MS}\nid: {self._log.id_of((position or self._log.end) - 1)}\n"
        if position is None:
            position = self._log.end
            first_events += "event: reset\ndata: {}\n"
        reader = OrderEventReader(
            head,
            event_filter=event_filter,
            log=self._log,
            position=position,
            readers=self._readers,
            clock=self._clock,
        )
        self._readers.add(reader)
        try:
            reader.start(first_events.encode() + b"\n")
        except BaseException:
            self._readers.discard(reader)
            raise

    def check_readers(self) -> None:
        """Sends heartbeats to idle readers and disconnects slow ones. Must be called every `CHECK_INTERVAL_S`."""
        now_s = self._clock()
        for reader in self._readers:
            idle_s = now_s - reader.last_write_s
            if reader.has_missed_events or reader.is_stalled(now_s):
                reader.close()
            elif not reader.is_busy and idle_s > HEARTBEAT_S - CHECK_INTERVAL_S:
                # Contains an id: a reader that gets few events can then reconnect even if its last event has left the
                # log.
                reader.send(b":\nid: %b\n\n" % self._log.id_of(self._log.end - 1).encode())

    def close(self) -> None:
        """Publishes the last changes and closes every stream. Safe to call twice."""
        self._closed = True
        self._flush()
        for reader in self._readers:
            reader.finish()

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        self._flushed_s = self._clock()
        changes, self._unpublished = self._unpublished, []
        if not changes:
            return
        events = self._log.append(changes)
        # Busy readers read these events from the log when their last write has been sent.
        if unfiltered := self._readers.idle_unfiltered():
            text = b"".join([event.text for event in events])
            chunk = as_chunk(text)
            for reader in unfiltered:
                reader.send(text, chunk)
        for reader, texts in self._readers.match(events).items():
            reader.send(b"".join(texts))


class OrderEventsExchange(HTTPMessageDelegate):
    """`GET /orders/events`: opens a stream, or responds with a problem."""

    def __init__(self, head: RequestHead, *, streams: OrderEventStreams, errors: ErrorResponder) -> None:
        self._head = head
        self._streams = streams
        self._errors = errors

    def finish(self) -> None:
        try:
            parameters = QueryParameters(self._head.as_request().query_arguments, allowed=("order_id", "user_id"))
            event_filter = EventFilter(
                parameters.integer("order_id", 1, MAX_ID),
                parameters.integer("user_id", 1, MAX_ID),
            )
            parameters.check()
            self._streams.open(self._head, event_filter, self._head.headers.get("Last-Event-ID") or None)
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the request
            self._errors.respond(self._head, error)
