"""Opens listening sockets, and computes how many connections can be open. Runs on the main thread."""

import asyncio
import contextlib
import os
import resource
import socket
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from tornado.netutil import bind_sockets

from models.errors import StartRefusedError

BACKLOG = 2_048
"""How many connections can wait until the event loop accepts them."""
SPARE_FILES = 1
"""How many file descriptors stay free. For a short time, one descriptor is needed to reject a connection over the
limit, or to pass a connection from the plain lane to Tornado."""
SPARE_FILES_WITHOUT_UVLOOP = 12
"""How many file descriptors stay free with asyncio's own event loop, which accepts up to two connections in each
iteration, and needs about five iterations to reject a connection."""
UNSENT_BYTES = 16 * 1024
"""About how many unsent bytes of a response the kernel buffers for a client that reads slowly. By default, the kernel
buffers up to 4 MiB. Copying that much for each of many slow clients would block the event loop for seconds."""

MAX_PORT = 65_535


def check_host(text: str) -> str:
    """Returns the text. Raises ValueError if it is blank."""
    if not text.strip():
        raise ValueError("must not be empty, because that would mean every address")
    return text


def check_port(text: str) -> int:
    """Returns the port. Raises ValueError unless the text is an integer from 0 to `MAX_PORT`."""
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_PORT):
        raise ValueError(f"must be an integer from 0 to {MAX_PORT}")
    return int(text)


def listen(host: str, port: int) -> list[socket.socket]:
    """Opens a listening socket for each address of `host`. Port 0 selects a free port. Raises StartRefusedError."""
    try:
        sockets = bind_sockets(port, host, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StartRefusedError(f"can't listen on {host} port {port}: {reason}") from None
    for each in sockets:
        # Accepted connections inherit this option.
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return sockets


def close_in_child(ports: Collection[int]) -> None:
    """Closes the sockets that listen on these ports, and the connections to these ports, in a forked child process.

    The child inherits these sockets and can outlive the server. The ports would then stay in use, and clients would
    wait for responses that never come.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for each in list(Path("/dev/fd").iterdir()):
        if _tcp_port(int(each.name)) in ports:
            # Replaces the socket by /dev/null. If the descriptor were closed, another file could get its number. The
            # object that owns the socket could later close that file.
            os.dup2(null, int(each.name), inheritable=False)
    os.close(null)


def _tcp_port(descriptor: int) -> int | None:
    """The local port of a TCP socket; None for any other descriptor."""
    try:
        shared = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        is_tcp = shared.family in (socket.AF_INET, socket.AF_INET6) and shared.type == socket.SOCK_STREAM
        return int(shared.getsockname()[1]) if is_tcp else None
    except OSError:
        return None
    finally:
        shared.detach()


def accept_waiting(listening: socket.socket) -> Iterator[tuple[socket.socket, tuple[Any, ...]]]:
    """Accepts all connections that wait in the backlog. Yields the socket and the client's address of each."""
    with contextlib.suppress(OSError):  # also raised when the backlog is empty
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
    """Raises the soft limit on open files to the hard limit. Returns the soft limit; sys.maxsize if there is none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS rejects a hard limit of "no limit" as the new soft limit. The soft limit then stays the same.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def max_connections(file_limit: int, loop: asyncio.AbstractEventLoop) -> int:
    """How many connections fit into `file_limit`, together with the files that are open now. At least 1."""
    open_files = len(list(Path("/dev/fd").iterdir())) - 1  # without the descriptor of /dev/fd itself
    is_uvloop = type(loop).__module__.startswith("uvloop")
    return max(1, file_limit - open_files - (SPARE_FILES if is_uvloop else SPARE_FILES_WITHOUT_UVLOOP))
