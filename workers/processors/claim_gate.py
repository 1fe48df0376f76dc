"""The interface through which a processor limits how many orders are claimed."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct


class GateState(Struct, frozen=True, gc=False):
    """Whether deliveries are paused, and how many pauses began since the start, by reason."""

    is_paused: bool
    pauses: Mapping[str, int]


class ClaimGate(Protocol):
    """Limits how many attempts can be open at once. Usable on any thread."""

    def max_open(self) -> int | None:
        """How many attempts can be open now: 0 during a pause; None without a limit."""

    def opens_in_s(self) -> float:
        """The seconds until the pause ends; 0 without a pause."""

    def end_pause(self) -> bool:
        """Ends the pause now. Returns False if there is none."""

    def state(self) -> GateState | None:
        """The state of the gate, for metrics; None if the gate can't pause."""


class OpenGate:
    """A gate without a limit, for processors that never pause."""

    def max_open(self) -> int | None:
        return None

    def opens_in_s(self) -> float:
        return 0.0

    def end_pause(self) -> bool:
        return False

    def state(self) -> GateState | None:
        return None
