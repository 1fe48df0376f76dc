"""`python -m load.patroni`: kills a PostgreSQL server that Patroni manages, and checks every order.

The command starts etcd, Patroni, and PostgreSQL with synchronous replication, in a temporary folder. It starts two
servers whose URL names both PostgreSQL servers, and sends them orders all the time. Then it kills the primary and its
Patroni, waits until Patroni has promoted the standby, and starts the killed ones again. When they are the standby, it
reads every acknowledged order back. It stops everything, and removes the folder if nothing is wrong.

Needs the Debian packages etcd-server, patroni and postgresql. The exit status is 0 if every acknowledged order is
stored and processed and no server has ended, 1 if not, 2 for bad flags, and 130 after Ctrl-C.
"""

import argparse
import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from load.cli.command import Command, print_line, run_to_end
from load.cli.errors import CommandError, ExitStatus, printable
from load.cli.flags import HIGHEST, CommandParser, number
from load.http.address import Address, reach
from load.http.connection import Connection, NoResponse, send_request
from load.http.connections import Timeouts
from load.orders.comparison import check_new
from load.orders.generated import SentOrders, VariedOrders
from load.patroni.cluster import LEADER, PatroniCluster
from load.readback.order_reader import OrderReader
from load.results.outages import AcceptanceTimes
from load.results.result import ReadBackResult
from load.system.machine import new_folder
from load.system.postgresql import find_programs
from load.system.server_process import ServerProcess

PACKAGES = {"etcd": "etcd-server", "patroni": "patroni"}
LEAST_TTL_S, DEFAULT_TTL_S, MOST_TTL_S = 5, 30, 300
SERVERS, CLIENTS_PER_SERVER, PAUSE_S, RETRY_S = 2, 8, 0.05, 0.1
ORDERS = 500  # How many orders must be acknowledged before the kill, after the promotion, and with the new standby.
LIMIT_S, PER_TTL = 120.0, 4  # Each step may take 120 s plus four times the TTL.
READERS = 16
POLL_EVERY_S = 0.1


def main(argv: Sequence[str]) -> int:
    return PatroniFailover(_parse(argv)).execute()


class PatroniFailover(Command):
    """The command `python -m load.patroni`. Keeps the logs and databases if anything is wrong."""

    def __init__(self, flags: argparse.Namespace) -> None:
        super().__init__(prog="python -m load.patroni")
        self._flags = flags
        self._limit_s = LIMIT_S + PER_TTL * flags.ttl
        self._begun_s = time.monotonic()
        self._ledger = SentOrders(VariedOrders(first_id=1, count=HIGHEST))
        self._times = AcceptanceTimes()
        self._wrong: Counter[str] = Counter()  # Wrong responses.
        self._gap_s = 0.0
        self._passed = False

    def run(self) -> ExitStatus:
        programs = _find_programs()
        parent = Path(tempfile.gettempdir())
        with new_folder(parent, prefix="load-patroni-", is_wanted=lambda: not self._passed) as folder:
            # PostgreSQL's user must be able to enter the folder, but not to list it.
            folder.chmod(0o711)
            with ExitStack() as stack:
                cluster = stack.enter_context(PatroniCluster(folder, programs=programs, ttl_s=self._flags.ttl))
                run_to_end(self._start(cluster))
                arguments = ["server.py", "--port", "0", "--database", cluster.url]
                servers = [
                    stack.enter_context(ServerProcess(arguments, log=folder / f"server-{number}.log"))
                    for number in range(1, SERVERS + 1)
                ]
                result = run_to_end(self._run(cluster, servers))
                ended = sum(not server.is_running for server in servers)
                print(*self._format(result, ended), sep="\n")
            self._passed = result.is_good and result.acknowledged > 0 and not (ended or self._wrong)
        return ExitStatus.PASSED if self._passed else ExitStatus.FAILED

    async def _start(self, cluster: PatroniCluster) -> None:
        cluster.etcd.start()
        await self._wait_until(cluster.protect_etcd, "etcd does not start")
        cluster.start_members()
        await self._wait_until(cluster.is_replicated, "PostgreSQL has no synchronous standby")
        self._log("PostgreSQL has a primary and a synchronous standby")

    async def _run(self, cluster: PatroniCluster, servers: Sequence[ServerProcess]) -> ReadBackResult:
        addresses = [await reach(server.url) for server in servers]
        ending = asyncio.Event()
        clients = [asyncio.create_task(self._send(address, ending)) for address in addresses * CLIENTS_PER_SERVER]
        try:
            await self._fail_over(cluster)
            ending.set()
            await asyncio.gather(*clients)
        finally:
            for client in clients:
                client.cancel()
        timeouts = Timeouts(processing_s=self._limit_s)
        reader = OrderReader(address=addresses[0], source=self._ledger.orders, timeouts=timeouts)
        return await reader.read(self._ledger.acknowledged_indexes(), again=True, connections=READERS)

    async def _fail_over(self, cluster: PatroniCluster) -> None:
        await self._accept_orders()
        primary = cluster.primary()
        if primary is None:
            raise CommandError("PostgreSQL has lost its primary")
        [other] = [name for name in cluster.members if name != primary.name]
        killed_s = time.monotonic()
        await asyncio.to_thread(primary.kill)
        self._log(f"{primary.name} was the primary, and is killed together with its Patroni")
        await self._wait_until(lambda: cluster.roles().get(other) == LEADER, f"Patroni does not promote {other}")
        self._log(f"{other} is the primary")
        await self._accept_orders()
        primary.start()
        await self._wait_until(cluster.is_replicated, f"{primary.name} does not become the standby")
        self._log("PostgreSQL has a synchronous standby again")
        await self._accept_orders()
        self._gap_s = self._times.longest_gap_s(killed_s, time.monotonic())

    async def _accept_orders(self) -> None:
        """Wait until more orders are acknowledged."""
        enough = self._ledger.acknowledged + ORDERS
        await self._wait_until(
            lambda: self._ledger.acknowledged >= enough, f"the servers do not accept {ORDERS} orders"
        )
        self._log(f"{self._ledger.acknowledged:,} orders acknowledged")

    async def _wait_until(self, is_done: Callable[[], bool], otherwise: str) -> None:
        """Wait until `is_done()`, which can block. Raises CommandError with the text `otherwise` after the limit."""
        try:
            async with asyncio.timeout(self._limit_s):
                while not await asyncio.to_thread(is_done):  # noqa: ASYNC110 - Patroni has no event
                    await asyncio.sleep(POLL_EVERY_S)
        except TimeoutError:
            raise CommandError(f"{otherwise} within {self._limit_s:.0f} s") from None

    async def _send(self, address: Address, ending: asyncio.Event) -> None:
        """Send orders, one after the other, until `ending` is set. Send each one until it is acknowledged."""
        with closing(Connection(address)) as connection:
            while not ending.is_set():
                [index] = self._ledger.take(1, is_sent=True)
                request, attempts = address.post("/order", self._ledger.orders.body(index)), 0
                while True:
                    attempts += 1
                    try:
                        answer = await send_request(connection, request, limit_s=self._limit_s)
                    except NoResponse:
                        pass  # a finding only if the server has ended
                    else:
                        if answer.status != 503:
                            break
                    await asyncio.sleep(RETRY_S)
                order_id = self._ledger.orders.order_id(index)
                if problem := check_new(answer, order_id, may_be_known=attempts > 1):
                    self._wrong[problem] += 1
                else:
                    self._ledger.note_acknowledged([index])
                    self._times.note()
                await asyncio.sleep(PAUSE_S)

    def _format(self, result: ReadBackResult, ended: int) -> Iterator[str]:
        yield f"\n{'acknowledged':<28}{result.acknowledged:>12,}"
        yield f"{'missing':<28}{len(result.lost_ids):>12,}"
        yield f"{'longest time without 202':<28}{f'{self._gap_s:.1f} s':>12}"
        yield f"{'servers that ended':<28}{ended:>12}\n"
        yield result.describe()
        yield from (f"{count} x {printable(problem)}" for problem, count in self._wrong.items())

    def _log(self, text: str) -> None:
        print_line(f"{time.monotonic() - self._begun_s:6.1f} s  {text}")


def _find_programs() -> Path:
    """Return the folder of PostgreSQL's programs. Raises CommandError if a program is missing."""
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    programs = find_programs()
    if programs is None or missing:
        missing += ["postgresql"] if programs is None else []
        raise CommandError(f"install the Debian packages that are missing: {' '.join(missing)}")
    return programs


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("load.patroni", description=__doc__)
    bounds = f"between {LEAST_TTL_S} and {MOST_TTL_S}"
    parser.add_argument(
        "--ttl",
        type=number("whole number", bounds, LEAST_TTL_S, MOST_TTL_S, read=int),
        default=DEFAULT_TTL_S,
        metavar="SECONDS",
        help="Patroni's ttl: how long the primary can be silent until Patroni promotes the standby (%(default)s)",
    )
    return parser.parse(argv)
