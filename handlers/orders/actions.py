"""Actions on stored orders: cancel one, retry one, retry all Failed ones. Runs on the event loop."""

from asyncio import Future

from handlers.orders.order_view import order_view
from handlers.orders.single import order_not_found, parse_order_id
from handlers.problems.problem import INVALID_PARAMETER, TEMPORARY_ERRORS, Problem, error_members, problem_for
from handlers.requests.base_handler import BaseHandler
from handlers.security.cross_origin import reject_cross_origin
from handlers.service import Service
from handlers.transport.in_flight import InFlightRequests
from models.order import Status
from models.writes import RetriedOrders, StatusChanged


class _ActionHandler(BaseHandler):
    """Changes one order's status, and responds with the order."""

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


class RetryFailedHandler(BaseHandler):
    """`POST /orders/retry?status=Failed`: makes every Failed order Pending, in transactions of at most 1,000 orders."""

    def initialize(self, *, in_flight: InFlightRequests, service: Service) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._service = service

    async def post(self) -> None:
        reject_cross_origin(self.request.headers)
        self._check_parameters()
        count, part = 0, RetriedOrders([], 0)
        while True:
            try:
                part = await self._service.retry_failed(part.last_sequence)
            except TEMPORARY_ERRORS as error:
                if not count:
                    raise
                problem = problem_for(error)
                detail = f"{count} of the orders will be retried; send the request again for the others."
                raise Problem(problem.kind, detail, members={"retried": count}, headers=problem.headers) from error
            if not part.orders:
                break
            count += len(part.orders)
        self.answer_json({"retried": count})

    def _check_parameters(self) -> None:
        given = self.request.query_arguments
        errors = [{"parameter": name, "detail": "is not known here"} for name in given if name != "status"]
        if given.get("status") != [Status.FAILED.encode()]:
            errors.append({"parameter": "status", "detail": "must be Failed"})
        if errors:
            raise Problem(INVALID_PARAMETER, "The only valid query is status=Failed.", members=error_members(errors))
