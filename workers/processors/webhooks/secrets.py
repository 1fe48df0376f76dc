"""The secrets that sign webhooks: in the value of `--webhook-secret`, or in a file that this value names.

Used on the main thread at the start, and on the event loop at a reload.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from models.errors import StartRefusedError

MAX_FILE_BYTES = 64 * 1024


class SecretsRefusedError(StartRefusedError):
    """The file of secrets can't be used. The text gives the reason in one line, without a secret."""


class SecretSource(Struct, frozen=True):
    """Where the secrets are: in `file`, or in the tuple `secrets` if `file` is None."""

    secrets: tuple[str, ...] = ()
    file: Path | None = None

    def read(self) -> tuple[str, ...]:
        """The secrets, at least one. Raises SecretsRefusedError if the file can't be used."""
        return self.secrets if self.file is None else read_secrets(self.file)


class Signer(Protocol):
    """Signs deliveries. `workers.processors.webhooks.runner.WebhookRunner` implements it."""

    def replace_secrets(self, secrets: Sequence[str], /) -> None:
        """From now on, signs deliveries with these secrets."""


class SecretFile:
    """The file of `--webhook-secret @FILE`, which SIGHUP reloads."""

    def __init__(self, path: Path, *, signer: Signer) -> None:
        self.paths = (path,)
        self._signer = signer

    def reload(self) -> str:
        """From now on, signs deliveries with the current secrets of the file. Returns a description for the log.

        Raises SecretsRefusedError if the file can't be used; the old secrets stay in use.
        """
        [path] = self.paths
        secrets = read_secrets(path)
        self._signer.replace_secrets(secrets)
        return f"{len(secrets)} webhook secrets from {path}"


def parse_source(text: str) -> SecretSource:
    """The source that a value of `--webhook-secret` names: `@FILE`, or secrets separated by spaces.

    Raises ValueError if a secret is invalid. The error does not contain the secret.
    """
    if text.startswith("@"):
        return SecretSource(file=Path(text.removeprefix("@")))
    secrets = tuple(text.split(" "))
    if not all(_is_secret(each) for each in secrets):
        raise ValueError("must be base64, with or without whsec_ before it; several are separated by one space")
    return SecretSource(secrets)


def read_secrets(path: Path) -> tuple[str, ...]:
    """The secrets in a file, separated by white space. Raises SecretsRefusedError if the file can't be used."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SecretsRefusedError(f"{path} can't be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise SecretsRefusedError(f"{path} is too large for a file of webhook secrets")
    secrets = tuple(content.decode("utf-8-sig", "replace").split())
    if not secrets:
        raise SecretsRefusedError(f"{path} has no webhook secret in it")
    for number, secret in enumerate(secrets, 1):
        if not _is_secret(secret):
            raise SecretsRefusedError(f"{path}: secret {number} is not base64, with or without whsec_ before it")
    return secrets


def _is_secret(text: str) -> bool:
    digits = text.removeprefix("whsec_").rstrip("=")
    try:
        # `Signer` ignores characters that are not base64.
        return bool(base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True))
    except ValueError:
        return False
