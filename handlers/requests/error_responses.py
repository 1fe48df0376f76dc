"""Sends error responses to requests that Tornado reads. Runs on the event loop."""

from http import HTTPStatus
from typing import Any

from tornado.web import Application

from handlers.problems.problem import METHOD_NOT_ALLOWED, NOT_FOUND, Problem
from handlers.requests.base_handler import BaseHandler
from handlers.requests.request_head import RequestHead
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.request_ids import request_id_for
from handlers.transport.request_log import log_failure


class ErrorResponder:
    """Sends error responses for requests that no RequestHandler serves. Makes a ProblemHandler for each response."""

    def __init__(self, *, application: Application, in_flight: InFlightRequests) -> None:
        self._application = application
        self._in_flight = in_flight

    def respond(self, head: RequestHead, error: BaseException) -> None:
        """Sends `problem_for(error)`. If the request already has a response, only logs the error.

        The client would take a second response for the response to its next request.
        """
        if head.is_answered:
            request_id = request_id_for(head.header("X-Request-Id"))
            log_failure(request_id, head.path, error, order_id=head.subject.order_id, is_answered=True)
            return
        head.is_answered = True
        arguments = {"in_flight": self._in_flight, "error": error}
        self._application.get_handler_delegate(head.as_bodyless_request(), ProblemHandler, arguments).finish()


class ProblemHandler(BaseHandler):
    """Responds to every method with the problem for `error`."""

    def initialize(self, *, in_flight: InFlightRequests, error: BaseException) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._error = error

    def prepare(self) -> None:
        # Does not raise the error: many requests can share one exception, whose traceback each raise would make longer.
        error_info = (type(self._error), self._error, self._error.__traceback__)
        self.log_exception(*error_info)
        self.send_error(exc_info=error_info)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        # For a method that Tornado does not know, Tornado calls this with a 405 and does not call `prepare`. The
        # response must still describe `self._error`.
        kwargs["exc_info"] = (type(self._error), self._error, self._error.__traceback__)
        super().write_error(status_code, **kwargs)


class OtherMethodHandler(BaseHandler):
    """Responds with 405. The router passes requests with the methods in `allowed` to an Exchange instead."""

    def initialize(self, *, in_flight: InFlightRequests, allowed: tuple[str, ...]) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._allowed = allowed

    def prepare(self) -> None:
        raise Problem(METHOD_NOT_ALLOWED, f"This path allows {' and '.join(self._allowed)}.")

    def allowed_methods(self) -> list[str]:
        return list(self._allowed)


class NotFoundHandler(BaseHandler):
    """Responds with 404 on every path without a route."""

    def prepare(self) -> None:
        raise self._problem()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        # For a method that Tornado does not know, Tornado calls this with a 405 and does not call `prepare`. The
        # response must still be a 404.
        super().write_error(HTTPStatus.NOT_FOUND, exc_info=(Problem, self._problem(), None))

    def _problem(self) -> Problem:
        return Problem(NOT_FOUND, f"There is nothing at {self.request.path}.")
