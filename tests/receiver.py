"""A webhook receiver on loopback that verifies every delivery. Each connection has a thread of its own."""

import contextlib
import enum
import http.server
import json
import socket
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple

from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + "c2VjcmV0LWluLXRlc3RzLW9ubHktMDEyMzQ1Njc4OQ=="


class Delivery(NamedTuple):
    """One request. `number` counts the requests with this id, from 1. `arrived_s` is monotonic.

    The names in `headers` are lower case.
    """

    webhook_id: str
    number: int
    body: bytes
    arrived_s: float
    headers: Mapping[str, str] = {}

    @property
    def order(self) -> Any:
        return json.loads(self.body)


class Reply(NamedTuple):
    """A response. A 2xx accepts the order."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class NoAnswer(enum.Enum):
    """No response. The value says when the connection is closed."""

    HANG = "when the sender gives up"
    CLOSE = "at once"


Behaviour = Callable[[Delivery], Reply | NoAnswer]


class Receiver:
    """Sends the responses that `behave` returns. `behave` is called on the threads of the connections.

    While the receiver is stopped, connections are refused. `stop` and `start` do not change the port.
    """

    def __init__(self, behave: Behaviour, *, secret: str = SECRET) -> None:
        self.behave = behave
        self.deliveries: defaultdict[str, list[Delivery]] = defaultdict(list)
        """The verified requests, by webhook-id."""
        self.taken: set[str] = set()
        """The webhook-ids that got a 2xx."""
        self.hung_s: list[float] = []
        """How long the sender waited for each response that was never sent (`NoAnswer.HANG`), in seconds."""
        self.faults: list[str] = []
        """Requests that failed verification, and errors of the receiver."""
        self._webhook = Webhook(secret)
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._server: http.server.ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        # Bound, but not listening: connections to the port are refused, and no other program can get the port.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/orders?shop=1"

    def __enter__(self) -> "Receiver":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Closes every connection and refuses new ones. Can be called twice."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        with self._changed:
            for each in self._open:
                with contextlib.suppress(OSError):  # the sender closed it first
                    each.shutdown(socket.SHUT_RDWR)
        self._server.server_close()  # joins the connections' threads
        self._server = self._thread = None

    def close(self) -> None:
        self.stop()
        self._reserved.close()

    def wait_for(self, condition: Callable[[], bool], *, within_s: float) -> None:
        """Returns when the condition is true. The condition is checked after each delivery and each fault."""
        with self._changed:
            assert self._changed.wait_for(condition, within_s), "the condition was not true in time"

    def deliver(self, headers: Mapping[str, str], body: bytes) -> Reply | NoAnswer:
        """Verifies and records a request, and returns the response. The names in `headers` are lower case."""
        try:
            self._webhook.verify(body, dict(headers), json_parse=False)
        except WebhookVerificationError as error:
            self.note_fault(f"{error}: {headers}")
            return Reply(401)
        webhook_id = headers["webhook-id"]
        with self._changed:
            number = len(self.deliveries[webhook_id]) + 1
            delivery = Delivery(webhook_id, number, body, time.monotonic(), headers)
            self.deliveries[webhook_id].append(delivery)
        answer = self.behave(delivery)
        with self._changed:
            if isinstance(answer, Reply) and 200 <= answer.status < 300:
                self.taken.add(webhook_id)
            self._changed.notify_all()
        return answer

    def note_open(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.add(connection)

    def note_closed(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.discard(connection)

    def note_hung(self, duration_s: float) -> None:
        with self._changed:
            self.hung_s.append(duration_s)

    def note_fault(self, fault: str) -> None:
        with self._changed:
            self.faults.append(fault)
            self._changed.notify_all()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        super().__init__(("127.0.0.1", receiver.port), _handler_for(receiver))

    def process_request(self, request: Any, client_address: Any) -> None:
        self._receiver.note_open(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._receiver.note_closed(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Records all errors except OSError, because some tests kill the sender."""
        if not isinstance(error := sys.exception(), OSError):
            self._receiver.note_fault(repr(error))


def _handler_for(receiver: Receiver) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1
        connection: socket.socket

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the sender was killed while it wrote
                self.close_connection = True
                return
            answer = receiver.deliver({name.lower(): value for name, value in self.headers.items()}, body)
            if isinstance(answer, Reply):
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)
                return
            self.close_connection = True
            if answer is NoAnswer.HANG:
                begin_s = time.monotonic()
                self.connection.recv(1)  # returns when the sender closes the connection
                receiver.note_hung(time.monotonic() - begin_s)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server calls it so
            pass

    return Handler
