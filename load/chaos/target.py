"""What is tested: servers that share a database, and the orders that are sent to them. Runs on the event loop."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

from load.chaos.databases.database import Database
from load.chaos.report import Findings
from load.chaos.servers.balancer import Balancer
from load.chaos.servers.node import Node
from load.chaos.servers.takeover import TakeoverWatch
from load.http.address import Address
from load.http.connection import Response
from load.orders.generated import SentOrders, VariedOrders
from load.results.outages import AcceptanceTimes


def orders_for(*, seed: int, name: str) -> VariedOrders:
    """Return the orders for the target `name`. Equal arguments give equal ids and values."""
    return VariedOrders(first_id=1 + Random(f"ids {seed} {name}").getrandbits(62), count=1 << 40)


class Target:
    """The servers `nodes` on one `database`. `ledger` records the orders that clients have sent to `address`.

    If there are several servers, a load balancer is in front of them, whose files are in `folder`. `client_errors`
    counts the 503s, the balancer's own responses, the refused and the lost connections of clients. `archives` has the
    folder in which each server archives orders; empty if the servers keep all orders. `gone` has the ids of orders to
    which a server has responded with a 410.
    """

    def __init__(
        self,
        *,
        findings: Findings,
        nodes: Sequence[Node],
        database: Database,
        folder: Path,
        seed: int,
        archives: Sequence[Path] = (),
    ) -> None:
        self.name = findings.target
        self.findings = findings
        self.nodes = nodes
        self.database = database
        self.archives = archives
        self.gone: set[int] = set()
        self.ledger = SentOrders(orders_for(seed=seed, name=self.name))
        self.client_errors: Counter[str] = Counter()
        self.balancer = Balancer(folder, [node.address for node in nodes]) if len(nodes) > 1 else None
        self.takeovers = TakeoverWatch(database) if len(nodes) > 1 else None
        self.acceptance_times = AcceptanceTimes()
        self._acknowledged_by = bytearray()  # For each order, the index of the server that acknowledged it.

    @property
    def address(self) -> Address:
        return self.balancer.address if self.balancer else self.nodes[0].address

    @property
    def starts(self) -> int:
        """How often servers were started."""
        return sum(node.starts for node in self.nodes)

    @contextmanager
    def start_blocked(self) -> Iterator[None]:
        """Block the starts of all nodes: see `Node.start_blocked`."""
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node.start_blocked())
            yield

    async def start(self) -> None:
        """Start all nodes, one after the other. Raises RunFailed."""
        for node in self.nodes:
            await node.start()

    async def terminate(self) -> None:
        """Send SIGTERM to all nodes, and wait for their end."""
        await asyncio.gather(*(node.terminate() for node in self.nodes))

    def node_of(self, response: Response) -> int | None:
        """Return the index of the server that sent a response, or None if it is the load balancer's own."""
        return self.balancer.node_of(response) if self.balancer else 0

    def note_acknowledged(self, indexes: range, response: Response) -> None:
        """Record that a server has acknowledged these orders with this response."""
        self.ledger.note_acknowledged(indexes)
        self.acceptance_times.note()
        self._acknowledged_by.extend(bytes(len(self.ledger) - len(self._acknowledged_by)))
        self._acknowledged_by[indexes.start : indexes.stop] = bytes([self.node_of(response) or 0]) * len(indexes)

    def orders_to_read(self, node: int) -> list[int]:
        """Return the indexes of acknowledged orders to read from this server: orders that other servers acknowledged.

        Together, the servers return all acknowledged orders. If there is only one server, it returns its own orders.
        """
        count, others = len(self.nodes), max(1, len(self.nodes) - 1)
        return [
            index
            for index in self.ledger.acknowledged_indexes()
            if (self._acknowledged_by[index] + 1 + index % others) % count == node
        ]

    def note_outage(self, node: int) -> None:
        """Must be called when this server was killed, frozen or cut off from its database."""
        process = self.nodes[node].process
        if self.takeovers and process.is_launched:
            self.takeovers.begin(process.pid)

    def close(self) -> None:
        """Kill the nodes and the balancer, and close the database; can be called twice. Blocks for a moment."""
        if self.balancer:
            self.balancer.close()
        for node in self.nodes:
            node.close()
        self.database.close()
