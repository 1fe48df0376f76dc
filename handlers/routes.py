"""The URL table: the one place where handlers are given their collaborators. Runs on the event loop."""

from asyncio import Future
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from tornado.httputil import HTTPServerConnectionDelegate
from tornado.web import Application

from handlers.health import LiveHandler, ReadyHandler
from handlers.metrics.handler import ANY_FORMAT, PROMETHEUS_FORMATS, MetricsHandler
from handlers.metrics.instruments import Measurements
from handlers.metrics.prometheus import Exposition
from handlers.metrics.snapshot import Figures
from handlers.openapi.document import document
from handlers.orders.actions import ActionHandler, RetryFailedHandler
from handlers.orders.listing import ListingHandler
from handlers.pages import dashboard, docs
from handlers.pages.assets import AssetHandler
from handlers.pages.static_content import FixedFileHandler, FixedHandler, fixed
from handlers.router import Intake, Router
from handlers.sse.metric_events import MetricsStreams
from handlers.sse.order_events import EventStreams
from handlers.transport.base_handler import NotFoundHandler, OtherMethodHandler
from handlers.transport.exchange import Incoming
from handlers.transport.in_flight import Traffic
from models.listing import Listing, Page
from models.order import Order, Totals
from models.writes import Retried


class Collaborators(NamedTuple):
    """What the handlers work with."""

    traffic: Traffic
    admit: Callable[[Incoming], None]
    intake: Intake
    streams: EventStreams
    cancel: Callable[[int], Awaitable[Order | None]]
    retry: Callable[[int], Awaitable[Order | None]]
    retry_failed: Callable[[int], Awaitable[Retried]]
    list_orders: Callable[[Listing], Future[Page]]
    totals: Callable[[], Awaitable[Totals]]
    check_storage: Callable[[], Awaitable[None]]
    figures: Figures
    metrics_streams: MetricsStreams
    measurements: Measurements
    exposition: Exposition
    version: str
    has_keys: bool


def build_router(given: Collaborators) -> HTTPServerConnectionDelegate:
    """What Tornado's HTTPServer serves."""
    everywhere: dict[str, Any] = {"traffic": given.traffic}
    metrics: dict[str, Any] = {"totals": given.totals, "figures": given.figures, "exposition": given.exposition}
    swagger = {"folder": docs.assets_folder(), "types": docs.ASSETS}
    shown = dashboard.read_dashboard(has_keys=given.has_keys)
    described = fixed(document(version=given.version, dashboard_files=shown.types), "application/json")
    plotly = {"folder": dashboard.assets_folder(), "types": dashboard.ASSETS, "headers": dashboard.DASHBOARD_HEADERS}
    application = Application(
        [
            # The methods that these know are served by the router.
            (r"/order", OtherMethodHandler, everywhere | {"allowed": ("POST",)}),
            (r"/orders/events", OtherMethodHandler, everywhere | {"allowed": ("GET",)}),
            (r"/metrics/events", OtherMethodHandler, everywhere | {"allowed": ("GET",)}),
            (r"/order/[0-9]+", OtherMethodHandler, everywhere | {"allowed": ("GET", "HEAD")}),
            (r"/order/([0-9]+)/cancel", ActionHandler, everywhere | {"act": given.cancel}),
            (r"/order/([0-9]+)/retry", ActionHandler, everywhere | {"act": given.retry}),
            (r"/orders", ListingHandler, everywhere | {"list_orders": given.list_orders}),
            (r"/orders/retry", RetryFailedHandler, everywhere | {"retry_failed": given.retry_failed}),
            (r"/metrics", MetricsHandler, everywhere | metrics | {"media_types": ANY_FORMAT}),
            (r"/metrics/prometheus", MetricsHandler, everywhere | metrics | {"media_types": PROMETHEUS_FORMATS}),
            (r"/livez", LiveHandler, everywhere),
            (r"/readyz", ReadyHandler, everywhere | {"check_storage": given.check_storage}),
            (r"/openapi\.json", FixedHandler, everywhere | {"content": described}),
            (r"/docs", FixedHandler, everywhere | {"content": fixed(docs.PAGE, docs.PAGE_TYPE)}),
            (r"/docs/initializer\.js", FixedHandler, everywhere | {"content": fixed(docs.SCRIPT, docs.SCRIPT_TYPE)}),
            (r"/docs/(favicon-32x32\.png|swagger-ui-bundle\.js|swagger-ui\.css)", AssetHandler, everywhere | swagger),
            (r"/", FixedHandler, everywhere | {"content": shown.page}),
            (r"/dashboard/(plotly\.min\.js)", AssetHandler, everywhere | plotly),
            (r"/dashboard/([^/]+)", FixedFileHandler, everywhere | {"files": shown.files}),
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args=everywhere,
        log_function=lambda handler: None,
    )
    return Router(
        application,
        traffic=given.traffic,
        admit=given.admit,
        intake=given.intake,
        streams=given.streams,
        metrics_streams=given.metrics_streams,
        measurements=given.measurements,
    )
