"""The text of a processor's error, as it is stored and logged. Pure functions; usable on any thread."""

from workers.processors.outcomes import NoResultError, NotDeliveredError, Rejected, RetryLater

MAX_ERROR_CHARACTERS = 1_000


def text_of(error: BaseException) -> str:
    """The text that is stored as the `error` of an order, at most `MAX_ERROR_CHARACTERS` characters.

    The text is the message of the exception. If the exception is not expected (`is_expected`), the name of its class
    comes before the message.
    """
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001 - a user's exception may raise anything here
        text = ""
    if not text or not is_expected(error):
        name = type(error).__name__
        text = f"{name}: {text}" if text else name
    return text[:MAX_ERROR_CHARACTERS]


def one_line(text: str) -> str:
    """The text in one line: without line breaks, control characters and terminal escapes, with single spaces."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def is_expected(error: BaseException) -> bool:
    """Whether a processor raises this exception on purpose, to report how an attempt ended."""
    # `isinstance` would read the `__class__` of a user's exception, which can raise.
    return issubclass(type(error), Rejected | RetryLater | NotDeliveredError | NoResultError)
