"""Shows the progress of a command on a terminal. Used on the main thread."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from models.progress import Progress

REFRESH_S = 0.1


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Yields an object that shows a bar on stderr until the end of the block, if stderr is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield _ignore
        return
    # Imported only here, because the import would delay each start of the server.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bars:
        task = bars.add_task("", total=None)
        shown_step, shown_s = "", 0.0

        def show(step: str, done: int = 0, total: int | None = None, /) -> None:
            nonlocal shown_step, shown_s
            now_s = time.monotonic()
            if step != shown_step:
                bars.reset(task, description=step, total=total)
            elif now_s - shown_s < REFRESH_S:
                return
            shown_step, shown_s = step, now_s
            bars.update(task, completed=done, total=total, refresh=True)

        yield show


def _ignore(step: str, done: int = 0, total: int | None = None, /) -> None:
    pass
