"""API keys: reads the file of `--api-keys`, generates keys, and redacts keys in logs. Only `read_keys` does I/O."""

import base64
import hashlib
import re
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from models.errors import StartRefusedError

PREFIX = "orderskey_"
"""Every key begins with this text, so that people and secret scanners recognise keys."""
MAX_KEYS = 1_000
"""The maximum number of keys, because the key of each request is compared with every key in the file."""
MAX_FILE_BYTES = 1024 * 1024
_ENTROPY_BYTES = 32
_KEY = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[!-~]+")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")


class Scope(IntEnum):
    """What a key allows. Each scope also allows what the lower scopes allow."""

    READ = 1
    WRITE = 2
    ADMIN = 3

    def __init__(self, _: int) -> None:
        self.label = self.name.lower()
        """The scope as it is written in files, flags and responses."""


SCOPES = tuple(scope.label for scope in Scope)


def parse_scope(label: str) -> Scope:
    """The scope with this label. Raises ValueError if there is none."""
    if label not in SCOPES:
        raise ValueError(f"must be {', '.join(SCOPES[:-1])} or {SCOPES[-1]}")
    return Scope[label.upper()]


class ApiKey(NamedTuple):
    """One key. `digest` is the SHA-256 of the key's text, 32 bytes. The text itself is not stored."""

    name: str
    scope: Scope
    digest: bytes


class KeysRefusedError(StartRefusedError):
    """The file of keys can't be used.

    The message gives the reason in one line and contains none of the file's content.
    """


def digest_of(key: str) -> bytes:
    """The SHA-256 of the key's text."""
    return hashlib.sha256(key.encode()).digest()


def check_name(text: str) -> str:
    """Returns the text if it is a valid name of a key; otherwise raises ValueError."""
    if not _NAME.fullmatch(text) or "#" in text:
        raise ValueError("must be visible ASCII characters without white space and '#'")
    return text


def new_key(name: str, scope: Scope, *, entropy: Callable[[int], bytes]) -> tuple[str, str]:
    """A key of 256 random bits, and its line for the file of keys. `entropy(n)` returns n random bytes."""
    key = PREFIX + base64.urlsafe_b64encode(entropy(_ENTROPY_BYTES)).rstrip(b"=").decode()
    return key, f"{name} {scope.label} {digest_of(key).hex()}"


def read_keys(path: Path) -> list[ApiKey]:
    """The keys in a file, at least one. Raises KeysRefusedError if the file is invalid or can't be read.

    A line is a name, a scope and the SHA-256 of the key in hexadecimal digits, separated by white space. A '#' begins
    a comment.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeysRefusedError(f"{path} can't be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise KeysRefusedError(f"{path} is too large for a file of keys")
    keys: dict[str, ApiKey] = {}
    digests: set[bytes] = set()
    for number, line in enumerate(content.decode("utf-8-sig", "replace").split("\n"), 1):
        parts = line.partition("#")[0].split()
        if not parts:
            continue
        try:
            key = _parse(parts)
            if key.name in keys:
                raise ValueError("an earlier line has the same name")
            if key.digest in digests:
                raise ValueError("an earlier line has the same SHA-256")
            if len(keys) == MAX_KEYS:
                raise ValueError(f"there are more than {MAX_KEYS} keys")
        except ValueError as error:
            raise KeysRefusedError(f"{path}, line {number}: {error}") from None
        keys[key.name] = key
        digests.add(key.digest)
    if not keys:
        raise KeysRefusedError(f"{path} has no key in it: create one with python server.py --new-api-key NAME")
    return list(keys.values())


def _parse(parts: list[str]) -> ApiKey:
    if len(parts) != 3:
        raise ValueError("a key's line has three parts: name, scope and SHA-256")
    name, scope, digits = parts
    if not _NAME.fullmatch(name):
        raise ValueError("the name must be visible ASCII characters")
    if scope not in SCOPES:
        raise ValueError(f"the scope must be one of {', '.join(SCOPES)}")
    if not _DIGEST.fullmatch(digits):
        raise ValueError("the SHA-256 is not 64 hexadecimal digits")
    return ApiKey(name, Scope[scope.upper()], bytes.fromhex(digits))


def without_keys(text: str) -> str:
    """The text with all keys shortened to `PREFIX`. Used for texts that can contain a key by mistake."""
    return _KEY.sub(PREFIX + "...", text) if PREFIX in text else text
