"""Collects the errors of one order: lists the first errors, and counts all errors."""

from models.errors import FieldError, InvalidOrderError
from models.parsing.json_pointer import Path, pointer


class FieldErrors:
    """Keeps the first `max_listed` errors, and counts all errors in `total`."""

    def __init__(self, *, max_listed: int) -> None:
        self.total = 0
        self._max_listed = max_listed
        self._listed: list[FieldError] = []

    def add(self, path: Path, detail: str) -> None:
        """Adds an error of the value at this path."""
        self.total += 1
        if self.total <= self._max_listed:
            where = pointer(path)
            if not where.is_exact:
                detail = f"has a member that {detail}; its pointer is too long to be listed"
            self._listed.append(FieldError(where.text, detail))

    def as_exception(self, *, order_id: int | None = None) -> InvalidOrderError:
        """The exception for all errors. `order_id` is the order's id if the id is valid, else None."""
        return InvalidOrderError(self._listed, total=self.total, order_id=order_id)
