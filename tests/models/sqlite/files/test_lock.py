"""The lock that prevents a second server from using a database file."""

import fcntl
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from models.errors import DatabaseRefusedError
from models.sqlite.files.lock import DatabaseLock
from tests.models.privileges import without_privileges

ROOT = Path(__file__).resolve().parents[4]
HOLD = """
import sys
from pathlib import Path
from typing import Any
from models.sqlite.files.lock import DatabaseLock
lock = DatabaseLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.db"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the lock until the process ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def lock_file(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def test_the_lock_file_contains_the_process_id(path: Path) -> None:
    lock = DatabaseLock(path)
    lock.acquire()
    assert lock_file(path).read_text() == f"{os.getpid()}\n"
    lock.release()


def test_the_error_of_a_second_lock_has_the_process_id_of_the_first(path: Path) -> None:
    first, second = DatabaseLock(path), DatabaseLock(path)
    first.acquire()
    text = rf"orders\.db is in use by another server, process {os.getpid()}$"
    for _ in range(2):
        with pytest.raises(DatabaseRefusedError, match=text):
            second.acquire()
    assert lock_file(path).read_text() == f"{os.getpid()}\n"
    first.release()
    second.acquire()
    second.release()


def test_a_lock_is_released_when_its_process_is_killed(path: Path, holder: subprocess.Popen[str]) -> None:
    lock = DatabaseLock(path)
    with pytest.raises(DatabaseRefusedError, match=rf"process {holder.pid}$"):
        lock.acquire()
    holder.kill()
    holder.wait()
    assert lock_file(path).read_text() == f"{holder.pid}\n"
    lock.acquire()
    assert lock_file(path).read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_lock_can_be_released_twice_and_acquired_again(path: Path) -> None:
    lock = DatabaseLock(path)
    lock.release()
    for _ in range(2):
        lock.acquire()
        lock.acquire()
        lock.release()
        lock.release()
        assert not lock_file(path).exists()


def test_release_after_a_failed_acquire_does_not_release_the_other_lock(path: Path) -> None:
    first, second = DatabaseLock(path), DatabaseLock(path)
    first.acquire()
    with pytest.raises(DatabaseRefusedError):
        second.acquire()
    second.release()
    with pytest.raises(DatabaseRefusedError):
        second.acquire()
    first.release()


def test_a_lock_file_that_is_removed_before_it_is_locked_is_created_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_flock = fcntl.flock
    calls: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        if len(calls) == 1:
            lock_file(path).unlink()
        calls.append(operation)
        real_flock(descriptor, operation)

    # Only a patch can remove the file between open() and flock().
    monkeypatch.setattr(fcntl, "flock", flock)
    lock = DatabaseLock(path)
    lock.acquire()
    assert len(calls) == 3
    with pytest.raises(DatabaseRefusedError):
        DatabaseLock(path).acquire()
    lock.release()


@pytest.mark.parametrize("left", [b"", b"4194304\n", b"\xff\xfe", b"1" * 100])
def test_a_lock_file_that_a_crash_left_behind_locks_nothing(path: Path, left: bytes) -> None:
    lock_file(path).write_bytes(left)
    lock = DatabaseLock(path)
    lock.acquire()
    assert lock_file(path).read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_symbolic_link_to_the_database_has_the_same_lock(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "link.db").symlink_to(path)
    (tmp_path / "folder").symlink_to(tmp_path)
    first = DatabaseLock(path)
    first.acquire()
    for same in (folder / "link.db", tmp_path / "folder" / "orders.db", tmp_path / "elsewhere" / ".." / "orders.db"):
        with pytest.raises(DatabaseRefusedError, match=r"orders\.db is in use"):
            DatabaseLock(same).acquire()
    first.release()


def test_each_database_file_has_its_own_lock(tmp_path: Path) -> None:
    locks = [DatabaseLock(tmp_path / name) for name in ("a.db", "b.db", "a")]
    for lock in locks:
        lock.acquire()
    for lock in locks:
        lock.release()
    assert {file.name for file in tmp_path.iterdir()} == {"a.db", "b.db", "a"}


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseRefusedError, match=f"the folder {tmp_path}/missing does not exist"):
        DatabaseLock(tmp_path / "missing" / "orders.db").acquire()


def test_a_folder_that_is_not_writable_is_refused() -> None:
    with pytest.raises(DatabaseRefusedError, match=r"orders\.db can't be opened"):
        DatabaseLock(Path("/proc/orders.db")).acquire()


def test_a_forked_child_that_outlives_the_owner_does_not_keep_the_lock(path: Path) -> None:
    lock = DatabaseLock(path)
    lock.acquire()
    # The same as in a child whose parent has ended: no other process has the descriptor.
    lock.close_in_child()
    lock.release()
    assert path.with_name("orders.db.lock").exists()
    other = DatabaseLock(path)
    other.acquire()
    other.release()


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def test_a_hard_link_to_the_database_has_the_same_lock(
    path: Path, tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    folder = tmp_path / "linked"
    folder.mkdir()
    (folder / "other.db").hardlink_to(path)
    with pytest.raises(DatabaseRefusedError, match=rf"other\.db is in use by another server, process {holder.pid}$"):
        DatabaseLock(folder / "other.db").acquire()
    assert list(contents(folder)) == ["other.db"]


def test_a_database_with_a_hard_link_is_locked_with_a_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lock = DatabaseLock(path)
    lock.acquire()
    lock.release()
    assert caplog.messages == []
    path.with_name("other.db").hardlink_to(path)
    lock.acquire()
    lock.release()
    assert caplog.messages == [
        f"{path} has a hard link: after a crash, a server with the other path does not find the orders in orders.db-wal"
    ]


def test_the_lock_does_not_depend_on_the_lock_file(path: Path, holder: subprocess.Popen[str]) -> None:
    lock_file(path).unlink()
    with pytest.raises(DatabaseRefusedError, match=rf"process {holder.pid}$"):
        DatabaseLock(path).acquire()
    assert list(contents(path.parent)) == ["orders.db"]


def test_only_its_own_lock_file_is_removed(path: Path) -> None:
    lock = DatabaseLock(path)
    lock.acquire()
    lock_file(path).unlink()
    lock_file(path).write_text("4711\n")
    lock.release()
    assert lock_file(path).read_text() == "4711\n"


@contextmanager
def older_version(path: Path) -> Iterator[None]:
    """A version of the program that locks only the lock file."""
    descriptor = os.open(lock_file(path), os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"4711\n")
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


@pytest.mark.parametrize("content", [None, b"", b"orders"])
def test_a_lock_file_of_an_older_version_is_respected(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
    with older_version(path):
        before = contents(path.parent)
        with pytest.raises(DatabaseRefusedError, match=r"process 4711$"):
            DatabaseLock(path).acquire()
        assert contents(path.parent) == before
    lock = DatabaseLock(path)
    lock.acquire()
    lock.release()


def test_a_discarded_lock_leaves_only_files_that_existed(tmp_path: Path) -> None:
    (tmp_path / "old.db").touch()
    for name in ("old.db", "new.db"):
        lock = DatabaseLock(tmp_path / name)
        lock.acquire()
        (tmp_path / f"{name}-wal").touch()
        lock.discard()
    assert set(contents(tmp_path)) == {"old.db", "old.db-wal"}


def test_a_lock_file_that_can_not_be_removed_is_a_warning(
    public_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = DatabaseLock(public_folder / "orders.db")
    lock.acquire()
    public_folder.chmod(0o555)
    with without_privileges():
        lock.release()
    assert [record.getMessage() for record in caplog.records] == [
        f"{public_folder}/orders.db.lock can't be removed: Permission denied"
    ]
    public_folder.chmod(0o755)
    lock.acquire()
    lock.release()


def test_sqlite_can_use_the_locked_file(path: Path) -> None:
    lock = DatabaseLock(path)
    lock.acquire()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute("PRAGMA journal_mode = wal").fetchone() == ("wal",)
        connection.execute("CREATE TABLE t (a)")
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT count(*) FROM t").fetchone() == (0,)
    lock.release()


def test_a_lock_file_of_another_server_with_the_same_inode_is_not_removed(path: Path) -> None:
    lock = DatabaseLock(path)
    lock.acquire()
    lock.unlock_lock_file()
    lock_file(path).write_text("4711\n")  # the file keeps its inode
    lock.release()
    assert lock_file(path).read_text() == "4711\n"


def test_a_lock_that_proc_locks_leaves_out_at_first_is_found(
    path: Path, holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    read_text = Path.read_text

    def read_incompletely(file: Path, *arguments: Any, **options: Any) -> str:
        reads.append(file)
        return read_text(file, *arguments, **options) if len(reads) > 3 else ""

    lock_file(path).unlink()
    monkeypatch.setattr(Path, "read_text", read_incompletely)  # the kernel leaves out a lock too rarely for a test
    with pytest.raises(DatabaseRefusedError, match=f"process {holder.pid}"):
        DatabaseLock(path).acquire()
    assert reads == [Path("/proc/locks")] * 4
