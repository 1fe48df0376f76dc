"""`GET /orders`: lists orders, newest first, a page at a time. Runs on the event loop."""

import asyncio
import base64
import re
from urllib.parse import quote, urlencode

import msgspec

from handlers.orders.order_view import OrderView, order_view
from handlers.requests.base_handler import BaseHandler
from handlers.requests.query_parameters import QueryParameters
from handlers.service import Service
from handlers.transport.in_flight import InFlightRequests
from models.listing import HIGHEST, Listing, Page
from models.order import Status
from models.parsing.order_body import MAX_ID

MAX_LIMIT = 200
DEFAULT_LIMIT = 50
FILTERS = ("status", "user_id", "created_after", "created_before", "limit")
CURSOR = "cursor"

_CURSOR = re.compile(rb"1:([1-9][0-9]{0,18})")


class OrderPage(msgspec.Struct, gc=False):
    """A page of orders. `next_cursor` is the cursor of the next page, or null on the last page."""

    orders: list[OrderView]
    next_cursor: str | None


class ListingHandler(BaseHandler):
    """`GET /orders`. If the client disconnects before the query starts, the query is cancelled."""

    def initialize(self, *, in_flight: InFlightRequests, service: Service) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._service = service
        self._page: asyncio.Future[Page] | None = None

    async def get(self) -> None:
        parameters = QueryParameters(self.request.query_arguments, allowed=(*FILTERS, CURSOR))
        self._page = self._service.list_orders(_parse_listing(parameters))
        try:
            page = await self._page
        except asyncio.CancelledError:  # the client has disconnected
            return
        cursor = None
        if page.before is not None:
            cursor = cursor_of(page.before)
            self.set_header("Link", f'<{self.request.path}?{_next_query(parameters, cursor)}>; rel="next"')
        self.answer_json(OrderPage([order_view(order) for order in page.orders], cursor))

    head = get

    def on_connection_close(self) -> None:
        if self._page is not None:
            self._page.cancel()

    def allowed_methods(self) -> list[str]:
        # The router passes `POST /orders` to an Exchange.
        return [*super().allowed_methods(), "POST"]


def _parse_listing(parameters: QueryParameters) -> Listing:
    """Parses the query parameters into a Listing. Raises a Problem that lists every invalid parameter."""
    status = parameters.choice("status", tuple(Status))
    user_id = parameters.integer("user_id", 1, MAX_ID)
    created_from_us = parameters.time("created_after")
    created_until_us = parameters.time("created_before")
    limit = parameters.integer("limit", 1, MAX_LIMIT)
    cursor = parameters.text(CURSOR)
    before = HIGHEST if cursor is None else _parse_cursor(cursor)
    if before is None:
        parameters.add_error(CURSOR, "must be the next_cursor of a page")
    parameters.check()
    return Listing(
        limit=limit or DEFAULT_LIMIT,
        before=before or HIGHEST,
        status=None if status is None else Status(status),
        user_id=user_id,
        created_from_us=created_from_us,
        created_until_us=created_until_us,
    )


def _next_query(parameters: QueryParameters, cursor: str) -> str:
    """The query of the next page."""
    filters = [(name, text) for name in FILTERS if (text := parameters.text(name)) is not None]
    return urlencode([*filters, (CURSOR, cursor)], quote_via=quote)


def cursor_of(before: int) -> str:
    """The cursor of the page of orders whose sequence numbers are below `before`."""
    return base64.urlsafe_b64encode(b"1:%d" % before).decode().rstrip("=")


def _parse_cursor(cursor: str) -> int | None:
    """The sequence number in a cursor, the inverse of `cursor_of`. None if the cursor is invalid."""
    try:
        found = _CURSOR.fullmatch(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        return None
    if found is None or int(found[1]) > HIGHEST or cursor_of(int(found[1])) != cursor:
        return None
    return int(found[1])
