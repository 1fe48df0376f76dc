"""API keys: new keys, and the file of keys."""

import hashlib
import secrets
from pathlib import Path

import pytest

from handlers.security.api_keys import (
    MAX_FILE_BYTES,
    MAX_KEYS,
    ApiKey,
    KeysRefusedError,
    Scope,
    check_name,
    digest_of,
    new_key,
    read_keys,
    without_keys,
)
from tests.cases import cases

HASH = hashlib.sha256(b"a key").hexdigest()
OTHER = hashlib.sha256(b"another key").hexdigest()


def read(folder: Path, content: str | bytes) -> list[ApiKey]:
    path = folder / "keys"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_keys(path)


def test_a_new_key_has_256_random_bits_and_its_line_a_sha_256() -> None:
    asked = []

    def entropy(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    key, line = new_key("shop", Scope.WRITE, entropy=entropy)
    assert asked == [32]
    assert key == "orderskey_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert line == f"shop write {hashlib.sha256(key.encode()).hexdigest()}"
    assert digest_of(key).hex() == line.split()[2]


def test_the_line_of_a_new_key_can_be_read(tmp_path: Path) -> None:
    made = [(scope.label, scope, *new_key(scope.label, scope, entropy=secrets.token_bytes)) for scope in Scope]
    text = "".join(f"{line}\n" for *_, line in made)
    assert read(tmp_path, text) == [ApiKey(name, scope, digest_of(key)) for name, scope, key, _ in made]


@cases(
    "content",
    [
        f"shop read {HASH}",
        f"\n\n  shop\t read   {HASH} \t\n\n",
        f"# the shop's\r\nshop read {HASH}\r\n",
        f"shop read {HASH.upper()} # since March, for Zoë",
        f"\ufeffshop read {HASH}\n",
        b"# caf\xe9\nshop read " + HASH.encode(),
    ],
)
def test_blank_lines_white_space_and_comments_are_ignored(tmp_path: Path, content: str | bytes) -> None:
    assert read(tmp_path, content) == [ApiKey("shop", Scope.READ, bytes.fromhex(HASH))]


@cases(
    ("line", "reason"),
    [
        ("shop read", "three parts"),
        (f"shop read {HASH} more", "three parts"),
        (f"caf\xe9 read {OTHER}", "visible ASCII"),
        (f"shop Read {OTHER}", "the scope must be one of read, write, admin"),
        ("shop read abc", "64 hexadecimal digits"),
        (f"shop read {OTHER[:-1]}g", "64 hexadecimal digits"),
        (f"first write {OTHER}", "an earlier line has the same name"),
        (f"second write {HASH}", "an earlier line has the same SHA-256"),
        (f"second write {HASH.upper()}", "an earlier line has the same SHA-256"),
    ],
)
def test_an_invalid_line_is_reported_by_number_without_its_text(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(KeysRefusedError) as refusal:
        read(tmp_path, f"# keys\nfirst read {HASH}\n{line}\n")
    text = str(refusal.value)
    assert text.startswith(f"{tmp_path}/keys, line 3: ")
    assert reason in text
    assert "\n" not in text
    assert not set(line.split()) & set(text.split()) - {"read"}


@pytest.mark.parametrize("content", ["", "\n", "# none yet\n"])
def test_a_file_without_a_key_is_rejected(tmp_path: Path, content: str) -> None:
    with pytest.raises(KeysRefusedError, match="has no key in it"):
        read(tmp_path, content)


def test_an_unreadable_or_oversized_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(KeysRefusedError, match="nowhere can't be read: No such file"):
        read_keys(tmp_path / "nowhere")
    with pytest.raises(KeysRefusedError, match="can't be read: Is a directory"):
        read_keys(tmp_path)
    with pytest.raises(KeysRefusedError, match="too large"):
        read(tmp_path, b"#" * (MAX_FILE_BYTES + 1))


def test_a_file_with_too_many_keys_is_rejected(tmp_path: Path) -> None:
    lines = [f"key{number} read {number:064x}\n" for number in range(MAX_KEYS + 1)]
    assert len(read(tmp_path, "".join(lines[:-1]))) == MAX_KEYS
    with pytest.raises(KeysRefusedError, match=f"line {MAX_KEYS + 1}: there are more than {MAX_KEYS} keys"):
        read(tmp_path, "".join(lines))


@cases("name", ["", " ", "two words", "a#b", "tab\t", "caf\xe9", "line\n"])
def test_an_invalid_name_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        check_name(name)
    assert check_name("web-shop_2.eu") == "web-shop_2.eu"


def test_a_key_is_redacted_anywhere_in_a_text() -> None:
    key, _ = new_key("shop", Scope.READ, entropy=secrets.token_bytes)
    assert without_keys(f"/order/1?key={key}&x=1 {key}") == "/order/1?key=orderskey_...&x=1 orderskey_..."
    assert without_keys("orderskey_ is how they begin") == "orderskey_ is how they begin"
