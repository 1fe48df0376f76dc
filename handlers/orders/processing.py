"""`POST /processing/pause` and `POST /processing/resume`. Runs on the event loop."""

import logging
from typing import cast

from handlers.requests.base_handler import BaseHandler
from handlers.requests.request_head import Request
from handlers.security.cross_origin import reject_cross_origin
from handlers.service import Service
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.plain_request import NO_KEY

_log = logging.getLogger("orders")


class ProcessingHandler(BaseHandler):
    """Pauses processing if `is_paused` is true, else resumes it. Responds with the state, changed or not."""

    def initialize(self, *, in_flight: InFlightRequests, service: Service, is_paused: bool) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._service = service
        self._is_paused = is_paused

    async def post(self) -> None:
        reject_cross_origin(self.request.headers)
        if await self._service.set_paused(self._is_paused):
            key = cast(Request, self.request).key_name
            who = self.request.remote_ip if key == NO_KEY else f"the key {key}"
            _log.info("processing %s by %s", "paused" if self._is_paused else "resumed", who)
        self.answer_json({"paused": self._is_paused})
