"""The storage begins to fail, or works again: each change is logged once. All errors are counted."""

import pytest

from models.database.health import MAX_LOGGED_ORDERS, Damage, StorageHealth, Work
from models.errors import StorageDamagedError, StorageUnavailableError

FULL = StorageUnavailableError("database or disk is full", code="SQLITE_FULL")
DAMAGED = StorageDamagedError("malformed", code="SQLITE_CORRUPT")


@pytest.fixture
def health(caplog: pytest.LogCaptureFixture) -> StorageHealth:
    caplog.set_level("INFO")
    return StorageHealth(advice="; check it")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.message}" for record in caplog.records]


def test_each_change_is_logged_once(health: StorageHealth, caplog: pytest.LogCaptureFixture) -> None:
    health.note_success(Work.WRITES)
    for _ in range(3):
        health.note_failure(Work.WRITES, FULL)
    assert not health.is_up(Work.WRITES)
    assert health.is_up(Work.READS)
    for _ in range(3):
        health.note_success(Work.WRITES)
    assert health.is_up(Work.WRITES)
    health.note_failure(Work.READS, FULL)
    assert lines(caplog) == [
        "WARNING writes of the database fail: database or disk is full (SQLITE_FULL)",
        "INFO writes of the database work again",
        "WARNING reads of the database fail: database or disk is full (SQLITE_FULL)",
    ]
    assert health.errors() == {"SQLITE_FULL": 4}


def test_damage_is_an_error_with_advice(health: StorageHealth, caplog: pytest.LogCaptureFixture) -> None:
    health.note_failure(Work.READS, FULL)
    for error in (DAMAGED, FULL, DAMAGED):
        health.note_failure(Work.READS, error)
    assert lines(caplog)[1:] == ["ERROR reads of the database fail: malformed (SQLITE_CORRUPT); check it"]
    assert health.errors() == {"SQLITE_FULL": 2, "SQLITE_CORRUPT": 2}


def test_each_damaged_order_is_logged_once_up_to_a_limit(
    health: StorageHealth, caplog: pytest.LogCaptureFixture
) -> None:
    for order_id in range(MAX_LOGGED_ORDERS + 10):
        for _ in range(2):
            health.note_damage(Damage(f"order {order_id}", DAMAGED))
    assert len(caplog.records) == MAX_LOGGED_ORDERS
    assert caplog.messages[0] == "order 0 can't be read or written: malformed (SQLITE_CORRUPT); check it"
    assert health.errors() == {"SQLITE_CORRUPT": 2 * (MAX_LOGGED_ORDERS + 10)}
    assert all(health.is_up(work) for work in Work)


def test_a_repair_is_logged_once_and_later_damage_again(
    health: StorageHealth, caplog: pytest.LogCaptureFixture
) -> None:
    damage = Damage("order 5", DAMAGED, ", and stays Pending")
    health.note_repair("order 5")
    for _ in range(2):
        health.note_damage(damage)
        for _ in range(2):
            health.note_repair("order 5")
    assert (
        lines(caplog)
        == [
            "ERROR order 5 can't be read or written, and stays Pending: malformed (SQLITE_CORRUPT); check it",
            "INFO order 5 can be read and written again",
        ]
        * 2
    )


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("order 5", {"order_id": 5}),
        ("the history of order 5", {"order_id": 5}),
        ("the order with sequence 5", {}),
        ("5 more orders", {}),
    ],
)
def test_the_lines_about_a_damaged_order_have_its_id_as_a_field(
    health: StorageHealth, caplog: pytest.LogCaptureFixture, what: str, fields: dict[str, int]
) -> None:
    health.note_damage(Damage(what, DAMAGED))
    health.note_repair(what)
    assert [vars(record)["fields"] for record in caplog.records] == [fields] * 2
