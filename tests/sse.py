"""A strict reader of Server-Sent Events, from the grammar and the steps of the HTML standard.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple


class Message(NamedTuple):
    """One event that a page is handed, and the last id at that moment."""

    type: str
    data: str
    last_id: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class EventParser:
    """Takes the bytes of a stream as they come. Fails where the standard would have something ignored."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        self.comments: list[str] = []
        self._rest = b""
        self._id = ""
        self._type = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[Message]:
        """The events that are whole now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            assert b"\r" not in line
            if line:
                self._take(line.decode("utf-8"))
            else:
                yield from self._dispatch()

    def end(self) -> None:
        """What is not whole at the stream's end would be lost."""
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
            raise AssertionError(f"a field that is unknown: {line}")

    def _dispatch(self) -> Iterator[Message]:
        self.last_id = self._id
        kind, data = self._type, self._data
        self._type, self._data = "", []
        if data:
            yield Message(kind or "message", "\n".join(data), self.last_id)
        else:
            assert not kind, "an event without data is not handed to the page"
