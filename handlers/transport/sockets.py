"""Opens listening sockets, and computes how many connections can be open. Runs on the main thread."""

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
"""How many connections can wait until the event loop accepts them."""
SPARE_FILES = 1
"""File descriptors kept free for rejecting a connection over the limit, or for handing one over to Tornado."""
SPARE_FILES_WITHOUT_UVLOOP = 12
"""asyncio's own loop needs about five iterations to reject a connection. It accepts up to two in each iteration."""
UNSENT_BYTES = 16 * 1024
"""About how many bytes of a response the system buffers when the client's receive window is full. The default is up to
4 MiB. Copying that much for each of many slow clients would block the event loop for seconds."""

MAX_PORT = 65_535


def check_host(text: str) -> str:
    """Returns the text. Raises ValueError if it is blank."""
    if not text.strip():
        raise ValueError("must not be empty, because that would mean every address")
    return text


def check_port(text: str) -> int:
    """Returns the port. Raises ValueError if it is not valid."""
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_PORT):
        raise ValueError(f"must be an integer from 0 to {MAX_PORT}")
    return int(text)


def listen(host: str, port: int) -> list[socket.socket]:
    """Listens on all addresses of `host`. Port 0 selects a free port. Raises StartRefusedError if this fails."""
    try:
        sockets = bind_sockets(port, host, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StartRefusedError(f"can't listen on {host} port {port}: {reason}") from None
    for each in sockets:
        # Accepted connections inherit this option.
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return sockets


def accept_waiting(listening: socket.socket) -> Iterator[tuple[socket.socket, tuple[Any, ...]]]:
    """Accepts all waiting connections. Yields the socket and the client's address of each."""
    with contextlib.suppress(OSError):  # raised also when no connection is left
        while True:
            client, address = listening.accept()
            client.setblocking(False)
            yield client, address


def addresses_of(sockets: Iterable[socket.socket]) -> list[str]:
    """The IP addresses on which the sockets listen."""
    return [each.getsockname()[0] for each in sockets]


def base_url(listening: socket.socket, *, has_tls: bool) -> str:
    """The URL of the server on this socket, such as `http://127.0.0.1:8080`."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if has_tls else 'http'}://{shown}:{port}"


def raise_file_limit() -> int:
    """Raises the soft limit on open files to the hard limit. Returns the soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS rejects "no limit" here. The soft limit then stays the same.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def max_connections(file_limit: int, loop: asyncio.AbstractEventLoop) -> int:
    """How many connections can be open at once, besides the files that are open now. At least 1."""
    open_files = len(list(Path("/dev/fd").iterdir())) - 1  # without the descriptor of /dev/fd itself
    is_uvloop = type(loop).__module__.startswith("uvloop")
    return max(1, file_limit - open_files - (SPARE_FILES if is_uvloop else SPARE_FILES_WITHOUT_UVLOOP))
