"""Parses the flags, constructs the long-lived objects, serves requests, drains and closes. Runs on the main thread."""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the process at once, also during the imports below

import asyncio
import contextlib
import gc
import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial

try:
    import msgspec

    # These import every other package that the server needs.
    from handlers.api import HttpApi
    from workers.processors.selection import SelectedProcessor, build_processor
    from workers.service import OrderService
    from workers.service_limits import ServiceLimits
except ModuleNotFoundError as missing:
    sys.exit(f'server.py: the package "{missing.name}" is not installed: run pip install -r requirements.txt')

from handlers import flags as http_flags
from handlers.flag_parser import FlagParser
from handlers.flags import HttpSettings, is_service_link
from handlers.logs.access_lines import AccessLines
from handlers.logs.access_log import AccessLog
from handlers.logs.log_handler import configure_logging
from handlers.logs.log_writer import LogWriter
from handlers.orders.order_view import order_line
from handlers.security.api_keys import PREFIX, Scope, check_name, new_key, parse_scope, read_keys, without_keys
from handlers.security.hosts import allowed_hosts
from handlers.security.reloading import CertificateFiles, KeyFile, Reloadable, reload_all
from handlers.security.request_guard import RequestGuard, exposure_warning
from handlers.telemetry import Telemetry
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.sockets import addresses_of, base_url, close_in_child, listen, raise_file_limit
from handlers.transport.tls import load_tls
from models.clock import Clock, wall_us
from models.database.address import DatabaseAddress, PostgresqlUrl, parse_address
from models.errors import StartRefusedError, StorageError
from models.store import open_store
from workers import flags as processing_flags
from workers.commands import command as commands
from workers.commands.command import Command
from workers.flags import ProcessingSettings
from workers.forked_child import forget_executors, reset_signals
from workers.log_fields import AttemptFilter
from workers.process_exit import EXIT_DELAY_S, STDERR, exit_within, fill_standard_streams, run_until_interrupted
from workers.processors.functions.coroutine_thread import CoroutineThread

VERSION = "1.0.0"
SWITCH_INTERVAL_S = 0.0005
"""How long the event loop can keep the GIL while a thread that returns from SQLite waits for the GIL."""
GARBAGE_THRESHOLD = 5_000
"""How many new container objects trigger a garbage collection. Orders contain no reference cycles, so a collection
frees none of them. With Python's default of 700, bulk inserts would spend a tenth of their time on collections."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_log = logging.getLogger("orders")


class Settings(msgspec.Struct, frozen=True):
    """The parsed flags."""

    http: HttpSettings
    processing: ProcessingSettings
    database: DatabaseAddress
    command: Command | None = None


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Returns the settings. If a flag is unknown or invalid, prints to stderr and exits with status 2.

    `--new-api-key` prints a new API key to stdout and exits with status 0.
    """
    parser = FlagParser(
        environment,
        prog="server.py",
        description="An order backend on a SQLite file or on PostgreSQL. A 202 means that the order is on disk.",
        epilog="Each flag that has a default can also be set by an environment variable, for example --port by "
        "ORDERS_PORT. The flag takes precedence.",
        allow_abbrev=False,
    )
    http_flags.add_flags(parser)
    parser.add_argument(
        "--database",
        type=parse_address,
        default="orders.db",
        help="the SQLite file, created if it does not exist; or postgresql://USER@HOST:PORT/NAME",
    )
    processing_flags.add_flags(parser)
    commands.add_flags(parser)
    parser.add_argument("--new-api-key", type=check_name, metavar="NAME", help="print a new API key and exit")
    parser.add_argument("--scope", type=parse_scope, help="scope of the new key: read, write or admin (read)")
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        # The value of a mistyped flag can be a secret.
        shown = [re.split(f"=|whsec_|{PREFIX}", each)[0] for each in unknown if each.startswith("-")]
        parser.error(f"unknown flags: {' '.join(shown)}" if shown else "unexpected arguments")
    if known.new_api_key is not None:
        key, line = new_key(known.new_api_key, known.scope or Scope.READ, entropy=secrets.token_bytes)
        key_text = f"The key, shown only this once. Clients send it as Authorization: Bearer <key>\n{key}\n"
        print(f"{key_text}\nThe line for the file of --api-keys\n{line}")  # noqa: T201 - the output of the flag
        parser.exit()
    if known.scope is not None:
        parser.error("--scope needs --new-api-key")
    for flag, url in (("--database", known.database), ("--move-to", known.move_to)):
        if isinstance(url, PostgresqlUrl) and url.has_password and any(a.partition("=")[0] == flag for a in arguments):
            variable = "set ORDERS_DATABASE to the URL, or " if flag == "--database" else ""
            parser.error(
                f"all users of this machine can read a password on the command line: {variable}set PGPASSWORD, or use "
                "a password file"
            )
    values = vars(known)
    try:
        return Settings(
            http_flags.settings_from(values),
            processing_flags.settings_from(values, arguments),
            known.database,
            commands.command_from(values, known.database),
        )
    except ValueError as error:
        parser.error(str(error))


async def serve(settings: Settings, selected: SelectedProcessor, coroutines: CoroutineThread, log: LogWriter) -> bool:
    """Serves until SIGTERM or SIGINT, and for `stop_delay` seconds more.

    Then waits up to `drain_timeout` seconds for running requests and attempts.

    Returns False if it abandoned attempts, whose threads still run. If it raises StartRefusedError or a storage error,
    no order has been accepted.
    """
    http, processing = settings.http, settings.processing
    clock = Clock()
    stop = asyncio.Event()
    with contextlib.ExitStack() as cleanup:
        keys = None if http.api_keys is None else read_keys(http.api_keys)
        tls = load_tls(http.tls_cert, http.tls_key) if http.tls_cert and http.tls_key else None
        sockets = listen(http.host, http.port)
        for each in sockets:
            cleanup.callback(each.close)
        os.register_at_fork(after_in_child=partial(_separate_child, {each.getsockname()[1] for each in sockets}))
        hosts = allowed_hosts(addresses_of(sockets), has_keys=keys is not None, configured=http.allowed_hosts)
        store = open_store(settings.database, clock=clock)
        guard = RequestGuard(keys=keys, limit=http.rate_limit, hosts=hosts, clock_ns=time.monotonic_ns, servers=store)
        os.register_at_fork(after_in_child=store.close_in_child)
        os.register_at_fork(after_in_child=selected.runner.close_in_child)
        cleanup.callback(store.close)
        telemetry = Telemetry(
            version=VERSION, run=f"{clock():x}", log=log, clock=clock, has_feed=store.feed is not None
        )
        limits = ServiceLimits(
            max_attempts=processing.max_attempts,
            max_intake=processing.max_intake,
            max_backlog=processing.max_backlog,
        )
        service = OrderService(
            store=store,
            runner=selected.runner,
            gate=selected.gate,
            observer=telemetry,
            limits=limits,
            clock=clock,
            retention=processing.retention,
            lines=order_line,
        )
        lines = AccessLines(http.log_format, log, clock=time.time)
        api = HttpApi(
            service=service,
            telemetry=telemetry,
            guard=guard,
            access_log=AccessLog(lines, clock_ns=time.monotonic_ns) if http.access_log else None,
            in_flight=InFlightRequests(telemetry.instruments.responses),
            version=VERSION,
            has_keys=keys is not None,
            tls=tls,
        )
        os.register_at_fork(after_in_child=service.close_in_child)
        cleanup.callback(service.abandon)
        cleanup.callback(coroutines.close)
        # Webhooks and functions can open connections.
        file_limit = raise_file_limit() - selected.connections
        await service.open()
        await service.start()
        await api.listen(sockets, file_limit=file_limit)
        reloadables: list[Reloadable] = []
        if http.api_keys:
            reloadables.append(KeyFile(http.api_keys, guard=guard))
        if http.tls_cert and http.tls_key:
            reloadables.append(CertificateFiles(http.tls_cert, http.tls_key, server=api))
        if selected.secret_file:
            reloadables.append(selected.secret_file)
        # Until now, SIGTERM and SIGINT end the process at once.
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, stop.set)
        # Does not use `add_signal_handler`: removing such a handler would restore the default action of SIGHUP, which
        # ends the process.
        signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(reload_all, reloadables))
        where = base_url(sockets[0], has_tls=tls is not None)
        _log.info("listening on %s (database %s, process %d)", where, settings.database, os.getpid())
        if warning := exposure_warning(addresses_of(sockets), has_keys=bool(keys), has_tls=bool(tls)):
            _log.warning("%s", warning)
        await stop.wait()
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        if http.stop_delay:
            _log.info("requests are still served for %g s, while /readyz responds with 503", http.stop_delay)
            api.announce_stop()
            await asyncio.sleep(http.stop_delay)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _log.info("stopping")
        abandoned, _ = await asyncio.gather(service.stop(processing.drain_timeout), api.drain(processing.drain_timeout))
        await service.close()
        await api.close()
    _log.info("stopped")
    return not abandoned


def _separate_child(ports: Collection[int]) -> None:
    """Drops what a child process must not share with the server. Runs in each child that a user's function forks."""
    reset_signals((*_STOP_SIGNALS, signal.SIGHUP))
    forget_executors()
    close_in_child(ports)


def _new_loop() -> asyncio.AbstractEventLoop:
    with contextlib.suppress(ImportError):  # not available on every platform
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def _refuse(reason: str, log: LogWriter) -> int:
    log.write(f"server.py: {without_keys(reason)}")  # without the time and level of a log line
    exit_within(EXIT_DELAY_S, 1)
    return 1


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs the server. Returns the exit status: 0 after a stop, 1 if the server can't start.

    If a flag is unknown or invalid, exits with status 2. After `main` has returned, the process ends soon, even if
    threads of a user's function still run.
    """
    fill_standard_streams()
    settings = parse_settings(arguments, environment)
    log = LogWriter(STDERR, log_format=settings.http.log_format, clock=time.time)
    configure_logging(settings.http.log_format, log, added_fields=AttemptFilter())
    log.start()
    for variable, value in environment.items():
        if is_service_link(variable, value):
            _log.info("ignored %s=%s, which Kubernetes sets for a service named orders", variable, value)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(GARBAGE_THRESHOLD)
    gc.freeze()  # excludes imported modules from garbage collection
    processing = settings.processing
    coroutines = CoroutineThread(timeout_s=processing.attempt_timeout)
    try:
        if settings.command:
            return run_until_interrupted(settings.command.run, _STOP_SIGNALS, advice=settings.command.advice)
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            selected = build_processor(
                processing.processor,
                webhook=processing.webhook,
                workers=processing.workers,
                attempt_timeout_s=processing.attempt_timeout,
                coroutines=coroutines,
                clock_us=wall_us,
            )
            finished = runner.run(serve(settings, selected, coroutines, log))
    except StartRefusedError as refusal:
        return _refuse(str(refusal), log)
    except StorageError as error:
        return _refuse(f"{settings.database}: {error}", log)
    # Threads that a user's function started now get `drain_timeout` seconds to end. If attempts were abandoned, all
    # threads get only EXIT_DELAY_S.
    exit_within(max(processing.drain_timeout, EXIT_DELAY_S) if finished else EXIT_DELAY_S, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
