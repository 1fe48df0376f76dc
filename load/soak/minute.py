"""Samples of the server's resources, and the summary of a minute. Used on one thread."""

from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median_low

import msgspec
from msgspec.structs import asdict

from load.results.counting import Distribution
from load.system.machine import ProcessStatus

MIB = 1024 * 1024
HEADER = (
    f"{'':>8} {'orders':>10} {'orders/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'late p99':>9} {'disk p99':>9}"
    f" {'memory':>8} {'peak':>7} {'files':>6} {'sockets':>8} {'threads':>8}"
    f" {'wal':>7} {'database':>9} {'cpu':>5} {'backlog':>8} {'errors':>7}"
)
"""The header of the printed table. Memory, peak, WAL and database are in MiB. `cpu` is how many processors were busy.

`late p99` is the p99 of this program's delays in sending, `disk p99` the p99 of `measure_syncs`, both in milliseconds.
"""


class Sample(ProcessStatus, frozen=True):
    """The resources that the server uses at one moment, and the sizes of its database files."""

    wal_mib: float
    database_mib: float


def take_sample(pid: int, database: Path) -> Sample:
    """Take a sample of a server with this process id. Raises CommandError if the server has ended."""
    files = (Path(f"{database}-wal"), database)
    wal_mib, database_mib = (file.stat().st_size / MIB if file.exists() else 0.0 for file in files)
    return Sample(**asdict(ProcessStatus.read(pid)), wal_mib=wal_mib, database_mib=database_mib)


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """Summarizes what was measured in one minute. `orders` is how many orders are stored at the end of the minute.

    `p50_ms` and `p99_ms` are latencies of `POST /order`, from when each request was due. A percentile is None if
    nothing was measured. `files` and `sockets` are medians of the samples. The memory, the threads and the sizes of
    files are maxima of the samples; `peak_mib` is the highest memory since the process started.
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
        latencies_ms = (self.p50_ms, self.p99_ms, self.late_p99_ms, self.disk_p99_ms)
        p50, p99, late, disk = ("-" if each is None else f"{each:.1f}" for each in latencies_ms)
        return (
            f"{self.name:>8} {self.orders:>10,} {self.orders_per_second:>9,.1f} {p50:>8} {p99:>8} {late:>9} {disk:>9}"
            f" {self.memory_mib:>8.1f} {self.peak_mib:>7.1f} {self.files:>6} {self.sockets:>8} {self.threads:>8}"
            f" {self.wal_mib:>7.1f} {self.database_mib:>9.1f} {self.cpu_share:>5.2f} {self.backlog:>8,}"
            f" {self.errors:>7,}"
        )


class MinuteRecorder:
    """Collects the measurements of one minute. `errors` counts wrong and missing responses by reason."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        self.latencies_ns = array("q")
        self.syncs_ns = array("q")
        self.samples: list[Sample] = []

    def finish(
        self, name: str, *, seconds: float, orders: int, new: int, backlog: int, late_ns: Sequence[int], cpu_s: float
    ) -> Minute:
        """Return the summary of the minute. `orders` orders are stored at the end, and `backlog` of them are waiting.

        `new` orders were stored during the minute. The server used `cpu_s` seconds of CPU time. `late_ns` has the
        delays of this program in sending.
        """
        samples = [asdict(sample) for sample in self.samples]
        highest = {name: max(sample[name] for sample in samples) for name in samples[0] if name != "cpu_s"}
        # The median ignores files that are open only briefly, such as the files in /proc that are read for /metrics.
        median = {name: median_low(sample[name] for sample in samples) for name in ("files", "sockets")}
        latencies = Distribution(self.latencies_ns)
        return Minute(
            name=name,
            seconds=seconds,
            orders=orders,
            orders_per_second=new / seconds,
            p50_ms=latencies.percentile_ms(50),
            p99_ms=latencies.percentile_ms(99),
            late_p99_ms=Distribution(late_ns).percentile_ms(99),
            disk_p99_ms=Distribution(self.syncs_ns).percentile_ms(99),
            cpu_share=cpu_s / seconds,
            backlog=backlog,
            errors=self.errors.total(),
            **(highest | median),
        )
