"""The handlers that answer with an error: a given problem, 404 and 405. Run on the event loop."""

from http import HTTPStatus
from typing import Any

from handlers.problems.problem import METHOD_NOT_ALLOWED, NOT_FOUND, Problem
from handlers.transport.base_handler import BaseHandler
from handlers.transport.in_flight import InFlightRequests


class ProblemHandler(BaseHandler):
    """Answers every method with one problem."""

    def initialize(self, *, in_flight: InFlightRequests, error: BaseException) -> None:
        self._join(in_flight=in_flight)
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

    def initialize(self, *, in_flight: InFlightRequests, allowed: tuple[str, ...]) -> None:
        self._join(in_flight=in_flight)
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
