"""Records two runs of a server under strace, with clients of all kinds, and replays the system calls step by step."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.live_orders import wait_until_processed
from tests.power.clients import Clients
from tests.power.disk import Disk, Files
from tests.power.recovery import DATABASE, Acknowledgements, Row
from tests.power.steps import SHARED_MEMORY, Step, read_steps
from tests.power.system_calls import read_calls, strace
from tests.process import ServerProcess

SMALL_WAL = [sys.executable, str(Path(__file__).with_name("small_wal_server.py"))]


class Recording(NamedTuple):
    """The steps of two runs of a server. The first run is `steps[:first_run]`. `files` has the files after each run."""

    steps: list[Step]
    first_run: int
    files: tuple[Files, Files]
    clients: Clients

    @property
    def possible(self) -> frozenset[Row]:
        return frozenset().union(*self.clients.sent.values())


class Moment(NamedTuple):
    """The disk and the acknowledged orders after the step with the index `place`. Later moments share both objects."""

    place: int
    disk: Disk
    acknowledged: Acknowledgements


def record(folder: Path, traces: Path) -> Recording:
    """Runs a server on a new file and stops the server. Then runs a server on this file and kills the server.

    Each run lasts until the write-ahead log has restarted from its beginning after a checkpoint.
    """
    clients = Clients()
    with ServerProcess(folder / DATABASE, before=[*strace(traces / "first"), *SMALL_WAL]) as server:
        clients.run(server, restarts=2)
        assert server.stop() == 0
    after_stop = files_in(folder)
    first = steps_of(traces / "first", folder)
    with ServerProcess(folder / DATABASE, before=[*strace(traces / "second"), *SMALL_WAL]) as server:
        clients.run(server, restarts=1)
        wait_until_processed(server)
        server.kill()
    steps = [*first, *steps_of(traces / "second", folder, first_line=first[-1].line + 1)]
    return Recording(steps, len(first), (after_stop, files_in(folder)), clients)


def steps_of(trace: Path, folder: Path, first_line: int = 0) -> list[Step]:
    with trace.open(encoding="ascii") as lines:
        return read_steps(read_calls(lines, first_line=first_line), folder)


def files_in(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(SHARED_MEMORY)}


def moments(recording: Recording, steps: Sequence[Step] | None = None) -> Iterator[Moment]:
    """Yields the moment after each step of the two runs, or of `steps` if given."""
    disk, acknowledged = Disk(), Acknowledgements(recording.clients.sent)
    for place, step in enumerate(steps or recording.steps):
        acknowledged.read(step.sent)
        step.apply(disk)
        yield Moment(place, disk, acknowledged)


def places_before_syncs(steps: Sequence[Step]) -> set[int]:
    """Returns the indexes of the steps right before the end of each sync, and the index of the last step.

    Between two of these steps, the synced content does not change, and more orders can become acknowledged. So if no
    acknowledged order is missing at the later step, no order is missing between the two steps.
    """
    return {place - 1 for place, step in enumerate(steps) if step.synced is not None and place} | {len(steps) - 1}
