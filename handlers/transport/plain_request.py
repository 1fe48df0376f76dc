"""One request on the plain lane (`handlers/transport/lane.py`), and its response. Runs on the event loop."""

from collections.abc import Mapping
from typing import Protocol

from handlers.problems.problem import problem_for
from handlers.transport.plain_head import PlainHead
from handlers.transport.request_ids import request_id_for
from handlers.transport.request_log import log_failure
from handlers.transport.responses import CLOSE, header_lines, http_date, problem_response, response_head, status_line

NO_KEY = "-"
"""The `key_name` of a request without a valid API key."""
ADMIN = "admin"
"""The `scope` of a request if the server has no API keys."""


class ResponseSink(Protocol):
    """The connection that a plain request came from. LaneConnection implements it."""

    @property
    def client_address(self) -> str:
        """The IP address of the client."""

    @property
    def is_draining(self) -> bool:
        """Whether the server is stopping and serves its last requests. Then each response has `Connection: close`."""

    def send(self, request: "PlainRequest", response: bytes, rest: bytes = b"") -> None:
        """Sends the response, if the client is still connected. Called once for each request.

        `rest` is the end of the response, and is not copied, so that many slow clients can share a long body.
        """


class PlainRequest:
    """A request whose head is complete. The PlainHandler calls `respond` or `fail` once, at any time."""

    __slots__ = (
        "_sink",
        "body",
        "body_bytes",
        "head",
        "key_name",
        "order_id",
        "request_id",
        "response_headers",
        "scope",
        "started_ns",
        "status",
    )

    def __init__(self, sink: ResponseSink, head: PlainHead) -> None:
        self._sink = sink
        self.head = head
        self.body = b""
        """Empty until the request is complete."""
        self.started_ns = 0
        """`RequestRecorder.now_ns` when the head was complete; 0 without a RequestRecorder."""
        self.request_id = request_id_for(head.fields.get("x-request-id"))
        self.key_name = NO_KEY
        self.scope = ADMIN
        self.order_id: int | None = None
        """The id of the order in a valid body, for the log."""
        self.response_headers: dict[str, str] = {}
        self.status: int | None = None
        """The status of the response. None if no response has been sent."""
        self.body_bytes = 0
        """The length of the response body in bytes."""

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def path(self) -> str:
        return self.head.path

    @property
    def client_address(self) -> str:
        return self._sink.client_address

    def header(self, name: str) -> str | None:
        """The value of the header; None if it is missing. `name` is case-insensitive."""
        return self.head.fields.get(name.lower())

    def respond(self, status: int, body: bytes, lines: str = "") -> None:
        """Sends a response with the JSON text `body`, and with the headers that all responses have.

        `lines` are additional header lines. Each ends with a line break.
        """
        # Does not call `response_head`, which would take more time than all other work of the lane for a request.
        if self.response_headers:
            lines += header_lines(self.response_headers)
        head = (
            f"{status_line(status)}{lines}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Date: {http_date()}\r\nX-Request-Id: {self.request_id}\r\n"
        )
        if self.head.is_last or self._sink.is_draining:
            head += header_lines(self._close_header())
        self.status, self.body_bytes = status, len(body)
        self._sink.send(self, f"{head}\r\n".encode("latin-1") + body)

    def respond_as_handler(self, content_type: str, headers: Mapping[str, str], body: bytes) -> None:
        """Sends the same 200 as a BaseHandler that sets `headers`. `body` is not copied."""
        self.status, self.body_bytes = 200, len(body)
        all_headers = {
            "Content-Type": content_type,
            "Date": http_date(),
            "X-Request-Id": self.request_id,
            **self.response_headers,
            **headers,
            "Content-Length": str(len(body)),
            **self._close_header(),
        }
        self._sink.send(self, response_head(200, all_headers), body)

    @property
    def is_draining(self) -> bool:
        """Whether the server is stopping, so that each response has `Connection: close`."""
        return self._sink.is_draining

    def fail(self, error: BaseException) -> None:
        """Sends `problem_for(error)` as the response. Logs the error if its status is 500."""
        problem = problem_for(error)
        if problem.kind.status == 500:
            log_failure(self.request_id, self.path, error, order_id=self.order_id)
        headers = self.response_headers | problem.headers | (CLOSE if self._sink.is_draining else {})
        headers, body = problem_response(problem, request_id=self.request_id, instance=self.path, headers=headers)
        self.status, self.body_bytes = problem.kind.status, len(body)
        self._sink.send(self, response_head(problem.kind.status, headers | self._close_header()) + body)

    def _close_header(self) -> dict[str, str]:
        # As Tornado does: in HTTP/1.0, the close is the default, and only a drain is announced.
        is_announced = self._sink.is_draining or (self.head.is_last and not self.head.is_http_1_0)
        return CLOSE if is_announced else {}
