"""A real webhook receiver on loopback, which verifies what it gets. Each connection to it has a thread of its own."""

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
    """One webhook as it came; `number` counts those with its id, from 1, `arrived_s` is monotonic."""

    webhook_id: str
    number: int
    body: bytes
    arrived_s: float

    @property
    def order(self) -> Any:
        return json.loads(self.body)


class Reply(NamedTuple):
    """An answer; 2xx takes the order."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Silence(enum.Enum):
    """No answer at all."""

    HANG = "until the sender gives up"
    CLOSE = "at once"


Behaviour = Callable[[Delivery], Reply | Silence]


class Receiver:
    """Answers as `behave` says, which is called on the connections' threads; refuses connections while it is stopped.

    Its port is its own from the beginning to `close`, so that it can be started again where it was.
    """

    def __init__(self, behave: Behaviour, *, secret: str = SECRET) -> None:
        self.behave = behave
        self.deliveries: defaultdict[str, list[Delivery]] = defaultdict(list)
        """By webhook-id, all of them verified."""
        self.taken: set[str] = set()
        """Ids that got a 2xx."""
        self.hung_s: list[float] = []
        """How long each sender whom nobody answered waited before it gave up."""
        self.faults: list[str] = []
        """What could not be verified, or went wrong here."""
        self._webhook = Webhook(secret)
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._server: http.server.ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        # Bound but never listening: the port is refused to whoever connects, and given to nobody else.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port: int = self._place.getsockname()[1]
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
        """Cuts every connection and refuses new ones; may be called twice."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        with self._changed:
            for each in self._open:
                with contextlib.suppress(OSError):  # the other side was faster
                    each.shutdown(socket.SHUT_RDWR)
        self._server.server_close()  # joins the connections' threads
        self._server = self._thread = None

    def close(self) -> None:
        self.stop()
        self._place.close()

    def wait_for(self, condition: Callable[[], bool], *, within_s: float) -> None:
        """Returns when the condition holds, which is looked at whenever something has been delivered or answered."""
        with self._changed:
            assert self._changed.wait_for(condition, within_s), "it did not come to pass"

    def deliver(self, headers: Mapping[str, str], body: bytes) -> Reply | Silence:
        """What to answer to a webhook, which is verified and recorded; the names of `headers` in small letters."""
        try:
            self._webhook.verify(body, dict(headers), json_parse=False)
        except WebhookVerificationError as error:
            self.note_fault(f"{error}: {headers}")
            return Reply(401)
        webhook_id = headers["webhook-id"]
        with self._changed:
            number = len(self.deliveries[webhook_id]) + 1
            delivery = Delivery(webhook_id, number, body, time.monotonic())
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
        super().__init__(("127.0.0.1", receiver.port), _handler_of(receiver))

    def process_request(self, request: Any, client_address: Any) -> None:
        self._receiver.note_open(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._receiver.note_closed(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that was killed is nobody's fault here."""
        if not isinstance(error := sys.exception(), OSError):
            self._receiver.note_fault(repr(error))


def _handler_of(receiver: Receiver) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1
        connection: socket.socket

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the sender was killed while it wrote: nothing has been delivered
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
            if answer is Silence.HANG:
                begin_s = time.monotonic()
                self.connection.recv(1)  # nothing comes but the end
                receiver.note_hung(time.monotonic() - begin_s)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server calls it so
            pass

    return Handler
