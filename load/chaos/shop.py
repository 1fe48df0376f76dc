"""Owns what is known of one shop while harm is done to it; on the event loop's thread, made and closed on the main."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from load.chaos.ledger import Ledger
from load.chaos.victim import Victim
from load.http.address import Address, ServerUrl

HOST = "127.0.0.1"
DATABASE = "orders.db"


def reserve_port() -> socket.socket:
    """Take a free port: bound and never listening, it is refused to whoever connects, and given to nobody else.

    A server that sets SO_REUSEADDR can listen there nevertheless. Without it a client that connects to the port while
    no server is there might be given the port itself, and talk to itself.
    """
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind((HOST, 0))
    return place


class Shop:
    """A server with a database of its own in `folder`, what it was sent, and what was seen of it.

    `seen` counts 503s and connections that broke, `wrong` has what no fault excuses, with the order's id or 0.
    `command` starts the server, but for its port and database.
    """

    def __init__(
        self, *, name: str, command: Sequence[str], folder: Path, seed: int, clock_s: Callable[[], float]
    ) -> None:
        folder.mkdir()
        self.name = name
        self.database = folder / DATABASE
        self.ledger = Ledger(seed=seed, name=name)
        self.seen: Counter[str] = Counter()
        self.wrong: list[tuple[str, int]] = []
        self.turn = asyncio.Lock()
        """Held by who kills it and starts it again."""
        self._obstacles = 0
        self._cleared_s = 0.0
        self._clock_s = clock_s
        self._place = reserve_port()
        port = self._place.getsockname()[1]
        self.address = Address(ServerUrl.parse(f"http://{HOST}:{port}"), socket.AF_INET, (HOST, port))
        arguments = [*command, "--port", str(port), "--database", str(self.database)]
        self.victim = Victim(arguments, folder=folder, clock_s=clock_s)

    def note_wrong(self, what: str, order_id: int = 0) -> None:
        self.wrong.append((what, order_id))

    @contextmanager
    def obstructed(self) -> Iterator[None]:
        """While the block runs, something keeps the server from starting in time: a lock, a freeze."""
        self._obstacles += 1
        try:
            yield
        finally:
            self._obstacles -= 1
            self._cleared_s = self._clock_s()

    def was_obstructed(self, since_s: float) -> bool:
        """Whether something has kept the server from starting at any time since then."""
        return self._obstacles > 0 or self._cleared_s >= since_s

    def close(self) -> None:
        """Leave no process behind; may be called twice."""
        self.victim.close()
        self._place.close()
