"""A move that is interrupted continues where it stopped. At no time can servers start on both databases."""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from models.errors import MoveError
from tests.models.moving.shops import (
    Answers,
    Lines,
    all_kinds,
    answers_of_database,
    answers_of_file,
    emptied_target,
    make_file,
    move_file,
    starts,
)
from tests.models.samples import SECOND_US, Clock
from tests.postgresql.databases import connect, execute, name_of
from tests.postgresql.proxy import Proxy, Side
from tests.postgresql.server import shared_server

pytestmark = pytest.mark.postgresql

ORDERS = all_kinds()
LAST_STEP = 16
"""More messages than the last step has."""


class Original(NamedTuple):
    """A file with orders of all kinds, the time of the move, and what a server on the file would answer then."""

    content: bytes
    now_us: int
    expected: Answers


class Shop:
    """A copy of the original file, and an empty database."""

    def __init__(self, path: Path, url: str, original: Original) -> None:
        path.write_bytes(original.content)
        self.path = path
        self.url = url
        self._original = original

    def move(
        self, url: str = "", *, lines: Lines | None = None, max_rows: int = 20, deadline_s: float = 0
    ) -> list[str]:
        return move_file(
            self.path,
            url or self.url,
            self._original.now_us,
            max_rows=max_rows,
            lines=lines,
            deadline_s=deadline_s,
        )

    def check_moved(self) -> None:
        assert (starts(self.path), starts(self.url)) == (False, True)
        assert answers_of_database(self.url, ORDERS, self._original.now_us) == self._original.expected


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    path = tmp_path_factory.mktemp("original") / "orders.db"
    clock = Clock()
    make_file(path, ORDERS, clock)
    now_us = clock.now_us + clock.ahead_us + SECOND_US
    return Original(path.read_bytes(), now_us, answers_of_file(path, ORDERS, now_us))


@pytest.fixture
def shop(tmp_path: Path, original: Original) -> Iterator[Shop]:
    with emptied_target() as url:
        yield Shop(tmp_path / "orders.db", url, original)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(shared_server()) as proxy:
        yield proxy


def test_a_move_that_is_interrupted_at_every_line_goes_on(shop: Shop) -> None:
    copied: list[int] = []
    for most in itertools.count(2):
        lines = Lines(most)
        with suppress(KeyboardInterrupt):
            shop.move(lines=lines, max_rows=3)
            break
        assert (starts(shop.path), starts(shop.url)) != (True, True)
        with connect(shop.url) as connection:
            copied += [count for [count] in execute(connection, "SELECT copied FROM move")]
    assert copied == sorted(copied)
    assert len(set(copied)) > 5
    shop.check_moved()


@pytest.fixture
def messages(tmp_path: Path, proxy: Proxy, original: Original) -> dict[Side, int]:
    """The number of messages of a whole move."""
    with emptied_target() as url:
        proxy.count()
        Shop(tmp_path / "counted.db", url, original).move(proxy.url(name_of(url)))
        return proxy.count()


@pytest.mark.parametrize("side", Side)
def test_a_move_goes_on_after_a_cut_at_any_message(
    tmp_path: Path, proxy: Proxy, original: Original, messages: dict[Side, int], side: Side
) -> None:
    """The last messages, which are those of the last step, are all tried."""
    states = set()
    last = messages[side]
    for number in [*range(1, last - LAST_STEP, 13), *range(last - LAST_STEP, last + 1)]:
        with emptied_target() as url:
            shop = Shop(tmp_path / f"{number}.db", url, original)
            proxy.cut_at(side, number)
            with suppress(MoveError):
                shop.move(proxy.url(name_of(url)))
            assert proxy.was_cut.is_set()
            state = (starts(shop.path), starts(url))
            with connect(url) as connection:
                assert state != (True, True) or execute(connection, "SELECT to_regclass('move')") == [(None,)]
            states.add(state)
            shop.move()
            shop.check_moved()
    assert states >= {(True, False), (False, False)}


def test_a_connection_that_breaks_is_opened_again(
    tmp_path: Path, proxy: Proxy, original: Original, messages: dict[Side, int]
) -> None:
    for part in (3, 2, 1.2):
        with emptied_target() as url:
            shop = Shop(tmp_path / f"{part}.db", url, original)
            proxy.cut_at(Side.CLIENT, int(messages[Side.CLIENT] / part))
            shop.move(proxy.url(name_of(url)), deadline_s=10)
            assert proxy.was_cut.is_set()
            shop.check_moved()
