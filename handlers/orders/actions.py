"""What a person may have done to orders: cancel one, have failed ones tried again. Runs on the event loop."""

from collections.abc import Awaitable, Callable

from handlers.orders.order import order_id_of, unknown_order, view_of
from handlers.problems.problem import INVALID_PARAMETER, TEMPORARY_ERRORS, Problem, problem_of
from handlers.security.cross_origin import refuse_other_origins
from handlers.transport.base_handler import BaseHandler
from handlers.transport.in_flight import Traffic
from models.order import Order, Status
from models.writes import Retried


class ActionHandler(BaseHandler):
    """`POST /order/{id}/cancel` and `/retry`: does it, and answers with the order as it is then.

    `act` raises WrongStatusError where the order's status forbids it.
    """

    def initialize(self, *, traffic: Traffic, act: Callable[[int], Awaitable[Order | None]]) -> None:
        self._join(traffic=traffic)
        self._act = act

    async def post(self, digits: str) -> None:
        refuse_other_origins(self.request.headers)
        order_id = order_id_of(digits)
        order = None if order_id is None else await self._act(order_id)
        if order is None:
            raise unknown_order(digits)
        self.answer_json(view_of(order))


class RetryFailedHandler(BaseHandler):
    """`POST /orders/retry?status=Failed`: has every Failed order tried again.

    `retry_failed` takes a part of them at a time, those after a sequence, so that others get their turn in between.
    """

    def initialize(self, *, traffic: Traffic, retry_failed: Callable[[int], Awaitable[Retried]]) -> None:
        self._join(traffic=traffic)
        self._retry_failed = retry_failed

    async def post(self) -> None:
        refuse_other_origins(self.request.headers)
        self._check_parameters()
        count, part = 0, Retried([], 0)
        while True:
            try:
                part = await self._retry_failed(part.last)
            except TEMPORARY_ERRORS as error:
                if not count:
                    raise
                problem = problem_of(error)
                detail = f"{count} of the orders will be tried again; ask once more for the others."
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
            raise Problem(INVALID_PARAMETER, "Only status=Failed makes sense here.", members={"errors": errors})
