"""`GET /metrics/events`: the metrics of the last minutes, hour or day, then the metrics of each second.

Runs on the event loop.

Each event is rendered once for all readers. No reader has a queue: a slow reader misses the events that are published
while an earlier event is still being sent to it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tornado.httputil import HTTPMessageDelegate

from handlers.metrics.history import LENGTHS_S, RANGES_S, History
from handlers.metrics.point import Point
from handlers.metrics.snapshot import SnapshotSource, storage_view
from handlers.requests.error_responses import ErrorResponder
from handlers.requests.exchange import OK
from handlers.requests.query_parameters import QueryParameters
from handlers.requests.request_head import RequestHead
from handlers.sse.connection import RETRY_MS, SseConnection, as_chunk
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.json_encoder import encode
from models.database.health import StorageStatus
from models.errors import QueueClosedError, QueueFullError
from models.order import Totals

KEY_SCOPE = "Orders-Key-Scope"
"""The header that tells the dashboard the scope of its API key."""
DEFAULT_RANGE = "10m"


class _FirstEvents(NamedTuple):
    """The first events of a stream, as `text, as_chunk(text)`, and the length of the intervals of its points."""

    interval_s: int
    text: bytes
    chunk: bytes


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
        self._readers: dict[int, set[SseConnection]] = {interval_s: set() for interval_s in LENGTHS_S}
        """The open readers, by the length of the intervals of their points in seconds."""
        self._metrics = b""
        self._first_events: dict[int, _FirstEvents] = {}
        self._closed = False

    @property
    def readers(self) -> list[SseConnection]:
        """The open readers."""
        return [reader for readers in self._readers.values() for reader in readers]

    def open(self, head: RequestHead, *, range_s: int) -> None:
        """Responds with a stream, which lasts until the reader disconnects or `close` is called.

        The stream begins with the history of the last `range_s` seconds.

        Raises QueueFullError if there are `max_readers` readers, QueueClosedError after `close`.
        """
        if self._closed:
            raise QueueClosedError
        if len(self.readers) >= self._max_readers:
            raise QueueFullError
        first = self._render_first_events(range_s)
        readers = self._readers[first.interval_s]
        reader = SseConnection(head, readers=readers, clock=self._clock)
        readers.add(reader)
        try:
            reader.start(first.text, first.chunk)
        except BaseException:
            readers.discard(reader)
            raise

    def publish(self, totals: Totals | None, status: StorageStatus) -> None:
        """Sends the metrics to the readers and adds a point to the history. Must be called once a second.

        `totals` is None if the totals can't be read. Then only the state of the storage is sent.
        """
        self._first_events.clear()
        if totals:
            self._metrics = _event(b"metrics", encode(self._snapshots.take(totals).as_view(status)))
            self._history.add(totals)
        else:
            self._metrics = _event(b"storage", encode(storage_view(status)))
        for interval_s, points in self._history.take_changes().items():
            self._send(points, list(self._readers[interval_s]))

    def _send(self, points: Iterable[Point], readers: Sequence[SseConnection]) -> None:
        """Sends the current metrics and the points to those readers that are not busy."""
        if not readers:
            return
        text = self._metrics + b"".join(_event(b"point", encode(point)) for point in points)
        chunk = as_chunk(text)
        for reader in readers:
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

    def _render_first_events(self, range_s: int) -> _FirstEvents:
        """The first events for a new reader. Rendered at most once a second for each range."""
        if range_s not in self._first_events:
            history = self._history.render(range_s)
            text = b"retry: %d\n\n%b%b" % (RETRY_MS, _event(b"history", history.json), self._metrics)
            self._first_events[range_s] = _FirstEvents(history.interval_s, text, as_chunk(text))
        return self._first_events[range_s]


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
            parameters = QueryParameters(self._head.as_request().query_arguments, allowed=("range",))
            chosen = parameters.choice("range", RANGES_S) or DEFAULT_RANGE
            parameters.check()
            self._head.response_headers[KEY_SCOPE] = self._head.scope
            self._streams.open(self._head, range_s=RANGES_S[chosen])
            self._in_flight.responses[OK.code] += 1
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the request
            self._errors.respond(self._head, error)


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, data)
