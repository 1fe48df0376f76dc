"""The base class of all RequestHandlers: JSON, request ids, errors as RFC 9457 problems. Runs on the event loop."""

from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Any

from tornado.web import RequestHandler

from handlers.problems.problem import CONTENT_TYPE, problem_for, problem_members
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.json_encoder import encode
from handlers.transport.request_ids import request_id_for
from handlers.transport.request_log import log_failure


class BaseHandler(RequestHandler):
    """A RequestHandler. The URL table (`handlers/routes.py`) contains the keyword arguments of `initialize`."""

    request_id = ""

    def _count_in_flight(self, *, in_flight: InFlightRequests) -> None:
        """Counts the request in `in_flight` until `on_finish`. Each `initialize` must call this method."""
        self._in_flight = in_flight
        in_flight.begin(self)

    # Declared with the same type as in Tornado, so that subclasses can override `initialize` with other parameters.
    initialize: Callable[..., None] = _count_in_flight

    def set_default_headers(self) -> None:
        # Tornado calls this method again before it sends an error response. The request id must stay the same.
        self.request_id = self.request_id or request_id_for(self.request.headers.get("X-Request-Id"))
        self.set_header("X-Request-Id", self.request_id)
        for name, value in getattr(self.request, "response_headers", {}).items():
            self.set_header(name, value)
        self.clear_header("Server")

    def on_finish(self) -> None:
        self._in_flight.end(self)

    def compute_etag(self) -> str | None:
        return None

    def answer_json(self, value: Any, *, content_type: str = "application/json") -> None:
        """Sends `value` as JSON, and finishes the response."""
        self.set_header("Content-Type", content_type)
        if self._in_flight.draining:
            self.set_header("Connection", "close")
        self.finish(encode(value))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if value is not None and problem_for(value, HTTPStatus.INTERNAL_SERVER_ERROR).status_code == 500:
            order_id = getattr(getattr(self.request, "subject", None), "order_id", None)
            log_failure(self.request_id, self.request.path, value, order_id=order_id)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        problem = problem_for(error, status_code)
        self.set_status(problem.kind.status)
        for name, value in problem.headers.items():
            self.set_header(name, value)
        if problem.kind.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.allowed_methods()))
        members = problem_members(problem, instance=self.request.path, request_id=self.request_id)
        self.answer_json(members, content_type=CONTENT_TYPE)

    def allowed_methods(self) -> list[str]:
        """The methods that the handler implements, for the Allow header."""
        return [
            method
            for method in self.SUPPORTED_METHODS
            if getattr(type(self), method.lower()) is not getattr(RequestHandler, method.lower())
        ]
