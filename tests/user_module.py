"""A user's module with the function that processes orders, and what a test hears from it."""

import os
import select
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.process import DEADLINE_S, ServerProcess, wait_until

MODULE = '''\
"""A user's module."""

import os
import signal
from pathlib import Path
from time import sleep as work_for
from time import time_ns

from workers.processors.outcomes import Rejected, RetryLater

HERE = Path(__file__).parent


def tell(order):
    with (HERE / "calls").open("w") as pipe:
        pipe.write(f"{order.order_id} {order.attempt} {time_ns() // 1_000}\\n")


def wait_at_gate():
    (HERE / "gate").read_text()


def process(order):
'''


class Call(NamedTuple):
    order_id: int
    attempt: int
    began_us: int


class UserModule:
    """A user's module `shop` in `folder`, whose function `process` has this body.

    It may `tell(order)`, which the test reads here, and `wait_at_gate()`, which takes until `open_gate`; both go
    through named pipes, which outlive the server.
    """

    def __init__(self, folder: Path, body: str) -> None:
        (folder / "shop.py").write_text(MODULE + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n")
        self._gate = folder / "gate"
        for name in ("calls", "gate"):
            os.mkfifo(folder / name)
        # For writing, too: so it has no end, and nobody waits to open it.
        self._calls = os.open(folder / "calls", os.O_RDWR)
        self._unread = b""
        self._database = folder / "orders.db"
        self._environment = {"PYTHONPATH": str(folder)}

    def __enter__(self) -> "UserModule":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._calls)

    def server(self, *flags: str, before: Sequence[str] = ()) -> ServerProcess:
        """A server that calls the function; `before` is put before its command."""
        return ServerProcess(
            self._database, "--processor", "shop:process", *flags, before=before, environment=self._environment
        )

    def call(self, *, within_s: float = DEADLINE_S) -> Call:
        """The next call that was told of."""
        deadline = time.monotonic() + within_s
        while b"\n" not in self._unread:
            assert select.select([self._calls], [], [], max(0.0, deadline - time.monotonic()))[0], "nothing is told"
            self._unread += os.read(self._calls, 65_536)
        line, _, self._unread = self._unread.partition(b"\n")
        return Call(*map(int, line.split()))

    def open_gate(self) -> None:
        """Lets pass who waits there, after waiting for somebody to."""

        def was_waiting() -> bool:
            os.close(os.open(self._gate, os.O_WRONLY | os.O_NONBLOCK))  # an OSError where nobody waits
            return True

        wait_until(was_waiting)
