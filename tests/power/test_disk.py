"""Tests what can remain of unsynced writes in the model of a disk, and what must remain of synced writes."""

from random import Random

from tests.power.disk import Disk, Entry, differences
from tests.power.file import SECTOR, Change, File

OLD, NEW, NEWEST = (letter * SECTOR for letter in (b"o", b"n", b"x"))


def file_with(content: bytes, *unsynced: tuple[int, bytes | None]) -> File:
    """Returns a file with this synced content. Each of its `unsynced` changes has an offset and data."""
    file = File()
    file.add(Change(0, content, has_returned=True))
    file.begin_sync()()
    for offset, data in unsynced:
        file.add(Change(offset, data, has_returned=True))
    return file


def outcomes(file: File, times: int = 600) -> set[bytes]:
    chance = Random(1)
    return {file.after_power_loss(chance) for _ in range(times)}


def test_synced_content_is_always_left() -> None:
    assert outcomes(file_with(OLD * 3)) == {OLD * 3}
    changed_in_the_middle = outcomes(file_with(OLD * 3, (SECTOR, NEW)))
    assert {(left[:SECTOR], left[2 * SECTOR :]) for left in changed_in_the_middle} == {(OLD, OLD)}


def test_each_sector_is_old_or_new_independently() -> None:
    left = outcomes(file_with(OLD * 3, (0, NEW * 3)))
    assert {a + b + c for a in (OLD, NEW) for b in (OLD, NEW) for c in (OLD, NEW)} <= left


def test_a_later_write_may_be_on_disk_without_an_earlier_one() -> None:
    left = outcomes(file_with(OLD * 2, (0, NEW), (SECTOR, NEWEST)))
    assert {OLD + OLD, NEW + OLD, OLD + NEWEST, NEW + NEWEST} <= left
    assert {OLD, NEW, NEWEST} <= outcomes(file_with(OLD, (0, NEW), (0, NEWEST)))


def test_a_sector_may_be_torn_or_have_junk_where_it_was_written() -> None:
    left = outcomes(file_with(OLD, (0, NEW)))
    assert any(len(set(each)) == 2 and each[:1] != each[-1:] for each in left)
    assert any(len(set(each)) > 2 for each in left)


def test_bytes_beside_a_write_do_not_change() -> None:
    left = outcomes(file_with(OLD, (100, b"n" * 24)))
    assert {(each[:100], each[124:]) for each in left} == {(OLD[:100], OLD[124:])}
    assert len({each[100:124] for each in left}) > 3


def test_a_file_that_grew_may_have_its_old_size_zeros_or_junk() -> None:
    left = outcomes(file_with(OLD, (SECTOR, NEW * 2)))
    assert {len(each) for each in left} == {SECTOR, 3 * SECTOR}
    grown = {each[SECTOR:] for each in left}
    assert {b"", bytes(2 * SECTOR), NEW * 2} <= grown
    assert any(len(set(each)) > 100 for each in grown)


def test_a_truncated_file_may_have_any_earlier_size() -> None:
    left = outcomes(file_with(OLD * 2, (SECTOR, None), (SECTOR, NEW * 2)))
    assert {len(each) for each in left} == {SECTOR, 2 * SECTOR, 3 * SECTOR}
    assert {OLD, OLD * 2, OLD + NEW * 2, OLD + bytes(SECTOR)} <= left


def test_a_sync_covers_writes_that_returned_before_it_began() -> None:
    file = file_with(OLD)
    slow = Change(0, b"slow")
    file.add(slow)
    file.add(Change(4, b"quick", has_returned=True))
    end = file.begin_sync()
    slow.has_returned = True
    file.add(Change(9, b"late", has_returned=True))
    assert file.synced == OLD
    end()
    assert file.synced == OLD[:4] + b"quick" + OLD[9:]
    assert file.written == b"slowquicklate" + OLD[13:]


def test_a_name_may_have_any_file_it_had_since_the_folder_was_synced() -> None:
    disk = Disk()
    disk.add(Entry("a", file_with(b"old"), has_returned=True))
    disk.begin_sync()()
    disk.add(Entry("a", None, has_returned=True))
    disk.add(Entry("a", file_with(b"new"), has_returned=True))
    disk.add(Entry("b", file_with(b"other"), has_returned=True))
    chance = Random(1)
    left = [disk.after_power_loss(chance) for _ in range(100)]
    assert {(files.get("a"), files.get("b")) for files in left} == {
        (a, b) for a in (b"old", None, b"new") for b in (None, b"other")
    }
    assert disk.synced() == {"a": b"old"}
    assert disk.written() == {"a": b"new", "b": b"other"}
    assert differences(disk.synced(), disk.written()) == ["a", "b"]


def test_the_same_seed_gives_the_same_result() -> None:
    file = file_with(OLD * 9, (100, NEW * 20))
    assert file.after_power_loss(Random(7)) == file.after_power_loss(Random(7))
