"""The composition root: reads the settings, builds what lives long, serves, drains, closes.

All of it runs on the main thread, and so on the event loop once there is one.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import re
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, cast

from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets

from handlers.body_limit import MAX_DISCARDED_BYTES
from handlers.http_server import BoundedHTTPServer
from handlers.routes import Collaborators, build_router
from handlers.traffic import Traffic
from models.errors import DatabaseRefusedError, StorageBusyError, StorageUnavailableError
from models.lock import DatabaseLock
from models.order import NewOrder, Order, Totals
from models.schema import open_database
from models.store import OrderStore
from models.writes import Cancel, Claimed, Insertion, Retried, Retry, RetryFailed, Turn, Write, Written
from workers.backoff import Backoff
from workers.batcher import Batcher
from workers.dispatcher import Dispatcher
from workers.failure_log import FailureLog
from workers.function import FunctionProcessor, FunctionRefusedError, load_function
from workers.processors import Processor, RecordProcessor
from workers.rates import Rates
from workers.retries import Retries
from workers.webhook import WebhookProcessor, check_secret, check_url

VERSION = "0.1.0"
BACKLOG = 2_048
SWITCH_INTERVAL_S = 0.0005
"""How long a thread that comes back from SQLite may wait for the event loop to let the interpreter go."""
MAX_REQUESTS_WAITING = 10_000
"""How many requests other than orders may wait for one kind of answer."""
MAX_RETRIED_AT_ONCE = 1_000
"""How many Failed orders one transaction makes Pending."""
SPARE_FILES = 3
"""Files that may be opened beside the connections, such as the one that is accepted to be turned away."""
STDERR = 2
LAST_WORDS_S = 0.5
"""How long the end of the process may take where nothing is left to be done."""
LAST_ANSWERS_S = 1.0
"""How long a stop waits for answers to those whose orders could not be written any more."""

RECORD = "record"
WEBHOOK = "webhook"

_log = logging.getLogger("orders")


class Settings(NamedTuple):
    """What the flags say; each may come from the environment as ORDERS_<NAME>, the flag wins."""

    port: int
    host: str
    database: Path
    workers: int
    processor: str
    webhook_url: str | None
    webhook_secret: str | None
    max_attempts: int
    max_intake: int
    drain_timeout: float


class StartRefusedError(Exception):
    """The server can't start; the text says why in one line."""


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """The settings; prints to stderr and exits with status 2 where a flag is unknown or bad."""
    parser = argparse.ArgumentParser(
        prog="server.py",
        description="An order backend: one process, one SQLite file. A 202 means that the order is on disk.",
        epilog="Each flag may come from the environment instead: ORDERS_PORT for --port, and so on. The flag wins.",
        allow_abbrev=False,
    )

    def add(flag: str, kind: Callable[[str], object], default: str | None, text: str) -> None:
        name = "ORDERS_" + flag.removeprefix("--").replace("-", "_").upper()
        # argparse converts a default that is a string as it does a flag's value, and complains alike.
        # One that is set to nothing, as in many a configuration file, is not set.
        value = environment.get(name) or default
        parser.add_argument(flag, type=kind, default=value, help=f"{text} (default: {default or 'none'})")

    add("--port", _between(0, 65_535), "8080", "TCP port to listen on; 0 takes a free one")
    add("--host", _host, "127.0.0.1", "address to listen on")
    add("--database", Path, "orders.db", "the SQLite file; made where it does not exist")
    add("--workers", _between(1, 1_000), "8", "threads that process orders")
    add(
        "--processor",
        _processor,
        "record",
        "what processing an order means: record, webhook or package.module:function",
    )
    add("--webhook-url", _checked(check_url), None, "where --processor webhook posts orders to")
    add(
        "--webhook-secret",
        _checked(check_secret),
        None,
        "base64 of the key that signs them; better given as ORDERS_WEBHOOK_SECRET",
    )
    add("--max-attempts", _between(1, 1_000_000), "10", "attempts at an order before it is Failed")
    add("--max-intake", _between(1, 1_000_000), "10000", "orders that may wait for a commit before new ones get 503")
    add("--drain-timeout", _between(0, 86_400, float), "10", "seconds that running attempts get at a stop")
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        # What follows a flag that is mistyped may be a secret.
        shown = [each.partition("=")[0].partition("whsec_")[0] for each in unknown if each.startswith("-")]
        parser.error(f"unknown: {' '.join(shown) or 'arguments that belong to no flag'}")
    settings = Settings(**vars(known))
    if settings.processor == WEBHOOK and None in (settings.webhook_url, settings.webhook_secret):
        parser.error("--processor webhook needs --webhook-url and --webhook-secret or ORDERS_WEBHOOK_SECRET")
    if settings.processor != WEBHOOK and any(each.partition("=")[0] == "--webhook-url" for each in arguments):
        # Else orders would be taken for processed that were never posted. In the environment it may wait to be used.
        parser.error("--webhook-url is of use to --processor webhook alone")
    return settings


def _between(low: float, high: float, kind: type[float] = int) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be from {low} to {high}")
        return value

    convert.__name__ = kind.__name__  # what argparse calls a value that can't be converted
    return convert


def _host(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty: that would be every address")
    return text


def _checked(check: Callable[[str], str]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        try:
            return check(text)
        except ValueError as error:
            # Of a ValueError argparse would show the value, which may be a secret.
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _processor(text: str) -> str:
    if text not in (RECORD, WEBHOOK) and not re.fullmatch(r"[\w.]+:[\w.]+", text):
        raise argparse.ArgumentTypeError(f"must be {RECORD}, {WEBHOOK} or package.module:function")
    return text


def build_processor(settings: Settings) -> Processor:
    """What `--processor` says. Raises FunctionRefusedError."""
    if settings.processor == RECORD:
        return RecordProcessor()
    if settings.processor == WEBHOOK:
        # parse_settings has seen to it that both are there.
        url, secret = cast(str, settings.webhook_url), cast(str, settings.webhook_secret)
        return WebhookProcessor(url=url, secret=secret, connections=settings.workers)
    # As for `python -m`: the folder that it is started in is looked at, too.
    sys.path.append("")
    return FunctionProcessor(load_function(settings.processor))


def now_us() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1_000


class Server:
    """Everything that lives as long as the process does. Constructed, opened and closed on the event loop."""

    def __init__(self, settings: Settings, *, processor: Processor, store: OrderStore, max_files: int) -> None:
        started_s = time.monotonic()
        self._drain_timeout_s = settings.drain_timeout
        self._store = store
        # SQLite has one writer: two threads would only make each other wait.
        self._writer = ThreadPoolExecutor(1, "writer")
        self._reader = ThreadPoolExecutor(1, "reader")
        self._pool = ThreadPoolExecutor(settings.workers, "worker")
        self._retries = Retries(
            max_attempts=settings.max_attempts, backoff=Backoff(first_s=1.0, longest_s=3_600.0), clock=now_us
        )
        self._failures = FailureLog(clock=time.monotonic)
        self._dispatcher = Dispatcher(
            take_turn=self._take_turn,
            pool=self._pool,
            processor=processor,
            workers=settings.workers,
            retries=self._retries,
            failures=self._failures,
            backoff=Backoff(first_s=0.1, longest_s=5.0),
            clock=now_us,
        )
        self._writes: Batcher[Write, Written] = Batcher(
            self._writer, store.write, max_waiting=settings.max_intake, after_batch=self._wake_dispatcher
        )
        self._probes: Batcher[None, None] = Batcher(self._writer, self._probe, max_waiting=MAX_REQUESTS_WAITING)
        self._finds: Batcher[int, Order | None] = Batcher(self._reader, store.find, max_waiting=MAX_REQUESTS_WAITING)
        self._totals: Batcher[None, Totals] = Batcher(self._reader, self._read_totals, max_waiting=MAX_REQUESTS_WAITING)
        self._retrying_failed = asyncio.Lock()
        self._rates = Rates(clock=time.monotonic)
        self._ticker = PeriodicCallback(self._look_around, 1_000)
        self._traffic = Traffic()
        router = build_router(
            Collaborators(
                traffic=self._traffic,
                admit=lambda incoming: None,
                insert=self._insert,
                find=self._finds.submit,
                cancel=self._cancel,
                retry=self._retry,
                retry_failed=self._retry_failed,
                totals=lambda: self._totals.submit(None),
                check_storage=self._check_storage,
                rates=self._rates.up_to,
                clock=now_us,
                uptime_s=lambda: time.monotonic() - started_s,
            )
        )
        self._http = BoundedHTTPServer(router, max_body_size=2 * MAX_DISCARDED_BYTES)
        self._max_files = max_files

    async def open(self, sockets: list[socket.socket]) -> None:
        """Connects the database's threads, recovers, and takes requests from `sockets`. Raises storage errors."""
        loop = asyncio.get_running_loop()
        for executor in (self._writer, self._reader):
            await loop.run_in_executor(executor, self._store.connect)
        recovered = await loop.run_in_executor(self._writer, self._store.recover, self._retries.after_crash)
        if recovered:
            _log.info("attempts that the end of the last process cut off: %d", recovered)
        self._dispatcher.start()
        await self._look_around()
        self._ticker.start()
        # Whatever this process was started with is open, too.
        self._http.limit_connections(max(1, self._max_files - _open_files() - SPARE_FILES))
        self._http.add_sockets(sockets)

    async def close(self) -> bool:
        """Drains and closes everything; False where threads are left that still process an order."""
        self._http.stop()
        given_up, _ = await asyncio.gather(
            self._dispatcher.stop(self._drain_timeout_s), self._traffic.drain(self._drain_timeout_s)
        )
        self._ticker.stop()
        self._failures.sum_up()
        for batcher in (self._writes, self._probes, self._finds, self._totals):
            await batcher.close()
        await self._traffic.drain(LAST_ANSWERS_S)
        await self._http.close_all_connections()
        # The writer last: the last connection to close moves the log into the database.
        for executor in (self._reader, self._writer):
            await asyncio.get_running_loop().run_in_executor(executor, self._store.disconnect)
            executor.shutdown(wait=False)
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not given_up

    def _insert(self, order: NewOrder) -> asyncio.Future[Insertion]:
        return cast(asyncio.Future[Insertion], self._writes.submit(order))

    def _cancel(self, order_id: int) -> asyncio.Future[Order | None]:
        return cast(asyncio.Future[Order | None], self._writes.submit(Cancel(order_id)))

    async def _retry(self, order_id: int) -> Order | None:
        order = cast(Order | None, await self._writes.submit(Retry(order_id)))
        self._dispatcher.wake()
        return order

    async def _retry_failed(self, after: int) -> Retried:
        # One at a time, or those of a thousand who ask would make one endless transaction.
        async with self._retrying_failed:
            retried = cast(Retried, await self._writes.submit(RetryFailed(after, MAX_RETRIED_AT_ONCE)))
        self._dispatcher.wake()
        return retried

    def _take_turn(self, turn: Turn) -> asyncio.Future[Claimed]:
        # Processing goes on however many orders wait to come in.
        return cast(asyncio.Future[Claimed], self._writes.submit(turn, even_if_full=True))

    def _wake_dispatcher(self, results: Sequence[object]) -> None:
        if Insertion.ACCEPTED in results:
            self._dispatcher.wake()

    async def _look_around(self) -> None:
        self._failures.sum_up()
        # A sample that can't be had is left out.
        with contextlib.suppress(StorageBusyError, StorageUnavailableError):
            self._rates.sample(await self._totals.submit(None))

    async def _check_storage(self) -> None:
        if not self._store.is_writable:
            await self._probes.submit(None)

    def _read_totals(self, waiters: Sequence[None]) -> list[Totals]:
        return [self._store.totals()] * len(waiters)

    def _probe(self, waiters: Sequence[None]) -> list[None]:
        self._store.probe()
        return [None] * len(waiters)


async def serve(settings: Settings, processor: Processor) -> bool:
    """Serves until SIGTERM or SIGINT, then drains; False where threads are left that still process an order.

    Raises StartRefusedError, DatabaseRefusedError and storage errors, and has then taken no order.
    """
    stop = asyncio.Event()
    with contextlib.ExitStack() as cleanup:
        sockets = _listen(settings)
        for each in sockets:
            cleanup.callback(each.close)
        lock = DatabaseLock(settings.database)
        lock.acquire()
        cleanup.callback(lock.release)
        database = open_database(settings.database)
        store = OrderStore(database, clock=now_us)
        # Each worker may have a connection of its own open.
        max_files = _file_limit() - (0 if settings.processor == RECORD else settings.workers)
        server = Server(settings, processor=processor, store=store, max_files=max_files)
        await server.open(sockets)
        # Until here a signal ends the process as it ends any other.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        host, port = sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        _log.info("listening on http://%s:%d (database %s, process %d)", shown, port, settings.database, os.getpid())
        await stop.wait()
        _end_at_next_signal()
        _log.info("stopping")
        clean = await server.close()
    _log.info("stopped")
    return clean


def _listen(settings: Settings) -> list[socket.socket]:
    try:
        return bind_sockets(settings.port, settings.host, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StartRefusedError(f"can't listen on {settings.host} port {settings.port}: {reason}") from None


def _end_at_next_signal() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)


def _open_files() -> int:
    """How many files this process has open, the folder that lists them included."""
    return len(list(Path("/dev/fd").iterdir()))


def _file_limit() -> int:
    """How many files this process may have open, after raising that to what the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS refuses "no limit" here; then the soft limit stays as it is.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # there is none for this platform
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _configure_log() -> None:
    handler = logging.StreamHandler()
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # Its warnings show whole URLs, and a receiver's may hold a token.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    _log.setLevel(logging.INFO)


def _refuse(reason: str) -> int:
    print(f"server.py: {reason}", file=sys.stderr)  # noqa: T201
    _leave_within(LAST_WORDS_S, 1)
    return 1


def _fill_standard_streams() -> None:
    """Where one of them is closed, a socket or the database would get its number, and whatever is printed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)


def _leave_within(limit_s: float, status: int) -> None:
    """Sees to it that the process ends with this status, whatever threads a user's function has left behind.

    Python itself waits for them; what has been printed and logged until now is not lost if they take longer.
    """

    def end() -> None:
        time.sleep(limit_s)
        os._exit(status)

    # A thread each: a pipe that nobody reads blocks the one that flushes.
    for work in (_flush, end):
        threading.Thread(target=work, daemon=True).start()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # None where it was closed at the start; a user's module may have put anything there.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    logging.shutdown()


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit status: 0 after a stop, 1 where the server can't start, 2 where a flag is unknown or bad.

    The process ends soon afterwards, whatever runs in it.
    """
    _fill_standard_streams()
    settings = parse_settings(arguments, environment)
    _configure_log()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            clean = runner.run(serve(settings, build_processor(settings)))
    except (StartRefusedError, FunctionRefusedError, DatabaseRefusedError) as refusal:
        return _refuse(str(refusal))
    except (StorageBusyError, StorageUnavailableError) as error:
        return _refuse(f"{settings.database}: {error}")
    except KeyboardInterrupt:
        return 130
    # Attempts that have been given back need no more time; threads of a function's own get what the attempts had.
    _leave_within(max(settings.drain_timeout, LAST_WORDS_S) if clean else LAST_WORDS_S, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
