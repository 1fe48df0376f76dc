"""The copy of a snapshot: writes during the copy, and the pauses of the copy and of its check."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from models.sqlite.backup import copy
from models.sqlite.backup.backup import back_up
from models.sqlite.backup.copy import (
    FLUSH_BYTES,
    PAUSE_FACTOR,
    STEP_PAGES,
    begin_writing,
    check_copy,
    copy_database,
)
from tests.models.sqlite.stored_shop import Reports, StoredShop, ignore, orders_in

LONG = '{"note": "' + "x" * 4_000 + '"}'


def test_writes_during_the_copy_are_not_in_the_backup_and_do_not_begin_it_again(
    served: StoredShop, tmp_path: Path
) -> None:
    served.insert(1_000, metadata=LONG)
    expected = served.orders()
    copied: list[tuple[int, int | None]] = []

    def progress(step: str, done: int = 0, total: int | None = None, /) -> None:
        if step == "Copying":
            copied.append((done, total))
            served.insert(20, metadata=LONG)

    back_up(served.path, tmp_path / "backup.db", report=Reports(), progress=progress)
    size = (tmp_path / "backup.db").stat().st_size
    assert copied == [
        (min(end, size), size) for end in range(STEP_PAGES << 12, size + (STEP_PAGES << 12), STEP_PAGES << 12)
    ]
    assert len(copied) > 2
    assert orders_in(tmp_path / "backup.db") == expected


def test_a_paced_copy_pauses_in_proportion_to_the_time_of_each_step(shop: StoredShop, tmp_path: Path) -> None:
    shop.insert(1_000, metadata=LONG)
    now_s, pauses = [0.0], list[float]()

    def clock() -> float:
        now_s[0] += 2.0
        return now_s[0]

    for is_paced in (False, True):
        with closing(sqlite3.connect(shop.path, isolation_level=None)) as source:
            source.execute("BEGIN")
            copy_database(
                source,
                tmp_path / "copy.db",
                journal_mode="delete",
                is_paced=is_paced,
                progress=ignore,
                sleep=pauses.append,
                clock=clock,
            )
        assert set(pauses) == ({2.0 * PAUSE_FACTOR} if is_paced else set())
    assert len(pauses) > 2


def test_a_copy_begins_to_write_each_range_of_its_file_to_disk_once(
    shop: StoredShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.insert(2_000, metadata=LONG)
    ranges = list[tuple[int, int]]()

    def note(descriptor: int, offset: int, length: int) -> None:
        begin_writing(descriptor, offset, length)
        ranges.append((offset, offset + length))

    monkeypatch.setattr(copy, "begin_writing", note)
    with closing(sqlite3.connect(shop.path, isolation_level=None)) as source:
        source.execute("BEGIN")
        copy_database(source, tmp_path / "copy.db", journal_mode="delete", is_paced=False, progress=ignore)
    assert len(ranges) > 2
    assert [begin for begin, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert all(end - begin >= FLUSH_BYTES for begin, end in ranges)
    assert orders_in(tmp_path / "copy.db") == shop.orders()


def test_a_paced_check_pauses_in_proportion_to_the_time_of_each_step(shop: StoredShop) -> None:
    shop.insert(5_000)
    shop.close()
    now_s, pauses = [0.0], list[float]()

    def clock() -> float:
        now_s[0] += 2.0
        return now_s[0]

    for is_paced in (False, True):
        assert check_copy(shop.path, is_paced=is_paced, progress=ignore, sleep=pauses.append, clock=clock) is None
        assert set(pauses) == ({2.0 * PAUSE_FACTOR} if is_paced else set())
