"""Runs a server whose webhooks have a wrong amount and signature. Tests start this module as a program."""

import os
import sys
from typing import Any

import msgspec

import server
from workers.processors.webhooks import request as webhook_request
from workers.processors.webhooks.signer import Signer


def forge() -> None:
    body_of = webhook_request.webhook_body

    def wrong_body_of(order: Any) -> webhook_request.WebhookBody:
        body = body_of(order)
        body.total_amount = msgspec.Raw(b"1" + bytes(body.total_amount))
        return body

    def sign(signer: Signer, *arguments: object) -> str:
        return "v1,AAAA"

    webhook_request.webhook_body = wrong_body_of
    Signer.sign = sign  # type: ignore[method-assign,assignment]  # it forges signatures


if __name__ == "__main__":
    forge()
    sys.exit(server.main(sys.argv[1:], os.environ))
