"""The secrets of webhooks: the values of the flag, and files with secrets."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.cases import cases
from workers.processors.webhooks.secrets import (
    MAX_FILE_BYTES,
    SecretFile,
    SecretSource,
    SecretsRefusedError,
    parse_source,
    read_secrets,
)

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"  # noqa: S105 - used only in these tests


@cases("secret", [SECRET, SECRET.removeprefix("whsec_"), "c2VjcmU=", "c2VjcmU", "whsec_c2VjcmU", "c2VjcmU====", "AA"])
def test_valid_secrets_are_separated_by_spaces(secret: str) -> None:
    assert parse_source(secret) == SecretSource((secret,))
    assert parse_source(f"{secret} {SECRET} AA").read() == (secret, SECRET, "AA")
    Webhook(secret)


@cases(
    "secret",
    [
        "",
        "=",
        "==",
        "whsec_",
        "whsec_==",
        "A",
        "AAAAA",
        "hunter2-hunter2",
        "hunter2_hunter2",
        "hunter2a  hunter2a",
        "hunter2a\thunter2a",
        "hunter2a\n",
        "hunter2é",
        "hunt==er2a==",
        "whsec_whsec_hunter2a",
        "WHSEC_hunter2a",
    ],
)
def test_an_invalid_secret_is_rejected_and_not_shown(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^must be base64, with or without whsec_ before it; ") as caught:
        parse_source(secret)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_value_with_an_at_sign_names_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret file"
    path.write_text("AA")
    source = parse_source(f"@{path}")
    assert source.file == path
    assert source.read() == ("AA",)


@cases("content", [b"AA %s", b"AA\n%s\n", b"\r\n\tAA\r\n\r\n %s ", b"\xef\xbb\xbfAA\n%s"])
def test_the_secrets_in_a_file_are_separated_by_white_space(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secrets"
    path.write_bytes(content % SECRET.encode())
    assert read_secrets(path) == ("AA", SECRET)


@cases(
    ("content", "fault"),
    [
        (None, " can't be read: No such file or directory"),
        (b"", " has no webhook secret in it"),
        (b" \n", " has no webhook secret in it"),
        (b"AA\nhunter2-\n", ": secret 2 is not base64, with or without whsec_ before it"),
        (b"hunter2\xff", ": secret 1 is not base64, with or without whsec_ before it"),
        (b"A" * (MAX_FILE_BYTES + 1), " is too large for a file of webhook secrets"),
    ],
)
def test_an_unusable_file_is_rejected_and_the_old_secrets_stay(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    path = tmp_path / "secrets"
    if content is not None:
        path.write_bytes(content)
    signer = RecordingSigner()
    with pytest.raises(SecretsRefusedError, match=f"^{re.escape(f'{path}{fault}')}$"):
        SecretFile(path, signer=signer).reload()
    assert signer.secrets == []


class RecordingSigner:
    """Records the secrets that it gets."""

    def __init__(self) -> None:
        self.secrets: list[Sequence[str]] = []

    def replace_secrets(self, secrets: Sequence[str]) -> None:
        self.secrets.append(secrets)


def test_a_reload_replaces_the_secrets(tmp_path: Path) -> None:
    path, signer = tmp_path / "secrets", RecordingSigner()
    file = SecretFile(path, signer=signer)
    for text, count in (("AA", 1), (f"AA\n{SECRET}", 2)):
        path.write_text(text)
        assert file.reload() == f"{count} webhook secrets from {path}"
    assert signer.secrets == [("AA",), ("AA", SECRET)]
