"""The log line of a failed request, and the order that a request is about. Usable on any thread."""

import logging
import re
from typing import Any

_ORDER_PATH = re.compile(r"/order/([1-9][0-9]{0,18})(?![^/?])")

_log = logging.getLogger(__name__)


def order_id_in(path: str) -> int | None:
    """The id of the order that the path names, such as `/order/5` or `/order/5/cancel`; None if it names no order."""
    found = _ORDER_PATH.match(path)
    return int(found[1]) if found else None


def log_failure(
    request_id: str, path: str, error: BaseException, *, order_id: int | None = None, is_answered: bool = False
) -> None:
    """Logs the error of a request, with its traceback.

    `order_id` is the id of the order in the body. `is_answered` means that the request already had a response.
    """
    fields: dict[str, Any] = {"request_id": request_id}
    if (named_id := order_id or order_id_in(path)) is not None:
        fields["order_id"] = named_id
    when = " after its response" if is_answered else ""
    _log.error("request %s failed%s: %s", request_id, when, path, exc_info=error, extra={"fields": fields})
