"""The last changes as Server-Sent Events, numbered, for those who come late or come back. Lives on the event loop.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from handlers.transport.json_encoder import encode
from models.changes import OrderChange

MAX_ERROR_CHARACTERS = 200

SCANNED_AT_ONCE = 5_000
"""Events that are looked at for one reader before others have their turn."""

_TEXT = b'id: %b-%d\nevent: order\ndata: {"order_id":%d,"user_id":%d,"status":"%b","attempts":%d%b}\n\n'
_EVENT_ID = re.compile(r"([0-9a-f]+)-([0-9]{1,15})")


class Event(Struct, frozen=True, gc=False):
    """One event: whom it concerns, and the bytes that say it."""

    order_id: int
    user_id: int
    text: bytes


class EventFilter(NamedTuple):
    """Which events a reader wants; None: whatever it is."""

    order_id: int | None = None
    user_id: int | None = None


ALL_EVENTS = EventFilter()


class EventLog:
    """At least the last `max_events` events; numbers count from 1. `run` tells this process's ids from all others.

    An event's id is `<run>-<number>`, `run` in hexadecimal digits.
    """

    def __init__(self, *, run: str, max_events: int) -> None:
        self._run = run
        self._run_text = run.encode()
        self._max_events = max_events
        self._events: list[Event] = []
        self._first = 1

    @property
    def first(self) -> int:
        """The number of the oldest event that is still here."""
        return self._first

    @property
    def end(self) -> int:
        """The number that the next event will have."""
        return self._first + len(self._events)

    def append(self, changes: Iterable[OrderChange]) -> Sequence[Event]:
        """Numbers and renders the changes, and returns their events."""
        events = [
            Event(change.order_id, change.user_id, self._render(number, change))
            for number, change in enumerate(changes, self.end)
        ]
        self._events += events
        # Not at every call: what is taken from a list's beginning moves the rest of it.
        if len(self._events) > 2 * self._max_events:
            excess = len(self._events) - self._max_events
            del self._events[:excess]
            self._first += excess
        return events

    def since(self, number: int, interest: EventFilter, *, max_bytes: int) -> tuple[bytes, int]:
        """The texts from an event that is still here on, up to about `max_bytes`, and the number to go on with.

        Looks at `SCANNED_AT_ONCE` events at most: no text does not mean that there is none further on.
        """
        wanted_order, wanted_user = interest
        texts: list[bytes] = []
        size = 0
        place = number - self._first
        for event in self._events[place : place + SCANNED_AT_ONCE]:
            number += 1
            is_wanted = wanted_order is None or wanted_order == event.order_id
            if is_wanted and (wanted_user is None or wanted_user == event.user_id):
                texts.append(event.text)
                size += len(event.text)
                if size >= max_bytes:
                    break
        return b"".join(texts), number

    def id_of(self, number: int) -> str:
        return f"{self._run}-{number}"

    def after(self, event_id: str) -> int | None:
        """The number of the event that follows the one with this id; None where that can't be told any more."""
        found = _EVENT_ID.fullmatch(event_id)
        if not found or found[1] != self._run:
            return None
        number = int(found[2]) + 1
        return number if self._first <= number <= self.end else None

    def _render(self, number: int, change: OrderChange) -> bytes:
        # Not by an encoder: with readers this is done for every change, and so takes a fifth of the time.
        rest = b"" if change.error is None else b',"error":' + encode(change.error[:MAX_ERROR_CHARACTERS])
        status = change.status.encode()
        return _TEXT % (self._run_text, number, change.order_id, change.user_id, status, change.attempts, rest)
