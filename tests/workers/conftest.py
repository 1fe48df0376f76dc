"""Receivers for the tests of the HTTP client and of webhooks."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.certificates import make_certificate
from tests.workers.scripted_receiver import Receiver


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a self-signed certificate for 127.0.0.1 and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "receiver.pem")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that sends a 200 unless a test sets a script."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def tls_receiver(certificate: Path) -> Iterator[Receiver]:
    """Like `receiver`, over HTTPS, with `certificate`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Receiver(tls=context) as receiver:
        yield receiver
