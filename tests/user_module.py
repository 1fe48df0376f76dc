"""A user's module with the function that processes orders, and pipes between the function and the test."""

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

{setup}


def tell(order):
    with (HERE / "calls").open("w") as pipe:
        print(order.order_id, order.attempt, time_ns() // 1_000, file=pipe)


def wait_at_gate():
    (HERE / "gate").read_text()


def process(order):
{body}
'''


class Call(NamedTuple):
    order_id: int
    attempt: int
    began_us: int


class UserModule:
    """A user's module `shop` in `folder`. `setup` is code of the module, `body` is the code of its function `process`.

    The body can call `tell(order)`, which sends the order to `call`. The body can call `wait_at_gate()`, which blocks
    until the test calls `open_gate`. Both functions use named pipes, which remain when the server stops.
    """

    def __init__(self, folder: Path, body: str, *, setup: str = "") -> None:
        module = MODULE.format(
            setup=textwrap.dedent(setup).strip(), body=textwrap.indent(textwrap.dedent(body).strip(), "    ")
        )
        (folder / "shop.py").write_text(module)
        self._gate = folder / "gate"
        for name in ("calls", "gate"):
            os.mkfifo(folder / name)
        # Opened for writing too, so that opening does not block and reading never reaches an end of file.
        self._calls = os.open(folder / "calls", os.O_RDWR)
        self._unread = b""
        self._database = folder / "orders.db"
        self._environment = {"PYTHONPATH": str(folder)}

    def __enter__(self) -> "UserModule":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._calls)

    def server(self, *flags: str, before: Sequence[str] = ()) -> ServerProcess:
        """A server that processes orders with `process`. `before` is a prefix for the server's command."""
        return ServerProcess(
            self._database, "--processor", "shop:process", *flags, before=before, environment=self._environment
        )

    def call(self, *, within_s: float = DEADLINE_S) -> Call:
        """Waits for the function's next `tell(order)`, and returns its arguments and time."""
        deadline = time.monotonic() + within_s
        while b"\n" not in self._unread:
            assert select.select([self._calls], [], [], max(0.0, deadline - time.monotonic()))[0], (
                "the function has not called `tell`"
            )
            self._unread += os.read(self._calls, 65_536)
        line, _, self._unread = self._unread.partition(b"\n")
        return Call(*map(int, line.split()))

    def open_gate(self) -> None:
        """Waits until the function waits at the gate, and lets the function continue."""

        def was_waiting() -> bool:
            os.close(os.open(self._gate, os.O_WRONLY | os.O_NONBLOCK))  # OSError if the function does not wait
            return True

        wait_until(was_waiting)
