"""The result of `POST /orders` as the client sees it. Pure."""

import msgspec

from handlers.problems.problem import NOTHING_ACCEPTED, Problem
from models.errors import NotJsonError, OrderConflictError

MAX_LISTED = 1_000
"""The maximum number of listed rejections."""
MAX_DETAIL_CHARACTERS = 500
"""The maximum length of a rejection's `detail`, which can contain field names of any length."""


class Rejection(msgspec.Struct, gc=False):
    """A rejected order: status 409 if another order has its id, 422 if it is invalid."""

    index: int
    order_id: int | None
    status: int
    detail: str


class BulkView(msgspec.Struct):
    """The result for many orders. `index` counts array elements or lines, from 0."""

    accepted: int = 0
    duplicates: int = 0
    rejected: list[Rejection] = []
    rejected_total: int = 0

    def reject(self, index: int, error: Exception) -> None:
        self.rejected_total += 1
        if len(self.rejected) < MAX_LISTED:
            order_id = getattr(error, "order_id", None)
            status = 409 if isinstance(error, OrderConflictError) else 422
            detail = f"not JSON: {error}" if isinstance(error, NotJsonError) else str(error)
            self.rejected.append(Rejection(index, order_id, status, detail[:MAX_DETAIL_CHARACTERS]))

    def members(self) -> dict[str, object]:
        """The fields of this result, as members of a problem."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    def check_any_stored(self) -> None:
        """Raises a Problem if no order was accepted or already stored."""
        if not self.accepted and not self.duplicates:
            detail = "See `rejected` for the reasons." if self.rejected_total else "There were no orders."
            raise Problem(NOTHING_ACCEPTED, detail, members=self.members())
