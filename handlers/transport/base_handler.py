"""What every handler does alike: JSON out, problems and request ids. Runs on the event loop."""

import logging
import random
import re
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Any

import msgspec
from tornado.httputil import HTTPHeaders
from tornado.web import RequestHandler

from handlers.problems.problem import CONTENT_TYPE, METHOD_NOT_ALLOWED, NOT_FOUND, Problem, members_of, problem_of
from handlers.transport.in_flight import Traffic

_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
# Amounts are Decimals and leave as JSON numbers, digit for digit.
encode = msgspec.json.Encoder(decimal_format="number").encode


def request_id_of(headers: HTTPHeaders) -> str:
    """The id that the client gave in X-Request-Id, or a new one."""
    given = headers.get("X-Request-Id")
    if given and _REQUEST_ID.fullmatch(given):
        return given
    return f"{random.getrandbits(64):016x}"


class BaseHandler(RequestHandler):
    """A handler whose collaborators come as keywords from the route table."""

    request_id = ""

    def _join(self, *, traffic: Traffic) -> None:
        self._traffic = traffic
        traffic.enter()

    # As Tornado declares it, so that handlers with more collaborators may override it.
    initialize: Callable[..., None] = _join

    def set_default_headers(self) -> None:
        # Also runs before an error answer, for which the id must stay the same.
        self.request_id = self.request_id or request_id_of(self.request.headers)
        self.set_header("X-Request-Id", self.request_id)
        for name, value in getattr(self.request, "answer_headers", {}).items():
            self.set_header(name, value)
        self.clear_header("Server")

    def on_finish(self) -> None:
        self._traffic.leave()

    def compute_etag(self) -> str | None:
        return None

    def answer_json(self, value: Any, *, content_type: str = "application/json") -> None:
        """Ends the request with `value` as JSON."""
        self.set_header("Content-Type", content_type)
        if self._traffic.draining:
            self.set_header("Connection", "close")
        self.finish(encode(value))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if value is not None and problem_of(value, HTTPStatus.INTERNAL_SERVER_ERROR).status_code == 500:
            _log.error("request %s failed: %s", self.request_id, self.request.path, exc_info=value)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        problem = problem_of(error, status_code)
        self.set_status(problem.kind.status)
        for name, value in problem.headers.items():
            self.set_header(name, value)
        if problem.kind.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.set_header("Allow", ", ".join(self.allowed_methods()))
        members = members_of(problem, instance=self.request.path, request_id=self.request_id)
        self.answer_json(members, content_type=CONTENT_TYPE)

    def allowed_methods(self) -> list[str]:
        """The methods that the resource knows."""
        return [
            method
            for method in self.SUPPORTED_METHODS
            if getattr(type(self), method.lower()) is not getattr(RequestHandler, method.lower())
        ]


class ProblemHandler(BaseHandler):
    """Answers every method with one problem."""

    def initialize(self, *, traffic: Traffic, error: BaseException) -> None:
        self._join(traffic=traffic)
        self._error = error

    def prepare(self) -> None:
        # Not raised: an error that many requests share would grow by a traceback with each of them.
        error_info = (type(self._error), self._error, self._error.__traceback__)
        self.log_exception(*error_info)
        self.send_error(exc_info=error_info)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        # Also in place of Tornado's own error, which comes before `prepare` for a method that it does not know.
        kwargs["exc_info"] = (type(self._error), self._error, self._error.__traceback__)
        super().write_error(status_code, **kwargs)


class OtherMethodHandler(BaseHandler):
    """Answers the methods that a resource served elsewhere does not know."""

    def initialize(self, *, traffic: Traffic, allowed: tuple[str, ...]) -> None:
        self._join(traffic=traffic)
        self._allowed = allowed

    def prepare(self) -> None:
        raise Problem(METHOD_NOT_ALLOWED, f"This resource knows {' and '.join(self._allowed)}.")

    def allowed_methods(self) -> list[str]:
        return list(self._allowed)


class NotFoundHandler(BaseHandler):
    """Answers every path that no route knows."""

    def prepare(self) -> None:
        raise self._problem()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        # Also for a method that Tornado does not know, which it looks at first.
        super().write_error(HTTPStatus.NOT_FOUND, exc_info=(Problem, self._problem(), None))

    def _problem(self) -> Problem:
        return Problem(NOT_FOUND, f"There is nothing at {self.request.path}.")
