"""Fixtures for tests of whole processes."""

import subprocess
from pathlib import Path

import pytest

from tests.process import need


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three certificates and their private keys. The key of the third certificate is encrypted."""
    need("openssl")
    folder = tmp_path_factory.mktemp("pems")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2"]
    name = ["-subj", "/CN=orders", "-addext", "subjectAltName=IP:127.0.0.1"]
    for certificate, key, how in (
        ("cert.pem", "key.pem", ["-nodes"]),
        ("other-cert.pem", "other-key.pem", ["-nodes"]),
        ("locked-cert.pem", "locked-key.pem", ["-passout", "pass:secret"]),
    ):
        files = ["-out", str(folder / certificate), "-keyout", str(folder / key)]
        subprocess.run([*new, *name, *how, *files], capture_output=True, check=True)
    return folder
