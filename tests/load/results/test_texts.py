"""Texts of a server's making as people see them."""

import pytest

from load.results.texts import LONGEST, shown


@pytest.mark.parametrize(
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
    assert shown(text) == seen
