"""Signatures, compared with the library of Standard Webhooks."""

import base64
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from tests.cases import cases
from workers.processors.webhooks.signer import Signer

KEYS = st.one_of(st.binary(min_size=1, max_size=200), st.binary(min_size=63, max_size=66))


@given(key=KEYS, message_id=st.text("order_0123456789", min_size=1), second=st.integers(0, 2**33), body=st.text())
def test_a_signature_is_that_of_the_library(key: bytes, message_id: str, second: int, body: str) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    expected = Webhook(secret).sign(message_id, datetime.fromtimestamp(second, UTC), body)
    signer = Signer(secret)
    assert [signer.sign(message_id, second, body.encode()) for _ in range(2)] == [expected] * 2


@cases("secret", ["c2VjcmU=", "c2VjcmU", "whsec_c2VjcmU", "c2VjcmU====", "AA"])
def test_a_secret_can_have_a_prefix_and_padding(secret: str) -> None:
    expected = Webhook(secret).sign("order_1", datetime.fromtimestamp(1, UTC), "{}")
    assert Signer(secret).sign("order_1", 1, b"{}") == expected
