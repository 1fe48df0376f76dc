"""Which of some formats an Accept header prefers (RFC 9110 §12.5.1). Belongs to no thread."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import mimeparse  # type: ignore[import-untyped]

MAX_CHARACTERS = 1_024
"""The time to take a header apart grows faster than its length."""


class AcceptedType(NamedTuple):
    """A media type, and the parameters with which the client named it: none where it did not."""

    media_type: str
    parameters: Mapping[str, str] = {}


def preferred(accept: str, media_types: Sequence[str]) -> AcceptedType:
    """The one that the client likes best; of those that it likes alike, the one that comes first.

    The first of all where the header accepts none of them, is malformed or is longer than `MAX_CHARACTERS`.
    """
    if len(accept) > MAX_CHARACTERS:
        return AcceptedType(media_types[0])
    try:
        ranges = [mimeparse.parse_media_range(each) for each in accept.lower().split(",") if each.strip()]
    except mimeparse.MimeTypeParseException:
        return AcceptedType(media_types[0])
    # Of ranges that fit alike, such as two versions of a format, mimeparse takes the first.
    ranges.sort(key=lambda media_range: float(media_range[2]["q"]), reverse=True)
    fits = [mimeparse.quality_and_fitness_parsed(each, ranges) for each in media_types]
    quality, _ = best = max(fits)
    if not quality:
        return AcceptedType(media_types[0])
    chosen = media_types[fits.index(best)]
    named = (parameters for kind, subtype, parameters in ranges if f"{kind}/{subtype}" == chosen)
    return AcceptedType(chosen, next(named, {}))
