"""The interface of objects that receive the result of a read or write. Used on the event loop."""

from typing import Protocol, TypeVar

R_contra = TypeVar("R_contra", contravariant=True)


class Waiter(Protocol[R_contra]):
    """Receives the result of a read or write, on the event loop. `asyncio.Future` implements this interface."""

    def cancelled(self) -> bool:
        """Whether the result is no longer needed. The other methods are then not called."""

    def set_result(self, result: R_contra, /) -> None:
        """Called at most once, with the result."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Called at most once, instead of `set_result`."""
