"""Owns one minute of a soak: what was seen in it, gathered on the event loop's thread, and its row in the table."""

from array import array
from collections import Counter
from collections.abc import Sequence
from statistics import median_low

import msgspec

from load.results.recording import percentile_of
from load.soak.sample import Sample

MIB = 1024 * 1024
HEADER = (
    f"{'':>8} {'orders':>10} {'orders/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'late p99':>9} {'disk p99':>9}"
    f" {'memory':>8} {'peak':>7} {'files':>6} {'sockets':>8} {'threads':>8}"
    f" {'wal':>7} {'database':>9} {'cpu':>5} {'backlog':>8} {'errors':>7}"
)
"""Memory, peak, WAL and database are in MiB, `cpu` is how many processors the server kept busy.

`late p99` is how late the soak itself sent, and `disk p99` how long a sync of another file took, in milliseconds.
"""


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """One minute. `orders` are all that are stored at its end; latencies are of `POST /order`, from due.

    Memory, threads and log are the highest of its samples, files and sockets the median; the peak is the process's own.
    A latency is None where there was no answer; the disk's is that of `keep_syncing`.
    """

    name: str
    seconds: float
    orders: int
    orders_per_second: float
    p50_ms: float | None
    p99_ms: float | None
    late_p99_ms: float | None
    disk_p99_ms: float | None
    memory_mib: float
    peak_mib: float
    files: int
    sockets: int
    threads: int
    wal_mib: float
    database_mib: float
    cpu_share: float
    backlog: int
    errors: int

    @property
    def line(self) -> str:
        """Its row below HEADER."""
        return (
            f"{self.name:>8} {self.orders:>10,} {self.orders_per_second:>9,.1f} {_shown(self.p50_ms):>8}"
            f" {_shown(self.p99_ms):>8} {_shown(self.late_p99_ms):>9} {_shown(self.disk_p99_ms):>9}"
            f" {self.memory_mib:>8.1f} {self.peak_mib:>7.1f} {self.files:>6} {self.sockets:>8} {self.threads:>8}"
            f" {self.wal_mib:>7.1f} {self.database_mib:>9.1f} {self.cpu_share:>5.2f} {self.backlog:>8,}"
            f" {self.errors:>7,}"
        )


class Book:
    """What is noted while a minute goes on. `errors` counts wrong answers and missing ones by reason."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        self._latencies_ns = array("q")
        self._syncs_ns = array("q")
        self._samples: list[Sample] = []

    def note_latency(self, latency_ns: int) -> None:
        self._latencies_ns.append(latency_ns)

    def note_sync(self, latency_ns: int) -> None:
        self._syncs_ns.append(latency_ns)

    def note_sample(self, sample: Sample) -> None:
        self._samples.append(sample)

    def close(
        self,
        name: str,
        *,
        seconds: float,
        orders: int,
        orders_before: int,
        backlog: int,
        late_ns: Sequence[int],
        cpu_s: float,
    ) -> Minute:
        """Make a minute of it, in which the server used `cpu_s` of processor time; there must have been a sample."""
        highest = Sample(*map(max, zip(*self._samples, strict=True)))
        # A file may be open for a moment, such as one of /proc that the server reads for /metrics.
        typical = Sample(*map(median_low, zip(*self._samples, strict=True)))
        return Minute(
            name=name,
            seconds=seconds,
            orders=orders,
            orders_per_second=(orders - orders_before) / seconds,
            p50_ms=_percentile_ms(self._latencies_ns, 50),
            p99_ms=_percentile_ms(self._latencies_ns, 99),
            late_p99_ms=_percentile_ms(late_ns, 99),
            disk_p99_ms=_percentile_ms(self._syncs_ns, 99),
            memory_mib=highest.memory_bytes / MIB,
            peak_mib=highest.peak_bytes / MIB,
            files=typical.files,
            sockets=typical.sockets,
            threads=highest.threads,
            wal_mib=highest.wal_bytes / MIB,
            database_mib=highest.database_bytes / MIB,
            cpu_share=cpu_s / seconds,
            backlog=backlog,
            errors=self.errors.total(),
        )


def _percentile_ms(times_ns: Sequence[int], percentile: float) -> float | None:
    return percentile_of(sorted(times_ns), percentile) / 1e6 if times_ns else None


def _shown(time_ms: float | None) -> str:
    return "-" if time_ms is None else f"{time_ms:.1f}"
