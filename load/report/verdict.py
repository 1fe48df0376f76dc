"""Owns what the page says first: whether the run passed, and what was found wrong; pure functions, any thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from load.report.numbers import counted, plural

NAMED = 100
"""So many orders of a kind are named; the JSON names all."""


class Tone(StrEnum):
    """What a verdict means, as the style sheet calls it."""

    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Orders that something is wrong with: a line for each of the first, and how many more there are."""

    title: str
    lines: Sequence[str]
    more: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The first words of the page, the sentences below them, and what was found."""

    tone: Tone
    title: str
    lines: Sequence[str]
    findings: Sequence[Finding]


def verdict_of(result: Mapping[str, Any]) -> Verdict:
    """Judge the run as `--json` has it."""
    faults = _faults(result["read_back"] or {})
    lines = [_read_back_line(result), *_unpromised(result)]
    if result["interrupted"]:
        tone, title = Tone.UNSURE, "Interrupted: not all checked" if result["read_back"] else "Interrupted: not checked"
        if faults:
            tone, title = Tone.BAD, f"Interrupted: {', '.join(faults)}"
    elif result["passed"]:
        tone, title = Tone.GOOD, "Passed: nothing lost"
    else:
        reason = ", ".join(faults) or "not all could be checked"
        tone, title = Tone.BAD, f"Failed: {reason if _acknowledged(result) else 'nothing was accepted'}"
    return Verdict(tone=tone, title=title, lines=lines, findings=_findings(result["read_back"] or {}))


def _acknowledged(result: Mapping[str, Any]) -> int:
    return int(result["accepted"] + result["duplicates"])


def _faults(read_back: Mapping[str, Any]) -> list[str]:
    """Say what is wrong, the worst first."""
    kinds = (
        ("lost_ids", "LOST"),
        ("different", "DIFFERENT"),
        ("unread", "not readable"),
        ("unprocessed", "not processed"),
    )
    found = [(len(read_back[kind]), words) for kind, words in kinds if read_back.get(kind)]
    return [
        f"{counted(count) if place else plural(count, 'order')} {words}" for place, (count, words) in enumerate(found)
    ]


def _read_back_line(result: Mapping[str, Any]) -> str:
    read_back = result["read_back"]
    if not _acknowledged(result):
        return "No order was acknowledged, so there was nothing to read back."
    if read_back is None:
        return (
            f"{plural(_acknowledged(result), 'order')} had been acknowledged. "
            "They were not read back, so nothing is known of whether one was lost."
        )
    if result["interrupted"]:
        return (
            f"Read back {counted(read_back['read'])} of {plural(_acknowledged(result), 'acknowledged order')} so far: "
            f"{counted(len(read_back['lost_ids']))} lost, {counted(len(read_back['different']))} different. "
            "Of the others nothing is known."
        )
    lost, different, unread = (len(read_back[kind]) for kind in ("lost_ids", "different", "unread"))
    unprocessed = len(read_back["unprocessed"])
    found = [
        f"{counted(lost) if lost else 'none'} lost",
        f"{counted(different) if different else 'none'} different",
        *([f"{counted(unread)} not readable"] if unread else []),
        f"{counted(unprocessed)} not processed" if unprocessed or unread or lost else "all processed",
    ]
    statuses = ", ".join(f"{counted(count)} {status}" for status, count in read_back["statuses"].items())
    return (
        f"Read back {counted(read_back['read'])} of {plural(read_back['acknowledged'], 'acknowledged order')}: "
        f"{', '.join(found)}{f' ({statuses})' if statuses else ''}."
    )


def _unpromised(result: Mapping[str, Any]) -> list[str]:
    """Say what got no 202, which doesn't count against the server's promise."""
    parts = [
        f"{counted(result[field])} {words}"
        for field, words in (("refused", "refused"), ("errors", "without an answer"), ("not_sent", "not sent"))
        if result[field]
    ]
    return [f"Not acknowledged, so nothing was promised: {', '.join(parts)}."] if parts else []


def _findings(read_back: Mapping[str, Any]) -> list[Finding]:
    named: list[tuple[str, list[str]]] = [
        ("Lost", [str(order_id) for order_id in read_back.get("lost_ids", ())]),
        *(
            (title, [f"{order_id}: {why}" for order_id, why in read_back.get(kind, {}).items()])
            for title, kind in (
                ("Different", "different"),
                ("Not readable", "unread"),
                ("Not processed", "unprocessed"),
            )
        ),
    ]
    return [
        Finding(
            title=f"{title}: {plural(len(lines), 'order')}",
            lines=lines[:NAMED],
            more=f"and {counted(len(lines) - NAMED)} more, which --json names" if len(lines) > NAMED else "",
        )
        for title, lines in named
        if lines
    ]
