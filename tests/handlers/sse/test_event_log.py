"""The event log: rendering, numbering, filters and its maximum length."""

from handlers.sse.event_ids import RunIds
from handlers.sse.event_log import ALL_EVENTS, EventFilter, EventLog
from models.changes.order_changes import MAX_ERROR_CHARACTERS, OrderChange, changes_in
from models.order import Status
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from tests.cases import cases
from tests.models.samples import claimed_order, new_order
from tests.sse import EventParser

ALL = 10**9


def log_of(*changes: OrderChange, max_events: int = 100) -> EventLog:
    log = EventLog(ids=RunIds("abc"), max_events=max_events)
    log.append(changes)
    return log


def changes(count: int) -> list[OrderChange]:
    """Changes of orders 1 to `count`, of users 1 and 2 alternately."""
    return [OrderChange(number, number % 2 + 1, Status.PENDING) for number in range(1, count + 1)]


def ids_in(texts: bytes) -> list[int]:
    return [message.json["order_id"] for message in EventParser().feed(texts)]


def test_an_event_contains_id_user_status_and_attempts() -> None:
    [event] = EventLog(ids=RunIds("abc"), max_events=1).append([OrderChange(5, 7, Status.PROCESSING, 2)])
    expected = b'id: abc-1\nevent: order\ndata: {"order_id":5,"user_id":7,"status":"Processing","attempts":2}\n\n'
    assert event.text == expected


@cases("status", list(Status))
def test_every_status_is_rendered_by_its_name(status: Status) -> None:
    [event] = EventLog(ids=RunIds("abc"), max_events=1).append([OrderChange(2**63 - 1, 2**63 - 1, status)])
    [message] = EventParser().feed(event.text)
    fields = {"order_id": 2**63 - 1, "user_id": 2**63 - 1, "status": status.value, "attempts": 0}
    assert (message.type, message.last_id, message.json) == ("order", "abc-1", fields)


@cases("error", ["no such card", "", 'a\n\ndata: {"x":1}\r\nid: 9\n\n', "é😀\0\x7f\u2028\\", "%d %b"])
def test_an_error_text_cannot_forge_an_event(error: str) -> None:
    [event] = EventLog(ids=RunIds("abc"), max_events=1).append([OrderChange(1, 1, Status.FAILED, 1, error)])
    parser = EventParser()
    [message] = parser.feed(event.text)
    parser.end()
    assert message.json["error"] == error


def test_an_error_with_a_lone_surrogate_is_sent_as_stored() -> None:
    order = claimed_order(new_order(1), 1, 0)
    write = FinishAndClaim([Outcome(1, 1, Status.FAILED, "bad \udc80")], 0, [order])
    [event] = EventLog(ids=RunIds("abc"), max_events=1).append(changes_in([write], [ClaimedOrders([])]))
    assert b'"error":"bad ?"' in event.text


def test_a_long_error_is_cut() -> None:
    [event] = EventLog(ids=RunIds("abc"), max_events=1).append([OrderChange(1, 1, Status.FAILED, 1, "é" * 100_000)])
    [message] = EventParser().feed(event.text)
    assert message.json["error"] == "é" * MAX_ERROR_CHARACTERS


def test_ids_increase_by_one_across_calls() -> None:
    log = log_of()
    texts = b"".join(event.text for size in (1, 3, 0, 2) for event in log.append(changes(size)))
    messages = list(EventParser().feed(texts))
    assert [message.last_id for message in messages] == [f"abc-{number}" for number in range(1, 7)]
    assert (log.first, log.end) == (1, 7)


@cases(
    ("event_filter", "expected"),
    [
        (ALL_EVENTS, [3, 4, 5, 6]),
        (EventFilter(order_id=5), [5]),
        (EventFilter(order_id=2), []),
        (EventFilter(user_id=1), [4, 6]),
        (EventFilter(order_id=4, user_id=1), [4]),
        (EventFilter(order_id=4, user_id=2), []),
    ],
)
def test_read_returns_matching_events_from_a_number_on(event_filter: EventFilter, expected: list[int]) -> None:
    text, number = log_of(*changes(6)).read(3, event_filter, max_bytes=ALL)
    assert (ids_in(text), number) == (expected, 7)


def test_read_continues_without_gap_or_repetition() -> None:
    log = log_of(*changes(5_000), max_events=5_000)
    for event_filter, expected in ((ALL_EVENTS, range(1, 5_001)), (EventFilter(user_id=1), range(2, 5_001, 2))):
        number, found = 1, []
        while number < log.end:
            text, number = log.read(number, event_filter, max_bytes=500)
            assert len(text) < 1_000
            found += ids_in(text)
        assert found == list(expected)
        assert log.read(number, event_filter, max_bytes=500) == (b"", log.end)


def test_the_log_keeps_one_to_two_times_its_maximum() -> None:
    log = log_of(max_events=10)
    for number in range(100):
        log.append(changes(3))
        assert log.end == 4 + 3 * number
        assert min(10, log.end - 1) <= log.end - log.first <= 20
        assert len(ids_in(log.read(log.first, ALL_EVENTS, max_bytes=ALL)[0])) == log.end - log.first


def test_more_changes_than_the_maximum_are_all_rendered() -> None:
    log = log_of(max_events=10)
    assert len(log.append(changes(1_000))) == 1_000
    assert (log.first, log.end) == (991, 1_001)


def test_number_after_returns_the_next_event() -> None:
    log = log_of(*changes(25), max_events=10)
    assert (log.first, log.end) == (16, 26)
    assert log.number_after("abc-15") == 16
    assert log.number_after("abc-24") == 25
    assert log.number_after(log.id_of(25)) == 26


@cases(
    "event_id",
    ["abc-14", "abc-26", "abd-20", "abc-", "abc-x", "abc--1", "", "20", "abc-20 ", "abc-²", "abc-" + "9" * 5_000, "é"],
)
def test_number_after_is_none_for_unknown_or_old_ids(event_id: str) -> None:
    assert log_of(*changes(25), max_events=10).number_after(event_id) is None
