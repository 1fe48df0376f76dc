"""Encodes values as JSON. Pure functions."""

import msgspec

encode = msgspec.json.Encoder(decimal_format="number").encode
"""The value as JSON, in bytes. Decimals become JSON numbers with the same digits."""
