"""Sends the event streams of the shop (a fake server). Runs on the shop's thread."""

from tornado.iostream import IOStream


class EventStreams:
    """Sends the events of orders to every stream. Sends nothing while `is_silent`."""

    def __init__(self) -> None:
        self.is_silent = False
        self._streams: set[IOStream] = set()

    async def serve(self, stream: IOStream) -> None:
        """Respond with a stream of events, which ends when the reader disconnects."""
        self._streams.add(stream)
        try:
            await stream.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            await stream.read_until_close()
        finally:
            self._streams.discard(stream)

    async def tell(self, order_id: int) -> None:
        text = events_of(order_id)
        for stream in [] if self.is_silent else list(self._streams):
            await stream.write(text)

    def end(self) -> None:
        for stream in list(self._streams):
            stream.close()


def events_of(order_id: int) -> bytes:
    """Return the two events of an order: its processing starts, and it is Completed."""
    return b"".join(
        b"id: 0123456789abcdef-%d\nevent: order\n" % order_id
        + b'data: {"order_id": %d, "user_id": 1, "status": "%s", "attempts": 1}\n\n' % (order_id, status)
        for status in (b"Processing", b"Completed")
    )
