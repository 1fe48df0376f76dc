"""API keys: what the file of `--api-keys` says, how a new key is made, and how one is kept out of the log. Pure."""

import base64
import hashlib
import re
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from models.errors import StartRefusedError

PREFIX = "orderskey_"
"""What every key begins with, so that people and secret scanners recognise one."""
MAX_KEYS = 1_000
"""Each request is compared with every key, so there can't be many."""
MAX_FILE_BYTES = 1024 * 1024
_ENTROPY_BYTES = 32
_KEY = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[!-~]+")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")


class Scope(IntEnum):
    """What a key allows; each scope includes those below it."""

    READ = 1
    WRITE = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """The scope as files, flags and clients spell it."""
        return self.name.lower()


WORDS = tuple(scope.word for scope in Scope)


def parse_scope(word: str) -> Scope:
    """The scope that the word names. Raises ValueError."""
    if word not in WORDS:
        raise ValueError(f"must be {', '.join(WORDS[:-1])} or {WORDS[-1]}")
    return Scope[word.upper()]


class ApiKey(NamedTuple):
    """One key, known by the SHA-256 of its text (32 bytes)."""

    name: str
    scope: Scope
    digest: bytes


class KeysRefusedError(StartRefusedError):
    """The file of keys can't be used; the text says why in one line, and shows nothing of what is in it."""


def digest_of(key: str) -> bytes:
    """What a key is known by."""
    return hashlib.sha256(key.encode()).digest()


def check_name(text: str) -> str:
    """The text, if a key may be called so. Raises ValueError."""
    if not _NAME.fullmatch(text) or "#" in text:
        raise ValueError("must be visible ASCII characters without white space and '#'")
    return text


def new_key(name: str, scope: Scope, *, entropy: Callable[[int], bytes]) -> tuple[str, str]:
    """A key of 256 random bits, and its line for the file of keys. `entropy` returns as many random bytes as asked."""
    key = PREFIX + base64.urlsafe_b64encode(entropy(_ENTROPY_BYTES)).rstrip(b"=").decode()
    return key, f"{name} {scope.word} {digest_of(key).hex()}"


def read_keys(path: Path) -> list[ApiKey]:
    """The keys in a file: at least one. Raises KeysRefusedError.

    A line is a name, a scope and the SHA-256 of the key in hexadecimal digits, with white space between them. What
    follows a '#' is a comment.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeysRefusedError(f"{path} can't be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise KeysRefusedError(f"{path} is too large for a file of keys")
    keys: list[ApiKey] = []
    for number, line in enumerate(content.decode("utf-8-sig", "replace").split("\n"), 1):
        parts = line.partition("#")[0].split()
        if not parts:
            continue
        try:
            keys.append(_parse(parts, keys))
        except ValueError as error:
            raise KeysRefusedError(f"{path}, line {number}: {error}") from None
    if not keys:
        raise KeysRefusedError(f"{path} has no key in it: python server.py --new-api-key NAME makes one")
    return keys


def _parse(parts: list[str], others: list[ApiKey]) -> ApiKey:
    if len(parts) != 3:
        raise ValueError("a key's line has three parts: name, scope and SHA-256")
    name, word, digits = parts
    if not _NAME.fullmatch(name):
        raise ValueError("the name is not visible ASCII characters")
    if word not in WORDS:
        raise ValueError(f"the scope is none of {', '.join(WORDS)}")
    if not _DIGEST.fullmatch(digits):
        raise ValueError("the SHA-256 is not 64 hexadecimal digits")
    key = ApiKey(name, Scope[word.upper()], bytes.fromhex(digits))
    if any(other.name == key.name for other in others):
        raise ValueError("the name is that of an earlier line")
    if any(other.digest == key.digest for other in others):
        raise ValueError("the SHA-256 is that of an earlier line")
    if len(others) == MAX_KEYS:
        raise ValueError(f"there are more than {MAX_KEYS} keys")
    return key


def without_keys(text: str) -> str:
    """The text with every key in it blacked out, wherever a client or a person may have put it by mistake."""
    return _KEY.sub(PREFIX + "...", text)
