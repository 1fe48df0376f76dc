"""`GET /orders/events`: publishes every change of an order's status to many readers. Runs on the event loop.

Events are rendered once for all readers. No reader has a queue: a slow reader has a position in the EventLog. A reader
is disconnected when the log no longer contains the event at its position.
"""

import asyncio
from collections.abc import Callable, Sequence

from tornado.httputil import HTTPMessageDelegate

from handlers.requests.error_responses import ErrorResponder
from handlers.requests.exchange import OK, cancel_on_disconnect
from handlers.requests.query_parameters import QueryParameters
from handlers.requests.request_head import RequestHead
from handlers.sse.connection import RETRY_MS, as_chunk
from handlers.sse.event_ids import FeedIds, RunIds
from handlers.sse.event_log import Event, EventFilter, EventLog
from handlers.sse.event_reader import OrderEventReader
from handlers.sse.feed_progress import FeedProgress
from handlers.sse.reader_index import ReaderIndex
from handlers.transport.in_flight import InFlightRequests
from models.changes.feed import FeedRead, FeedRow
from models.changes.order_changes import OrderChange
from models.errors import QueueClosedError, QueueFullError
from models.parsing.order_body import MAX_ID

MIN_FLUSH_INTERVAL_S = 0.1
MAX_FLUSH_INTERVAL_S = 1.0
WRITES_PER_S = 400
"""The intended number of writes per second to all readers together. This number determines the interval at which events
are sent, from `MIN_FLUSH_INTERVAL_S` to `MAX_FLUSH_INTERVAL_S`. The number of writes is limited, because each write
releases the GIL and takes it back. A write takes more time than rendering the events."""
HEARTBEAT_S = 15.0
"""The longest time between two writes to a reader."""
CHECK_INTERVAL_S = 1.0
"""`check_readers` must be called at this interval."""
_RESET = "event: reset\ndata: {}\n"


class OrderEventStreams:
    """The readers of order events, and the log that they read from. `clock` is monotonic, in seconds.

    The log contains at least the last `max_events` events. If several servers use the database, the changes come from a
    feed: `has_feed`. Without a feed, `run` distinguishes the event ids of this process from the event ids of other
    processes.

    Changes before the first reader connects are not added to the log, because no client has an event id from that time.
    """

    def __init__(
        self, *, run: str, has_feed: bool, max_events: int, clock: Callable[[], float], max_readers: int
    ) -> None:
        self._feed_ids = FeedIds()
        self._feed = FeedProgress(self._feed_ids) if has_feed else None
        self._log = EventLog(ids=self._feed_ids if has_feed else RunIds(run), max_events=max_events)
        self._clock = clock
        self._max_readers = max_readers
        self._loop = asyncio.get_running_loop()
        self._unpublished: list[FeedRow] = []
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flushed_s = 0.0
        self._readers = ReaderIndex()
        self._has_had_reader = False
        self._closed = False

    @property
    def wants_changes(self) -> bool:
        """Whether `publish` or `publish_feed` must be called.

        Without a feed, this is True from the first reader on. With a feed, it is True while there are readers, because
        the feed also has the changes before a reader connects.
        """
        return self._has_had_reader if self._feed is None else bool(len(self._readers) or self._feed.waiting)

    @property
    def readers(self) -> list[OrderEventReader]:
        """The open readers."""
        return list(self._readers)

    def publish(self, changes: Sequence[OrderChange]) -> None:
        """Sends the changes to the readers, immediately or together with later changes."""
        if not self._has_had_reader or not changes:
            return
        self._publish([FeedRow(0, changes)])

    def publish_feed(self, read: FeedRead) -> None:
        """Like `publish`, for the changes in the next part of the feed."""
        if self._feed is None:
            raise AssertionError("there is no feed")
        if read.is_restart:
            self._restart(read)
        self._publish(read.rows)
        self._feed.note_read(read)

    def is_ready(self, last_id: str | None) -> bool:
        """Whether `open` can be called now. Before that, the request must wait for `until_ready`."""
        if self._feed is None:
            return True
        if not len(self._readers):
            self._feed.note_idle()
        return self._feed.is_ready(last_id)

    async def until_ready(self, last_id: str | None) -> None:
        """Waits until the log is up to date. Raises QueueFullError, QueueClosedError or StorageUnavailableError."""
        if self._feed:
            self._check_room()
            await self._feed.until_ready(last_id)

    def open(self, head: RequestHead, event_filter: EventFilter, last_id: str | None) -> None:
        """Responds with a stream, which lasts until the reader disconnects or `close` is called.

        `last_id` is the Last-Event-ID of a reader that reconnects. Raises QueueFullError if there are `max_readers`
        readers, QueueClosedError after `close`.
        """
        self._check_room()
        self._has_had_reader = True
        self._flush()
        position = self._log.end if last_id is None else self._log.number_after(last_id)
        # A browser drops an event without data but remembers its id.
        first_events = f"retry: {RETRY_MS}\nid: {self._log.id_of((position or self._log.end) - 1)}\n"
        if position is None:
            position = self._log.end
            first_events += _RESET
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
        """Sends heartbeats to idle readers and disconnects slow readers. Must be called every `CHECK_INTERVAL_S`."""
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
        if self._feed:
            self._feed.close()
        for reader in self._readers:
            reader.finish()

    def _check_room(self) -> None:
        """Raises an error if there can't be another reader."""
        if self._closed:
            raise QueueClosedError
        if len(self._readers) + (self._feed.waiting if self._feed else 0) >= self._max_readers:
            raise QueueFullError

    def _publish(self, rows: Sequence[FeedRow]) -> None:
        self._unpublished += rows
        if rows and self._flush_timer is None:
            interval_s = min(max(MIN_FLUSH_INTERVAL_S, len(self._readers) / WRITES_PER_S), MAX_FLUSH_INTERVAL_S)
            delay_s = max(0.0, self._flushed_s + interval_s - self._clock())
            self._flush_timer = self._loop.call_later(delay_s, self._flush)

    def _restart(self, read: FeedRead) -> None:
        """Empties the log, and tells the readers that events are missing."""
        self._flush()
        self._log.clear()
        self._feed_ids.restart(read.epoch, after=read.after)
        text = f"id: {self._log.id_of(self._log.end - 1)}\n{_RESET}\n".encode()
        for reader in self._readers:
            # A busy reader is disconnected, because the log does not have its next event. After reconnecting, the
            # reader gets a reset.
            if not reader.is_busy:
                reader.send(text)

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        self._flushed_s = self._clock()
        rows, self._unpublished = self._unpublished, []
        if not rows:
            return
        events: list[Event] = []
        for row in rows:
            events += self._log.append(row.changes, row=row.id)
        # Busy readers read these events from the log when their last write has been sent.
        if unfiltered := self._readers.idle_unfiltered():
            text = b"".join([event.text for event in events])
            chunk = as_chunk(text)
            for reader in unfiltered:
                reader.send(text, chunk)
        for reader, texts in self._readers.match(events).items():
            reader.send(b"".join(texts))


class OrderEventsExchange(HTTPMessageDelegate):
    """`GET /orders/events`: opens a stream, or responds with a problem.

    If the client disconnects before that, the request no longer counts as a reader.
    """

    def __init__(
        self, head: RequestHead, *, streams: OrderEventStreams, in_flight: InFlightRequests, errors: ErrorResponder
    ) -> None:
        self._head = head
        self._in_flight = in_flight
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
            last_id = self._head.headers.get("Last-Event-ID") or None
            if self._streams.is_ready(last_id):
                self._open(event_filter, last_id)
            else:
                opening = asyncio.create_task(self._open_when_ready(event_filter, last_id))
                cancel_on_disconnect(self._head, opening)
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the request
            self._errors.respond(self._head, error)

    def _open(self, event_filter: EventFilter, last_id: str | None) -> None:
        self._streams.open(self._head, event_filter, last_id)
        self._in_flight.responses[OK.code] += 1

    async def _open_when_ready(self, event_filter: EventFilter, last_id: str | None) -> None:
        try:
            await self._streams.until_ready(last_id)
            self._open(event_filter, last_id)
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the task
            self._errors.respond(self._head, error)
