"""SQLite files with orders of all kinds, moved to PostgreSQL, and what both stores answer."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

from models.database.address import PostgresqlUrl
from models.errors import DatabaseRefusedError
from models.listing import HIGHEST, Listing
from models.measurements import Measurement, Measures
from models.moving.move import MoveOptions, move
from models.order import Attempt, AttemptRecord, Ending, Order, Status, Totals
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.store import PostgresqlStore
from models.sqlite.store import SqliteStore
from models.store import open_store
from models.writes.attempts import Outcome
from models.writes.commands import SetPaused
from models.writes.insertion import NewOrder
from tests.models.new_database import open_new_database
from tests.models.postgresql.tables import check_tables
from tests.models.samples import SECOND_US, Clock
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import emptied_database, execute

DATABASE_AHEAD_US = 7 * SECOND_US
"""The database's clock minus the clock of the program, in all of these tests."""


class Fate(NamedTuple):
    """A new order, the ends of its first and its second attempt, and a command after these attempts."""

    order: NewOrder
    clock_step_us: int = 0
    """By how much the clock is set forward before the order is stored."""
    endings: tuple[str, str] = ("complete", "complete")
    command: str = ""
    error: str = "down"


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text("\\\t\n\r\b\f\v'\"N.a€", max_size=12)
_ENDINGS = st.sampled_from(["complete", "fail", "wait", "soon", "back", "hang"])
_STEPS_US = st.sampled_from([0, 0, 0, 3_600 * SECOND_US, -86_400 * SECOND_US])
_NUMBERS = st.integers(1, 2**63 - 1)


@st.composite
def _metadata(draw: st.DrawFn) -> str | None:
    value = draw(st.none() | st.dictionaries(_TEXT, _TEXT | _NUMBERS, max_size=3))
    return (
        None
        if value is None
        else json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, "\t"])))
    )


@st.composite
def fates(draw: st.DrawFn) -> list[Fate]:
    """Up to 12 orders."""
    ids = draw(st.lists(_NUMBERS, max_size=12, unique=True))
    return [
        Fate(
            NewOrder(
                each,
                draw(st.integers(1, 3) | _NUMBERS),
                draw(st.lists(_NUMBERS, min_size=1, max_size=3)),
                draw(st.integers(0, 10**14 - 1)),
                draw(_metadata()),
                draw(st.none() | st.just('{"traceparent": "00-1-2-01"}')),
            ),
            draw(_STEPS_US),
            (draw(_ENDINGS), draw(_ENDINGS)),
            draw(st.sampled_from(["", "", "cancel", "retry"])),
            draw(_TEXT),
        )
        for each in ids
    ]


def all_kinds() -> list[Fate]:
    """An order for each fate, in an order in which neighbours differ."""
    endings = [(first, second) for first in ("soon", "back", "complete", "fail", "wait", "hang") for second in ENDINGS]
    return [
        Fate(
            NewOrder(
                number, number % 3 + 1, [number, 7], number * 9_999, f'{{"n":\t{number}}}' if number % 2 else None
            ),
            3_600 * SECOND_US if number == 20 else 0,
            ends,
            ("", "cancel", "retry")[number % 3],
            f"down\t{number}\n",
        )
        for number, ends in enumerate(endings, 1)
    ]


MEASUREMENTS = [
    Measurement(interval_s, 1_740_830_400, "a", Measures(9.5, 8, 7, 6, 5, {3: 2}, {1: 4})) for interval_s in (10, 120)
]
ENDINGS = ("complete", "fail", "wait", "soon", "back", "hang")


def make_file(path: Path, orders: Sequence[Fate], clock: Clock, *, is_paused: bool = False) -> None:
    """Creates the file. The process that writes it is killed: attempts that `hang` are not ended."""
    database = open_new_database(path)
    with closing(database), database.connection_context():
        database.pragma("synchronous", 0)
        store = ShorthandStore(SqliteStore(database, clock=clock))
        for fate in orders:
            clock.now_us += SECOND_US
            clock.ahead_us += fate.clock_step_us
            store.insert(fate.order)
        by_id = {fate.order.order_id: fate for fate in orders}
        for attempt in (0, 1):
            clock.now_us += 2 * SECOND_US
            claimed = store.claim()
            store.finish(*_outcomes(claimed, by_id, attempt, clock))
        for fate in orders:
            if fate.command == "cancel":
                store.cancel(fate.order.order_id)
            elif fate.command == "retry":
                store.retry(fate.order.order_id)
        if is_paused:
            store.write([SetPaused(is_paused=True)])
        store.save_measurements(MEASUREMENTS, now_s=MEASUREMENTS[0].begin_s)


def _outcomes(claimed: Sequence[Order], by_id: dict[int, Fate], attempt: int, clock: Clock) -> Iterator[Outcome]:
    for order in claimed:
        fate = by_id[order.order_id]
        sequence, claim, error = order.sequence, order.claims, fate.error
        match fate.endings[attempt]:
            case "complete":
                yield Outcome(sequence, claim, Status.COMPLETED)
            case "fail":
                yield Outcome(sequence, claim, Status.FAILED, error, ending=Ending.REJECTED)
            case "wait":
                due_us = clock.now_us + 3_600 * SECOND_US
                yield Outcome(sequence, claim, Status.PENDING, error, due_us, Ending.FAILED)
            case "soon":
                yield Outcome(sequence, claim, Status.PENDING, error, clock.now_us + 1, Ending.TIMED_OUT)
            case "back":
                yield Outcome(sequence, claim, Status.PENDING)


class Answers(NamedTuple):
    """What a store answers after a start: orders, histories, pages of lists, totals, measurements, and the next claimed
    orders."""

    orders: list[Any]
    histories: list[list[AttemptRecord] | None]
    pages: list[list[list[Order]]]
    totals: Totals
    measurements: list[Measurement]
    claimed: list[Order]


def answers_of(store: ShorthandStore, clock: Clock, orders: Sequence[Fate]) -> Answers:
    """Starts the store on an existing database, and asks it for everything."""

    def interrupted(attempt: Attempt) -> Outcome:
        due_us = clock.now_us + attempt.number * SECOND_US
        return Outcome(attempt.sequence, attempt.claim, Status.PENDING, "killed", due_us, Ending.INTERRUPTED)

    store.recover(interrupted)
    ids = [fate.order.order_id for fate in orders]
    found = store.find(ids)
    histories = [store.history(each) for each in ids]
    middle_us = sorted(order.created_us for order in found)[len(found) // 2] if found else 0
    pages = [
        list(_pages(store, Listing(limit=3, status=status, user_id=user, created_from_us=begin, created_until_us=end)))
        for status in (None, *Status)
        for user in (None, 1)
        for begin, end in ((None, None), (middle_us, None), (None, middle_us))
    ]
    totals = store.totals()
    clock.now_us += 3_601 * SECOND_US
    return Answers(found, histories, pages, totals, store.measurements(), store.claim())


def _pages(store: ShorthandStore, listing: Listing) -> Iterator[list[Order]]:
    last: int | None = HIGHEST
    while last is not None:
        page = store.list_orders(Listing(**{**_fields(listing), "last": last}))
        yield page.orders
        last = page.last


def _fields(listing: Listing) -> dict[str, Any]:
    return {name: getattr(listing, name) for name in listing.__struct_fields__}


def answers_of_file(path: Path, orders: Sequence[Fate], now_us: int) -> Answers:
    """What a server on a copy of the file would answer at this time."""
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    database, clock = open_new_database(copy), Clock(now_us)
    with closing(database), database.connection_context():
        return answers_of(ShorthandStore(SqliteStore(database, clock=clock)), clock, orders)


def answers_of_database(url: str, orders: Sequence[Fate], now_us: int) -> Answers:
    """What a server on the PostgreSQL database would answer at this time. Checks the tables, too."""
    clock = Clock(now_us)
    database = RetryingPostgresqlDatabase(PostgresqlUrl(url), deadline_s=0)
    database.connect()
    with closing(database):
        store = PostgresqlStore(database, clock=clock, read_database_us=lambda: clock.now_us + DATABASE_AHEAD_US)
        answers = answers_of(ShorthandStore(store), clock, orders)
        check_tables(database.psycopg_connection)
        store.disconnect()
    return answers


def starts(database: Path | str) -> bool:
    """Whether a server would start on the file or on the database with this URL."""
    try:
        open_store(PostgresqlUrl(database) if isinstance(database, str) else database, clock=Clock()).close()
    except DatabaseRefusedError:
        return False
    return True


class Lines(list[str]):
    """Collects the lines of a report. After `most` lines, the next one is an interruption."""

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self._most = most

    def __call__(self, line: str) -> None:
        if len(self) == self._most:
            raise KeyboardInterrupt
        self.append(line)


def options(now_us: int, *, max_rows: int = 4, deadline_s: float = 0) -> MoveOptions:
    """The options of a move at this time, in small batches. Each batch is reported."""
    seconds = iter(range(0, 10**9, 10))
    return MoveOptions(
        max_rows=max_rows,
        deadline_s=deadline_s,
        clock=lambda: float(next(seconds)),
        wall_us=lambda: now_us,
        database_us=lambda: now_us + DATABASE_AHEAD_US,
    )


def move_file(
    path: Path, url: str, now_us: int, *, max_rows: int = 4, deadline_s: float = 0, lines: Lines | None = None
) -> list[str]:
    """Moves the file. Returns the report."""
    lines = Lines() if lines is None else lines
    move(path, PostgresqlUrl(url), report=lines, options=options(now_us, max_rows=max_rows, deadline_s=deadline_s))
    return lines


@contextmanager
def emptied_target() -> Iterator[str]:
    """The URL of a database with the tables of a new store. The end of the block removes what a move has added."""
    database = emptied_database()
    try:
        yield database.url
    finally:
        execute(database.connection, "DROP TABLE IF EXISTS move")
        execute(database.connection, "COMMENT ON TABLE meta IS 'orders'")
