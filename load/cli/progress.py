"""A progress bar on stderr; nothing if stderr is no terminal. Runs on the event loop."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tornado.ioloop import PeriodicCallback

REFRESH_MS = 100


class ProgressBar:
    """Shows one phase at a time. Refreshed from the event loop, since a thread would take time from sending."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def phase(self, name: str, *, total: int, done: Callable[[], int]) -> Iterator[None]:
        """Show a bar while the block runs; `done` returns how far it is."""
        if not self._console.is_terminal:
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, auto_refresh=False, transient=True) as bar:
            task = bar.add_task(name, total=total)
            refresh = PeriodicCallback(lambda: bar.update(task, completed=done(), refresh=True), REFRESH_MS)
            refresh.start()
            try:
                yield
            finally:
                refresh.stop()
