"""Owns how the page says where its numbers come from: the settings and the machine; pure functions, any thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from load.report.numbers import exact

MACHINE = {"cpus": "Processors", "platform": "Platform", "python": "Python", "sqlite": "SQLite"}
"""What is written otherwise than the result names it; packages are written as they are installed."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A name, the flag that sets it where there is one, and the value in words."""

    name: str
    value: str
    flag: str = ""


def settings_of(result: Mapping[str, Any]) -> Sequence[Fact]:
    """Give what the run was told to do; what it was not told is left out."""
    chosen = [
        ("Server", "--url", result["url"]),
        ("Replayed file", "--replay", result["replay"]),
        ("Orders", "--orders", result["orders"]),
        ("Connections, at most", "--concurrency", result["concurrency"]),
        ("Orders at once", "--batch", result["batch"]),
        ("Orders a request", "--bulk", result["bulk"]),
        ("Orders due a second", "--rate", result["rate_per_second"]),
        ("Duration, s", "--duration", result["duration_s"]),
        ("Warm-up, s", "--warm-up", result["warm_up_s"]),
    ]
    return [
        Fact(name="Kind of load", value=result["mode"]),
        Fact(name="Started", value=started(result)),
        *(Fact(name=name, flag=flag, value=_text(value)) for name, flag, value in chosen if value not in (None, 0)),
    ]


def machine_of(result: Mapping[str, Any]) -> Sequence[Fact]:
    """Give what the load generator ran on."""
    return [Fact(name=MACHINE.get(name, name), value=_text(value)) for name, value in result["machine"].items()]


def started(result: Mapping[str, Any]) -> str:
    """Give the moment at which the run began, to the second."""
    return f"{datetime.fromisoformat(result['started']):%Y-%m-%d %H:%M:%S} UTC"


def _text(value: Any) -> str:
    return exact(value) if isinstance(value, int | float) else str(value)
