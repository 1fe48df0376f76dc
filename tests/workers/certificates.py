"""Certificates for receivers on 127.0.0.1."""

import subprocess
from pathlib import Path

from tests.process import DEADLINE_S, need


def make_certificate(path: Path) -> Path:
    """Writes a self-signed certificate for 127.0.0.1, and its key, to this file. Returns the path."""
    need("openssl")
    key = path.with_name("key.pem")
    wanted = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    subprocess.run(
        ["openssl", *wanted.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(path)],
        check=True,
        capture_output=True,
        timeout=DEADLINE_S,
    )
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path
