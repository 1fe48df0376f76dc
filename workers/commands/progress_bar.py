"""Shows the progress of a command on a terminal. Used on the main thread."""

import sys
import time

REFRESH_S = 0.1
_MEBIBYTE = 1 << 20


class ProgressBar:
    """A Progress that shows a bar on stderr, if stderr is a terminal. `hide` must be called before other output."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr is not None and sys.stderr.isatty()
        if not self._is_shown:
            return
        # Imported only here, because the import would delay each start of the server.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[size]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bars.add_task("", total=None, size="")
        self._step, self._refreshed_s = "", 0.0

    def __call__(self, step: str, done: int = 0, total: int | None = None, /) -> None:
        if not self._is_shown:
            return
        now_s = time.monotonic()
        if step != self._step:
            self._bars.remove_task(self._task)
            self._task = self._bars.add_task(step, total=total, size="")
            self._bars.start()
        elif now_s - self._refreshed_s < REFRESH_S:
            return
        self._step, self._refreshed_s = step, now_s
        size = "" if total is None else f"{done / _MEBIBYTE:,.0f}/{total / _MEBIBYTE:,.0f} MiB"
        self._bars.update(self._task, completed=done, size=size, refresh=True)

    def hide(self) -> None:
        """Removes the bar from the terminal, until the next step. Can be called at any time."""
        if self._is_shown:
            self._bars.stop()
            self._step = ""
