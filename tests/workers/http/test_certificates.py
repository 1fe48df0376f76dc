"""The certificates that a receiver over HTTPS must have."""

import subprocess
from pathlib import Path

import pytest

from tests.process import DEADLINE_S
from tests.workers.http_client import HttpClient
from tests.workers.scripted_receiver import Receiver
from workers.http.messages import Failure, FailureKind, Response


def test_the_certificates_of_a_folder_are_trusted(
    tls_receiver: Receiver, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["openssl", "x509", "-noout", "-hash", "-in", str(certificate)]
    digest = subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE_S).stdout.strip()
    (tmp_path / f"{digest}.0").symlink_to(certificate)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with HttpClient(tls_receiver.url) as client:
        assert client.post(b"x") == [Response(200)]


def test_an_untrusted_certificate_is_a_failure(tls_receiver: Receiver) -> None:
    with HttpClient(tls_receiver.url) as client:
        [failure] = client.post(b"x")
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.INSECURE
    assert failure.cause.startswith("[SSL: CERTIFICATE_VERIFY_FAILED] ")
    assert tls_receiver.deliveries == []


def test_a_certificate_for_another_name_is_a_failure(
    tls_receiver: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with HttpClient(f"https://localhost:{tls_receiver.port}/hook") as client:
        [failure] = client.post(b"x")
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.INSECURE
    assert "localhost" in failure.cause
    assert tls_receiver.deliveries == []


def test_a_receiver_without_tls_is_a_failure(receiver: Receiver) -> None:
    with HttpClient(f"https://127.0.0.1:{receiver.port}/hook") as client:
        [failure] = client.post(b"x")
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.INSECURE
