"""The JSON object that `POST /orders` responds with. No I/O."""

import msgspec

from handlers.problems.problem import NOTHING_ACCEPTED, OVERLOADED, RETRY_AFTER_S, Problem, problem_for
from models.errors import BacklogFullError, NotJsonError, OrderConflictError, StorageError

MAX_LISTED = 1_000
"""The maximum number of rejections in `BulkView.rejected`."""
MAX_DETAIL_CHARACTERS = 500
"""The maximum length of a rejection's `detail`, which can contain field names of any length."""


class Rejection(msgspec.Struct, gc=False):
    """A rejected order: status 409 if another order has its id, 422 if it is invalid, 503 if it can't be stored now."""

    index: int
    order_id: int | None
    status: int
    detail: str


class BulkView(msgspec.Struct):
    """The result for many orders. In `rejected`, `index` is the position in the array or the line number, from 0.

    `refused_total` counts the orders that were rejected only because too many orders are Pending. Clients can send
    these orders again later.
    """

    accepted: int = 0
    duplicates: int = 0
    rejected: list[Rejection] = []
    rejected_total: int = 0
    refused_total: int = 0

    def reject(self, index: int, error: Exception, order_id: int | None = None) -> None:
        """Adds a rejection. `order_id` is used only if the error has no attribute `order_id`."""
        self.rejected_total += 1
        self.refused_total += isinstance(error, BacklogFullError)
        if len(self.rejected) < MAX_LISTED:
            order_id = getattr(error, "order_id", order_id)
            self.rejected.append(Rejection(index, order_id, _status_of(error), _detail_of(error)))

    def members(self) -> dict[str, object]:
        """The fields of this result, as members of a problem."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    def check_any_stored(self) -> None:
        """Raises a Problem if no order was accepted or already stored."""
        if self.accepted or self.duplicates:
            return
        if self.refused_total:
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            detail = "Too many orders are Pending. Send the orders with status 503 in `rejected` again later."
            raise Problem(OVERLOADED, detail, members=self.members(), headers=headers)
        detail = "See `rejected` for the reasons." if self.rejected_total else "There were no orders."
        raise Problem(NOTHING_ACCEPTED, detail, members=self.members())


def _status_of(error: Exception) -> int:
    if isinstance(error, OrderConflictError):
        return 409
    return 503 if isinstance(error, BacklogFullError | StorageError) else 422


def _detail_of(error: Exception) -> str:
    if isinstance(error, StorageError):
        return problem_for(error).detail
    detail = f"not JSON: {error}" if isinstance(error, NotJsonError) else str(error)
    return detail[:MAX_DETAIL_CHARACTERS]
