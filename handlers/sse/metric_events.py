"""`GET /metrics/events`: how it goes, each second, and before that how it went. Lives on the event loop.

What is written to the readers is rendered once and shared, and nobody has a queue: a reader that has not taken what it
was sent misses what comes meanwhile.
"""

from collections.abc import Callable

from tornado.httputil import HTTPMessageDelegate

from handlers.metrics.history import History
from handlers.metrics.snapshot import Figures
from handlers.sse.connection import RETRY_MS, EventConnection, framed
from handlers.transport.base_handler import encode
from handlers.transport.exchange import Incoming, Refuse
from handlers.transport.query_parameters import Parameters
from models.errors import QueueClosedError, QueueFullError
from models.order import Totals


class MetricsStreams:
    """The readers, and what they are told. `is_writable` says whether the last write worked, `clock` is in seconds."""

    def __init__(
        self,
        *,
        figures: Figures,
        history: History,
        is_writable: Callable[[], bool],
        clock: Callable[[], float],
        max_readers: int,
    ) -> None:
        self._figures = figures
        self._history = history
        self._is_writable = is_writable
        self._clock = clock
        self._max_readers = max_readers
        self._readers: set[EventConnection] = set()
        self._metrics = b""
        self._greeting: tuple[bytes, bytes] | None = None
        self._closed = False

    def open(self, incoming: Incoming) -> None:
        """Answers with a stream that goes on until the reader or `close` ends it.

        Raises QueueFullError where there are as many readers as there may be, QueueClosedError after `close`.
        """
        if self._closed:
            raise QueueClosedError
        if len(self._readers) >= self._max_readers:
            raise QueueFullError
        reader = EventConnection(incoming, forget=lambda: self._readers.discard(reader), clock=self._clock)
        self._readers.add(reader)
        try:
            reader.start(*self._greet())
        except BaseException:
            self._readers.discard(reader)
            raise

    def tell(self, totals: Totals) -> None:
        """Tells all readers what the totals come to, and adds to the history; to be called once a second."""
        self._greeting = None
        trouble = b"" if self._is_writable() else _event(b"storage", b'{"is_writable":false}')
        self._metrics = text = trouble + _event(b"metrics", encode(self._figures.view_of(totals)))
        if point := self._history.add(totals):
            text += _event(b"point", encode(point))
        chunk = framed(text)
        for reader in list(self._readers):
            if not reader.is_busy:
                reader.write(text, chunk)

    def beat(self) -> None:
        """Drops the readers that take nothing; to be called each second, whether there is something to tell or not."""
        now_s = self._clock()
        for reader in list(self._readers):
            if reader.is_stalled(now_s):
                reader.drop()

    def close(self) -> None:
        """Ends every stream; may be called twice."""
        self._closed = True
        for reader in list(self._readers):
            reader.end()

    def _greet(self) -> tuple[bytes, bytes]:
        """What a reader is told first, and that framed; the same for all who come within a second."""
        if self._greeting is None:
            history = _event(b"history", self._history.render())
            text = b"retry: %d\n\n%b%b" % (RETRY_MS, history, self._metrics)
            self._greeting = text, framed(text)
        return self._greeting


class MetricsExchange(HTTPMessageDelegate):
    """`GET /metrics/events`: hands the request to the streams, or refuses it."""

    def __init__(self, incoming: Incoming, *, streams: MetricsStreams, refuse: Refuse) -> None:
        self._incoming = incoming
        self._streams = streams
        self._refuse = refuse

    def finish(self) -> None:
        try:
            Parameters(self._incoming.as_request().query_arguments, known=()).check()
            self._streams.open(self._incoming)
        except Exception as error:  # noqa: BLE001 - the request's top: everything becomes an answer
            self._refuse(self._incoming, error)


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, data)
