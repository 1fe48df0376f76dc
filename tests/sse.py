"""A strict parser of Server-Sent Events, which follows the grammar and algorithm of the HTML standard.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple


class Message(NamedTuple):
    """One event that a browser would dispatch, with its `lastEventId`."""

    type: str
    data: str
    last_id: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class EventParser:
    """Parses the bytes of a stream as they arrive. Fails if the stream contains what the standard says to ignore."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        self.comments: list[str] = []
        self._rest = b""
        self._id = ""
        self._type = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[Message]:
        """Parses more bytes, and yields the events that end in them."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            assert b"\r" not in line
            if line:
                self._take(line.decode("utf-8"))
            else:
                yield from self._dispatch()

    def end(self) -> None:
        """Checks that the stream does not end within an event. A browser would drop such an event."""
        assert (self._rest, self._type, self._data) == (b"", "", [])

    def _take(self, line: str) -> None:
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            assert colon
            self.comments.append(value)
        elif name == "event":
            assert not self._type
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id":
            assert "\0" not in value
            self._id = value
        elif name == "retry":
            assert value.isascii()
            assert value.isdigit()
            self.retry_ms = int(value)
        else:
            raise AssertionError(f"an unknown field: {line}")

    def _dispatch(self) -> Iterator[Message]:
        self.last_id = self._id
        kind, data = self._type, self._data
        self._type, self._data = "", []
        if data:
            yield Message(kind or "message", "\n".join(data), self.last_id)
        else:
            assert not kind, "a browser drops an event without data"
