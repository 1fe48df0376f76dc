"""Owns the shop's streams of events, on the shop's thread."""

from tornado.iostream import IOStream


class EventStreams:
    """Tells every stream of the orders that were completed, or nothing while `is_silent`."""

    def __init__(self) -> None:
        self.is_silent = False
        self._streams: set[IOStream] = set()

    async def serve(self, stream: IOStream) -> None:
        """Answer, and go on until the reader leaves."""
        self._streams.add(stream)
        try:
            await stream.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            await stream.read_until_close()
        finally:
            self._streams.discard(stream)

    async def tell(self, order_id: int) -> None:
        text = b'id: %d\nevent: order\ndata: {"order_id": %d, "status": "Completed"}\n\n' % (order_id, order_id)
        for stream in [] if self.is_silent else list(self._streams):
            await stream.write(text)

    def end(self) -> None:
        """End every stream."""
        for stream in list(self._streams):
            stream.close()
