"""Builds the processor that `--processor` names. Runs on the main thread."""

import re
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from workers.backoff import Backoff
from workers.processors.claim_gate import ClaimGate, OpenGate
from workers.processors.coroutine_thread import CoroutineThread
from workers.processors.delivery_gate import DeliveryGate
from workers.processors.function import FunctionProcessor, load_function
from workers.processors.processor import Processor
from workers.processors.record import RecordProcessor
from workers.processors.webhook import WebhookProcessor, WebhookSettings
from workers.processors.webhook_secrets import SecretFile

RECORD = "record"
WEBHOOK = "webhook"
MAX_PAUSE_BACKOFF_S = 60.0
"""The longest pause of deliveries, in seconds, unless the receiver requests a longer one."""


def check_processor(text: str) -> str:
    """Returns the text. Raises ValueError if it is not a valid value of `--processor`."""
    if text not in (RECORD, WEBHOOK) and not re.fullmatch(r"[\w.]+:[\w.]+", text):
        raise ValueError(f"must be {RECORD}, {WEBHOOK} or package.module:function")
    return text


class SelectedProcessor(NamedTuple):
    """A processor, and the gate that limits how many orders are claimed for it.

    `secret_file` is the file of webhook secrets, for a reload; None if the processor has no such file.
    """

    processor: Processor
    gate: ClaimGate
    secret_file: SecretFile | None = None


def build_processor(
    name: str,
    *,
    webhook: WebhookSettings | None,
    connections: int,
    clock_us: Callable[[], int],
    coroutines: CoroutineThread,
) -> SelectedProcessor:
    """Returns the processor that `name`, a value of `--processor`, selects.

    Only the webhook processor uses the settings `webhook`, the maximum number of `connections` to the receiver, and
    `clock_us`, which returns microseconds since 1970, UTC. Only a user's function uses `coroutines`. Raises
    FunctionRefusedError and SecretsRefusedError.
    """
    if name == RECORD:
        return SelectedProcessor(RecordProcessor(), OpenGate())
    if name == WEBHOOK:
        if webhook is None:
            raise ValueError("a webhook needs a URL and a secret")
        gate = DeliveryGate(
            max_open=connections,
            backoff=Backoff(first_s=1.0, max_s=MAX_PAUSE_BACKOFF_S),
            clock=time.monotonic,
            clock_us=clock_us,
        )
        processor = WebhookProcessor(settings=webhook, connections=connections, gate=gate)
        file = webhook.secrets.file
        return SelectedProcessor(processor, gate, None if file is None else SecretFile(file, signer=processor))
    # Modules in the current folder can be imported, as with `python -m`.
    sys.path.append("")
    return SelectedProcessor(FunctionProcessor(load_function(name), coroutines=coroutines), OpenGate())
