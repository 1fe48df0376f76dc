"""Metrics of this process from the operating system, under the names that all Prometheus clients use.

Used instead of the collector of prometheus_client, which lists every open file: with thousands of connections, that
takes milliseconds. Runs on the event loop, because reading /proc does not access a disk.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PROC = Path("/proc")
# Indexes in the list that `_stat` returns. The first item of this list is the field that proc_pid_stat(5) numbers 3.
_START_TICKS, _VIRTUAL_BYTES, _RESIDENT_PAGES = 22 - 3, 23 - 3, 24 - 3


class ProcessCollector(Collector):
    """Collects the metrics of this process. Collects none on systems without /proc."""

    def __init__(self) -> None:
        try:
            self._started_s: float | None = _boot_time_s() + int(_stat()[_START_TICKS]) / os.sysconf("SC_CLK_TCK")
        except OSError:
            self._started_s = None

    def collect(self) -> Iterator[Metric]:
        """The metric families, with their current values."""
        if self._started_s is None:
            return
        fields = _stat()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        max_files = float("inf") if soft == resource.RLIM_INFINITY else soft
        resident_bytes = int(fields[_RESIDENT_PAGES]) * resource.getpagesize()
        text = "User and system CPU time used, in seconds."
        yield CounterMetricFamily("process_cpu_seconds", text, usage.ru_utime + usage.ru_stime, unit="seconds")
        yield _gauge("process_resident_memory_bytes", "Resident memory, in bytes.", resident_bytes, "bytes")
        yield _gauge("process_virtual_memory_bytes", "Virtual memory, in bytes.", int(fields[_VIRTUAL_BYTES]), "bytes")
        yield _gauge("process_start_time_seconds", "Start, in seconds since 1970, UTC.", self._started_s, "seconds")
        yield _gauge("process_open_fds", "Open files, including connections.", _open_files())
        yield _gauge("process_max_fds", "The maximum number of open files.", max_files)


def _gauge(name: str, text: str, value: float, unit: str = "") -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value, unit=unit)


def _stat() -> list[str]:
    return (_PROC / "self/stat").read_text(errors="replace").rpartition(")")[2].split()


def _boot_time_s() -> int:
    """When the system was started, in seconds since 1970, UTC."""
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    raise OSError("/proc/stat has no boot time")


def _open_files() -> int:
    folder = _PROC / "self/fd"
    # Since Linux 6.2 the size of this folder is the number of open files; before, it is 0.
    return folder.stat().st_size or sum(1 for _ in folder.iterdir())
