"""`python -m load.chaos`: injects faults into servers under load, and checks that no order is lost or changed.

It starts two servers with databases of their own: one only records orders, the other delivers webhooks. While clients
send orders, faults are injected at random: kills, freezes, locks, full disks, disconnecting clients, failing webhook
receivers. At the end it reads every acknowledged order back, ends the servers, and recounts their databases.

The exit status is 0 if every fault was made and nothing was wrong, 1 if not, 2 for bad flags, 130 after Ctrl-C, which
prints the results so far.
"""

import argparse
import asyncio
import secrets
from collections.abc import Sequence

from load.chaos.plan import plan_faults
from load.chaos.receiver import ReceiverLost
from load.chaos.report import Outcome, format_outcome, to_json
from load.chaos.run import ChaosRun
from load.chaos.target import ServerLost
from load.cli.command import Command, Output, json_outputs, print_line
from load.cli.errors import ExitStatus
from load.cli.flags import CommandParser, whole_number
from load.system.machine import allow_connections, folder_to_keep, run_to_end

FAULTS, ORDERS = 36, 10_000
MOST_FAULTS, MOST_ORDERS = 100_000, 100_000_000
SERVER = ("server.py",)
CONNECTIONS = 200
"""Clients, disconnecting clients, readers and webhooks; the servers inherit the limit on open files."""


def main(argv: Sequence[str], *, server: Sequence[str] = SERVER) -> int:
    """Run and return the exit status. `server` is the command that starts a server, without flags."""
    return Chaos(_parse(argv), server=server).execute()


class Chaos(Command):
    """Prints the progress and the outcome of a run, and keeps the databases if anything is wrong."""

    def __init__(self, flags: argparse.Namespace, *, server: Sequence[str]) -> None:
        super().__init__(prog="python -m load.chaos", files=[flags.json])
        self._flags = flags
        self._server = server
        self._plan = plan_faults(flags.seed, flags.faults)
        self._outcome: Outcome | None = None

    def run(self) -> ExitStatus:
        allow_connections(CONNECTIONS)
        flags = self._flags
        with folder_to_keep(flags.folder, prefix="load-chaos-", is_wanted=lambda: self._is_wrong) as folder:
            load = f"seed {flags.seed}: {flags.faults} faults, at least {flags.orders:,} orders"
            print_line(f"{load}, databases in {flags.folder / folder.name}")
            run = ChaosRun(
                plan=self._plan,
                orders=flags.orders,
                seed=flags.seed,
                folder=folder,
                server=self._server,
            )
            outcome = self._outcome = run.outcome
            try:
                run_to_end(run.run())
            except* (ServerLost, ReceiverLost) as lost:
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
        return json_outputs(flags.json, lambda: to_json(outcome, self._plan, seed=flags.seed)) if outcome else []

    @property
    def _is_wrong(self) -> bool:
        """Whether anything is wrong so far."""
        outcome = self._outcome
        return outcome is None or (any(outcome.problems) if outcome.is_interrupted else not outcome.passed)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("load.chaos", description=__doc__)
    parser.add_argument(
        "--faults", type=whole_number(MOST_FAULTS), default=FAULTS, help="how many to inject (%(default)s: one minute)"
    )
    parser.add_argument(
        "--orders",
        type=whole_number(MOST_ORDERS),
        default=ORDERS,
        help="go on until at least so many are acknowledged (%(default)s)",
    )
    parser.add_seed(1 + secrets.randbits(31), shown="random")
    parser.add_folder()
    parser.add_json()
    return parser.parse(argv)
