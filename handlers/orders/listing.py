"""`GET /orders`: lists orders, a page at a time as JSON, or all as NDJSON. Runs on the event loop."""

import asyncio
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec
from msgspec.structs import replace

from handlers.orders import export
from handlers.orders.cursor import cursor_of, parse_cursor
from handlers.orders.error_filter import page_with_error
from handlers.orders.order_view import OrderView, order_view
from handlers.requests.base_handler import BaseHandler
from handlers.requests.query_parameters import QueryParameters
from handlers.service import Service
from handlers.transport.in_flight import InFlightRequests
from models.listing import Listing, Page
from models.order import Status
from models.parsing.order_body import MAX_ID

MAX_LIMIT = 200
DEFAULT_LIMIT = 50
FILTERS = ("status", "user_id", "error", "created_after", "created_before", "oldest_first", "limit")
CURSOR = "cursor"
FORMAT = "format"
JSON, NDJSON = "json", "ndjson"


class OrderPage(msgspec.Struct, gc=False):
    """A page of orders. `next_cursor` is the cursor of the next page, or null on the last page.

    If the page is oldest first, `next_cursor` is null only if there is no order yet, because orders that are accepted
    later follow the last page.
    """

    orders: list[OrderView]
    next_cursor: str | None


class ListingHandler(BaseHandler):
    """`GET /orders`. If the client disconnects before the query starts, the query is cancelled."""

    def initialize(self, *, in_flight: InFlightRequests, service: Service) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._service = service
        self._page: asyncio.Future[Page] | None = None

    async def get(self) -> None:
        parameters = QueryParameters(self.request.query_arguments, allowed=(*FILTERS, CURSOR, FORMAT))
        query = _parse_query(parameters)
        listing = query.listing
        try:
            page = await self._read(listing, query.error)
        except asyncio.CancelledError:  # the client has disconnected
            return
        if query.is_export:
            await self._export(query, page)
            return
        last = page.last
        if listing.oldest_first and last is None:
            last = page.orders[-1].sequence if page.orders else listing.last
        cursor = None
        if last is not None:
            cursor = cursor_of(last, oldest_first=listing.oldest_first)
            self.set_header("Link", f'<{self.request.path}?{_next_query(parameters, cursor)}>; rel="next"')
        self.answer_json(OrderPage([order_view(order) for order in page.orders], cursor))

    head = get

    async def _export(self, query: "_Query", first: Page) -> None:
        listing, left = query.listing, query.listing.limit

        def within_limit(page: Page) -> Page:
            nonlocal left
            left -= len(page.orders) if query.has_limit else 0
            return page if left else replace(page, last=None)

        async def next_page(last: int) -> Page:
            return within_limit(await self._read(replace(listing, last=last, limit=left), query.error))

        await export.export(
            self, within_limit(first), next_page, oldest_first=listing.oldest_first, in_flight=self._in_flight
        )

    async def _read(self, listing: Listing, error: str | None) -> Page:
        return await (self._list(listing) if error is None else page_with_error(self._list, listing, error))

    def _list(self, listing: Listing) -> asyncio.Future[Page]:
        self._page = self._service.list_orders(listing)
        return self._page

    def on_connection_close(self) -> None:
        if self._page is not None:
            self._page.cancel()

    def allowed_methods(self) -> list[str]:
        # The router passes `POST /orders` to an Exchange.
        return [*super().allowed_methods(), "POST"]


class _Query(NamedTuple):
    """What a request asks for.

    `error` is a text that the errors of the orders must contain. `is_export` is whether the request asks for NDJSON,
    `has_limit` whether it limits the number of orders.
    """

    listing: Listing
    error: str | None
    is_export: bool
    has_limit: bool


def _parse_query(parameters: QueryParameters) -> _Query:
    """Parses the query parameters. Raises a Problem that lists every invalid parameter."""
    status = parameters.choice("status", tuple(Status))
    user_id = parameters.integer("user_id", 1, MAX_ID)
    created_from_us = parameters.time("created_after")
    created_until_us = parameters.time("created_before")
    oldest_first = parameters.choice("oldest_first", ("true", "false")) == "true"
    limit = parameters.integer("limit", 1, MAX_LIMIT)
    is_export = parameters.choice(FORMAT, (JSON, NDJSON)) == NDJSON
    cursor = parameters.text(CURSOR)
    last = None if cursor is None else parse_cursor(cursor, oldest_first=oldest_first)
    if cursor is not None and last is None:
        parameters.add_error(CURSOR, "must be a cursor of a response with the same oldest_first")
    parameters.check()
    listing = Listing(
        limit=limit or (MAX_LIMIT if is_export else DEFAULT_LIMIT),
        oldest_first=oldest_first,
        last=last,
        status=None if status is None else Status(status),
        user_id=user_id,
        created_from_us=created_from_us,
        created_until_us=created_until_us,
    )
    return _Query(listing, parameters.text("error"), is_export, has_limit=limit is not None)


def _next_query(parameters: QueryParameters, cursor: str) -> str:
    """The query of the next page."""
    filters = [(name, text) for name in FILTERS if (text := parameters.text(name)) is not None]
    return urlencode([*filters, (CURSOR, cursor)], quote_via=quote)
