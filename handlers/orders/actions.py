"""Actions on stored orders: cancel one, retry one, retry many. Runs on the event loop."""

import logging
from asyncio import Future

from handlers.orders.order_view import order_view
from handlers.orders.single import order_not_found, parse_order_id
from handlers.problems.problem import TEMPORARY_ERRORS, Problem, problem_for
from handlers.requests.base_handler import BaseHandler
from handlers.requests.query_parameters import QueryParameters
from handlers.security.cross_origin import reject_cross_origin
from handlers.service import Service
from handlers.transport.in_flight import InFlightRequests
from models.order import Status
from models.writes.commands import RetrySelection, StatusChanged

_log = logging.getLogger("orders.erasure")

FILTERS = ("status", "error", "created_after", "created_before")


class _ActionHandler(BaseHandler):
    """The base class of handlers that change the status of one order and respond with the order."""

    def initialize(self, *, in_flight: InFlightRequests, service: Service) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._service = service

    def _act(self, order_id: int) -> Future[StatusChanged | None]:
        raise NotImplementedError

    async def post(self, id_text: str) -> None:
        reject_cross_origin(self.request.headers)
        order_id = parse_order_id(id_text)
        changed = None if order_id is None else await self._act(order_id)
        if changed is None:
            raise order_not_found(id_text)
        self.answer_json(order_view(changed.order))


class CancelHandler(_ActionHandler):
    """`POST /order/{id}/cancel`"""

    def _act(self, order_id: int) -> Future[StatusChanged | None]:
        return self._service.cancel(order_id)


class RetryHandler(_ActionHandler):
    """`POST /order/{id}/retry`"""

    def _act(self, order_id: int) -> Future[StatusChanged | None]:
        return self._service.retry(order_id)


class EraseHandler(BaseHandler):
    """`POST /order/{id}/erase`: removes personal data from a Completed, Failed or Cancelled order."""

    def initialize(self, *, in_flight: InFlightRequests, service: Service) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._service = service

    async def post(self, id_text: str) -> None:
        reject_cross_origin(self.request.headers)
        order_id = parse_order_id(id_text)
        order = None if order_id is None else await self._service.erase(order_id)
        if order is None:
            raise order_not_found(id_text)
        _log.info("erased the personal data of order %d", order.order_id, extra={"order_id": order.order_id})
        self.answer_json(order_view(order))


class RetryManyHandler(BaseHandler):
    """`POST /orders/retry?status=…`: retries the selected orders. Each transaction examines at most 1,000 orders."""

    def initialize(self, *, in_flight: InFlightRequests, service: Service) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._service = service

    async def post(self) -> None:
        reject_cross_origin(self.request.headers)
        rest: RetrySelection | None = _parse_selection(QueryParameters(self.request.query_arguments, allowed=FILTERS))
        count = 0
        while rest is not None:
            try:
                part = await self._service.retry_selected(rest)
            except TEMPORARY_ERRORS as error:
                if not count:
                    raise
                problem = problem_for(error)
                detail = f"{count} of the orders will be retried; send the request again for the others."
                raise Problem(problem.kind, detail, members={"retried": count}, headers=problem.headers) from error
            count += len(part.orders)
            rest = part.rest
        self.answer_json({"retried": count})


def _parse_selection(parameters: QueryParameters) -> RetrySelection:
    """Parses the query parameters into a RetrySelection. Raises a Problem that lists every invalid parameter."""
    status = parameters.choice("status", (Status.FAILED, Status.PENDING), is_required=True)
    selection = RetrySelection(
        status=Status(status or Status.FAILED),
        error=parameters.text("error"),
        created_from_us=parameters.time("created_after"),
        created_until_us=parameters.time("created_before"),
    )
    parameters.check()
    return selection
