"""Owns what a server must be like at the end of a soak, compared with its first minute; pure functions, any thread.

Minute one is the first after the warm-up. What may legitimately grow with time and with orders, and how far:

- The log of events keeps the last 50,000 to 100,000 (MAX_EVENTS of server.py, trimmed at twice that), some 25 MiB. It
  is filled before the warm-up, so it is full in minute one.
- The ring of the dashboard's history is full after ten minutes: 600 points (MAX_POINTS of
  handlers/metrics/history.py) of about 300 bytes, 0.2 MiB, and each
  reader that comes is sent them rendered, some 50 KB.
- The rates of the last 60 seconds are 60 samples. Histograms and counters have a fixed size.
- SQLite keeps 2 MiB of pages for each of three connections (its default; the server sets none), which a minute fills.
- Who waits, what is on its way and every connection is gone with its request: as many as there are clients.
- Malloc's heap is in pieces after a while: what several large arrays and listings at the same moment need is not
  always given back.

Nothing is kept for each order, so memory may grow by a tenth, for the heap, and 4 MiB for the ring and the caches. Of a
process of 80 MiB that is 12 MiB: after 600 orders a second, arrays included, a leak of 40 bytes an order shows in ten
minutes and one of 6 in an hour.

The write-ahead log's file never shrinks while the server runs: it is as long as it was at its longest. A commit that
leaves over 4,000 pages (16 MiB) in it moves them into the database (SQLite's automatic checkpoint, which the server
asks for at this length) and the next one begins the log anew, unless a reader is just then reading from it: then it
goes on for another commit. One batch adds up to 2,000 orders and an array of 1,000, some 2 MiB. So there are 16 MiB for
the limit and 12 for a few such batches, and after minute one it may be longer by two of them.

Open files are counted apart from sockets, and none may be added; of sockets there may be as many as there are clients
and ten of the server's own, and none is left once all clients have gone. A thread of the pool is made when it is first
needed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from load.soak.closing import Closing
from load.soak.crowd import CLIENTS
from load.soak.minute import Minute

MEMORY_SHARE, MEMORY_MIB = 0.10, 4.0
P99_TIMES, P99_MS = 1.5, 10.0
WAL_MIB, WAL_GROWTH_MIB = 28.0, 4.0
SLOW_MS = 5.0
"""A p99 of the soak's own lateness, or of another file's syncs, over this is told, since latencies have it in them."""
OWN_SOCKETS = 10
"""Those that it listens at, and what wakes its loop."""
WORKERS = 8
"""The server's --workers."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A measure that must be at most so much; None where it could not be measured. `first` is that of minute one."""

    name: str
    unit: str = ""
    at_most: float
    value: float | None
    first: float | None = None

    @property
    def passed(self) -> bool:
        return self.value is not None and self.value <= self.at_most

    @property
    def line(self) -> str:
        shown = "not measured" if self.value is None else f"{self.value:,.6g}{self.unit}"
        first = "" if self.first is None else f", minute one {self.first:,.6g}{self.unit}"
        verdict = "pass" if self.passed else "FAIL"
        return f"{verdict}  {shown}, must be <= {self.at_most:,.6g}{self.unit}{first}: {self.name}"

    def to_json(self) -> dict[str, Any]:
        return {**msgspec.structs.asdict(self), "passed": self.passed}


def compare_minutes(minutes: Sequence[Minute], errors: Mapping[str, int]) -> list[Finding]:
    """Hold the last minute against the first; there must be two minutes at least."""
    one, last = minutes[0], minutes[-1]
    first_p99_ms = one.p99_ms or 0.0
    return [
        Finding(
            name="memory, resident, the most that was seen in the last minute",
            unit=" MiB",
            at_most=one.memory_mib * (1 + MEMORY_SHARE) + MEMORY_MIB,
            value=last.memory_mib,
            first=one.memory_mib,
        ),
        Finding(name="open files beside sockets", at_most=one.files, value=last.files, first=one.files),
        Finding(name="sockets", at_most=CLIENTS + OWN_SOCKETS, value=last.sockets, first=one.sockets),
        Finding(name="threads", at_most=one.threads + WORKERS, value=last.threads, first=one.threads),
        Finding(
            name="write-ahead log in the last minute",
            unit=" MiB",
            at_most=min(WAL_MIB, one.wal_mib + WAL_GROWTH_MIB),
            value=last.wal_mib,
            first=one.wal_mib,
        ),
        Finding(
            name="p99 of POST /order from due in the last minute",
            unit=" ms",
            at_most=max(first_p99_ms * P99_TIMES, P99_MS),
            value=last.p99_ms,
            first=one.p99_ms,
        ),
        Finding(name="wrong or missing answers", at_most=0, value=sum(errors.values())),
    ]


def find_slowness_beside(minutes: Sequence[Minute]) -> list[str]:
    """Say in which minutes something else than the server was slow; it changes no finding."""
    late = [minute.name for minute in minutes if (minute.late_p99_ms or 0.0) > SLOW_MS]
    slow = [minute.name for minute in minutes if (minute.disk_p99_ms or 0.0) > SLOW_MS]
    found = []
    if late:
        found.append(f"this program itself was late, over {SLOW_MS:g} ms in the p99, in minute {', '.join(late)}")
    if slow:
        found.append(f"syncs of another file took over {SLOW_MS:g} ms in the p99 in minute {', '.join(slow)}")
    return found


def compare_orders(closing: Closing, *, complaints: int) -> list[Finding]:
    """Say what was found of the orders and the connections at the end; `complaints` are those of the soak."""
    return [
        Finding(name="acknowledged orders that no listing has", at_most=0, value=closing.unlisted),
        Finding(name="listed orders that were never sent, or are listed twice", at_most=0, value=closing.strange),
        Finding(name="orders by which /metrics and the listing differ", at_most=0, value=closing.miscounted),
        Finding(name="of a random thousand, orders not as they were sent", at_most=0, value=closing.mistaken),
        Finding(name="orders not Completed when nothing moves any more", at_most=0, value=closing.incomplete),
        Finding(name="connections left when all clients have gone", at_most=0, value=closing.sockets_left),
        Finding(name="warnings and errors in the server's log, and at its end", at_most=0, value=complaints),
    ]
