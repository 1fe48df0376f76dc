"""The ids of order events, for `Last-Event-ID`. Run on the event loop."""

import re
from bisect import bisect_left, bisect_right
from typing import NamedTuple, Protocol

_RUN_ID = re.compile(r"([0-9a-f]+)-([0-9]{1,15})")
_FEED_ID = re.compile(r"([0-9a-f]+)-([0-9]{1,18})-([0-9]{1,9})")


class EventIds(Protocol):
    """The ids of the events of a log, which numbers its events from 1."""

    def begin(self, number: int, row: int) -> tuple[bytes, int]:
        """Must be called before events are added to the log. `number` is the number of the first event.

        `row` is the id of the events' row in the feed, if they come from a feed. The ids of these events have a common
        prefix, followed by consecutive numbers. Returns the prefix, and the number for the first event.
        """

    def id_of(self, number: int) -> str:
        """The id of an event in the log, or of the event before the first event of the log."""

    def number_after(self, event_id: str, *, first: int, end: int) -> int | None:
        """The number of the event after `event_id`. The log has the events `first` to `end` - 1.

        None if events after `event_id` may be missing from the log.
        """

    def forget_before(self, first: int) -> None:
        """Must be called when the log drops the events before the number `first`."""


class RunIds:
    """Ids of the form `<run>-<number>`. `run` (hexadecimal digits) distinguishes this process from other processes."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._prefix = f"{run}-".encode()

    def begin(self, number: int, row: int) -> tuple[bytes, int]:
        return self._prefix, number

    def id_of(self, number: int) -> str:
        return f"{self._run}-{number}"

    def number_after(self, event_id: str, *, first: int, end: int) -> int | None:
        found = _RUN_ID.fullmatch(event_id)
        if not found or found[1] != self._run:
            return None
        number = int(found[2]) + 1
        return number if first <= number <= end else None

    def forget_before(self, first: int) -> None:
        """Does nothing."""


class _Place(NamedTuple):
    """The id of a row of the feed, and the number of an event in it, from 1. Number 0 is before the first event."""

    row: int
    number: int


class FeedIds:
    """Ids of the form `<epoch>-<row>-<number>`, which are the same on all servers that read the feed.

    See `models.changes.feed.FeedRead` about epochs and rows. The first event of a row has the number 1.
    """

    def __init__(self) -> None:
        self._epoch = ""
        self._rows: list[int] = []
        self._numbers: list[int] = []
        """For each row that has events in the log, the number of its first event."""
        self._before = _Place(0, 0)
        """The place before the first event of the log."""
        self._last_row = 0

    def restart(self, epoch: str, *, after: int) -> None:
        """The log is empty now. The next events come from rows with ids above `after`."""
        self._epoch = epoch
        self._rows, self._numbers = [], []
        self._before = _Place(after + 1, 0)
        self._last_row = after

    def note_read(self, row: int) -> None:
        """All rows up to this id have been read, and their events are in the log."""
        self._last_row = row

    def is_ahead(self, event_id: str) -> bool:
        """Whether another server has already read the event with this id from the feed, but this server has not."""
        place = self._place_in(event_id)
        return place is not None and place > (self._last_row + 1, 0)

    def is_of_other_epoch(self, event_id: str) -> bool:
        """Whether this id is of an earlier epoch, or of a later epoch that this server has not read yet."""
        found = _FEED_ID.fullmatch(event_id)
        return found is not None and found[1] != self._epoch

    def begin(self, number: int, row: int) -> tuple[bytes, int]:
        self._rows.append(row)
        self._numbers.append(number)
        return f"{self._epoch}-{row}-".encode(), 1

    def id_of(self, number: int) -> str:
        place = self._place_of(number)
        return f"{self._epoch}-{place.row}-{place.number}"

    def number_after(self, event_id: str, *, first: int, end: int) -> int | None:
        place = self._place_in(event_id)
        if place is None or place < self._place_of(first - 1) or self.is_ahead(event_id):
            return None
        at = bisect_left(self._rows, place.row)
        numbers = [*self._numbers[at : at + 2], end]
        if self._rows[at : at + 1] == [place.row]:
            return min(numbers[0] + place.number, numbers[1])
        return numbers[0]

    def forget_before(self, first: int) -> None:
        self._before = self._place_of(first - 1)
        # The row that has the event `first` stays.
        gone = bisect_right(self._numbers, first) - 1
        del self._rows[:gone], self._numbers[:gone]

    def _place_of(self, number: int) -> _Place:
        at = bisect_right(self._numbers, number) - 1
        return self._before if at < 0 else _Place(self._rows[at], number - self._numbers[at] + 1)

    def _place_in(self, event_id: str) -> _Place | None:
        found = _FEED_ID.fullmatch(event_id)
        return _Place(int(found[2]), int(found[3])) if found and found[1] == self._epoch else None
