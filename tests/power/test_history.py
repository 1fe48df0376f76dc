"""What system calls do to a disk: what begins, what returns, and what of it a sync covers."""

from pathlib import Path

import pytest

from tests.power.calls import read_calls
from tests.power.disk import Disk, Files
from tests.power.history import UnknownCall, read_history, syncs, without

CREATE = '1 openat(AT_FDCWD</>, "/f/a", O_RDWR|O_CREAT, 0644) = 3</f/a>'
SYNC_FOLDER = "1 fsync(4</f>) = 0"
SYNC = "1 fdatasync(3</f/a>) = 0"


def after(*lines: str, deaf_to: str | None = None) -> Disk:
    disk = Disk()
    steps = read_history(read_calls(lines), Path("/f"))
    for step in steps if deaf_to is None else without(steps, syncs(steps, deaf_to)):
        step.happen(disk)
    return disk


def safe(*lines: str) -> Files:
    return after(CREATE, SYNC_FOLDER, *lines).safe()


def test_what_is_written_is_safe_once_the_file_and_the_folder_are_synced() -> None:
    write = '1 pwrite64(3</f/a>, "new", 3, 2) = 3'
    assert after(CREATE, write).written() == {"a": b"\0\0new"}
    assert after(CREATE, write).safe() == {}
    assert after(CREATE, write, SYNC).safe() == {}
    assert after(CREATE, write, SYNC_FOLDER).safe() == {"a": b""}
    assert after(CREATE, write, SYNC, SYNC_FOLDER).safe() == {"a": b"\0\0new"}


def test_a_write_that_had_not_returned_when_the_sync_began_is_not_covered() -> None:
    assert safe(
        '2 pwrite64(3</f/a>, "new", 3, 0 <unfinished ...>',
        "1 fdatasync(3</f/a> <unfinished ...>",
        "2 <... pwrite64 resumed>) = 3",
        "1 <... fdatasync resumed>) = 0",
    ) == {"a": b""}


def test_a_sync_that_has_not_returned_makes_nothing_safe() -> None:
    write = '1 pwrite64(3</f/a>, "new", 3, 0) = 3'
    assert safe(write, "1 fdatasync(3</f/a> <unfinished ...>") == {"a": b""}
    assert safe(write, "1 fdatasync(3</f/a> <unfinished ...>", "1 <... fdatasync resumed>) = 0") == {"a": b"new"}


def test_calls_that_failed_change_nothing() -> None:
    failed = "= -1 EIO (Input/output error)"
    assert safe(f'1 pwrite64(3</f/a>, "new", 3, 0) {failed}', SYNC) == {"a": b""}
    assert safe('1 pwrite64(3</f/a>, "new", 3, 0) = 3', f"1 fdatasync(3</f/a>) {failed}") == {"a": b""}
    assert safe(f'1 unlink("/f/a") {failed}', SYNC_FOLDER) == {"a": b""}


def test_of_a_write_that_was_cut_short_the_first_bytes_count() -> None:
    assert safe('1 pwrite64(3</f/a>, "new", 3, 0) = 2', SYNC) == {"a": b"ne"}


def test_a_truncation_cuts_or_fills_with_zeros() -> None:
    write = '1 pwrite64(3</f/a>, "new", 3, 0) = 3'
    assert safe(write, "1 ftruncate(3</f/a>, 1) = 0", "1 ftruncate(3</f/a>, 2) = 0", SYNC) == {"a": b"n\0"}


def test_a_file_that_is_removed_may_come_back_until_the_folder_is_synced() -> None:
    write = '1 pwrite64(3</f/a>, "old", 3, 0) = 3'
    removed = after(CREATE, write, SYNC, SYNC_FOLDER, '1 unlink("/f/a") = 0')
    assert (removed.safe(), removed.written()) == ({"a": b"old"}, {})
    assert safe(write, SYNC, '1 unlink("/f/a") = 0', SYNC_FOLDER) == {}


def test_a_file_made_under_the_name_of_a_removed_one_is_another_file() -> None:
    made_anew = ('1 unlink("/f/a") = 0', CREATE, '1 pwrite64(3</f/a>, "n", 1, 0) = 1', SYNC)
    old = ('1 pwrite64(3</f/a>, "old", 3, 0) = 3', SYNC)
    assert safe(*old, *made_anew) == {"a": b"old"}
    assert safe(*old, *made_anew, SYNC_FOLDER) == {"a": b"n"}


def test_opening_a_file_that_is_there_makes_no_other() -> None:
    assert safe('1 pwrite64(3</f/a>, "old", 3, 0) = 3', CREATE, SYNC) == {"a": b"old"}


def test_a_disk_can_be_deaf_to_the_syncs_of_one_file() -> None:
    lines = (CREATE, '1 pwrite64(3</f/a>, "new", 3, 0) = 3', SYNC, SYNC_FOLDER)
    assert after(*lines, deaf_to="a").safe() == {"a": b""}
    assert after(*lines, deaf_to="").safe() == {}
    assert after(*lines, deaf_to="b").safe() == {"a": b"new"}


def test_an_answer_counts_as_sent_where_it_begins() -> None:
    lines = [
        CREATE,
        r'2 sendto(9<socket:[5]>, "HTTP/1.1 202 Accepted\r\n", 23, 0, NULL, 0 <unfinished ...>',
        SYNC,
        "2 <... sendto resumed>) = 23",
    ]
    steps = read_history(read_calls(lines), Path("/f"))
    assert [step.line for step in steps if step.sent] == [1]
    assert b"".join(step.sent for step in steps) == b"HTTP/1.1 202 Accepted\r\n"


@pytest.mark.parametrize(
    "line",
    [
        '1 pwritev(3</f/a>, [{"new", 3}], 1, 0) = 3',
        '1 write(3</f/a>, "new", 3) = 3',
        '1 pwrite64(3</f/a>(deleted), "new", 3, 0) = 3',
        "1 fallocate(3</f/a>, 0, 0, 4096) = 0",
        '1 truncate("/f/a", 0) = 0',
        '1 rename("/f/a", "/f/b") = 0',
        '1 rename("/elsewhere", "/f/a") = 0',
        '1 openat(AT_FDCWD</>, "/f/a", O_RDWR|O_TRUNC) = 3</f/a>',
        "1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</f/a>, 0) = 0x7f00",
    ],
)
def test_a_call_that_is_not_modelled_is_refused(line: str) -> None:
    with pytest.raises(UnknownCall):
        after(CREATE, line)


@pytest.mark.parametrize(
    "line",
    [
        '1 write(1</dev/null>, "/f/a", 4) = 4',
        '1 pwrite64(3</elsewhere/a>, "/f/a", 4, 0) = 4',
        "1 fsync(3</folder/a>) = 0",
        "1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</f/a-shm>, 0) = 0x7f00",
        "1 mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3</f/a>, 0) = 0x7f00",
        '1 openat(AT_FDCWD</>, "/f/b", O_RDONLY) = -1 ENOENT (No such file or directory)',
    ],
)
def test_what_happens_elsewhere_or_changes_nothing_is_passed_over(line: str) -> None:
    assert after(CREATE, line).written() == {"a": b""}
