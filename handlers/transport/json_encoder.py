"""Encodes values as JSON. Pure functions."""

import msgspec

encode = msgspec.json.Encoder(decimal_format="number").encode
"""Encodes a value as JSON bytes. Decimals become JSON numbers with the same digits."""
