"""An `HttpThread` for tests: sends requests and collects what comes back."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import TracebackType

from tests.process import DEADLINE_S
from workers.backoff import Backoff
from workers.http.http_thread import HttpThread
from workers.http.messages import Failure, Request, Response
from workers.http.target import Target

SHORT_BACKOFF = Backoff(first_s=0.001, max_s=0.001)


class SentRequest:
    """An `Exchange` that puts its result into a queue."""

    def __init__(self, request: Request, results: SimpleQueue[Response | Failure]) -> None:
        self.request = request
        self._results = results

    def end(self, result: Response | Failure, duration_s: float) -> None:
        assert duration_s >= 0
        self._results.put(result)


class HttpClient:
    """Sends requests to `url`. Implements `ExchangeSource`."""

    def __init__(
        self,
        url: str,
        *,
        connections: int = 1,
        timeout_s: float = DEADLINE_S,
        backoff: Backoff = SHORT_BACKOFF,
        clock: Callable[[], float] = time.monotonic,
        results: SimpleQueue[Response | Failure] | None = None,
    ) -> None:
        self._waiting: deque[SentRequest] = deque()
        self._results = results or SimpleQueue()
        self.thread = HttpThread(
            name="http",
            target=Target(url=url, connect_timeout_s=timeout_s / 3, timeout_s=timeout_s),
            connections=connections,
            source=self,
            backoff=backoff,
            clock=clock,
        )

    def next_exchange(self) -> SentRequest | None:
        with contextlib.suppress(IndexError):
            return self._waiting.popleft()
        return None

    def post(self, *bodies: bytes) -> Sequence[Response | Failure]:
        """Sends all the bodies. Returns the results in the order in which they arrive."""
        self.begin(*bodies)
        return [self.next_result() for _ in bodies]

    def begin(self, *bodies: bytes) -> None:
        self.send(*(Request(["Content-Type: text/plain"], body) for body in bodies))

    def send(self, *requests: Request) -> None:
        self._waiting.extend(SentRequest(request, self._results) for request in requests)
        self.thread.wake()

    def next_result(self) -> Response | Failure:
        return self._results.get(timeout=DEADLINE_S)

    def __enter__(self) -> "HttpClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.thread.close()
