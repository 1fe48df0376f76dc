"""How commands report what they do."""

from typing import Protocol


class Report(Protocol):
    """Receives the report of a command."""

    def __call__(self, line: str, /) -> None:
        """Shows one line."""


class Progress(Protocol):
    """Receives the progress of a command. Is called often, on the thread of the command."""

    def __call__(self, step: str, done: int = 0, total: int | None = None, /) -> None:
        """Shows that `done` of `total` bytes of the step are done. If `total` is None, the step has no measure."""
