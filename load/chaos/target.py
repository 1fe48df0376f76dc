"""What is tested: servers that share a database, and the orders that are sent to them. Runs on the event loop."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from random import Random

from load.chaos.database import Database
from load.chaos.node import Node
from load.chaos.report import Findings
from load.http.address import Address
from load.orders.generated import SentOrders, VariedOrders


def orders_for(*, seed: int, name: str) -> VariedOrders:
    """Return the orders for the target `name`. Equal arguments give equal ids and values."""
    return VariedOrders(first_id=1 + Random(f"ids {seed} {name}").getrandbits(62), count=1 << 40)


class Target:
    """The servers `nodes` on one `database`. `ledger` records the orders that clients have sent to `address`.

    `client_errors` counts the 503s, the refused and the lost connections of clients.
    """

    def __init__(self, *, findings: Findings, nodes: Sequence[Node], database: Database, seed: int) -> None:
        self.name = findings.target
        self.findings = findings
        self.nodes = nodes
        self.database = database
        self.ledger = SentOrders(orders_for(seed=seed, name=self.name))
        self.client_errors: Counter[str] = Counter()

    @property
    def address(self) -> Address:
        return self.nodes[0].address

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
        """Start all nodes. Raises RunFailed."""
        await asyncio.gather(*(node.start() for node in self.nodes))

    async def terminate(self) -> None:
        """Send SIGTERM to all nodes, and wait for their end."""
        await asyncio.gather(*(node.terminate() for node in self.nodes))

    def close(self) -> None:
        """Kill the nodes and close the database; can be called twice. Blocks for a moment."""
        for node in self.nodes:
            node.close()
        self.database.close()
