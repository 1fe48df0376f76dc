"""The composition root: reads the settings, builds what lives long, serves, drains, closes.

All of it runs on the main thread, and so on the event loop once there is one.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import re
import resource
import secrets
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar, cast

from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets

from handlers.logs.access_log import AccessLog
from handlers.logs.log_format import FORMATS, formatter
from handlers.metrics.history import History
from handlers.metrics.instruments import Measurements
from handlers.metrics.prometheus import Exposition
from handlers.metrics.snapshot import Figures
from handlers.pages.dashboard import DashboardBrokenError
from handlers.routes import Collaborators, build_router
from handlers.security.api_keys import (
    PREFIX,
    WORDS,
    KeysRefusedError,
    Scope,
    check_name,
    new_key,
    read_keys,
    without_keys,
)
from handlers.security.rate_limit import RateLimit, parse_rate_limit
from handlers.security.request_guard import Admit, Gate, admit_everybody, warning_about
from handlers.sse.event_log import EventLog
from handlers.sse.metric_events import MetricsStreams
from handlers.sse.order_events import EventStreams
from handlers.transport.body_limit import MAX_DISCARDED_BYTES
from handlers.transport.http_server import BoundedHTTPServer
from handlers.transport.in_flight import Traffic
from handlers.transport.tls import TlsRefusedError, load_tls
from models.changes import changes_of
from models.errors import (
    DatabaseRefusedError,
    QueueClosedError,
    QueueFullError,
    StorageBusyError,
    StorageUnavailableError,
)
from models.listing import Listing, Page
from models.order import Order, Totals
from models.sqlite.lock import DatabaseLock
from models.sqlite.opening import open_database
from models.sqlite.store import OrderStore
from models.writes import Cancel, Claimed, Moved, Retried, Retry, RetryFailed, Turn, Write, Written
from workers.backoff import Backoff
from workers.batcher import Batcher
from workers.dispatcher import Dispatcher
from workers.failure_log import FailureLog
from workers.intake import Intake
from workers.process_exit import leave_within
from workers.processors.function import FunctionProcessor, FunctionRefusedError, load_function
from workers.processors.processor import MeasuredProcessor, Processor, RecordProcessor
from workers.processors.webhook import WebhookProcessor, check_secret, check_url
from workers.rates import Rates
from workers.retries import Retries
from workers.waiters import Finals

VERSION = "0.1.0"
BACKLOG = 2_048
SWITCH_INTERVAL_S = 0.0005
"""How long a thread that comes back from SQLite may wait for the event loop to let the interpreter go."""
GARBAGE_THRESHOLD = 5_000
"""How many containers more than before make Python look for cycles. Thousands of orders on their way are none; with
Python's 700 a tenth of the time of many orders at once goes into looking through them."""
MAX_BATCH = 2_000
"""How many orders share a commit, where so many wait for one."""
MAX_REQUESTS_WAITING = 10_000
"""How many requests other than orders may wait for one kind of answer."""
MAX_EVENTS = 50_000
"""How many of the last changes are kept for readers that were away or are slow, once there has been a reader."""
MAX_EVENT_READERS = 10_000
MAX_METRICS_READERS = 500
"""Of how it goes, each of whom is written to each second."""
MAX_RETRIED_AT_ONCE = 1_000
"""How many Failed orders one transaction makes Pending."""
SPARE_FILES = 1
"""Beside the connections, for the one that is accepted to be turned away."""
STDERR = 2
LAST_WORDS_S = 0.5
"""How long the end of the process may take where nothing is left to be done."""
LAST_ANSWERS_S = 1.0
"""How long a stop waits for answers to those whose orders could not be written any more."""

RECORD = "record"
WEBHOOK = "webhook"

_log = logging.getLogger("orders")
T = TypeVar("T")


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
    max_backlog: int
    drain_timeout: float
    api_keys: Path | None
    rate_limit: RateLimit | None
    tls_cert: Path | None
    tls_key: Path | None
    access_log: bool
    log_format: str


class StartRefusedError(Exception):
    """The server can't start; the text says why in one line."""


class _Parser(argparse.ArgumentParser):
    """A parser of flags whose complaints show no API key that was put in the wrong place."""

    def error(self, message: str) -> NoReturn:
        super().error(without_keys(message))


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """The settings; prints to stderr and exits with status 2 where a flag is unknown or bad.

    Prints a new API key to stdout and exits with status 0 where `--new-api-key` asks for one.
    """
    parser = _Parser(
        prog="server.py",
        description="An order backend: one process, one SQLite file. A 202 means that the order is on disk.",
        epilog="Each flag may come from the environment instead: ORDERS_PORT for --port, and so on. The flag wins.",
        allow_abbrev=False,
    )
    _add_settings(parser, environment)
    parser.add_argument(
        "--new-api-key", type=_checked(check_name), metavar="NAME", help="print a new API key and its line, and end"
    )
    parser.add_argument(
        "--scope", type=_one_of(*WORDS), metavar="SCOPE", help="what the new key allows: read, write or admin (read)"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        # What follows a flag that is mistyped may be a secret.
        shown = [re.split(f"=|whsec_|{PREFIX}", each)[0] for each in unknown if each.startswith("-")]
        parser.error(f"unknown: {' '.join(shown) or 'arguments that belong to no flag'}")
    name, scope = known.__dict__.pop("new_api_key"), known.__dict__.pop("scope")
    if name is not None:
        _print_new_key(name, Scope[(scope or WORDS[0]).upper()])
        parser.exit()
    if scope is not None:
        parser.error("--scope is of use to --new-api-key alone")
    settings = Settings(**vars(known))
    if settings.processor == WEBHOOK and None in (settings.webhook_url, settings.webhook_secret):
        parser.error("--processor webhook needs --webhook-url and --webhook-secret or ORDERS_WEBHOOK_SECRET")
    if settings.processor != WEBHOOK and any(each.partition("=")[0] == "--webhook-url" for each in arguments):
        # Else orders would be taken for processed that were never posted. In the environment it may wait to be used.
        parser.error("--webhook-url is of use to --processor webhook alone")
    if (settings.tls_cert is None) != (settings.tls_key is None):
        parser.error("--tls-cert and --tls-key are of use together alone")
    return settings


def _add_settings(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    def add(
        flag: str, kind: Callable[[str], object], default: str | None, text: str, *, if_bare: str | None = None
    ) -> None:
        name = "ORDERS_" + flag.removeprefix("--").replace("-", "_").upper()
        # argparse converts a default that is a string as it does a flag's value, and complains alike.
        # One that is set to nothing, as in many a configuration file, is not set.
        value = environment.get(name) or default
        text = f"{text} (default: {default or 'none'})"
        if if_bare is None:
            parser.add_argument(flag, type=kind, default=value, help=text)
        else:
            parser.add_argument(flag, type=kind, default=value, help=text, nargs="?", const=if_bare, metavar="yes|no")

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
    add("--max-backlog", _between(1, 1_000_000_000), "1000000", "orders that may be Pending before new ones get 503")
    add("--drain-timeout", _between(0, 86_400, float), "10", "seconds that running attempts get at a stop")
    add("--api-keys", Path, None, "file of the API keys that every request then needs, a line a key")
    add("--rate-limit", _checked(parse_rate_limit), None, "requests for each key, or address: 100/s, /m or /h")
    add("--tls-cert", Path, None, "PEM file of the certificate, and its chain, that HTTPS is served with")
    add("--tls-key", Path, None, "PEM file of the certificate's private key")
    add("--access-log", _switch, "no", "log a line for each request", if_bare="yes")
    add("--log-format", _one_of(*FORMATS), FORMATS[0], "how the log looks: text or json")


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


def _checked(check: Callable[[str], T]) -> Callable[[str], T]:
    def convert(text: str) -> T:
        try:
            return check(text)
        except ValueError as error:
            # Of a ValueError argparse would show the value, which may be a secret.
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _one_of(*words: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"must be {', '.join(words[:-1])} or {words[-1]}")
        return text

    return convert


def _switch(text: str) -> bool:
    is_on = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(text.lower())
    if is_on is None:
        raise argparse.ArgumentTypeError("must be 1, true or yes, or 0, false or no")
    return is_on


def _print_new_key(name: str, scope: Scope) -> None:
    key, line = new_key(name, scope, entropy=secrets.token_bytes)
    print(f"The key, which is shown this once; clients send it as Authorization: Bearer <key>\n{key}\n")  # noqa: T201
    print(f"The line for the file of --api-keys\n{line}")  # noqa: T201


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


def build_admission(settings: Settings) -> Admit:
    """What `--api-keys`, `--rate-limit` and `--access-log` do to every request. Raises KeysRefusedError."""
    keys = None if settings.api_keys is None else read_keys(settings.api_keys)
    admit = admit_everybody
    if keys or settings.rate_limit:
        admit = Gate(keys=keys, limit=settings.rate_limit, clock_ns=time.monotonic_ns).admit
    return AccessLog(admit=admit, clock_ns=time.monotonic_ns).admit if settings.access_log else admit


def build_tls(settings: Settings) -> ssl.SSLContext | None:
    """What `--tls-cert` and `--tls-key` say. Raises TlsRefusedError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return load_tls(settings.tls_cert, settings.tls_key)


def now_us() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1_000


class Server:
    """Everything that lives as long as the process does. Constructed, opened and closed on the event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        processor: Processor,
        store: OrderStore,
        max_files: int,
        admit: Admit,
        tls: ssl.SSLContext | None,
    ) -> None:
        started_s = time.monotonic()
        self._drain_timeout_s = settings.drain_timeout
        self._store = store
        self._measurements = Measurements(clock=now_us)
        # SQLite has one writer: two threads would only make each other wait.
        self._writer = ThreadPoolExecutor(1, "writer")
        self._reader = ThreadPoolExecutor(1, "reader")
        # One of its own, so that a long listing holds up no other request.
        self._lister = ThreadPoolExecutor(1, "lister")
        self._pool = ThreadPoolExecutor(settings.workers, "worker")
        self._retries = Retries(
            max_attempts=settings.max_attempts, backoff=Backoff(first_s=1.0, longest_s=3_600.0), clock=now_us
        )
        self._failures = FailureLog(clock=time.monotonic)
        self._dispatcher = Dispatcher(
            take_turn=self._take_turn,
            gap=lambda: self._intake.gap(),
            pool=self._pool,
            processor=MeasuredProcessor(
                processor, note=self._measurements.processing_s.observe, clock=time.perf_counter
            ),
            workers=settings.workers,
            retries=self._retries,
            failures=self._failures,
            backoff=Backoff(first_s=0.1, longest_s=5.0),
            clock=now_us,
        )
        self._writes: Batcher[Write, Written] = Batcher(
            self._writer,
            self._write,
            max_waiting=settings.max_intake,
            max_batch=MAX_BATCH,
            before_batch=self._before_batch,
            after_batch=self._note_batch,
        )
        self._probes: Batcher[None, None] = Batcher(self._writer, self._probe, max_waiting=MAX_REQUESTS_WAITING)
        self._finds: Batcher[int, Order | None] = Batcher(self._reader, store.find, max_waiting=MAX_REQUESTS_WAITING)
        self._totals: Batcher[None, Totals] = Batcher(self._reader, self._read_totals, max_waiting=MAX_REQUESTS_WAITING)
        # One at a time, so that none waits for those behind it.
        self._listings: Batcher[Listing, Page] = Batcher(
            self._lister, self._list, max_waiting=MAX_REQUESTS_WAITING, max_batch=1
        )
        self._finals = Finals(max_waiting=MAX_REQUESTS_WAITING)
        self._intake = Intake(
            writes=self._writes,
            finds=self._finds,
            finals=self._finals,
            pending=lambda: store.pending,
            max_backlog=settings.max_backlog,
        )
        log = EventLog(run=f"{now_us():x}", max_events=MAX_EVENTS)
        self._streams = EventStreams(log=log, clock=time.monotonic, max_readers=MAX_EVENT_READERS)
        self._retrying_failed = asyncio.Lock()
        self._probed = asyncio.get_running_loop().create_future()
        self._probed.set_result(None)
        self._rates = Rates(clock=time.monotonic)
        figures = Figures(rates=self._rates.up_to, clock=now_us, uptime_s=lambda: time.monotonic() - started_s)
        self._metrics_streams = MetricsStreams(
            figures=figures,
            history=History(measurements=self._measurements, clock=now_us, monotonic=time.monotonic),
            is_writable=lambda: store.is_writable,
            clock=time.monotonic,
            max_readers=MAX_METRICS_READERS,
        )
        self._ticker = PeriodicCallback(self._look_around, 1_000)
        self._traffic = Traffic()
        router = build_router(
            Collaborators(
                traffic=self._traffic,
                admit=admit,
                intake=self._intake,
                streams=self._streams,
                cancel=lambda order_id: self._move(Cancel(order_id)),
                retry=lambda order_id: self._move(Retry(order_id)),
                retry_failed=self._retry_failed,
                list_orders=self._listings.submit,
                totals=lambda: self._totals.submit(None),
                check_storage=self._check_storage,
                figures=figures,
                metrics_streams=self._metrics_streams,
                version=VERSION,
                has_keys=settings.api_keys is not None,
                measurements=self._measurements,
                exposition=Exposition(measurements=self._measurements, version=VERSION),
            )
        )
        self._http = BoundedHTTPServer(
            router, clock=time.monotonic, max_body_size=2 * MAX_DISCARDED_BYTES, ssl_options=tls
        )
        self._max_files = max_files

    async def open(self, sockets: list[socket.socket]) -> None:
        """Connects the database's threads, recovers, and takes requests from `sockets`. Raises storage errors."""
        loop = asyncio.get_running_loop()
        for executor in (self._writer, self._reader, self._lister):
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
        self._finals.close()
        given_up, _ = await asyncio.gather(
            self._dispatcher.stop(self._drain_timeout_s), self._traffic.drain(self._drain_timeout_s)
        )
        self._ticker.stop()
        self._failures.sum_up()
        for batcher in (self._writes, self._probes, self._finds, self._totals, self._listings):
            await batcher.close()
        await self._traffic.drain(LAST_ANSWERS_S)
        self._streams.close()
        self._metrics_streams.close()
        await self._http.close_all_connections()
        # The writer last: the last connection to close moves the log into the database.
        for executor in (self._reader, self._lister, self._writer):
            await asyncio.get_running_loop().run_in_executor(executor, self._store.disconnect)
            executor.shutdown(wait=False)
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not given_up

    async def _move(self, wish: Cancel | Retry) -> Order | None:
        moved = cast(Moved | None, await self._writes.submit(wish))
        return None if moved is None else moved.order

    async def _retry_failed(self, after: int) -> Retried:
        # One at a time, or those of a thousand who ask would make one endless transaction.
        async with self._retrying_failed:
            return cast(Retried, await self._writes.submit(RetryFailed(after, MAX_RETRIED_AT_ONCE)))

    def _before_batch(self) -> None:
        if not self._intake.is_flooded:
            self._dispatcher.offer()

    def _take_turn(self, turn: Turn) -> asyncio.Future[Claimed]:
        # Processing goes on however many orders wait to come in.
        return cast(asyncio.Future[Claimed], self._writes.submit(turn, first=True, even_if_full=True))

    def _note_batch(self, batch: Sequence[Write], results: Sequence[Written | BaseException]) -> None:
        self._measurements.note_batch(batch, results)
        # A turn that claimed less than it might have left nothing behind that could be begun.
        if not any(
            isinstance(wish, Turn) and isinstance(result, Claimed) and len(result.orders) < wish.limit
            for wish, result in zip(batch, results, strict=True)
        ):
            self._dispatcher.wake()
        if self._finals or self._streams:
            changes = changes_of(batch, results)
            self._finals.publish(changes)
            self._streams.publish(changes)

    async def _look_around(self) -> None:
        self._failures.sum_up()
        self._streams.beat()
        self._metrics_streams.beat()
        # A sample that can't be had is left out.
        with contextlib.suppress(StorageBusyError, StorageUnavailableError, QueueFullError):
            totals = await self._totals.submit(None)
            self._rates.sample(totals)
            self._metrics_streams.tell(totals)
        # Afterwards, or a failure that is over by now would never be told.
        self._probe_if_broken()

    def _probe_if_broken(self) -> None:
        """Finds out without orders that the storage works again. Does not wait: a lock may take its time."""
        if self._store.is_writable or not self._probed.done():
            return
        with contextlib.suppress(QueueFullError, QueueClosedError):
            self._probed = self._probes.submit(None)
            self._probed.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _check_storage(self) -> None:
        if not self._store.is_writable:
            await self._probes.submit(None)

    def _list(self, listings: Sequence[Listing]) -> list[Page]:
        return [self._store.list_orders(listing) for listing in listings]

    def _write(self, batch: Sequence[Write]) -> list[Written]:
        begin_s = time.perf_counter()
        try:
            return self._store.write(batch)
        finally:
            self._measurements.commit_s.observe(time.perf_counter() - begin_s)

    def _read_totals(self, waiters: Sequence[None]) -> list[Totals]:
        return [self._store.totals()] * len(waiters)

    def _probe(self, waiters: Sequence[None]) -> list[None]:
        self._store.probe()
        return [None] * len(waiters)


async def serve(settings: Settings, processor: Processor) -> bool:
    """Serves until SIGTERM or SIGINT, then drains; False where threads are left that still process an order.

    Raises StartRefusedError, KeysRefusedError, TlsRefusedError, DatabaseRefusedError, DashboardBrokenError and storage
    errors, and has then taken no order.
    """
    stop = asyncio.Event()
    admit, tls = build_admission(settings), build_tls(settings)
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
        server = Server(settings, processor=processor, store=store, max_files=max_files, admit=admit, tls=tls)
        await server.open(sockets)
        # Until here a signal ends the process as it ends any other.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        _announce(settings, sockets)
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


def _announce(settings: Settings, sockets: Sequence[socket.socket]) -> None:
    scheme = "http" if settings.tls_cert is None else "https"
    host, port = sockets[0].getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    _log.info("listening on %s://%s:%d (database %s, process %d)", scheme, shown, port, settings.database, os.getpid())
    warnings = (
        warning_about(each.getsockname()[0], has_keys=settings.api_keys is not None, has_tls=scheme == "https")
        for each in sockets
    )
    if warning := next(filter(None, warnings), None):
        _log.warning("%s", warning)


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


def _configure_log(log_format: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # Its warnings show whole URLs, and a receiver's may hold a token.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    _log.setLevel(logging.INFO)


def _refuse(reason: str) -> int:
    print(f"server.py: {without_keys(reason)}", file=sys.stderr)  # noqa: T201
    leave_within(LAST_WORDS_S, 1)
    return 1


def _fill_standard_streams() -> None:
    """Where one of them is closed, a socket or the database would get its number, and whatever is printed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit status: 0 after a stop, 1 where the server can't start, 2 where a flag is unknown or bad.

    The process ends soon afterwards, whatever runs in it.
    """
    _fill_standard_streams()
    settings = parse_settings(arguments, environment)
    _configure_log(settings.log_format)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(GARBAGE_THRESHOLD)
    gc.freeze()  # what has been imported stays
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            clean = runner.run(serve(settings, build_processor(settings)))
    except (
        StartRefusedError,
        KeysRefusedError,
        TlsRefusedError,
        DashboardBrokenError,
        FunctionRefusedError,
        DatabaseRefusedError,
    ) as refusal:
        return _refuse(str(refusal))
    except (StorageBusyError, StorageUnavailableError) as error:
        return _refuse(f"{settings.database}: {error}")
    except KeyboardInterrupt:
        return 130
    # Attempts that have been given back need no more time; threads of a function's own get what the attempts had.
    leave_within(max(settings.drain_timeout, LAST_WORDS_S) if clean else LAST_WORDS_S, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
