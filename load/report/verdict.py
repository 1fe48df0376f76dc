"""Owns what the page says first: whether the run passed, and what was found wrong; pure functions, any thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from load.cli.text import printable
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
    faults = _faults(result)
    lines = [_read_back_line(result), *_unpromised(result)]
    if result["interrupted"]:
        tone, title = Tone.UNSURE, "Interrupted: not all checked" if result["read_back"] else "Interrupted: not checked"
        if faults:
            tone, title = Tone.BAD, f"Interrupted: {', '.join(faults)}"
    elif result["passed"]:
        tone, title = Tone.GOOD, "Passed: nothing lost"
    else:
        otherwise = "not all could be checked" if _acknowledged(result) else "nothing was accepted"
        tone, title = Tone.BAD, f"Failed: {', '.join(faults) or otherwise}"
    return Verdict(tone=tone, title=title, lines=lines, findings=_findings(result))


def _acknowledged(result: Mapping[str, Any]) -> int:
    """Count the orders to read back; those with a wrong 202 are known when they are."""
    read_back = result["read_back"] or {"acknowledged": 0}
    return int(max(result["accepted"] + result["duplicates"], read_back["acknowledged"]))


def _faults(result: Mapping[str, Any]) -> list[str]:
    """Say what is wrong, the worst first."""
    read_back = result["read_back"] or {}
    kinds = (
        ("lost_ids", "LOST"),
        ("different", "DIFFERENT"),
        ("unread", "not readable"),
        ("unprocessed", "not processed"),
    )
    found = [(len(read_back[kind]), words) for kind, words in kinds if read_back.get(kind)]
    if result["wrong_202"]:
        found.append((result["wrong_202"], "with a wrong 202"))
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
            f"{', '.join(_found(read_back))}. Of the others nothing is known."
        )
    found, unread = _found(read_back), len(read_back["unread"])
    if read_back["read"]:
        unprocessed = len(read_back["unprocessed"])
        found.append(f"{counted(unprocessed)} not processed" if unprocessed else "all processed")
    if unread:
        others = [f"of the others {found[0]}", *found[1:]] if read_back["read"] or read_back["lost_ids"] else []
        found = [f"{counted(unread)} could not be read", *others]
    statuses = printable(", ".join(f"{counted(count)} {status}" for status, count in read_back["statuses"].items()))
    return (
        f"Read back {counted(read_back['read'])} of {plural(read_back['acknowledged'], 'acknowledged order')}: "
        f"{', '.join(found)}{f' ({statuses})' if statuses else ''}."
    )


def _found(read_back: Mapping[str, Any]) -> list[str]:
    kinds = (("lost_ids", "lost"), ("different", "different"))
    return [f"{counted(len(read_back[kind])) if read_back[kind] else 'none'} {words}" for kind, words in kinds]


def _unpromised(result: Mapping[str, Any]) -> list[str]:
    """Say what got no 202, which doesn't count against the server's promise."""
    parts = [
        f"{counted(result[field])} {words}"
        for field, words in (("refused", "refused"), ("errors", "without a valid answer"), ("not_sent", "not sent"))
        if result[field]
    ]
    return [f"Not acknowledged, so nothing was promised: {', '.join(parts)}."] if parts else []


def _findings(result: Mapping[str, Any]) -> list[Finding]:
    read_back = result["read_back"] or {}
    named: list[tuple[str, list[str]]] = [
        ("Lost", [str(order_id) for order_id in read_back.get("lost_ids", ())]),
        *(
            (title, [f"{order_id}: {printable(why)}" for order_id, why in read_back.get(kind, {}).items()])
            for title, kind in (
                ("Different", "different"),
                ("Not readable", "unread"),
                ("Not processed", "unprocessed"),
            )
        ),
    ]
    wrong = [
        f"{printable(reason)}: {plural(count, 'order')}" for reason, count in result["wrong_202_by_reason"].items()
    ]
    return [
        *([Finding(title=f"Wrong 202: {plural(result['wrong_202'], 'order')}", lines=wrong, more="")] if wrong else []),
        *(
            Finding(
                title=f"{title}: {plural(len(lines), 'order')}",
                lines=lines[:NAMED],
                more=f"and {counted(len(lines) - NAMED)} more, which --json names" if len(lines) > NAMED else "",
            )
            for title, lines in named
            if lines
        ),
    ]
