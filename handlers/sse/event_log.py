"""The last changes of orders as numbered Server-Sent Events, for readers that reconnect or are slow.

Runs on the event loop. https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from handlers.transport.json_encoder import encode
from models.changes import OrderChange

MAX_ERROR_CHARACTERS = 200
"""The maximum length of the error text in an event."""

SCAN_STEP_EVENTS = 5_000
"""How many events are scanned for one reader before the event loop runs other callbacks."""

_TEXT = b'id: %b-%d\nevent: order\ndata: {"order_id":%d,"user_id":%d,"status":"%b","attempts":%d%b}\n\n'
_EVENT_ID = re.compile(r"([0-9a-f]+)-([0-9]{1,15})")


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
    """Contains at least the last `max_events` events. Events are numbered from 1.

    An event's id is `<run>-<number>`. `run` (hexadecimal digits) distinguishes this process from other processes.
    """

    def __init__(self, *, run: str, max_events: int) -> None:
        self._run = run
        self._run_text = run.encode()
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

    def append(self, changes: Iterable[OrderChange]) -> Sequence[Event]:
        """Numbers and renders the changes. Returns their events."""
        events = [
            Event(change.order_id, change.user_id, self._render(number, change))
            for number, change in enumerate(changes, self.end)
        ]
        self._events += events
        # Does not remove old events at every call, because deleting the beginning of a list moves all other items.
        if len(self._events) > 2 * self._max_events:
            excess = len(self._events) - self._max_events
            del self._events[:excess]
            self._first += excess
        return events

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
        return f"{self._run}-{number}"

    def number_after(self, event_id: str) -> int | None:
        """The number of the event after `event_id`. None if events after `event_id` may be missing from the log."""
        found = _EVENT_ID.fullmatch(event_id)
        if not found or found[1] != self._run:
            return None
        number = int(found[2]) + 1
        return number if self._first <= number <= self.end else None

    def _render(self, number: int, change: OrderChange) -> bytes:
        # Once there has been a reader, this runs for every change of an order. A JSON encoder would take five times as
        # long.
        rest = b"" if change.error is None else b',"error":' + encode(change.error[:MAX_ERROR_CHARACTERS])
        status = change.status.encode()
        return _TEXT % (self._run_text, number, change.order_id, change.user_id, status, change.attempts, rest)
