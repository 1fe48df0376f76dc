"""The interface through which a processor limits how many orders are claimed (made Processing) at a time."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct


class GateState(Struct, frozen=True, gc=False):
    """Whether deliveries are paused, and how many pauses began since the server started, by reason."""

    is_paused: bool
    pauses: Mapping[str, int]


class ClaimGate(Protocol):
    """Limits how many attempts can run at a time. Usable on any thread."""

    def max_open(self) -> int | None:
        """The maximum number of attempts that can run at a time: 0 during a pause; None if there is no limit."""

    def opens_in_s(self) -> float:
        """The number of seconds until the pause ends; 0 if there is no pause."""

    def end_pause(self) -> bool:
        """Ends the pause now. Returns False if there is no pause."""

    def state(self) -> GateState | None:
        """The state of the gate, for metrics; None if this gate never pauses."""


class OpenGate:
    """A ClaimGate without a limit, for processors that never pause."""

    def max_open(self) -> int | None:
        return None

    def opens_in_s(self) -> float:
        return 0.0

    def end_pause(self) -> bool:
        return False

    def state(self) -> GateState | None:
        return None
