"""Reading what strace writes, line by line as it comes from a process with several threads."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.power.calls import Call, UnreadableTrace, read_calls, strace
from tests.process import DEADLINE_S, need


def test_a_call_has_its_name_arguments_lines_and_result() -> None:
    [call] = read_calls(['11505 pwrite64(13</f/a>, "ab", 2, 7) = 2\n'], first_line=40)
    assert call == Call("pwrite64", '13</f/a>, "ab", 2, 7', begin=40, end=40, result=2)
    assert call.data == b"ab"


def test_a_descriptor_that_is_opened_names_its_file() -> None:
    [call] = read_calls(['7 openat(AT_FDCWD</work>, "a", O_RDWR|O_CREAT, 0644) = 13</f/a>'])
    assert (call.result, call.opened) == (13, "/f/a")


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ('1 openat(AT_FDCWD</f>, "a", O_RDWR) = -1 ENOENT (No such file or directory)', -1),
        ("1 fdatasync(3</f/a>)              = 0", 0),
        ("1 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f00", 0x7F00),
        ("1 fcntl(3</f/a>, F_GETFL) = 0x802 (flags O_RDWR|O_NONBLOCK)", 0x802),
        ('1 pwrite64(3</f/a>, ") = 5", 5, 0) = -1 ENOSPC (No space left on device)', -1),
        ('1 pwrite64(3</f/a>, "\\") = 5", 6, 0) = 4', 4),
    ],
)
def test_the_result_is_read_whatever_comes_before_and_after(line: str, result: int) -> None:
    assert [call.result for call in read_calls([line])] == [result]


def test_calls_that_overtake_each_other_begin_and_end_where_their_lines_are() -> None:
    calls = read_calls(
        [
            '12 pwrite64(3</f/a>, "new", 3, 0 <unfinished ...>',
            "13 fdatasync(4</f/b> <unfinished ...>",
            '14 sendto(9<socket:[1]>, "hi", 2, 0, NULL, 0) = 2',
            "12 <... pwrite64 resumed>) = 3",
            "12 ftruncate(3</f/a>, 1) = 0",
            "13 <... fdatasync resumed>)           = 0",
        ]
    )
    assert [(call.name, call.begin, call.end) for call in calls] == [
        ("pwrite64", 0, 3),
        ("fdatasync", 1, 5),
        ("sendto", 2, 2),
        ("ftruncate", 4, 4),
    ]
    assert [call.data for call in calls[:1]] == [b"new"]


def test_a_call_that_the_end_of_the_process_cuts_off_never_returned() -> None:
    calls = read_calls(
        [
            '12 pwrite64(3</f/a>, "new", 3, 0 <unfinished ...>',
            "13 fdatasync(4</f/b> <unfinished ...>",
            "13 <... fdatasync resumed> <unfinished ...>) = ?",
            "13 +++ killed by SIGKILL +++",
            "12 --- SIGTERM {si_signo=SIGTERM} ---",
        ]
    )
    assert [(call.name, call.end, call.result) for call in calls] == [
        ("pwrite64", None, None),
        ("fdatasync", None, None),
    ]


def test_data_may_hold_anything() -> None:
    [call] = read_calls([r'1 sendmsg(3<socket:[5]>, {[{"\0\00012\377\"\\n\t", 9}, {"b", 1}], 2}, 0) = 10'])
    assert call.data == b'\0\00012\xff"\\n\tb'


@pytest.mark.parametrize(
    "line",
    ["1 <... fdatasync resumed>) = 0", "1 fdatasync(3</f/a>", "1 strace: something went wrong", "nonsense"],
)
def test_what_strace_does_not_write_is_refused(line: str) -> None:
    with pytest.raises(UnreadableTrace):
        read_calls([line])


def test_data_that_is_not_shown_whole_is_refused() -> None:
    [call] = read_calls(['1 sendto(3<socket:[5]>, "abc"..., 100, 0, NULL, 0) = 100'])
    with pytest.raises(UnreadableTrace):
        assert call.data


def test_all_bytes_come_through_strace_unchanged(tmp_path: Path) -> None:
    need("strace")
    every = bytes(range(256)) * 3
    writing = f"import os; os.pwrite(os.open({str(tmp_path / 'a')!r}, os.O_RDWR | os.O_CREAT), {every!r}, 5)"
    command = [*strace(tmp_path / "trace"), sys.executable, "-ISc", writing]
    subprocess.run(command, check=True, timeout=DEADLINE_S)
    with (tmp_path / "trace").open(encoding="ascii") as lines:
        [call] = [call for call in read_calls(lines) if call.name == "pwrite64"]
    assert (call.data, call.result) == (every, len(every))
