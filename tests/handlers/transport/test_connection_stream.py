"""How much of a body one system call reads."""

import socket
from contextlib import closing

import pytest
from tornado.http1connection import HTTP1Connection

from handlers.transport.connection_stream import ConnectionStream, set_read_size
from handlers.transport.timeouts import Timeouts


@pytest.mark.gen_test
async def test_the_number_of_bytes_of_a_read_can_be_changed() -> None:
    ours, theirs = socket.socketpair()
    with closing(theirs), closing(ConnectionStream(ours, timeouts=Timeouts(), read_chunk_size=1_000)) as stream:
        connection = HTTP1Connection(stream, is_client=False)
        theirs.sendall(b"x" * 60_000)
        assert len(await stream.read_bytes(50_000, partial=True)) == 1_000
        assert set_read_size(connection, 30_000) == 1_000
        assert len(await stream.read_bytes(50_000, partial=True)) == 30_000
        assert set_read_size(connection, 1_000) == 30_000
        assert len(await stream.read_bytes(50_000, partial=True)) == 1_000
