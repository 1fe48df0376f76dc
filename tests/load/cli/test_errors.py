"""Tests that texts from a server are made safe to print."""

from load.cli.errors import LONGEST, printable
from tests.cases import cases


@cases(
    ("text", "seen"),
    [
        ("Größe: 5 €", "Größe: 5 €"),
        ("\x1b[2Jgone\r\n", r"\x1b[2Jgone\r\n"),
        ("\u202eback", r"\u202eback"),
        ("\ud800", r"\ud800"),
        ("\x9b31m", r"\x9b31m"),
        ("x" * LONGEST, "x" * LONGEST),
        ("x" * (LONGEST + 1), "x" * LONGEST + "..."),
    ],
)
def test_controls_are_escaped_and_long_texts_are_cut(text: str, seen: str) -> None:
    assert printable(text) == seen
