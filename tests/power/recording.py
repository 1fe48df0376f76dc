"""Two lives of a server under strace with clients of all kinds, and each moment of them."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.live_orders import wait_until_processed
from tests.power.calls import read_calls, strace
from tests.power.disk import Disk, Files
from tests.power.history import INDEX, Step, read_history
from tests.power.remains import DATABASE, Promises, Row
from tests.power.traffic import Traffic
from tests.process import ServerProcess

SMALL_LOG = [sys.executable, str(Path(__file__).with_name("small_log.py"))]


class Recording(NamedTuple):
    """Two lives of a server; `stopped` is the number of steps of the first, `files` what was there after each."""

    steps: list[Step]
    stopped: int
    files: tuple[Files, Files]
    traffic: Traffic

    @property
    def possible(self) -> frozenset[Row]:
        return frozenset().union(*self.traffic.sent.values())


class Moment(NamedTuple):
    """After a step: the disk and what clients were told up to now. Both go on to change."""

    place: int
    disk: Disk
    promises: Promises


def record(folder: Path, traces: Path) -> Recording:
    """A server on a new file that is stopped, and on the same file again until it is killed.

    Each goes on until the log has begun anew, and so the database been brought up to date before.
    """
    traffic = Traffic()
    with ServerProcess(folder / DATABASE, before=[*strace(traces / "first"), *SMALL_LOG]) as server:
        traffic.run(server, restarts=2)
        assert server.stop() == 0
    after_stop = files_in(folder)
    first = steps_of(traces / "first", folder)
    with ServerProcess(folder / DATABASE, before=[*strace(traces / "second"), *SMALL_LOG]) as server:
        traffic.run(server, restarts=1)
        wait_until_processed(server)
        server.kill()
    steps = [*first, *steps_of(traces / "second", folder, first_line=first[-1].line + 1)]
    return Recording(steps, len(first), (after_stop, files_in(folder)), traffic)


def steps_of(trace: Path, folder: Path, first_line: int = 0) -> list[Step]:
    with trace.open(encoding="ascii") as lines:
        return read_history(read_calls(lines, first_line=first_line), folder)


def files_in(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(INDEX)}


def moments(recording: Recording, steps: Sequence[Step] | None = None) -> Iterator[Moment]:
    """Each moment of the two lives, or of these steps instead."""
    disk, promises = Disk(), Promises(recording.traffic.sent)
    for place, step in enumerate(steps or recording.steps):
        promises.hear(step.sent)
        step.happen(disk)
        yield Moment(place, disk, promises)


def ends_of_certainty(steps: Sequence[Step]) -> set[int]:
    """The places just before what must be there changes, and the last one.

    From one to the next what was synced stays the same and clients are only told more: with nothing but that left, all
    moments between are as good as the second of the two.
    """
    return {place - 1 for place, step in enumerate(steps) if step.synced is not None and place} | {len(steps) - 1}
