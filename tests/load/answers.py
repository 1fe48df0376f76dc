"""Answers that came in one piece."""

from load.http.response import Answer, AnswerReader


def parse_answer(data: bytes, *, ended: bool = False) -> Answer | None:
    """Reads one answer, as `AnswerReader.add` does."""
    return AnswerReader().add(data, ended=ended)
