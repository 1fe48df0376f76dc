"""`python -m load.soak`: loads a server for minutes or hours, and checks that it leaks nothing and stays fast.

Clients send single orders at a steady rate. Other clients send arrays and invalid requests, or read orders, listings,
metrics and event streams. Some clients request an event stream but read nothing, or open and close connections. With
`--webhooks`, the server sends a webhook for each order to a receiver on this machine. After a warm-up of one minute,
one row is printed per minute. Then all orders are counted, 1,000 random orders are read back, and the last minute is
compared with the first. Needs Linux.

The exit status is 0 if everything passed, 1 if not, 2 for bad flags, 130 after Ctrl-C. Ctrl-C prints the results so
far.
"""

import argparse
import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from load.cli.command import Command, Output, json_outputs, print_line, run_to_end
from load.cli.errors import ExitStatus
from load.cli.flags import HIGHEST, SMALLEST, CommandParser, number, rate
from load.http.address import reach
from load.orders.generated import SentOrders, VariedOrders
from load.soak.limits import (
    WEBHOOK_CONNECTIONS,
    FinalCheck,
    Finding,
    check_server,
    compare_minutes,
    require_zero,
)
from load.soak.load import SoakLoad
from load.soak.minute import HEADER, Minute, Sample, take_sample
from load.soak.sessions import CONNECTIONS
from load.system.machine import allow_connections, describe_machine, new_folder
from load.system.reference_servers import RECEIVER, reference_command, webhook_flags
from load.system.server_process import DidNotEnd, ServerProcess

MINUTE_S = 60.0
LEAST_MINUTES, MOST_MINUTES = 2, 7 * 24 * 60
MOST_RATE = 100_000
MAX_SHOWN = 10  # The most error reasons, and the most lines of the server's log, that are printed.
LOG_PROBLEM = re.compile(r"^\S+ (?:WARNING|ERROR|CRITICAL) |^Traceback ")


def main(argv: Sequence[str]) -> int:
    return Soak(_parse(argv)).execute()


class Soak(Command):
    """The command `python -m load.soak`. Keeps the database and the server's log if anything is wrong."""

    def __init__(self, flags: argparse.Namespace) -> None:
        super().__init__(prog="python -m load.soak")
        self._flags = flags
        self._ledger = SentOrders(VariedOrders(first_id=1, count=HIGHEST))
        self._recorded: list[Minute] = []
        self._errors: Counter[str] = Counter()
        self._final: FinalCheck | None = None
        self._log_problems: list[str] = []

    def run(self) -> ExitStatus:
        allow_connections(CONNECTIONS)
        self._print_head()
        with new_folder(self._flags.folder, prefix="load-soak-", is_wanted=lambda: not self._passed) as folder:
            database, log = folder / "orders.db", folder / "server.log"
            arguments = ["server.py", "--port", "0", "--database", str(database)]
            receiver: ServerProcess | None = None
            try:
                with ExitStack() as stack:
                    if self._flags.webhooks:
                        receiver_log = folder / "receiver.log"
                        receiver = stack.enter_context(ServerProcess(reference_command(RECEIVER), log=receiver_log))
                        arguments += webhook_flags(receiver.url)
                    server = stack.enter_context(ServerProcess(arguments, log=log))
                    run_to_end(self._run(server, receiver, database))
            except DidNotEnd as problem:
                self._log_problems.append(str(problem))
            finally:
                lines = log.read_text(errors="replace").splitlines() if log.exists() else []
                self._log_problems += filter(LOG_PROBLEM.match, lines)
        return ExitStatus.PASSED if self._passed else ExitStatus.FAILED

    def outputs(self) -> Sequence[Output]:
        return [Output("the result", self._print_result), *json_outputs(self._flags.json, self._to_json)]

    async def _run(self, server: ServerProcess, receiver: ServerProcess | None, database: Path) -> None:
        def sample() -> Sample:
            return take_sample(server.pid, database)

        flags, sockets_before = self._flags, sample().sockets
        address = await reach(server.url)
        parts, part_s = split(flags.minutes)
        load = SoakLoad(
            address=address,
            ledger=self._ledger,
            take_sample=sample,
            disk_file=database.with_name("disk"),
            rate=flags.rate,
            parts=parts,
            part_s=part_s,
            seed=flags.seed,
            recorded=self._recorded,
            errors=self._errors,
        )
        await load.run()
        self._final = await check_server(
            address,
            ledger=self._ledger,
            take_sample=sample,
            sockets_before=sockets_before + self._webhook_connections,
            rng=Random(f"{flags.seed} reading back"),
            receiver=await reach(receiver.url) if receiver else None,
        )

    @property
    def _minutes(self) -> list[Minute]:
        return self._recorded[1:]

    @property
    def _webhook_connections(self) -> int:
        """How many connections the server has to the receiver at most."""
        return WEBHOOK_CONNECTIONS if self._flags.webhooks else 0

    @property
    def _findings(self) -> list[Finding]:
        sockets = CONNECTIONS + self._webhook_connections
        compared = compare_minutes(self._minutes, self._errors, sockets=sockets) if len(self._minutes) > 1 else []
        in_log = {"warnings and errors in the server's log, and when the server stopped": len(self._log_problems)}
        return compared + ([*self._final.findings, *require_zero(in_log)] if self._final else [])

    @property
    def _passed(self) -> bool:
        return self._final is not None and all(finding.passed for finding in self._findings)

    def _print_head(self) -> None:
        flags, (parts, part_s) = self._flags, split(self._flags.minutes)
        length = "one minute" if part_s == MINUTE_S else f"{part_s:g} s"
        print(f"{flags.rate:g} orders/s, up to {CONNECTIONS} connections; a warm-up and {parts} parts of {length}")
        for name, value in describe_machine(flags.folder).items():
            print(f"{name.replace('_', ' ')}: {value}")
        print_line(f"\n{HEADER}")

    def _print_result(self) -> None:
        for line in self._log_problems[:MAX_SHOWN]:
            print(f"server: {line}", file=sys.stderr)
        print()
        for reason, times in self._errors.most_common(MAX_SHOWN):
            print(f"wrong or missing: {reason}, {times} times")
        if self._final:
            print(f"{self._final.read_back}\n{self._final.counted:,} orders counted in the listing")
        for finding in self._findings:
            print(finding.line)
        if self._final is None:
            print("interrupted: the orders were not counted")

    def _to_json(self) -> dict[str, Any]:
        flags = self._flags
        return {
            "seed": flags.seed,
            "rate": flags.rate,
            "webhooks": flags.webhooks,
            "machine": describe_machine(flags.folder),
            "warm_up": self._recorded[0] if self._recorded else None,
            "minutes": self._minutes,
            "errors": dict(self._errors),
            "sent": len(self._ledger),
            "acknowledged": self._ledger.acknowledged,
            "closing": self._final and {"read_back": self._final.read_back, "counted": self._final.counted},
            "findings": [finding.to_json() for finding in self._findings],
            "passed": self._passed,
        }


def split(minutes: float) -> tuple[int, float]:
    """Return the number of parts (at least two), and the length of each part in seconds (at most 60)."""
    parts = max(LEAST_MINUTES, math.ceil(minutes))
    return parts, minutes * MINUTE_S / parts


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("load.soak", description=__doc__)
    minutes = number("minutes", f"more than 0 and at most {MOST_MINUTES}", SMALLEST, MOST_MINUTES)
    parser.add_argument("--minutes", type=minutes, default=10.0, help="minutes of load after the warm-up (10)")
    parser.add_argument("--rate", type=rate(MOST_RATE), default=500, help="single orders per second (%(default)s)")
    parser.add_argument("--webhooks", action="store_true", help="send a webhook for each order to a local receiver")
    parser.add_seed(1)
    parser.add_folder()
    parser.add_json()
    return parser.parse(argv)
