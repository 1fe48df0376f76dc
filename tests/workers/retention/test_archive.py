"""The folder of --archive: its files, what is cut off after a crash, and its lock."""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from models.errors import StartRefusedError
from workers.retention.archive import Archive, ArchiveError
from workers.retention.members import encode_member

DAY_US = 86_400_000_000
NOON_US = 20_148 * DAY_US + DAY_US // 2  # 2025-03-01
FIRST, SECOND, THIRD = b'{"order_id":1}', b'{"order_id":2}', b'{"order_id":3}'


def all_known(order_ids: Sequence[int]) -> bool:
    return True


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    archive = Archive(tmp_path / "archive")
    archive.open()
    yield archive
    archive.close()


def lines_in(folder: Path) -> dict[str, list[bytes]]:
    return {each.name: gzip.decompress(each.read_bytes()).splitlines() for each in sorted(folder.glob("orders-*"))}


def test_a_file_for_each_day(archive: Archive, tmp_path: Path) -> None:
    archive.append([FIRST, SECOND], NOON_US)
    archive.append([THIRD], NOON_US + DAY_US // 2)
    archive.append([FIRST], NOON_US + DAY_US)
    # If the clock is set back, the newest file is continued, so that `settle` finds the last member.
    archive.append([SECOND], NOON_US - 30 * DAY_US)
    assert lines_in(tmp_path / "archive") == {
        "orders-2025-03-01.ndjson.gz": [FIRST, SECOND],
        "orders-2025-03-02.ndjson.gz": [THIRD, FIRST, SECOND],
    }


def test_a_member_whose_orders_were_not_deleted_is_cut_off(archive: Archive, tmp_path: Path) -> None:
    archive.settle(None, all_known)
    confirmed = archive.append([FIRST], NOON_US)
    asked: list[Sequence[int]] = []

    def are_known(order_ids: Sequence[int]) -> bool:
        asked.append(order_ids)
        return True

    archive.append([SECOND, THIRD], NOON_US)
    archive.settle(confirmed, are_known)
    archive.settle(confirmed, are_known)
    assert asked == [[2, 3]]
    assert lines_in(tmp_path / "archive") == {"orders-2025-03-01.ndjson.gz": [FIRST]}


def test_the_first_member_is_cut_off_if_its_orders_were_not_deleted(archive: Archive, tmp_path: Path) -> None:
    archive.append([FIRST], NOON_US)
    archive.settle(None, all_known)
    assert lines_in(tmp_path / "archive") == {"orders-2025-03-01.ndjson.gz": []}


def test_orders_that_only_the_archive_has_are_kept(archive: Archive, tmp_path: Path) -> None:
    confirmed = archive.append([FIRST], NOON_US)
    archive.append([SECOND, THIRD], NOON_US)
    archive.settle(confirmed, lambda order_ids: 3 not in order_ids)
    assert lines_in(tmp_path / "archive") == {"orders-2025-03-01.ndjson.gz": [FIRST, SECOND, THIRD]}


@pytest.mark.parametrize("length", [1, 20, 40])
def test_a_torn_member_is_cut_off(archive: Archive, tmp_path: Path, length: int) -> None:
    confirmed = archive.append([FIRST], NOON_US)
    [path] = (tmp_path / "archive").glob("orders-*.gz")
    whole = path.read_bytes()
    path.write_bytes(whole + encode_member(SECOND, number=1)[:length])
    archive.settle(confirmed, all_known)
    assert path.read_bytes() == whole


def test_a_file_with_other_content_is_not_changed(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "archive" / "orders-2025-03-01.ndjson.gz"
    path.write_bytes(gzip.compress(FIRST))
    with pytest.raises(ArchiveError, match="can't be continued: byte 0 is not"):
        archive.settle(None, all_known)
    assert gzip.decompress(path.read_bytes()) == FIRST


def test_a_file_that_cannot_be_written(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "archive" / "orders-2025-03-01.ndjson.gz").mkdir()
    with pytest.raises(ArchiveError, match="can't be written: Is a directory"):
        archive.append([FIRST], NOON_US)


def test_the_folder_keeps_its_id_and_is_used_once(archive: Archive, tmp_path: Path) -> None:
    other = Archive(tmp_path / "archive")
    with pytest.raises(StartRefusedError, match="is in use by another server"):
        other.open()
    archive.close()
    archive.close()
    again = Archive(tmp_path / "archive")
    again.open()
    assert again.id == archive.id > 0
    again.close()


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(StartRefusedError, match="can't be used: No such file or directory"):
        Archive(tmp_path / "missing" / "archive").open()
    (tmp_path / "file").touch()
    with pytest.raises(StartRefusedError, match="can't be used"):
        Archive(tmp_path / "file").open()
    (tmp_path / "orders.lock").write_text("a lock of another program\n")
    with pytest.raises(StartRefusedError, match="is not a file of this program"):
        Archive(tmp_path).open()
