"""Measures the servers of a trial, and computes the rows of its result. Runs on the event loop."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from load.bench.measurement import TIMEOUTS, Measurement, Meter, cpu_and_errors, percentile_ms
from load.cli.errors import CommandError
from load.http.address import Address
from load.readback.backlog import Backlog, BacklogState
from load.system.machine import BUSY_SHARE
from load.system.server_process import ServerProcess

CLIENT_WAS_THE_LIMIT = "the client used all of its CPU time, so the server may be faster"


@dataclass(kw_only=True)
class Row:
    """A line of the benchmark's result. `at_least` or `at_most` is the bound for the median of `value` in `runs`.

    Each run is a dict of numbers. The name of a number ends in its unit. The `aim` is stricter than the bound, but a
    row that misses its aim does not fail. `wrong` has the number of failed requests for each reason. `invalid` has the
    number of runs for each reason why a run says nothing about the server.
    """

    name: str
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    aim: float | None = None
    runs: list[dict[str, float]] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)

    @property
    def value(self) -> float:
        return median(run["value"] for run in self.runs)

    @property
    def bound(self) -> float | None:
        return self.at_most if self.at_least is None else self.at_least

    @property
    def is_invalid(self) -> bool:
        """Whether at least half of the runs are invalid, so that the median may come from an invalid run."""
        return self.invalid.total() * 2 >= len(self.runs) > 0

    @property
    def passed(self) -> bool:
        """Whether the median is within the bound, no request failed, and the row is not invalid."""
        return (self.bound is None or self._is_within(self.bound)) and not self.wrong and not self.is_invalid

    @property
    def reached(self) -> bool | None:
        """Whether the row passed and its median reaches the aim; None for a row without an aim."""
        return None if self.aim is None else self.passed and self._is_within(self.aim)

    @property
    def lines(self) -> list[str]:
        verdict = "info" if self.bound is None else "pass"
        if not self.passed:
            verdict = "invalid" if self.is_invalid else "FAIL"
        bound = "" if self.bound is None else f", must be {self._as_text(self.bound)}"
        if self.aim is not None:
            bound += f", aim {self._as_text(self.aim)} {'reached' if self.reached else 'missed'}"
        return [
            f"{verdict}  median {self.value:.3f}{self.unit}{bound}: {self.name}",
            *(f"      wrong answers: {reason}, {times} times" for reason, times in self.wrong.items()),
            *(f"      invalid: {reason}, {times} of {len(self.runs)} runs" for reason, times in self.invalid.items()),
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "must": self._as_text(self.bound),
            "aim": self._as_text(self.aim),
            "median": self.value,
            "runs": self.runs,
            "wrong_answers": dict(self.wrong),
            "invalid_runs": dict(self.invalid),
            "is_invalid": self.is_invalid,
            "passed": self.passed,
            "aim_reached": self.reached,
        }

    def _is_within(self, limit: float) -> bool:
        return self.value <= limit if self.at_least is None else self.value >= limit

    def _as_text(self, bound: float | None) -> str:
        if bound is None:
            return ""
        return f"{'<=' if self.at_least is None else '>='} {bound:.2f}{self.unit}"


class Server(NamedTuple):
    """A running server with the process id `pid`, which has the orders 1 to `stored`.

    `ids` yields unused ids, `seeds` yields random seeds.
    """

    name: str
    address: Address
    ids: Iterator[int]
    seeds: Iterator[int]
    stored: int = 0
    pid: int = 0


class Figure(NamedTuple):
    """A number that `value` computes from a Measurement. In JSON, it is named SERVER_`key`. `text` is its format."""

    key: str
    text: str
    value: Callable[[Measurement], float]
    label: str = ""  # Printed before the numbers of a run.


RATE = Figure("per_second", "{:,.0f}/s", lambda each: each.per_second)
PROCESSED_RATE = Figure(
    "per_second", "{:,.0f}/s", lambda each: each.right / (each.elapsed_s + each.empty_after_s), "until all Completed: "
)
ROUND_TIME = Figure("s", "{:.3f} s", lambda each: each.elapsed_s / each.rounds)
P99 = Figure("p99_ms", "{:.2f} ms", lambda each: each.p99_ms, "p99 ")
MEDIAN = Figure("median_ms", "{:.2f} ms", lambda each: percentile_ms(each.latencies_ns, 50), "median ")


class Value(Enum):
    """Says how the value of a run is computed from the figures of the first and the second server."""

    SPEED = "ratio"
    """The second server's speed divided by the first server's speed; 0 if a server sent no correct response."""
    TIME = "times as long"
    """The second server's time divided by the first server's time; infinite if a server sent no correct response."""
    SECOND = ""
    """The second server's figure. The first server's figure is printed, but not used."""

    def of(self, figure: Figure, first: float, second: float) -> float:
        if self is Value.SECOND:
            return second
        if not (0 < first < float("inf") and second > 0):
            return 0.0 if self is Value.SPEED else float("inf")
        is_rate = figure.key == RATE.key
        return second / first if is_rate is (self is Value.SPEED) else first / second


@dataclass(frozen=True)
class Trial:
    """Measures servers in `runs` runs, each server for `seconds` in a run. `print_line` prints a line for every run.

    `servers` run during the whole trial. The last server is `ours`, and is compared with the first server. The first
    and the last server can be one server under two loads. `start_server` takes additional flags and returns our server,
    not started yet, for trials that start the server themselves. `folder` is for the files of such trials. `database`
    is the file of `ours`, or the URL of its PostgreSQL database.
    """

    runs: int
    seconds: float
    servers: Sequence[Server]
    start_server: Callable[..., ServerProcess]
    meter: Meter
    print_line: Callable[[str], None]
    folder: Path
    database: str

    @property
    def other(self) -> Server:
        return self.servers[0]

    @property
    def ours(self) -> Server:
        return self.servers[-1]

    async def compare(self, load: "Load", *rows: tuple[Row, Figure], value: Value, rounds: int = 1) -> list[Row]:
        """Measure both servers in every run, each in `rounds` rounds. Add the runs to the rows, and return the rows.

        With several rounds, the servers take turns: first, second, second, first and so on. So a machine that becomes
        slower affects both servers. Every run with an even number begins with the second server.
        """
        for number in range(1, self.runs + 1):
            measured = {server.name: Measurement() for server in self.servers}
            for each in range(rounds):
                is_reversed = rounds > 1 and (number + each) % 2 == 0
                for server in reversed(self.servers) if is_reversed else self.servers:
                    measured[server.name].add(await load(self, server))
            self.check(rows[0][0], *measured.values())
            for row, figure in rows:
                self.add_run(row, number, figure, measured, value=value)
        return [row for row, _ in rows]

    def add_run(self, row: Row, number: int, figure: Figure, measured: dict[str, Measurement], *, value: Value) -> None:
        """Add a run to a row and print it. `measured` has measurements by the names of servers; our server is last."""
        both = list(measured.values())
        figures = {name: figure.value(each) for name, each in measured.items()}
        result = value.of(figure, *figures.values())
        run = {f"{name}_{figure.key}": each for name, each in figures.items()}
        line = ", ".join(f"{name.replace('_', ' ')} {figure.text.format(each)}" for name, each in figures.items())
        if value is not Value.SECOND:
            line += f", {value.value} {result:.2f}"
        if figure is P99:
            run["client_late_p99_ms"] = max(each.late_p99_ms for each in both)
            line += f"; client late by {' and '.join(f'{each.late_p99_ms:.2f}' for each in both)} ms"
        elif figure is MEDIAN:
            most = {f"{name}_max_ms": percentile_ms(each.latencies_ns, 100) for name, each in measured.items()}
            run |= most
            line += f"; max {' and '.join(f'{each:.2f}' for each in most.values())} ms"
        run["client_cpu_share"] = max(each.cpu_share for each in both)
        self.print_line(f"run {number}: {figure.label}{line} {cpu_and_errors(*both)}")
        if figure is RATE and all(each.empty_after_s for each in both):
            run |= {f"{name}_empty_after_s": each.empty_after_s for name, each in measured.items()}
            times = " and ".join(f"{each.empty_after_s:.3f} s after {each.right:,} orders" for each in both)
            self.print_line(f"        backlog empty {times}")
        row.runs.append({**run, "value": result})

    def check(self, row: Row, *measured: Measurement) -> None:
        """Add a run's failed requests to its row. Count the run as invalid if the client was too busy."""
        for each in measured:
            row.wrong.update(each.wrong)
        if any(each.cpu_share > BUSY_SHARE for each in measured):
            row.invalid[CLIENT_WAS_THE_LIMIT] += 1

    def backlog(self, address: Address, *, poll_s: float = TIMEOUTS.poll_s) -> Backlog:
        """Return a client that polls how many orders wait for processing. The caller closes it."""
        return Backlog(address, timeouts=replace(TIMEOUTS, poll_s=poll_s), clock_ns=self.meter.clock_ns)

    async def wait_until_processed(self, address: Address, *, poll_s: float = TIMEOUTS.poll_s) -> float:
        """Wait until a server has processed all orders. Return the seconds. Raises CommandError if orders are left."""
        begun_ns = self.meter.clock_ns()
        with closing(self.backlog(address, poll_s=poll_s)) as backlog:
            if await backlog.wait(before=0) is not BacklogState.PROCESSED:
                raise CommandError(f"{backlog.left} orders were not processed after the load")
        return (self.meter.clock_ns() - begun_ns) / 1e9


Load = Callable[[Trial, Server], Awaitable[Measurement]]  # Sends requests to a server, and measures the responses.
