"""What a forked child does with the server's sockets. The tests call the child's functions, on real sockets."""

import socket
from contextlib import ExitStack

import pytest

from handlers.transport.sockets import check_port, close_in_child, listen
from tests.cases import cases


def test_a_child_closes_the_listening_sockets_and_their_connections_and_no_others() -> None:
    with ExitStack() as opened:
        [ours, others] = [opened.enter_context(listen("127.0.0.1", 0)[0]) for _ in range(2)]
        port, kept = (each.getsockname()[1] for each in (ours, others))
        client = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
        connection = opened.enter_context(ours.accept()[0])
        numbers = (ours.fileno(), connection.fileno())
        close_in_child({port})
        assert client.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        # No other file may get these numbers, because the objects can close the numbers again.
        assert (ours.fileno(), connection.fileno()) == numbers
        with socket.socket() as newer:
            assert newer.fileno() not in numbers
        socket.create_connection(("127.0.0.1", kept)).close()


@cases("text", ["", "-1", "65536", "http", "8_0", "1e3", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_a_port_is_a_decimal_integer_up_to_65535(text: str) -> None:
    with pytest.raises(ValueError, match="from 0 to 65535"):
        check_port(text)
    assert [check_port(each) for each in ("0", "8080", "65535")] == [0, 8080, 65535]
