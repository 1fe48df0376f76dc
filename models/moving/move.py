"""Moves all orders of a SQLite file to an empty PostgreSQL database. Runs on the main thread.

Each batch of orders is copied in one transaction, which also stores the sequence of its last order in the table `move`.
So a move that was interrupted at any point continues from there. No server starts on the database before all orders are
copied and compared. Then the file is marked, so that no server starts on the file any more. After that, servers can
start on the database. So at no time can servers start on both.
"""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from platform import node as host_name
from secrets import token_hex
from typing import NamedTuple

from models.clock import wall_us
from models.database.address import PostgresqlUrl
from models.errors import MoveError
from models.listing import LOWEST
from models.moving.batch import Recount
from models.moving.batches import Batches
from models.moving.comparison import compare
from models.moving.conversion import Conversion
from models.moving.report import Step, describe, describe_counts
from models.moving.source import MAX_ROWS, Mark, Source
from models.moving.target import MoveState, Target
from models.postgresql.connection.database import DEADLINE_S
from models.progress import Report


class MoveOptions(NamedTuple):
    """Values that only tests change: the size of a batch, how long errors of PostgreSQL are retried, and the clocks.

    `clock` returns monotonic seconds, `wall_us` the wall clock time, and `database_us` time of the database's clock.
    """

    max_rows: int = MAX_ROWS
    deadline_s: float = DEADLINE_S
    clock: Callable[[], float] = time.monotonic
    wall_us: Callable[[], int] = wall_us
    database_us: Callable[[], int] | None = None


DEFAULT_OPTIONS = MoveOptions()


def move(file: Path, url: PostgresqlUrl, *, report: Report, options: MoveOptions = DEFAULT_OPTIONS) -> None:
    """Moves the orders of the file to the database, or continues a move that was interrupted.

    Raises MoveError or DatabaseRefusedError if that is not possible. After that, as after any interruption, no server
    can start on a database that has only a part of the orders.
    """
    with closing(Source(file)) as source, closing(Target(url, deadline_s=options.deadline_s)) as target:
        source.lock()
        target.open()
        found = target.state()
        source.open()
        _Move(source, target, report, options).run(found)


class _Move:
    """The steps of a move between an open file and an open database."""

    def __init__(self, source: Source, target: Target, report: Report, options: MoveOptions) -> None:
        self._source = source
        self._target = target
        self._report = report
        self._options = options
        self._summary = source.summary()

    def run(self, found: MoveState | None) -> None:
        """Begins a move, or continues the move that was found in the database, and finishes it."""
        mark = self._source.mark()
        if found and found.is_finished and mark and mark.move == found.id:
            self._report(f"the orders of {self._source.path} have been moved already")
            self._report_next_step()
            return
        move = self._begin(found, mark)
        self._report(f"copying {self._summary.orders:,} orders from {self._source.path} to {self._target.name}")
        if move.copied:
            self._report(f"continuing the interrupted move: {move.copied:,} orders have been copied")
        batches = Batches(
            self._source,
            Conversion(move.node, move.ahead_us + self._summary.clock_step_us),
            max_rows=self._options.max_rows,
        )
        self._copy(move, batches)
        recount = self._recount()
        self._compare(batches)
        if mark is None:
            self._source.set_mark(target=self._target.name, move=move.id, state=move.state)
        self._target.finish(move, recount=recount, summary=self._summary, measurements=self._source.measurements())
        self._report(f"finished: servers can start on {self._target.name}, and refuse {self._source.path}")
        self._report_next_step()

    def _begin(self, found: MoveState | None, mark: Mark | None) -> MoveState:
        """The move to continue: the one that was found, if it moves this file, or a new one."""
        path, target = self._source.path, self._target.name
        if mark and (found is None or mark.move != found.id):
            raise MoveError(f"the orders of {path} were moved already, to {mark.target}")
        if found and found.is_finished:
            raise MoveError(f"{target} contains the orders that were moved from {found.file}: it must be empty")
        if found and (mark or found.state == self._summary.state):
            return found
        new = self._new_move()
        if found is None:
            return self._target.begin(new)
        if found.file != new.file:
            raise MoveError(f"{target} contains a part of the orders of {found.file}: it must be empty")
        self._report("the file has changed since the move began: the move begins again")
        return self._target.begin_again(new)

    def _new_move(self) -> MoveState:
        wall_us, database_us = self._options.wall_us, self._options.database_us or self._target.database_us
        before_us = wall_us()
        ahead_us = database_us() - (before_us + wall_us()) // 2
        file = f"{host_name()}:{self._source.path.resolve()}"
        return MoveState(token_hex(16), file, self._summary.state, 0, ahead_us, LOWEST, copied=0, is_finished=False)

    def _copy(self, move: MoveState, batches: Batches) -> None:
        step = self._step("copied", before=move.copied)
        while batch := self._target.copy(move, batches.after):
            step.add(batch)
        step.end()
        self._target.copy_fingerprints(self._source.fingerprints, self._source.archives())
        self._target.analyze()

    def _recount(self) -> Recount:
        began_s = self._options.clock()
        expected, found = self._source.recount(), self._target.recount()
        if expected.counts != self._summary.counts:
            counted, claimed = describe_counts(expected.counts), describe_counts(self._summary.counts)
            raise MoveError(f"{self._source.path} has {counted}, but its totals are {claimed}: orders are missing")
        if expected != found:
            raise MoveError(f"the file has {describe(expected)}, but {self._target.name} has {describe(found)}")
        fingerprints = self._source.sum_of_fingerprints()
        if fingerprints != self._target.sum_of_fingerprints():
            raise MoveError(f"{self._target.name} lacks archived orders, or has wrong ones")
        self._report(f"counted on both sides in {self._options.clock() - began_s:.1f} s: {describe(found)}")
        return found

    def _compare(self, batches: Batches) -> None:
        step = self._step("compared every field of")
        for batch in batches:
            compare(batch, self._target)
            step.add(batch)
        step.end()

    def _step(self, done: str, *, before: int = 0) -> Step:
        return Step(self._report, self._options.clock, done, of=self._summary.orders, before=before)

    def _report_next_step(self) -> None:
        self._report(f"next: start the server with --database {self._target.name}, and set up backups of PostgreSQL")
