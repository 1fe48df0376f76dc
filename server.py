"""Parses the flags, constructs the long-lived objects, serves requests, drains and closes. Runs on the main thread."""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the process at once, also during the imports below

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

try:
    import msgspec

    # These import every other package that the server needs.
    from handlers.api import HttpApi
    from workers.processors.selection import RECORD, WEBHOOK, build_processor, check_processor
    from workers.service import OrderService, ServiceLimits
except ModuleNotFoundError as missing:
    sys.exit(f'server.py: the package "{missing.name}" is not installed: run pip install -r requirements.txt')

from handlers.logs.access_lines import AccessLines
from handlers.logs.access_log import AccessLog
from handlers.logs.log_format import TEXT, check_format, configure_logging
from handlers.security.api_keys import PREFIX, Scope, check_name, new_key, parse_scope, read_keys, without_keys
from handlers.security.hosts import allowed_hosts, parse_hosts
from handlers.security.rate_limit import RateLimit, parse_rate_limit
from handlers.security.request_guard import RequestGuard, exposure_warning
from handlers.telemetry import Telemetry
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.sockets import addresses_of, base_url, check_host, listen, raise_file_limit
from handlers.transport.tls import load_tls
from models.errors import StartRefusedError, StorageBusyError, StorageUnavailableError
from models.store import open_store
from workers.process_exit import EXIT_DELAY_S, exit_within, fill_standard_streams
from workers.processors.processor import Processor
from workers.processors.webhook import check_secret, check_url

VERSION = "0.1.0"
SWITCH_INTERVAL_S = 0.0005
"""How long the event loop can keep the GIL while a thread that returns from SQLite waits for it."""
GARBAGE_THRESHOLD = 5_000
"""How many new container objects trigger a garbage collection. Orders in flight contain no reference cycles; with
Python's default of 700, a tenth of the time of bulk inserts would be spent on garbage collection."""

_log = logging.getLogger("orders")
T = TypeVar("T")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The parsed flags."""

    port: int
    host: str
    allowed_hosts: frozenset[str] | None
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


class _Parser(argparse.ArgumentParser):
    """Removes API keys from its error messages, in case a key was passed in the wrong place."""

    def error(self, message: str) -> NoReturn:
        super().error(without_keys(message))


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Returns the settings. If a flag is unknown or invalid, prints to stderr and exits with status 2.

    `--new-api-key` prints a new API key to stdout and exits with status 0.
    """
    parser = _Parser(
        prog="server.py",
        description="An order backend: one process, one SQLite file. A 202 means that the order is on disk.",
        epilog="Each flag that has a default can also be set by an environment variable, for example --port by "
        "ORDERS_PORT. The flag takes precedence.",
        allow_abbrev=False,
    )
    _add_settings(parser, environment)
    parser.add_argument("--new-api-key", type=_checked(check_name), metavar="NAME", help="print a new API key and exit")
    parser.add_argument("--scope", type=_checked(parse_scope), help="scope of the new key: read, write or admin (read)")
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        # The value of a mistyped flag can be a secret.
        shown = [re.split(f"=|whsec_|{PREFIX}", each)[0] for each in unknown if each.startswith("-")]
        parser.error(f"unknown flags: {' '.join(shown)}" if shown else "unexpected arguments")
    values = vars(known)
    name, scope = values.pop("new_api_key"), values.pop("scope")
    if name is not None:
        key, line = new_key(name, scope or Scope.READ, entropy=secrets.token_bytes)
        key_text = f"The key, shown only this once. Clients send it as Authorization: Bearer <key>\n{key}\n"
        print(f"{key_text}\nThe line for the file of --api-keys\n{line}")  # noqa: T201 - the output of the flag
        parser.exit()
    if scope is not None:
        parser.error("--scope needs --new-api-key")
    settings = msgspec.convert(values, Settings)
    if settings.processor == WEBHOOK and None in (settings.webhook_url, settings.webhook_secret):
        parser.error("--processor webhook needs --webhook-url and --webhook-secret or ORDERS_WEBHOOK_SECRET")
    if settings.processor != WEBHOOK and any(each.partition("=")[0] == "--webhook-url" for each in arguments):
        # Otherwise orders would be Completed without a delivery. ORDERS_WEBHOOK_URL alone is allowed, for later use.
        parser.error("--webhook-url needs --processor webhook")
    if (settings.tls_cert is None) != (settings.tls_key is None):
        parser.error("--tls-cert and --tls-key must be used together")
    return settings


def _add_settings(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    def add(flag: str, convert: Callable[[str], object], default: str | None, text: str, **options: str) -> None:
        variable = "ORDERS_" + flag.removeprefix("--").replace("-", "_").upper()
        # argparse converts a string default like the value of a flag. An empty variable counts as not set.
        value = environment.get(variable) or default
        help_text = f"{text} (default: {default or 'none'})"
        keywords: Any = {"type": convert, "default": value, "help": help_text, **options}
        parser.add_argument(flag, **keywords)

    add("--port", _between(0, 65_535), "8080", "TCP port to listen on; 0 takes a free one")
    add("--host", _checked(check_host), "127.0.0.1", "address to listen on")
    add("--allowed-hosts", _checked(parse_hosts), None, "allowed Host headers, in addition to the loopback address")
    add("--database", Path, "orders.db", "the SQLite file; created if it does not exist")
    add("--workers", _between(1, 1_000), "8", "threads that process orders")
    add("--processor", _checked(check_processor), RECORD, "how to process: record, webhook or package.module:function")
    add("--webhook-url", _checked(check_url), None, "URL to which --processor webhook sends orders")
    add("--webhook-secret", _checked(check_secret), None, "base64 key for webhooks; safer as ORDERS_WEBHOOK_SECRET")
    add("--max-attempts", _between(1, 1_000_000), "10", "attempts to process an order before it is Failed")
    add("--max-intake", _between(1, 1_000_000), "10000", "if this many orders wait for a commit, new ones get 503")
    add("--max-backlog", _between(1, 1_000_000_000), "1000000", "if this many orders are Pending, new ones get 503")
    add("--drain-timeout", _between(0, 86_400, float), "10", "seconds for running attempts to finish at a stop")
    add("--api-keys", Path, None, "file with the API keys that requests must send, one per line")
    add("--rate-limit", _checked(parse_rate_limit), None, "requests allowed per key, or per address: 100/s, /m or /h")
    add("--tls-cert", Path, None, "PEM file with the certificate chain; the server then uses HTTPS")
    add("--tls-key", Path, None, "PEM file with the private key of the certificate")
    add("--access-log", _switch, "no", "log a line for each request", nargs="?", const="yes", metavar="yes|no")
    add("--log-format", _checked(check_format), TEXT, "format of log lines: text or json")


def _between(low: float, high: float, kind: type[float] = int) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be from {low} to {high}")
        return value

    convert.__name__ = kind.__name__  # argparse shows this name if a value can't be converted
    return convert


def _switch(text: str) -> bool:
    if text.lower() not in ("1", "true", "yes", "0", "false", "no"):
        raise argparse.ArgumentTypeError("must be 1, true or yes, or 0, false or no")
    return text.lower() in ("1", "true", "yes")


def _checked(check: Callable[[str], T]) -> Callable[[str], T]:
    def convert(text: str) -> T:
        try:
            return check(text)
        except ValueError as error:
            # For a ValueError, argparse would print the value of the flag, which can be a secret.
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def now_us() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1_000


async def serve(settings: Settings, processor: Processor) -> bool:
    """Serves until SIGTERM or SIGINT, then drains. Returns False if it abandoned attempts: their threads still run.

    If it raises StartRefusedError or a storage error, no order has been accepted.
    """
    stop = asyncio.Event()
    with contextlib.ExitStack() as cleanup:
        keys = None if settings.api_keys is None else read_keys(settings.api_keys)
        tls = load_tls(settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
        sockets = listen(settings.host, settings.port)
        for each in sockets:
            cleanup.callback(each.close)
        hosts = allowed_hosts(addresses_of(sockets), has_keys=keys is not None, configured=settings.allowed_hosts)
        guard = RequestGuard(keys=keys, limit=settings.rate_limit, hosts=hosts, clock_ns=time.monotonic_ns)
        store = open_store(settings.database, clock=now_us)
        cleanup.callback(store.close)
        telemetry = Telemetry(version=VERSION, run=f"{now_us():x}", clock=now_us)
        limits = ServiceLimits(
            workers=settings.workers,
            max_attempts=settings.max_attempts,
            max_intake=settings.max_intake,
            max_backlog=settings.max_backlog,
        )
        service = OrderService(store=store, processor=processor, observer=telemetry, limits=limits, clock=now_us)
        lines = AccessLines(settings.log_format, sys.stderr, clock=time.time)
        api = HttpApi(
            service=service,
            telemetry=telemetry,
            guard=guard,
            access_log=AccessLog(lines, clock_ns=time.monotonic_ns) if settings.access_log else None,
            in_flight=InFlightRequests(),
            version=VERSION,
            has_keys=keys is not None,
            tls=tls,
        )
        cleanup.callback(service.abandon)
        # Each worker thread that calls a webhook or a function can open a connection.
        file_limit = raise_file_limit() - (0 if settings.processor == RECORD else settings.workers)
        await service.open()
        await service.start()
        await api.listen(sockets, file_limit=file_limit)
        # Before this line, a signal ends the process at once.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        where = base_url(sockets[0], has_tls=tls is not None)
        _log.info("listening on %s (database %s, process %d)", where, settings.database, os.getpid())
        if warning := exposure_warning(addresses_of(sockets), has_keys=bool(keys), has_tls=bool(tls)):
            _log.warning("%s", warning)
        await stop.wait()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        _log.info("stopping")
        abandoned, _ = await asyncio.gather(service.stop(settings.drain_timeout), api.drain(settings.drain_timeout))
        await service.close()
        await api.close()
    _log.info("stopped")
    return not abandoned


def _new_loop() -> asyncio.AbstractEventLoop:
    with contextlib.suppress(ImportError):  # not available on every platform
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def _refuse(reason: str) -> int:
    print(f"server.py: {without_keys(reason)}", file=sys.stderr)  # noqa: T201 - one line, without a log's prefix
    exit_within(EXIT_DELAY_S, 1)
    return 1


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit status: 0 after a stop, 1 if the server can't start, 2 if a flag is unknown or invalid.

    The process ends soon afterwards, even if threads of a user's function still run.
    """
    fill_standard_streams()
    settings = parse_settings(arguments, environment)
    configure_logging(settings.log_format)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(GARBAGE_THRESHOLD)
    gc.freeze()  # excludes imported modules from garbage collection
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            processor = build_processor(
                settings.processor,
                webhook_url=settings.webhook_url,
                webhook_secret=settings.webhook_secret,
                connections=settings.workers,
            )
            finished = runner.run(serve(settings, processor))
    except StartRefusedError as refusal:
        return _refuse(str(refusal))
    except (StorageBusyError, StorageUnavailableError) as error:
        return _refuse(f"{settings.database}: {error}")
    # Threads that a user's function started now get `drain_timeout` seconds to end. If attempts were abandoned, all
    # threads get only EXIT_DELAY_S.
    exit_within(max(settings.drain_timeout, EXIT_DELAY_S) if finished else EXIT_DELAY_S, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
