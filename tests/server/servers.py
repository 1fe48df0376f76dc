"""Several real servers on one PostgreSQL database."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.process import ServerProcess

StartServer = Callable[..., ServerProcess]


@contextmanager
def servers_on(url: str) -> Iterator[StartServer]:
    """A function that starts a server with the given flags on the database with this URL.

    The servers that still run at the end are killed.
    """
    with ExitStack() as stack:
        yield lambda *flags: stack.enter_context(ServerProcess(Path(os.devnull), "--database", url, *flags))
