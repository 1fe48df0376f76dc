"""Owns what a server says when it refuses something; pure functions, any thread."""

import msgspec

from load.http.response import Answer


class Fault(msgspec.Struct):
    """What is wrong with one value of an order."""

    pointer: str = ""
    detail: str = ""


class Problem(msgspec.Struct):
    """An answer that refuses something (RFC 9457)."""

    title: str = ""
    detail: str = ""
    errors: list[Fault] = []


_problems = msgspec.json.Decoder(Problem)


def reason_in(answer: Answer) -> str:
    """Give the reason that a refusal states; an empty text where it states none."""
    try:
        problem = _problems.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    if problem.errors:
        return "; ".join(f"{fault.pointer} {fault.detail}".strip() for fault in problem.errors)
    return problem.detail or problem.title
