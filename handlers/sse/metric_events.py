"""`GET /metrics/events`: the metrics of the last ten minutes, then the metrics of each second. Runs on the event loop.

Each event is rendered once for all readers. No reader has a queue: a slow reader misses the events that are published
while an earlier event is still being sent to it.
"""

from collections.abc import Callable

from tornado.httputil import HTTPMessageDelegate

from handlers.metrics.history import History
from handlers.metrics.snapshot import SnapshotSource, storage_view
from handlers.requests.error_responses import ErrorResponder
from handlers.requests.exchange import OK
from handlers.requests.query_parameters import QueryParameters
from handlers.requests.request_head import RequestHead
from handlers.sse.connection import RETRY_MS, SseConnection, as_chunk
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.json_encoder import encode
from models.errors import QueueClosedError, QueueFullError
from models.health import StorageStatus
from models.order import Totals

KEY_SCOPE = "Orders-Key-Scope"
"""The header that tells the dashboard the scope of its API key."""


class MetricEventStreams:
    """The readers of metric events. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        *,
        snapshots: SnapshotSource,
        history: History,
        clock: Callable[[], float],
        max_readers: int,
    ) -> None:
        self._snapshots = snapshots
        self._history = history
        self._clock = clock
        self._max_readers = max_readers
        self._readers: set[SseConnection] = set()
        self._metrics = b""
        self._first_events: tuple[bytes, bytes] | None = None
        self._closed = False

    @property
    def readers(self) -> list[SseConnection]:
        """The open readers."""
        return list(self._readers)

    def open(self, head: RequestHead) -> None:
        """Responds with a stream, which lasts until the reader disconnects or `close` is called.

        Raises QueueFullError if there are `max_readers` readers, QueueClosedError after `close`.
        """
        if self._closed:
            raise QueueClosedError
        if len(self._readers) >= self._max_readers:
            raise QueueFullError
        reader = SseConnection(head, readers=self._readers, clock=self._clock)
        self._readers.add(reader)
        try:
            reader.start(*self._render_first_events())
        except BaseException:
            self._readers.discard(reader)
            raise

    def publish(self, totals: Totals | None, status: StorageStatus) -> None:
        """Sends the metrics to the readers and adds a point to the history. Must be called once a second.

        `totals` is None if the totals can't be read. Then only the state of the storage is sent.
        """
        self._first_events = None
        if totals:
            self._metrics = text = _event(b"metrics", encode(self._snapshots.take(totals).as_view(status)))
            if point := self._history.add(totals):
                text += _event(b"point", encode(point))
        else:
            self._metrics = text = _event(b"storage", encode(storage_view(status)))
        chunk = as_chunk(text)
        for reader in self.readers:
            if not reader.is_busy:
                reader.write(text, chunk)

    def check_readers(self) -> None:
        """Disconnects stalled readers. Must be called once a second."""
        now_s = self._clock()
        for reader in self.readers:
            if reader.is_stalled(now_s):
                reader.close()

    def close(self) -> None:
        """Closes every stream. Safe to call twice."""
        self._closed = True
        for reader in self.readers:
            reader.finish()

    def _render_first_events(self) -> tuple[bytes, bytes]:
        """The first events for a new reader, as `text, as_chunk(text)`. Rendered at most once a second."""
        if self._first_events is None:
            history = _event(b"history", self._history.render())
            text = b"retry: %d\n\n%b%b" % (RETRY_MS, history, self._metrics)
            self._first_events = text, as_chunk(text)
        return self._first_events


class MetricEventsExchange(HTTPMessageDelegate):
    """`GET /metrics/events`: opens a stream, or responds with a problem."""

    def __init__(
        self, head: RequestHead, *, streams: MetricEventStreams, in_flight: InFlightRequests, errors: ErrorResponder
    ) -> None:
        self._head = head
        self._in_flight = in_flight
        self._streams = streams
        self._errors = errors

    def finish(self) -> None:
        try:
            QueryParameters(self._head.as_request().query_arguments, allowed=()).check()
            self._head.response_headers[KEY_SCOPE] = self._head.scope
            self._streams.open(self._head)
            self._in_flight.responses[OK.code] += 1
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the request
            self._errors.respond(self._head, error)


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, data)
