"""Listening sockets, and how many connections the process can have open. Runs on the main thread."""

import asyncio
import contextlib
import resource
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tornado.netutil import bind_sockets

from models.errors import StartRefusedError

BACKLOG = 2_048
"""How many clients can connect at once before the event loop accepts the first of them."""
SPARE_FILES = 1
"""For a connection over the limit, which is accepted and then rejected, or for one that is handed over to Tornado."""
SPARE_FILES_WITHOUT_UVLOOP = 12
"""asyncio's own loop needs about five iterations to reject a connection, and accepts up to two in each of them."""
UNSENT_BYTES = 16 * 1024
"""About how much of a response the system buffers beyond what the client's receive window allows to send. By default it
takes up to 4 MiB; copying that much for each of many slow readers would block the event loop for seconds."""


def check_host(text: str) -> str:
    """The text, if it can name a host. Raises ValueError."""
    if not text.strip():
        raise ValueError("must not be empty: that would be every address")
    return text


def listen(host: str, port: int) -> list[socket.socket]:
    """The listening sockets of all addresses of `host`. Port 0 takes a free one. Raises StartRefusedError."""
    try:
        sockets = bind_sockets(port, host, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StartRefusedError(f"can't listen on {host} port {port}: {reason}") from None
    for each in sockets:
        # Connections inherit it from the listening socket.
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return sockets


def accept_waiting(listening: socket.socket) -> Iterator[tuple[socket.socket, tuple[Any, ...]]]:
    """Accepts all waiting connections. Yields each of them with the client's address."""
    with contextlib.suppress(OSError):  # also when there is none left
        while True:
            client, address = listening.accept()
            client.setblocking(False)
            yield client, address


def addresses_of(sockets: Iterable[socket.socket]) -> list[str]:
    """The IP addresses on which the sockets listen."""
    return [each.getsockname()[0] for each in sockets]


def base_url(listening: socket.socket, *, has_tls: bool) -> str:
    """The URL under which the socket can be reached, such as `http://127.0.0.1:8080`."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if has_tls else 'http'}://{shown}:{port}"


def raise_file_limit() -> int:
    """Raises the soft limit on open files to the hard one. Returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS refuses "no limit" here; then the soft limit stays as it is.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def max_connections(file_limit: int, loop: asyncio.AbstractEventLoop) -> int:
    """How many connections fit below the limit beside the files that are open now; at least one."""
    open_files = len(list(Path("/dev/fd").iterdir())) - 1  # without the folder itself
    is_uvloop = type(loop).__module__.startswith("uvloop")
    return max(1, file_limit - open_files - (SPARE_FILES if is_uvloop else SPARE_FILES_WITHOUT_UVLOOP))
