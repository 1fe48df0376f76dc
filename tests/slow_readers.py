"""Runs clients that read their responses a few bytes at a time: `python -m tests.slow_readers PORT CLIENTS PATH...`.

Opens the connections and prints a line. After a line of input, sends one request on each connection; half of the
requests accept compressed responses. Prints a second line when every client has received the first bytes of a 200. Then
reads from the connections, one after another, until a second line of input or the end of the input.
"""

import resource
import select
import socket
import sys
from itertools import cycle, islice

RECEIVE_BUFFER_BYTES = 1_024
"""The requested size of the buffer for received bytes. Linux uses its minimum instead, about 2 KiB."""
READ_BYTES = 20
READS_A_TURN = 10
TURN_S = 0.001
ACCEPTED = ("Accept-Encoding: gzip\r\n", "")


def connect(port: int) -> socket.socket:
    connection = socket.socket()
    # Set before connecting, because it limits the TCP window that the client offers to the server.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    connection.connect(("127.0.0.1", port))
    connection.setblocking(False)
    return connection


def has_input() -> bool:
    return bool(select.select([sys.stdin], [], [], TURN_S)[0])


def main(port: int, clients: int, *paths: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = [connect(port) for _ in range(clients)]
    print("connected", flush=True)
    sys.stdin.readline()
    requests = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{each}\r\n" for path in paths for each in ACCEPTED]
    unasked = list(zip(connections, cycle(requests), strict=False))
    unanswered = set(connections)
    turns = cycle(connections)
    while not has_input():
        if unasked:
            connection, request = unasked.pop()
            connection.send(request.encode())
        for connection in islice(turns, READS_A_TURN):
            try:
                data = connection.recv(READ_BYTES)
            except BlockingIOError:
                continue
            if connection in unanswered:
                assert data.startswith(b"HTTP/1.1 200 "), data
                unanswered.discard(connection)
                if not unanswered:
                    print("answered", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
