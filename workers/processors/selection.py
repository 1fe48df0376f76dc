"""Builds the processor that `--processor` names. Runs on the main thread."""

import re
import sys

from workers.coroutine_thread import CoroutineThread
from workers.processors.function import FunctionProcessor, load_function
from workers.processors.processor import Processor
from workers.processors.record import RecordProcessor
from workers.processors.webhook import WebhookProcessor

RECORD = "record"
WEBHOOK = "webhook"


def check_processor(text: str) -> str:
    """Returns the text. Raises ValueError if it is not a valid value of `--processor`."""
    if text not in (RECORD, WEBHOOK) and not re.fullmatch(r"[\w.]+:[\w.]+", text):
        raise ValueError(f"must be {RECORD}, {WEBHOOK} or package.module:function")
    return text


def build_processor(
    name: str,
    *,
    webhook_url: str | None,
    webhook_secret: str | None,
    connections: int,
    coroutines: CoroutineThread,
) -> Processor:
    """Returns the processor with this name. `webhook` needs a URL and a secret. Raises FunctionRefusedError."""
    if name == RECORD:
        return RecordProcessor()
    if name == WEBHOOK:
        if webhook_url is None or webhook_secret is None:
            raise ValueError("a webhook needs a URL and a secret")
        return WebhookProcessor(url=webhook_url, secret=webhook_secret, connections=connections)
    # Modules in the current folder can be imported, as with `python -m`.
    sys.path.append("")
    return FunctionProcessor(load_function(name), coroutines=coroutines)
