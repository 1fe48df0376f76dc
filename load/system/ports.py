"""Reserves ports for servers on this machine. Usable on any thread."""

import socket

HOST = "127.0.0.1"


def reserve_port() -> socket.socket:
    """Bind a free port without listening. Connections are refused, until a server with SO_REUSEADDR listens on it.

    If the port were free, the system could choose it as the local port of a client that connects to it. This client
    would then be connected to itself.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((HOST, 0))
    return reserved
