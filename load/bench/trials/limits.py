"""Measures one, two and three servers on one PostgreSQL database in turns, and what limits them.

Runs on the event loop.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from typing import NamedTuple

from load.bench.database_meter import STATISTICS_AFTER_S, DatabaseMeter, Waits
from load.bench.measurement import Measurement
from load.bench.trial import Row, Server, Trial
from load.bench.trials.postgresql import SECOND_FIRST_ID, post_to_all
from load.http.address import reach
from load.system.machine import MachineTime, ProcessStatus
from load.system.server_process import ServerProcess

NAMES = {1: "one server", 2: "two servers", 3: "three servers"}
SMALLEST_SHARE = 0.01  # Smaller shares of waits are not printed.


class Figures(NamedTuple):
    """What the servers have done in a run, and what it took. CPU times are in µs for an order.

    `postgresql_us` is None if PostgreSQL runs on another machine. `busy_share` is the share of this machine's CPU time
    that was used.
    """

    per_second: float
    servers_us: float
    postgresql_us: float | None
    client_us: float
    wal_bytes: float
    stored_bytes: float
    syncs_per_second: float
    busy_share: float

    @property
    def line(self) -> str:
        postgresql = "" if self.postgresql_us is None else f"of PostgreSQL {self.postgresql_us:.1f} µs, "
        return (
            f"{self.per_second:,.0f}/s until all Completed; CPU time for an order: of the servers "
            f"{self.servers_us:.1f} µs, {postgresql}of the client {self.client_us:.1f} µs; an order adds "
            f"{self.wal_bytes:,.0f} bytes to the WAL and {self.stored_bytes:,.0f} bytes to the tables; "
            f"{self.syncs_per_second:,.0f} syncs of the WAL a second; CPUs {self.busy_share:.0%} busy"
        )


ROWS = {
    "per_second": ("orders/s until all are Completed", "/s"),
    "servers_us": ("CPU time of the servers for an order", " µs"),
    "postgresql_us": ("CPU time of PostgreSQL for an order", " µs"),
    "wal_bytes": ("bytes of WAL for an order", ""),
    "stored_bytes": ("bytes of tables and indexes for an order", ""),
    "syncs_per_second": ("syncs of the WAL a second", "/s"),
    "busy_share": ("share of the machine's CPU time in use", ""),
}
"""For each of these figures, the name and the unit of its rows."""


async def limits(trial: Trial) -> list[Row]:
    """Compare two and three servers with one, and measure what an order takes with each number of servers."""
    import psycopg  # Imported only here, because it is not needed for SQLite.

    ratios = {
        each: Row(name=f"orders/s until all are Completed: {NAMES[each]} against one") for each in NAMES if each > 1
    }
    figures: dict[int, list[Figures]] = {each: [] for each in NAMES}
    waits = {each: Waits() for each in NAMES}
    ids = [count(SECOND_FIRST_ID * (each - 1)) for each in ratios]
    with (
        closing(psycopg.connect(trial.database, autocommit=True)) as connection,
        closing(psycopg.connect(trial.database, autocommit=True)) as sampling,
    ):
        meter = DatabaseMeter(connection, sampling)
        for run in range(1, trial.runs + 1):
            for number in NAMES if run % 2 else reversed(NAMES):
                with _more_servers(trial, number - 1) as processes:
                    servers = [trial.ours]
                    for process, own_ids in zip(processes, ids, strict=False):
                        address = await reach(process.url)
                        servers.append(trial.ours._replace(address=address, ids=own_ids, pid=process.pid))
                    measured, found = await _measure(trial, meter, servers, waits[number])
                for row in ratios.values():
                    trial.check(row, measured)
                figures[number].append(found)
                trial.print_line(f"run {run}: {NAMES[number]} {found.line}")
            for number, row in ratios.items():
                one, several = (figures[each][-1].per_second for each in (1, number))
                row.runs.append({"one_per_second": one, "per_second": several, "value": several / one if one else 0.0})
    for number, each in waits.items():
        trial.print_line(f"{NAMES[number]}: of the time, a connection that writes {_shares_of(each, number)}")
    return [*ratios.values(), *(row for number in NAMES for row in _rows(number, figures[number]))]


@contextmanager
def _more_servers(trial: Trial, number: int) -> Iterator[Sequence[ServerProcess]]:
    """Start this number of servers besides the trial's own. They are stopped at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(trial.start_server()) for _ in range(number)]


async def _measure(
    trial: Trial, meter: DatabaseMeter, servers: Sequence[Server], waits: Waits
) -> tuple[Measurement, Figures]:
    """Send orders to all servers, until they are Completed. Add what the servers' connections have waited for."""
    await asyncio.sleep(STATISTICS_AFTER_S)
    syncs, machine, begun = meter.wal_syncs(), MachineTime.read(), meter.read()
    servers_s = _cpu_s(servers)
    with meter.waits(waits):
        measured = await post_to_all(trial, servers)
    servers_s = _cpu_s(servers) - servers_s
    ended, used = meter.read(), MachineTime.read().since(machine)
    await asyncio.sleep(STATISTICS_AFTER_S)
    syncs = meter.wal_syncs() - syncs
    orders, elapsed_s = max(1, measured.right), measured.elapsed_s + measured.empty_after_s
    return measured, Figures(
        per_second=measured.right / elapsed_s,
        servers_us=servers_s * 1e6 / orders,
        postgresql_us=(
            None if ended.cpu_s is None or begun.cpu_s is None else (ended.cpu_s - begun.cpu_s) * 1e6 / orders
        ),
        client_us=measured.cpu_share * measured.elapsed_s * 1e6 / orders,
        wal_bytes=(ended.wal_bytes - begun.wal_bytes) / orders,
        stored_bytes=(ended.stored_bytes - begun.stored_bytes) / orders,
        syncs_per_second=syncs / elapsed_s,
        busy_share=used.busy_share,
    )


def _cpu_s(servers: Sequence[Server]) -> float:
    return sum(ProcessStatus.read(server.pid).cpu_s for server in servers)


def _shares_of(waits: Waits, number: int) -> str:
    shares = waits.shares(number)
    large = {label: share for label, share in shares.items() if share >= SMALLEST_SHARE}
    rest = max(0.0, 1 - sum(shares.values()))
    return ", ".join([*(f"{label} {share:.0%}" for label, share in large.items()), f"has no transaction {rest:.0%}"])


def _rows(number: int, figures: Sequence[Figures]) -> Iterator[Row]:
    for field, (name, unit) in ROWS.items():
        values = [value for each in figures if (value := getattr(each, field)) is not None]
        if values:
            yield Row(name=f"{NAMES[number]}: {name}", unit=unit, runs=[{"value": value} for value in values])
