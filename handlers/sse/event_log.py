"""The last changes of orders as numbered Server-Sent Events, for readers that reconnect or are slow.

Runs on the event loop. https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from collections.abc import Sequence, Set
from typing import NamedTuple

from msgspec import Struct

from handlers.sse.event_ids import EventIds
from handlers.transport.json_encoder import encode
from models.changes.order_changes import MAX_ERROR_CHARACTERS, OrderChange
from models.order import ERASED_USER

SCAN_STEP_EVENTS = 5_000
"""How many events are scanned for one reader before the event loop runs other callbacks."""

_TEXT = b'id: %b%d\nevent: order\ndata: {"order_id":%d,"user_id":%d,"status":"%b","attempts":%d%b}\n\n'


# The errors in events contain no line breaks, because JSON escapes them.
_PERSONAL = re.compile(rb'"user_id":\d+(,"status":"\w+","attempts":\d+)[^\n]*')
_ERASED = b'"user_id":%d\\1}' % ERASED_USER


class Event(Struct, frozen=True, gc=False):
    """One event: the ids to filter by, and the rendered text."""

    order_id: int
    user_id: int
    text: bytes


class EventFilter(NamedTuple):
    """Selects the events for a reader. A field that is None selects every order or every user."""

    order_id: int | None = None
    user_id: int | None = None


ALL_EVENTS = EventFilter()


class EventLog:
    """Contains at least the last `max_events` events. Events are numbered from 1. `ids` makes their ids."""

    def __init__(self, *, ids: EventIds, max_events: int) -> None:
        self._ids = ids
        self._max_events = max_events
        self._events: list[Event] = []
        self._first = 1

    @property
    def first(self) -> int:
        """The number of the oldest event in the log."""
        return self._first

    @property
    def end(self) -> int:
        """The number of the next event."""
        return self._first + len(self._events)

    def append(self, changes: Sequence[OrderChange], *, row: int = 0) -> Sequence[Event]:
        """Numbers and renders the changes. Returns their events. `row`: see `EventIds.begin`.

        If an order was erased, also erases its user and its errors from its earlier events.
        """
        prefix, number = self._ids.begin(self.end, row)
        if erased := {change.order_id for change in changes if change.user_id == ERASED_USER}:
            self._erase(erased)
        events = [
            Event(change.order_id, change.user_id, _render(prefix, each, change))
            for each, change in enumerate(changes, number)
        ]
        self._events += events
        # Does not remove old events at every call, because deleting the beginning of a list moves all other items.
        if len(self._events) > 2 * self._max_events:
            excess = len(self._events) - self._max_events
            del self._events[:excess]
            self._first += excess
            self._ids.forget_before(self._first)
        return events

    def _erase(self, order_ids: Set[int]) -> None:
        """Removes users and errors from the events of these orders."""
        self._events = [
            Event(event.order_id, ERASED_USER, _PERSONAL.sub(_ERASED, event.text))
            if event.order_id in order_ids
            else event
            for event in self._events
        ]

    def clear(self) -> None:
        """Drops all events. Every number up to now is then below `first`."""
        self._first = self.end + 1
        self._events = []

    def read(self, number: int, event_filter: EventFilter, *, max_bytes: int) -> tuple[bytes, int]:
        """The joined texts of the matching events from `number` on, and the `number` for the next call.

        `number` must be from `first` to `end`. The text has about `max_bytes` bytes at most. Each call scans at most
        `SCAN_STEP_EVENTS` events: even if the text is empty, later events can match.
        """
        order_id, user_id = event_filter
        texts: list[bytes] = []
        size = 0
        index = number - self._first
        for event in self._events[index : index + SCAN_STEP_EVENTS]:
            number += 1
            matches = order_id is None or order_id == event.order_id
            if matches and (user_id is None or user_id == event.user_id):
                texts.append(event.text)
                size += len(event.text)
                if size >= max_bytes:
                    break
        return b"".join(texts), number

    def id_of(self, number: int) -> str:
        """The id of an event in the log, or of the event before the first event."""
        return self._ids.id_of(number)

    def number_after(self, event_id: str) -> int | None:
        """The number of the event after `event_id`. None if events after `event_id` may be missing from the log."""
        return self._ids.number_after(event_id, first=self._first, end=self.end)


def _render(prefix: bytes, number: int, change: OrderChange) -> bytes:
    # Once there has been a reader, this runs for every change of an order. A JSON encoder would take five times as
    # long.
    rest = b"" if change.error is None else b',"error":' + encode(change.error[:MAX_ERROR_CHARACTERS])
    status = change.status.encode()
    return _TEXT % (prefix, number, change.order_id, change.user_id, status, change.attempts, rest)
