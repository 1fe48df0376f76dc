"""Sends all orders of a listing as NDJSON, one order per line, in bounded memory. Runs on the event loop."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import cast

from msgspec.structs import asdict
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from handlers.orders.cursor import cursor_of
from handlers.orders.order_view import OrderView, order_view
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.json_encoder import encode
from models.errors import QueueClosedError, QueueFullError, StorageError
from models.listing import Page

CONTENT_TYPE = "application/x-ndjson"

_log = logging.getLogger(__name__)


class OrderLine(OrderView):
    """A line of an export: an order, and the cursor with which a request continues after it."""

    cursor: str = ""


async def export(
    handler: RequestHandler,
    page: Page,
    next_page: Callable[[int], Awaitable[Page]],
    *,
    oldest_first: bool,
    in_flight: InFlightRequests,
) -> None:
    """Sends the orders of this page and of the pages after it. `next_page(last)` returns the page after `last`.

    If a page can't be read, or if the server stops, closes the connection before the end of the body, so that the
    client notices it. The client can continue with the cursor of the last line that it got.
    """
    is_http_1_0 = handler.request.version == "HTTP/1.0"
    handler.set_header("Content-Type", CONTENT_TYPE)
    if is_http_1_0:
        # The body of HTTP/1.0 ends when the connection is closed. Without the second line, Tornado would respond with
        # "keep-alive" to a client that asks for it.
        handler.set_header("Connection", "close")
        handler.request.headers["Connection"] = "close"
    connection = cast(HTTP1Connection, handler.request.connection)
    try:
        while handler.request.method != "HEAD":
            handler.write(b"".join(_lines(page, oldest_first=oldest_first)))
            await handler.flush()
            if page.last is None:
                break
            if in_flight.draining:
                raise QueueClosedError("the server is stopping")
            page = await next_page(page.last)
        await handler.finish()
    except (QueueClosedError, QueueFullError, StorageError) as error:
        _log.warning("an export of orders was cut off: %s", error)
        connection.close()
        return
    except (StreamClosedError, asyncio.CancelledError):  # the client has disconnected, or has read nothing for long
        return
    if is_http_1_0:
        connection.close()


def _lines(page: Page, *, oldest_first: bool) -> Iterator[bytes]:
    for order in page.orders:
        view = order_view(order)
        yield encode(OrderLine(**asdict(view), cursor=cursor_of(order.sequence, oldest_first=oldest_first)))
        yield b"\n"
