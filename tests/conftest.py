"""Fixtures for all tests: an event loop, a clock that a test sets, a database file and a store.

Also sorts the tests, chooses where their files are, and lets Ctrl-C interrupt them.
"""

import gc
import os
import re
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import settings
from tornado.ioloop import IOLoop

from load.system.postgresql import give_away
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.store import SqliteStore
from tests.examples import ALL, FAST
from tests.io_loops import current, new_io_loop
from tests.longest_files import LONGEST_FILES
from tests.loop_time import LoopTime
from tests.models.new_database import open_new_database
from tests.models.samples import Clock
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.server import stop_shared_server

TESTS = Path(__file__).parent
GARBAGE_THRESHOLD = 5_000
"""Garbage is collected after this number of new containers, as in the server."""
MEMORY = Path("/dev/shm")  # noqa: S108 - pytest creates private folders in it
"""A folder in memory, on most Linux systems."""
MEMORY_BYTES = 250_000_000
"""The fast tests use the folder in memory only if this much space is free. The tests need less than half of this
space."""

SLOW_MODULE = re.compile(rb"^pytestmark = .*\bpytest\.mark\.(slow|postgresql)\b", re.MULTILINE)
"""Marks all tests of a module as slow."""


def pytest_configure(config: pytest.Config) -> None:
    _allow_interrupts()
    settings.register_profile("tests", FAST if _leaves_out_slow_tests(config) else ALL)
    settings.load_profile("tests")
    # The fast tests do not test whether data survives, so a disk would only cost time: each commit waits for a sync.
    # The same tests run on a disk if no test is left out.
    if _leaves_out_slow_tests(config) and "TMPDIR" not in os.environ and _is_usable(MEMORY):
        # pytest has already used `tempfile`, which keeps the first folder that it finds.
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes on two CPUs; five if slow tests run, because slow tests spend much of their time waiting."""
    return 2 if _leaves_out_slow_tests(config) else 5


def _leaves_out_slow_tests(config: pytest.Config) -> bool:
    return bool(config.getoption("markexpr") == "not slow")


def _is_usable(folder: Path) -> bool:
    """Whether the folder has enough space, and tests can write and execute files in it."""
    if not os.access(folder, os.W_OK):
        return False
    system = os.statvfs(folder)
    return not system.f_flag & os.ST_NOEXEC and system.f_bavail * system.f_frsize >= MEMORY_BYTES


def _allow_interrupts() -> None:
    """Lets Ctrl-C interrupt this process and the programs that tests start.

    If a script starts pytest with `&`, pytest ignores SIGINT. The programs that tests start would also ignore it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure() -> None:
    """Stops the PostgreSQL server that the tests share, when the last process of the tests ends."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        stop_shared_server()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """If the slow tests are left out, does not import modules in which all tests are slow."""
    if not _leaves_out_slow_tests(config) or not collection_path.match("test_*.py"):
        return None
    return True if SLOW_MODULE.search(collection_path.read_bytes()) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Turns off garbage collection while the tests are collected, and excludes all objects made until then from it.

    So the many calls of `gc.collect` need not examine half a million objects of pytest and the modules. After that,
    garbage is collected more rarely than by default.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.set_threshold(GARBAGE_THRESHOLD)
        gc.enable()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with slow tests first, because pytest-xdist starts the first files first.

    The tests that start a PostgreSQL server are slow.
    """
    for item in items:
        if item.get_closest_marker("postgresql"):
            item.add_marker("slow")
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}

    places = {TESTS / path: place for place, path in enumerate(LONGEST_FILES)}

    def place(item: pytest.Item) -> int:
        if item.path not in slow_files:
            return len(LONGEST_FILES) + 1
        return places.get(item.path, len(LONGEST_FILES))

    items.sort(key=place)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Lets the processes of pytest-xdist report one short message for each test that passes, instead of five long ones.

    Sending and reading five messages takes as much CPU time as many tests. Only these options need all five.
    """
    if (
        "PYTEST_XDIST_WORKER" not in os.environ
        or item.config.getoption("durations")
        or item.config.getoption("xmlpath")
    ):
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.passed:
            report.keywords = {}
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A new folder that the user who runs PostgreSQL can enter and use, unlike the folders of pytest."""
    with tempfile.TemporaryDirectory(prefix="orders-load-") as name:
        folder = Path(name)
        give_away(folder)
        folder.chmod(0o711)
        yield folder


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """Replaces the fixture `io_loop` of pytest-tornado, which calls deprecated functions of Tornado."""
    with new_io_loop() as loop, current(loop):
        yield loop


@pytest.fixture
def loop_time(io_loop: IOLoop, monkeypatch: pytest.MonkeyPatch) -> LoopTime:
    return LoopTime(io_loop, monkeypatch)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[RetryingSqliteDatabase]:
    """A new database, connected on the thread of the test, which does not wait for locks."""
    database = open_new_database(tmp_path / "orders.db")
    database.connect()
    yield database
    database.close()


@pytest.fixture
def store(database: RetryingSqliteDatabase, clock: Clock) -> ShorthandStore:
    return ShorthandStore(SqliteStore(database, clock=clock))
