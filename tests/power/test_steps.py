"""Tests how system calls, given as lines of strace, change the model of a disk."""

from pathlib import Path

import pytest

from tests.cases import cases
from tests.power.disk import Disk, Files
from tests.power.steps import UnknownCall, read_steps, syncs, without_steps
from tests.power.system_calls import read_calls

CREATE = '1 openat(AT_FDCWD</>, "/f/a", O_RDWR|O_CREAT, 0644) = 3</f/a>'
SYNC_FOLDER = "1 fsync(4</f>) = 0"
SYNC = "1 fdatasync(3</f/a>) = 0"


def after(*lines: str, ignoring: str | None = None) -> Disk:
    disk = Disk()
    steps = read_steps(read_calls(lines), Path("/f"))
    for step in steps if ignoring is None else without_steps(steps, syncs(steps, ignoring)):
        step.apply(disk)
    return disk


def synced(*lines: str) -> Files:
    return after(CREATE, SYNC_FOLDER, *lines).synced()


def test_a_write_is_on_disk_once_the_file_and_the_folder_are_synced() -> None:
    write = '1 pwrite64(3</f/a>, "new", 3, 2) = 3'
    assert after(CREATE, write).written() == {"a": b"\0\0new"}
    assert after(CREATE, write).synced() == {}
    assert after(CREATE, write, SYNC).synced() == {}
    assert after(CREATE, write, SYNC_FOLDER).synced() == {"a": b""}
    assert after(CREATE, write, SYNC, SYNC_FOLDER).synced() == {"a": b"\0\0new"}


def test_a_sync_does_not_cover_a_write_that_returned_after_it_began() -> None:
    assert synced(
        '2 pwrite64(3</f/a>, "new", 3, 0 <unfinished ...>',
        "1 fdatasync(3</f/a> <unfinished ...>",
        "2 <... pwrite64 resumed>) = 3",
        "1 <... fdatasync resumed>) = 0",
    ) == {"a": b""}


def test_a_sync_that_has_not_returned_covers_nothing() -> None:
    write = '1 pwrite64(3</f/a>, "new", 3, 0) = 3'
    assert synced(write, "1 fdatasync(3</f/a> <unfinished ...>") == {"a": b""}
    assert synced(write, "1 fdatasync(3</f/a> <unfinished ...>", "1 <... fdatasync resumed>) = 0") == {"a": b"new"}


def test_calls_that_failed_change_nothing() -> None:
    failed = "= -1 EIO (Input/output error)"
    assert synced(f'1 pwrite64(3</f/a>, "new", 3, 0) {failed}', SYNC) == {"a": b""}
    assert synced('1 pwrite64(3</f/a>, "new", 3, 0) = 3', f"1 fdatasync(3</f/a>) {failed}") == {"a": b""}
    assert synced(f'1 unlink("/f/a") {failed}', SYNC_FOLDER) == {"a": b""}


def test_a_short_write_changes_only_its_first_bytes() -> None:
    assert synced('1 pwrite64(3</f/a>, "new", 3, 0) = 2', SYNC) == {"a": b"ne"}


def test_a_truncation_cuts_or_fills_with_zeros() -> None:
    write = '1 pwrite64(3</f/a>, "new", 3, 0) = 3'
    assert synced(write, "1 ftruncate(3</f/a>, 1) = 0", "1 ftruncate(3</f/a>, 2) = 0", SYNC) == {"a": b"n\0"}


def test_a_removed_file_may_come_back_until_the_folder_is_synced() -> None:
    write = '1 pwrite64(3</f/a>, "old", 3, 0) = 3'
    removed = after(CREATE, write, SYNC, SYNC_FOLDER, '1 unlink("/f/a") = 0')
    assert (removed.synced(), removed.written()) == ({"a": b"old"}, {})
    assert synced(write, SYNC, '1 unlink("/f/a") = 0', SYNC_FOLDER) == {}


def test_a_file_created_after_a_removal_is_another_file() -> None:
    made_anew = ('1 unlink("/f/a") = 0', CREATE, '1 pwrite64(3</f/a>, "n", 1, 0) = 1', SYNC)
    old = ('1 pwrite64(3</f/a>, "old", 3, 0) = 3', SYNC)
    assert synced(*old, *made_anew) == {"a": b"old"}
    assert synced(*old, *made_anew, SYNC_FOLDER) == {"a": b"n"}


def test_opening_an_existing_file_does_not_replace_it() -> None:
    assert synced('1 pwrite64(3</f/a>, "old", 3, 0) = 3', CREATE, SYNC) == {"a": b"old"}


def test_the_syncs_of_one_file_can_be_ignored() -> None:
    lines = (CREATE, '1 pwrite64(3</f/a>, "new", 3, 0) = 3', SYNC, SYNC_FOLDER)
    assert after(*lines, ignoring="a").synced() == {"a": b""}
    assert after(*lines, ignoring="").synced() == {}
    assert after(*lines, ignoring="b").synced() == {"a": b"new"}


def test_a_response_counts_as_sent_when_its_call_begins() -> None:
    lines = [
        CREATE,
        r'2 sendto(9<socket:[5]>, "HTTP/1.1 202 Accepted\r\n", 23, 0, NULL, 0 <unfinished ...>',
        SYNC,
        "2 <... sendto resumed>) = 23",
    ]
    steps = read_steps(read_calls(lines), Path("/f"))
    assert [step.line for step in steps if step.sent] == [1]
    assert b"".join(step.sent for step in steps) == b"HTTP/1.1 202 Accepted\r\n"


@cases(
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
def test_a_call_that_is_not_modelled_raises_an_error(line: str) -> None:
    with pytest.raises(UnknownCall):
        after(CREATE, line)


@cases(
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
def test_calls_on_other_files_or_without_effect_are_ignored(line: str) -> None:
    assert after(CREATE, line).written() == {"a": b""}
