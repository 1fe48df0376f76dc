"""`GET /order/{id}/attempts`: the history of an order. Runs on the event loop."""

import msgspec

from handlers.orders.single import order_not_found, parse_order_id
from handlers.requests.base_handler import BaseHandler
from handlers.service import Service
from handlers.transport.in_flight import InFlightRequests
from models.order import AttemptRecord, Ending, time_as_texts


class AttemptView(msgspec.Struct, gc=False):
    """An attempt to process an order."""

    number: int
    started_at: str | None
    ended_at: str | None
    outcome: Ending | None
    error: str | None


class AttemptsView(msgspec.Struct, gc=False):
    """The newest 50 attempts to process an order, sorted from the oldest to the newest."""

    order_id: int
    attempts: list[AttemptView]


class AttemptsHandler(BaseHandler):
    """`GET /order/{id}/attempts`"""

    def initialize(self, *, in_flight: InFlightRequests, service: Service) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._service = service

    async def get(self, id_text: str) -> None:
        order_id = parse_order_id(id_text)
        records = None if order_id is None else await self._service.history(order_id)
        if order_id is None or records is None:
            raise order_not_found(id_text)
        self.answer_json(AttemptsView(order_id, [_view(record) for record in records]))

    head = get


def _view(record: AttemptRecord) -> AttemptView:
    return AttemptView(
        record.number,
        _time_text(record.started_us),
        _time_text(record.ended_us),
        record.ending,
        record.error,
    )


def _time_text(time_us: int | None) -> str | None:
    return None if time_us is None else time_as_texts(time_us)[1]
