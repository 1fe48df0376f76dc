"""`GET /metrics/events`: the metrics of the last ten minutes, then those of each second. Runs on the event loop.

Each event is rendered once for all readers, and no reader has a queue: one that has not read what it was sent misses
the events in between.
"""

from collections.abc import Callable

from tornado.httputil import HTTPMessageDelegate

from handlers.metrics.history import History
from handlers.metrics.snapshot import SnapshotSource
from handlers.sse.connection import RETRY_MS, SseConnection, framed
from handlers.transport.exchange import Refuse
from handlers.transport.json_encoder import encode
from handlers.transport.query_parameters import Parameters
from handlers.transport.request_head import RequestHead
from models.errors import QueueClosedError, QueueFullError
from models.order import Totals


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
        self._greeting: tuple[bytes, bytes] | None = None
        self._closed = False

    def open(self, head: RequestHead) -> None:
        """Answers with a stream that lasts until the reader or `close` ends it.

        Raises QueueFullError where there are as many readers as there may be, QueueClosedError after `close`.
        """
        if self._closed:
            raise QueueClosedError
        if len(self._readers) >= self._max_readers:
            raise QueueFullError
        reader = SseConnection(head, forget=lambda: self._readers.discard(reader), clock=self._clock)
        self._readers.add(reader)
        try:
            reader.start(*self._greet())
        except BaseException:
            self._readers.discard(reader)
            raise

    def tell(self, totals: Totals, *, is_writable: bool = True) -> None:
        """Sends the metrics to all readers and adds a point to the history. To be called once a second.

        `is_writable`: the last write reached the disk.
        """
        self._greeting = None
        trouble = b"" if is_writable else _event(b"storage", b'{"is_writable":false}')
        self._metrics = text = trouble + _event(b"metrics", encode(self._snapshots.take(totals).as_view()))
        if point := self._history.add(totals):
            text += _event(b"point", encode(point))
        chunk = framed(text)
        for reader in list(self._readers):
            if not reader.is_busy:
                reader.write(text, chunk)

    def beat(self) -> None:
        """Drops readers that have stopped reading. To be called each second."""
        now_s = self._clock()
        for reader in list(self._readers):
            if reader.is_stalled(now_s):
                reader.drop()

    def close(self) -> None:
        """Ends every stream. May be called twice."""
        self._closed = True
        for reader in list(self._readers):
            reader.end()

    def _greet(self) -> tuple[bytes, bytes]:
        """The first events of a reader, plain and as a chunk: the same for all readers of one second."""
        if self._greeting is None:
            history = _event(b"history", self._history.render())
            text = b"retry: %d\n\n%b%b" % (RETRY_MS, history, self._metrics)
            self._greeting = text, framed(text)
        return self._greeting


class MetricEventsExchange(HTTPMessageDelegate):
    """`GET /metrics/events`: opens a stream, or refuses the request."""

    def __init__(self, head: RequestHead, *, streams: MetricEventStreams, refuse: Refuse) -> None:
        self._head = head
        self._streams = streams
        self._refuse = refuse

    def finish(self) -> None:
        try:
            Parameters(self._head.as_request().query_arguments, known=()).check()
            self._streams.open(self._head)
        except Exception as error:  # noqa: BLE001 - the request's top: everything becomes an answer
            self._refuse(self._head, error)


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, data)
