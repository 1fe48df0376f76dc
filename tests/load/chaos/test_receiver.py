"""The receiver that fails its senders when it is told to."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import urllib3
from urllib3.exceptions import HTTPError

from load.chaos.plan import Manner
from load.chaos.receiver import Receiver, ReceiverLost
from tests.load.chaos.webhooks import new_deliveries, webhook

POOL_S = 5.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(new_deliveries()) as receiver:
        yield receiver


@pytest.fixture
def sender() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=POOL_S) as sender:
        yield sender


def deliver(sender: urllib3.PoolManager, receiver: Receiver, order_id: int, name: str = "") -> int:
    headers, body = webhook(order_id, name=name)
    return sender.request("POST", receiver.url, body=body, headers=headers).status


def test_it_takes_orders_and_those_that_come_again(receiver: Receiver, sender: urllib3.PoolManager) -> None:
    assert [deliver(sender, receiver, order_id) for order_id in (1, 2, 1)] == [200] * 3
    assert (receiver.taken, receiver.wrong) == ({1, 2}, [])


def test_another_webhook_id_for_the_same_order_is_wrong(receiver: Receiver, sender: urllib3.PoolManager) -> None:
    deliver(sender, receiver, 1)
    deliver(sender, receiver, 1, "another")
    assert receiver.wrong == [("the webhook-id is another one for a repeat", 1)]


def test_what_is_no_webhook_and_what_differs_from_its_order_is_wrong(
    receiver: Receiver, sender: urllib3.PoolManager
) -> None:
    headers, body = webhook(2, {"user_id": 0})
    assert sender.request("POST", receiver.url, body=body, headers=headers).status == 200
    with pytest.raises(HTTPError):
        sender.request("POST", receiver.url, body=b"[]", headers=headers)
    assert receiver.wrong == [
        ("a webhook that differs from the order in its user_id", 2),
        ("what came is no webhook: ValueError('no order_id')", 0),
    ]


@pytest.mark.parametrize(("manner", "status"), [(Manner.ERROR, 500), (Manner.BUSY, 503)])
def test_an_order_that_it_refuses_is_not_taken_until_it_comes_again(
    manner: Manner, status: int, receiver: Receiver, sender: urllib3.PoolManager
) -> None:
    receiver.behave(manner)
    assert deliver(sender, receiver, 1) == status
    assert (receiver.taken, receiver.disturbed[manner]) == (set(), 1)
    receiver.behave(None)
    assert deliver(sender, receiver, 1) == 200
    assert receiver.taken == {1}


def test_when_it_is_gone_connections_are_cut_and_refused_until_it_is_back_at_the_same_port(
    receiver: Receiver, sender: urllib3.PoolManager
) -> None:
    assert deliver(sender, receiver, 1) == 200
    receiver.behave(Manner.GONE)
    assert receiver.disturbed[Manner.GONE] == 1
    with pytest.raises(HTTPError):
        deliver(sender, receiver, 2)
    receiver.behave(None)
    assert deliver(sender, receiver, 2) == 200
    assert receiver.taken == {1, 2}


def test_a_sender_that_it_has_left_hanging_is_cut_off_when_it_is_itself_again(
    receiver: Receiver, sender: urllib3.PoolManager
) -> None:
    receiver.behave(Manner.HANG)
    headers, body = webhook(1)
    with pytest.raises(HTTPError):
        sender.request("POST", receiver.url, body=body, headers=headers, timeout=0.1)
    assert (receiver.taken, receiver.disturbed[Manner.HANG]) == (set(), 1)
    receiver.behave(None)
    assert deliver(sender, receiver, 1) == 200


def test_a_receiver_whose_port_is_taken_does_not_begin() -> None:
    receiver = Receiver(new_deliveries())
    with at_its_port(receiver), pytest.raises(ReceiverLost, match="can't listen"):
        receiver.__enter__()


def test_a_receiver_whose_port_is_taken_while_it_is_gone_does_not_come_back_unnoticed(receiver: Receiver) -> None:
    receiver.behave(Manner.GONE)
    with at_its_port(receiver), pytest.raises(ReceiverLost, match="can't listen"):
        receiver.behave(None)


@contextmanager
def at_its_port(receiver: Receiver) -> Iterator[None]:
    """Somebody else listens where the receiver would."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", urllib3.util.parse_url(receiver.url).port))
        other.listen()
        yield
