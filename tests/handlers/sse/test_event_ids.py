"""Events that come from a feed have the same ids on all servers, even on a server with only some of these events."""

import random

from handlers.sse.event_ids import FeedIds
from handlers.sse.event_log import ALL_EVENTS, EventLog
from models.changes.order_changes import OrderChange
from models.order import Status
from tests.cases import cases
from tests.sse import EventParser

ROWS = {11: 2, 12: 1, 15: 3}
"""The ids of rows, and how many events each has."""


def changes(count: int) -> list[OrderChange]:
    return [OrderChange(number, 1, Status.PENDING) for number in range(1, count + 1)]


def log_of(rows: dict[int, int], *, after: int = 10, max_events: int = 100) -> tuple[FeedIds, EventLog]:
    ids = FeedIds()
    log = EventLog(ids=ids, max_events=max_events)
    ids.restart("ab", after=after)
    for row, count in rows.items():
        log.append(changes(count), row=row)
        ids.note_read(row)
    return ids, log


def ids_in(log: EventLog) -> list[str]:
    text, _ = log.read(log.first, ALL_EVENTS, max_bytes=10**9)
    return [message.last_id for message in EventParser().feed(text)]


def test_an_id_has_the_epoch_the_row_and_a_number_in_the_row() -> None:
    _, log = log_of(ROWS)
    expected = ["ab-11-1", "ab-11-2", "ab-12-1", "ab-15-1", "ab-15-2", "ab-15-3"]
    assert ids_in(log) == expected
    assert [log.id_of(number) for number in range(log.first, log.end)] == expected
    assert log.id_of(log.first - 1) == "ab-11-0"


@cases(
    ("event_id", "number"),
    [
        ("ab-11-0", 1),
        ("ab-11-1", 2),
        ("ab-11-2", 3),
        ("ab-12-0", 3),
        ("ab-12-1", 4),
        ("ab-13-0", 4),
        ("ab-14-7", 4),
        ("ab-15-2", 6),
        ("ab-15-3", 7),
        ("ab-16-0", 7),
        # A row does not have so many events.
        ("ab-11-9", 3),
        ("ab-15-9", 7),
    ],
)
def test_the_next_event_is_the_first_one_after_this_place(event_id: str, number: int) -> None:
    ids, log = log_of(ROWS)
    assert log.number_after(event_id) == number
    assert not ids.is_ahead(event_id)


@cases("event_id", ["ab-10-5", "ab-0-0", "ac-12-1", "", "ab-12", "ab-12-1-1", "ab-12--1", "ab-²-1", "12-1", "-12-1"])
def test_an_unknown_or_old_id_has_no_next_event(event_id: str) -> None:
    ids, log = log_of(ROWS)
    assert log.number_after(event_id) is None
    assert not ids.is_ahead(event_id)


def test_an_id_that_another_server_has_read_is_ahead_until_it_is_read() -> None:
    ids, log = log_of(ROWS)
    assert ids.is_ahead("ab-16-1")
    assert log.number_after("ab-16-1") is None
    ids.note_read(16)  # a row that was never committed
    assert not ids.is_ahead("ab-17-0")
    assert log.number_after("ab-17-0") == log.end
    log.append(changes(2), row=17)
    ids.note_read(17)
    assert not ids.is_ahead("ab-17-1")
    assert log.number_after("ab-17-1") == log.end - 1


def test_after_a_restart_earlier_ids_are_unknown() -> None:
    ids, log = log_of(ROWS)
    end = log.end
    log.clear()
    ids.restart("cd", after=0)
    assert log.first == log.end > end
    assert log.number_after("ab-15-3") is None
    assert ids.is_of_other_epoch("ab-15-3")
    assert not ids.is_of_other_epoch("cd-15-3")
    assert not ids.is_of_other_epoch("ab-15")
    assert log.id_of(log.end - 1) == "cd-1-0"
    assert log.number_after("cd-1-0") == log.end
    log.append(changes(1), row=1)
    assert ids_in(log) == ["cd-1-1"]
    assert log.number_after("cd-1-0") == log.end - 1


def test_a_log_that_drops_events_continues_after_every_id_that_it_still_knows() -> None:
    generator = random.Random(1)
    ids, log = log_of({}, max_events=20)
    row, all_ids = 10, ["ab-11-0"]
    for _ in range(200):
        row += generator.randint(1, 3)
        count = generator.randint(1, 30)
        log.append(changes(count), row=row)
        ids.note_read(row)
        all_ids += [f"ab-{row}-{number}" for number in range(1, count + 1)]
        present = ids_in(log)
        assert present == all_ids[-len(present) :]
        # The id before the first event is known too.
        known = all_ids[-len(present) - 1 :]
        for place, event_id in enumerate(known):
            number = log.number_after(event_id)
            assert number == log.first + place
            assert log.id_of(number - 1) == event_id
        older = all_ids[: -len(present) - 1][-5:]
        assert [log.number_after(event_id) for event_id in older] == [None] * len(older)
